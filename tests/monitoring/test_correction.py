import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.correction import EXPLAINED, Correction, correction, is_alone
from monitoring.diagnosis import CAUSES
from monitoring.features import SCENE

Pixels = NDArray[np.uint8]


def shift(level: float = 0.0, red_green: float = 0.0, blue_green: float = 0.0) -> NDArray[np.float64]:
    found = np.zeros(SCENE.size)
    for name, value in {"level": level, "red_green": red_green, "blue_green": blue_green}.items():
        found[SCENE.index(name)] = value
    return found


def part(level: int = 120, depth: int = 40) -> Pixels:
    """A grey part with a scratch."""
    image = np.full((48, 48, 3), level, np.uint8)
    cv2.line(image, (8, 40), (40, 8), (level - depth,) * 3, 2)
    noise = np.random.default_rng(0).normal(0, 1.5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_a_dimmed_and_reddened_image_looks_as_before() -> None:
    before = part()
    gains = np.array([0.9, 0.8, 0.7])
    after = np.clip(before * gains + 0.5, 0, 255).astype(np.uint8)
    level = np.log(gains @ [0.299, 0.587, 0.114])
    found = correction("lamp_dim", shift(level, np.log(0.9 / 0.8), np.log(0.7 / 0.8)))
    assert found is not None
    assert np.abs(found.apply(after).astype(int) - before).max() <= 2


@pytest.mark.parametrize("cause", sorted(set(CAUSES) - set(EXPLAINED)))
def test_what_no_gain_gives_back_is_left_alone(cause: str) -> None:
    assert correction(cause, shift(level=-0.1)) is None


@pytest.mark.parametrize("level", [-0.5, 0.5])
def test_a_change_too_large_is_left_alone(level: float) -> None:
    assert correction("lamp_dim", shift(level)) is None


def test_the_scratch_keeps_its_contrast_when_a_lamp_dims() -> None:
    found = correction("lamp_dim", shift(np.log(0.8)))
    assert found is not None
    assert found.is_safe([part(), part(200, 10)])
    assert found.retained([part()]) == pytest.approx(1, abs=0.05)


def test_a_scratch_that_was_cut_off_at_full_white_makes_it_unsafe() -> None:
    found = correction("exposure", shift(np.log(1.4)))
    assert found is not None
    assert found.is_safe([part(100)])
    assert not found.is_safe([part(100), part(225, 20)])


def test_without_a_known_defect_nobody_can_be_sure() -> None:
    assert not Correction(1.1, 1.1, 1.1).is_safe([])


def test_batches_are_corrected_image_by_image() -> None:
    tiles = np.stack([part(), part(60)])
    found = Correction(1.2, 1.1, 1.0)
    assert (found.apply(tiles)[1] == found.apply(tiles[1])).all()


def test_a_change_that_the_cause_does_not_explain_is_not_alone() -> None:
    assert is_alone("lamp_dim", {"level.jump": 5.0, "noise.drift": 2.0, "focus.jump": 1.0})
    assert not is_alone("lamp_dim", {"level.jump": 5.0, "focus.jump": 1.2})
    assert not is_alone("lamp_dim", {"level.jump": 5.0, "red_green.band": 1.2})
    assert is_alone("colour_temp", {"level.jump": 1.1, "red_green.band": 1.2})


@pytest.mark.parametrize(("red", "is_near"), [(1.12, True), (1.16, False), (1.0, False)])
def test_gains_within_a_few_per_cent_are_the_same(red: float, is_near: bool) -> None:
    assert Correction(red, 1.1, 1.1).is_near(Correction(1.1, 1.1, 1.1)) is is_near
