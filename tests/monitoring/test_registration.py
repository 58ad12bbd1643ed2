"""How far a camera moved is found to a fifth of a pixel and a tenth of a degree."""

import json
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from monitoring.registration import SMALLEST_MOVE_PX, Motion, register
from monitoring.saved import StateDamaged
from monitoring.scene import Scene
from tests.monitoring.line_light import (
    HEIGHT,
    WIDTH,
    Change,
    Picture,
    as_is,
    blurred,
    coloured,
    dimmed,
    grainy,
    moved,
    stream,
    veiled,
    weak_at,
)


@cache
def scene() -> Scene:
    found = Scene.learn(stream(1, 40))
    assert found is not None
    return found


def after(*changes: Change) -> Motion | None:
    """The motion found in an image that has been through the changes."""

    def change(picture: Picture, index: int) -> Picture:
        for one in changes:
            picture = one(picture, index)
        return picture

    (image,) = stream(3, 1, change)
    return register(scene(), image)


MOTIONS = [
    (0.5, 0.0, 0.0),
    (0.0, -0.5, 0.0),
    (2.0, -1.3, 0.0),
    (-3.5, 1.9, 0.4),
    (0.0, 0.0, 0.5),
    (6.0, 4.0, -1.0),
    (12.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("right", "down", "turn"), MOTIONS)
@pytest.mark.parametrize("light", [as_is, dimmed(0.3), dimmed(-0.3)], ids=["same light", "less light", "more light"])
def test_a_motion_is_found_whatever_the_light(right: float, down: float, turn: float, light: Change) -> None:
    motion = after(moved(right, down, turn), light)
    assert motion is not None
    assert motion.right_px == pytest.approx(right, abs=0.2)
    assert motion.down_px == pytest.approx(down, abs=0.2)
    assert motion.turn_degrees == pytest.approx(turn, abs=0.1)
    assert motion.length_px == pytest.approx(np.hypot(right, down), abs=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_that_did_not_move_has_no_motion(seed: int) -> None:
    (image,) = stream(20 + seed, 1)
    assert register(scene(), image) is None


@pytest.mark.parametrize(
    "change",
    [dimmed(0.3), coloured(1.1, 0.9), weak_at("left", 0.3), blurred(1.2), veiled(0.2), grainy(4.0)],
    ids=["dimmed", "coloured", "weak at the left", "blurred", "veiled", "grainy"],
)
def test_what_is_no_motion_is_not_taken_for_one(change: Change) -> None:
    assert after(change) is None


@pytest.mark.parametrize("count", [0, 128, 255])
def test_a_picture_of_nothing_has_no_motion(count: int) -> None:
    assert register(scene(), np.full((HEIGHT, WIDTH, 3), count, np.uint8)) is None


def test_what_is_less_than_the_smallest_move_is_none() -> None:
    assert after(moved(SMALLEST_MOVE_PX / 2, 0.0)) is None


def test_a_turn_is_clockwise_and_larger_ones_are_larger() -> None:
    turns = [motion.turn_degrees for turn in (0.5, 1.0, 2.0) if (motion := after(moved(0.0, 0.0, turn)))]
    assert len(turns) == 3
    assert turns[0] > 0
    assert all(smaller < larger for smaller, larger in pairwise(turns))


def test_a_state_comes_back_exactly_and_a_damaged_one_is_refused() -> None:
    motion = Motion(1 / 3, -2.0, 0.1)
    assert Motion.from_state(json.loads(json.dumps(motion.state()))) == motion
    for name in ("right_px", "down_px", "turn_degrees"):
        with pytest.raises(StateDamaged):
            Motion.from_state({**motion.state(), name: float("nan")})
