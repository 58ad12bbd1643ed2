import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.signals import MAP_SIZE, SCALARS, OverviewInvalid, signature


def part_on_fixture(offset: int = 0) -> NDArray[np.float64]:
    """Linear picture (256, 256, 3) of a structured part on a dark fixture, about 20 to 120 counts."""
    rng = np.random.default_rng(3)
    picture = np.full((256, 256, 3), 30.0)
    picture[60 + offset : 190 + offset, 70 + offset : 200 + offset] = 110.0
    picture[100 + offset : 120 + offset, 90 + offset : 180 + offset] = 80.0
    picture[:, ::16] += 15.0
    return picture + rng.normal(0, 1.5, picture.shape)


def shot(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (480, 640), (2000, 16)])
@pytest.mark.parametrize("count", [0, 255])
def test_every_signal_is_finite_for_any_size_and_for_black_and_white(shape: tuple[int, int], count: int) -> None:
    measured = signature(np.full((*shape, 3), count, np.uint8))
    assert np.isfinite(measured.vector).all()
    assert measured.light_map.shape == (MAP_SIZE, MAP_SIZE)
    assert measured.light_map.dtype == np.float32
    assert np.isfinite(measured.light_map).all()


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_no_colour_picture_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(OverviewInvalid) as refused:
        signature(wrong)
    assert refused.value.shape == wrong.shape


def test_a_mono_camera_has_no_colour() -> None:
    values = signature(shot(np.repeat(part_on_fixture()[..., :1], 3, axis=2))).values
    assert values["red_green"] == values["blue_green"] == 0.0


def test_dimming_moves_the_level_by_its_logarithm_and_keeps_colour_contrast_and_focus() -> None:
    bright = signature(shot(part_on_fixture())).values
    dim = signature(shot(0.85 * part_on_fixture())).values
    assert dim["level"] - bright["level"] == pytest.approx(np.log(0.85), abs=0.005)
    for name in ("red_green", "blue_green", "contrast", "focus"):
        assert dim[name] == pytest.approx(bright[name], abs=0.02), name


def test_blur_moves_the_focus_alone() -> None:
    sharp = part_on_fixture()
    blurred = (sharp + np.roll(sharp, 1, axis=0) + np.roll(sharp, 1, axis=1) + np.roll(sharp, (1, 1), (0, 1))) / 4
    before, after = signature(shot(sharp)).values, signature(shot(blurred)).values
    assert after["focus"] < before["focus"] - 0.1
    assert after["level"] == pytest.approx(before["level"], abs=0.005)


def test_noise_is_read_in_counts_whatever_the_picture() -> None:
    rng = np.random.default_rng(5)
    for sigma in (2.0, 4.0, 8.0):
        noisy = part_on_fixture() + rng.normal(0, sigma, (256, 256, 1))
        assert np.exp(signature(shot(noisy)).values["noise"]) == pytest.approx(sigma, rel=0.25)


def test_a_part_that_lies_a_little_aside_moves_nothing() -> None:
    here, aside = signature(shot(part_on_fixture())), signature(shot(part_on_fixture(offset=3)))
    assert aside.vector == pytest.approx(here.vector, abs=0.02)


def test_the_light_map_shows_which_side_is_dark() -> None:
    ramp = np.linspace(0.5, 1, 256)[None, :, None]
    change = signature(shot(ramp * part_on_fixture())).light_map - signature(shot(part_on_fixture())).light_map
    assert (np.diff(change.mean(axis=0)) > 0).all()


def test_values_and_vector_name_the_same_numbers() -> None:
    measured = signature(shot(part_on_fixture()))
    assert tuple(measured.values) == SCALARS
    assert tuple(measured.values.values()) == measured.vector
