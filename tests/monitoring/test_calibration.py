import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.calibration import Calibration, calibrate, clopper_pearson
from monitoring.saved import StateDamaged


def peaks(blocks: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).gumbel(0.8, 0.1, (blocks, 9))


def test_limits_alarm_no_more_often_than_wanted_on_peaks_never_seen() -> None:
    limits = np.array(calibrate(peaks(200), 40, alarms_per_10k=10.0).limits)
    unseen = peaks(20_000, seed=1)
    assert (unseen > limits).any(axis=1).mean() <= 10.0 / 1e4 * 40


def test_limits_are_never_below_nominal_nor_below_what_was_seen() -> None:
    assert calibrate(np.full((10, 9), 0.2), 40, 1.0).limits == (1.0,) * 9
    seen = peaks(10)
    assert (np.array(calibrate(seen, 40, 1.0).limits) >= seen.max(axis=0)).all()


def test_the_rate_is_seen_on_the_newer_half_alone() -> None:
    calm_then_wild = np.concatenate([np.full((5, 9), 0.5), np.full((5, 9), 3.0)])
    calibration = calibrate(calm_then_wild, 10, 1.0)
    assert (calibration.alarms, calibration.images) == (5, 50)
    assert calibration.rate_per_10k == 1000.0


def test_the_interval_covers_everything_where_nothing_was_tried() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_no_alarm_in_n_images_bounds_the_rate_near_three_and_a_half_over_n() -> None:
    low, high = clopper_pearson(0, 1000)
    assert low == 0.0
    # Closed form for no hits: 1 - 0.025 ** (1 / n).
    assert high == pytest.approx(1 - 0.025 ** (1 / 1000))


def test_a_margin_may_be_each_chart_s_own() -> None:
    margins = np.linspace(1.0, 2.0, 9)
    plain = np.array(calibrate(peaks(40), 40, 1.0, 1.0).limits)
    assert np.array(calibrate(peaks(40), 40, 1.0, margins).limits) == pytest.approx(margins * plain)
    assert np.array(calibrate(peaks(40), 40, 1.0).limits) == pytest.approx(1.1 * plain)


def test_a_peak_that_was_not_measured_says_nothing() -> None:
    full = peaks(40)
    holes = full.copy()
    holes[:, 3] = np.nan
    holes[::2, 5] = np.nan
    some = calibrate(holes, 40, 1.0)
    others = [0, 1, 2, 4, 6, 7, 8]
    assert np.array(some.limits)[others] == pytest.approx(np.array(calibrate(full, 40, 1.0).limits)[others])
    assert some.limits[3] == pytest.approx(1.1)
    assert some.limits[5] >= np.nanmax(holes[:, 5])
    assert np.isfinite(some.limits).all()


def test_fewer_false_alarms_wanted_are_wider_limits() -> None:
    limits = [np.array(calibrate(peaks(100), 40, wanted).limits) for wanted in (10.0, 1.0, 0.1)]
    assert (limits[0] < limits[1]).all()
    assert (limits[1] < limits[2]).all()


def test_a_single_block_calibrates_and_says_that_nothing_was_checked() -> None:
    found = calibrate(peaks(1), 40, 1.0)
    assert (found.images, found.alarms, found.rate_per_10k) == (0, 0, 0.0)
    assert (found.low, found.high) == (0.0, 1e4)


def test_a_state_comes_back_exactly() -> None:
    found = calibrate(peaks(10), 40, 1.0)
    assert Calibration.from_state(json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.parametrize(
    ("field", "value"),
    [("limits", ["1"]), ("limits", [float("inf")]), ("images", -1), ("alarms", 0.5), ("rate_per_10k", None)],
)
def test_a_damaged_state_is_refused(field: str, value: object) -> None:
    with pytest.raises(StateDamaged):
        Calibration.from_state({**asdict(calibrate(peaks(10), 40, 1.0)), field: value})
