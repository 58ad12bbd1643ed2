import os

import pytest

from tests.monitoring.real_light import DATA, spindle, tiles


@pytest.fixture(autouse=True)
def data() -> None:
    if DATA.exists():
        return
    if "data" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
        pytest.fail(f"the data sets are required and not at {DATA}")
    pytest.skip(f"no data sets at {DATA}")


@pytest.mark.parametrize("seed", range(3))
def test_a_third_more_exposure_is_found_within_thirty_tiles_that_differ_as_much_among_themselves(seed: int) -> None:
    run = tiles(seed)
    (found_at, alarm) = run.alarms[0]
    assert 0 <= found_at - run.change_at < 30
    assert alarm.cause == "exposure"


def test_slow_soiling_is_reported_before_it_is_at_its_worst() -> None:
    run = spindle()
    found_at, alarm = run.alarms[0]
    assert found_at < run.change_at
    assert alarm.cause == "soiling"
