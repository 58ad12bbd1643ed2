"""What is done to images does to them what it says, and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.diagnosis import CAUSES
from monitoring.disturbances import DISTURBANCES, Pixels, Seen

HEIGHT, WIDTH = 90, 120
Picture = NDArray[np.float64]
LIGHT = {
    True: lambda counts: counts / 255,
    False: lambda counts: np.where(counts <= 10.31475, counts / 255 / 12.92, ((counts / 255 + 0.055) / 1.055) ** 2.4),
}


def scene(seed: int = 0) -> Picture:
    """A dark plate with rails and grain, float64 (h, w, 3) in counts."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = 70 + 25 * np.sin(columns / 9.0) + 15 * np.sin(rows / 13.0) + 6 * rng.standard_normal((HEIGHT, WIDTH))
    picture[15:21] = 150
    colours = np.array([1.0, 0.92, 0.8])
    found: Picture = picture[..., None] * colours
    return found


def shots(noise: float, count: int = 24, *, mono: bool = False, moves: bool = False) -> list[Pixels]:
    """Images of it with so much noise in each colour."""
    rng = np.random.default_rng(5)
    picture = scene()
    if mono:
        picture[...] = picture[..., :1]
    found = []
    for _ in range(count):
        seen = np.roll(picture, int(rng.integers(WIDTH)), axis=1) if moves else picture
        grain = rng.normal(0, noise, (HEIGHT, WIDTH, 1 if mono else 3))
        found.append(np.clip(seen + grain + 0.5, 0, 255).astype(np.uint8))
    return found


def disturbed(name: str, amount: float, images: list[Pixels], *, linear: bool = False, place: int = 0) -> list[Pixels]:
    rng = np.random.default_rng(place)
    done = DISTURBANCES[name].begin(amount, Seen.of(images, is_linear=linear), rng)
    return [done(image, rng) for image in images]


def light(images: list[Pixels], *, linear: bool = False) -> Picture:
    """Their mean light, (h, w, 3)."""
    return np.asarray(np.mean([LIGHT[linear](image.astype(np.float64)) for image in images], axis=0))


def grain(images: list[Pixels]) -> float:
    """Counts by which a pixel scatters from image to image, in the middle."""
    return float(np.stack(images)[:, 8:-8, 8:-8].astype(np.float64).std(axis=0, ddof=1).mean())


IMAGES = shots(1.5)
MONO = shots(1.5, mono=True)


def test_every_disturbance_is_a_cause_with_a_ladder_and_words() -> None:
    assert set(DISTURBANCES) <= set(CAUSES)
    for name, one in DISTURBANCES.items():
        assert len(one.amounts) >= 4, name
        assert all(low < high for low, high in pairwise(one.amounts)), name
        assert one.amount_text(one.amounts[2]) in one.text(one.amounts[2])
    assert DISTURBANCES["lamp_dim"].text(0.04) == "4 % less light"
    assert DISTURBANCES["soiling"].text(5) == "a spot of 5 px"


@pytest.mark.parametrize("name", DISTURBANCES)
def test_images_keep_their_kind_and_the_same_generator_gives_the_same_images(name: str) -> None:
    before = [image.copy() for image in IMAGES[:4]]
    first, second = (disturbed(name, DISTURBANCES[name].amounts[2], IMAGES[:4], place=3) for _ in range(2))
    for image, again, kept, given in zip(first, second, before, IMAGES, strict=False):
        assert (image.shape, image.dtype) == (given.shape, np.dtype(np.uint8))
        assert image.flags.c_contiguous
        assert np.array_equal(image, again)
        assert np.array_equal(given, kept)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_larger_amount_changes_more(name: str) -> None:
    usual = np.stack(IMAGES[:8]).astype(np.float64)
    sizes = [
        np.sqrt(np.mean((np.stack(disturbed(name, amount, IMAGES[:8])).astype(np.float64) - usual) ** 2))
        for amount in DISTURBANCES[name].amounts[2:]
    ]
    assert all(low < high for low, high in pairwise(sizes)), sizes


@pytest.mark.parametrize("name", [name for name, one in DISTURBANCES.items() if one.shown_in_mono])
def test_what_has_one_colour_keeps_one(name: str) -> None:
    for image in disturbed(name, DISTURBANCES[name].amounts[2], MONO[:3]):
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("noise", [0.2, 0.8, 1.5, 4.0])
def test_light_and_exposure_change_by_the_amount_whatever_the_noise(noise: float, linear: bool) -> None:
    images = shots(noise)
    usual = light(images, linear=linear).mean()
    for name, sign in (("lamp_dim", -1), ("exposure", 1)):
        for amount in (0.04, 0.15):
            changed = light(disturbed(name, amount, images, linear=linear), linear=linear).mean()
            assert changed / usual - 1 == pytest.approx(sign * amount, abs=0.004)


@pytest.mark.parametrize("noise", [1.0, 1.5, 3.0])
def test_small_changes_of_the_light_leave_the_noise_as_it_is(noise: float) -> None:
    images = shots(noise)
    for amount in (0.0, 0.01, 0.03):
        changed = disturbed("lamp_dim", amount, images)
        assert light(changed).mean() / light(images).mean() == pytest.approx(1 - amount, abs=0.001)
        assert grain(changed) / grain(images) == pytest.approx(1, abs=0.05)


def test_a_quiet_or_a_moving_picture_is_rounded_without_anything_drawn() -> None:
    for images in (shots(0.1), shots(1.5, moves=True)):
        assert not Seen.of(images).hides_rounding
        assert all(np.array_equal(*pair) for pair in zip(disturbed("lamp_dim", 0.0, images), images, strict=True))
    assert Seen.of(IMAGES).hides_rounding


def test_a_side_gets_darker_towards_its_edge() -> None:
    usual = light(IMAGES)
    sides = set()
    for place in range(12):
        left_over = (light(disturbed("lamp_off", 0.3, IMAGES, place=place)) / usual).mean(axis=-1)
        edges = {
            "left": left_over[:, :4].mean(),
            "right": left_over[:, -4:].mean(),
            "top": left_over[:4].mean(),
            "bottom": left_over[-4:].mean(),
        }
        darkest = min(edges, key=lambda side: edges[side])
        assert edges[darkest] == pytest.approx(0.7, abs=0.02)
        assert max(edges.values()) == pytest.approx(1.0, abs=0.02)
        sides.add(darkest)
    assert sides == {"left", "right", "top", "bottom"}


def test_sunlight_adds_light_in_a_patch_alone() -> None:
    usual = light(IMAGES)
    added = (light(disturbed("sunlight", 0.3, IMAGES)) - usual).mean(axis=-1) / usual.mean()
    assert added.max() == pytest.approx(0.3, rel=0.25)
    assert np.quantile(added, 0.3) < 0.01


def test_colour_turns_at_the_same_luminance() -> None:
    usual = light(IMAGES).mean(axis=(0, 1))
    ways = set()
    for place in range(8):
        turned = light(disturbed("colour_temp", 0.08, IMAGES, place=place)).mean(axis=(0, 1)) / usual
        assert turned @ [0.2126, 0.7152, 0.0722] == pytest.approx(1, abs=0.01)
        assert abs(turned[0] / turned[1] - 1) == pytest.approx(0.08, abs=0.01)
        assert turned[2] / turned[1] - 1 == pytest.approx(1 - turned[0] / turned[1], abs=0.01)
        ways.add(bool(turned[0] > 1))
    assert ways == {True, False}


def test_a_spot_is_as_wide_as_it_says_and_stays_where_it_is() -> None:
    usual = light(IMAGES)
    middles = []
    for amount in (8, 20):
        changed = np.abs(light(disturbed("soiling", amount, IMAGES)) / usual - 1).mean(axis=-1)
        rows, columns = np.nonzero(changed > 0.15)
        assert 2 * (rows.size / np.pi) ** 0.5 == pytest.approx(amount, rel=0.2)
        assert max(np.ptp(rows), np.ptp(columns)) <= 1.2 * amount
        middles.append((rows.mean(), columns.mean()))
    assert np.linalg.norm(np.subtract(middles[0], middles[1])) < 1.5


def test_a_shift_moves_the_picture_as_far_as_it_says_and_keeps_its_noise() -> None:
    usual = np.mean(IMAGES, axis=0).mean(axis=-1)
    for amount in (1, 5):
        moved = disturbed("bump", amount, IMAGES)
        assert grain(moved) / grain(IMAGES) == pytest.approx(1, abs=0.06)
        shown = np.mean(moved, axis=0).mean(axis=-1)
        errors = {
            (down, right): np.abs(np.roll(usual, (down, right), (0, 1)) - shown)[16:-16, 16:-16].mean()
            for down in range(-8, 9)
            for right in range(-8, 9)
        }
        down, right = min(errors, key=lambda at: errors[at])
        assert np.hypot(down, right) == pytest.approx(amount, abs=0.8)


def test_a_blur_takes_detail_and_keeps_the_noise() -> None:
    blurred = disturbed("defocus", 1.3, IMAGES)
    fine = [np.abs(np.diff(np.mean(images, axis=0)[..., 1], axis=1)).mean() for images in (IMAGES, blurred)]
    assert fine[1] < 0.6 * fine[0]
    assert grain(blurred) / grain(IMAGES) == pytest.approx(1, abs=0.06)
    assert light(blurred).mean() == pytest.approx(light(IMAGES).mean(), rel=0.01)


@pytest.mark.parametrize("images", [IMAGES, MONO], ids=["colour", "mono"])
def test_noise_grows_by_the_amount(images: list[Pixels]) -> None:
    for amount in (0.4, 1.2):
        noisy = disturbed("noise", amount, images)
        assert grain(noisy) / grain(images) == pytest.approx(1 + amount, rel=0.12)
        assert np.mean(noisy) == pytest.approx(np.mean(images), abs=0.2)


def test_flicker_scatters_the_level_about_where_it_was() -> None:
    images = shots(1.5, 200)
    levels = np.array([LIGHT[False](image.astype(np.float64)).mean() for image in disturbed("flicker", 0.08, images)])
    usual = light(images).mean()
    assert levels.std() / usual == pytest.approx(0.08, rel=0.2)
    assert levels.mean() / usual == pytest.approx(1, abs=0.02)


def test_a_veil_takes_contrast_and_keeps_the_level() -> None:
    usual, veiled = light(IMAGES).mean(axis=-1), light(disturbed("haze", 0.15, IMAGES)).mean(axis=-1)
    assert veiled.mean() == pytest.approx(usual.mean(), rel=0.01)
    assert veiled.std() / usual.std() == pytest.approx(0.85, abs=0.01)


@pytest.mark.parametrize("moves", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("noise", [0.8, 2.0, 5.0])
def test_noise_is_told_from_texture_and_from_motion(noise: float, moves: bool) -> None:
    flat = [image.copy() for image in shots(noise, moves=moves)]
    rng = np.random.default_rng(3)
    for image in flat:  # a smooth strip somewhere, as most pictures have one
        image[50:70] = np.clip(90.5 + rng.normal(0, noise, image[50:70].shape), 0, 255).astype(np.uint8)
    seen = Seen.of(flat)
    assert seen.channel_noise == pytest.approx(noise, rel=0.25)
    assert (seen.height, seen.width, seen.is_mono) == (HEIGHT, WIDTH, False)


def test_a_camera_is_known_by_images_of_one_size() -> None:
    with pytest.raises(ValueError, match="two images"):
        Seen.of(IMAGES[:1])
    with pytest.raises(ValueError, match="one size"):
        Seen.of([IMAGES[0], IMAGES[1][:80]])
