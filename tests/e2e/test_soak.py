"""Twenty sudden deaths in a row; about two minutes."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.e2e.processes import Shift, line_process, opened, post_part
from tests.e2e.test_kill import assert_everything_is_recorded_once, stop_and_check_the_rest
from tests.service.line.stocked import add_champion, change_recipe

KILLS, PARTS_A_LIFE = 20, 60


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path, database_url: str) -> None:
    rng = np.random.default_rng(20)
    with line_process(tmp_path, database_url) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
            # The whole frame of these parts is bright or dark, which the optics monitor rightly doesn't like.
            change_recipe(stores, on_optics_alarm="continue")
        shift = Shift(line)
        wanted: list[int] = []
        for life in range(KILLS):
            line.start()
            wanted += range(life * PARTS_A_LIFE, (life + 1) * PARTS_A_LIFE)
            known = dict(shift.bodies)
            with httpx.Client(timeout=20) as client:
                for n in rng.permutation(sorted(known))[:5]:
                    assert post_part(client, line, int(n)).content == known[int(n)]
            shift.post(wanted, kill_after=int(rng.integers(0, PARTS_A_LIFE)), rng=rng)
        line.start()
        shift.post(wanted)
        assert len(shift.bodies) == len(wanted)
        stop_and_check_the_rest(line)
        assert_everything_is_recorded_once(line, shift, len(wanted))
