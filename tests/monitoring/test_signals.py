import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring import pixels
from monitoring.features import FRAME, GRID
from monitoring.signals import SCALARS, OverviewInvalid, as_overview, measure, signature


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
    assert measured.light_map.shape == (GRID, GRID)
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


def plain_signature(overview: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scalar signals and the light map as their definitions read: histogram, filters and all."""
    overview = as_overview(overview)
    luminance = np.asarray(cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY), np.uint8)
    red, green, blue = overview.reshape(-1, 3).mean(axis=0) + 1
    mean, deviation = luminance.mean(), luminance.std()
    kernel = np.array([1.0, -2.0, 1.0])
    answer = np.minimum(np.abs(cv2.sepFilter2D(luminance, cv2.CV_64F, kernel, kernel)), 255)
    counts = np.bincount(answer.astype(np.int64).ravel(), minlength=256).astype(np.float64)
    quiet = 0.7 * luminance.size
    kept = np.clip(quiet - (np.cumsum(counts) - counts), 0, counts)
    noise = float(kept @ np.arange(256) / quiet) / (6 * 0.4637)
    smooth = np.asarray(cv2.blur(luminance, (4, 4)), np.uint8)
    fine_energy = max(plain_detail(luminance, 1) - 2 * noise**2, 0) + 1
    coarse_energy = max(plain_detail(smooth, 4) - noise**2 / 8, 0) + 1
    scalars = [
        np.log(mean + 1),
        np.log(red / green),
        np.log(blue / green),
        np.log(deviation / (mean + 1) + 1e-3),
        0.5 * np.log(fine_energy / coarse_energy),
        np.log(noise + 0.1),
    ]
    cells = cv2.resize(luminance.astype(np.float64), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.array(scalars), np.log1p(np.asarray(cells, np.float64))


def plain_detail(luminance: NDArray[np.uint8], lag: int) -> float:
    counts = luminance.astype(np.float64)
    across, down = counts[:, lag:] - counts[:, :-lag], counts[lag:] - counts[:-lag]
    return sum(float(np.square(part).mean()) for part in (across, down) if part.size) / 2


def pictures(shape: tuple[int, int]) -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(7)
    height, width = shape
    resized = cv2.resize(part_on_fixture(), (width, height), interpolation=cv2.INTER_AREA)
    part = np.asarray(resized, np.float64).reshape(height, width, 3)
    rows = np.zeros((height, width, 3), np.uint8)
    rows[::2] = 255
    return {
        "part": shot(part),
        "dark": shot(part / 20),
        "glaring": shot(part * 3),
        "quiet": shot(np.asarray(cv2.GaussianBlur(part, (0, 0), 3), np.float64).reshape(part.shape)),
        "noisy": shot(part + rng.normal(0, 20, part.shape)),
        "any": rng.integers(0, 256, (height, width, 3)).astype(np.uint8),
        "two_counts": rng.choice(np.array([90, 91], np.uint8), (height, width, 3)),
        "rows": rows,
    }


@pytest.mark.parametrize(
    "shape", [(192, 256), (144, 256), (205, 256), (256, 214), (256, 256), (33, 17), (3, 40), (40, 1), (5, 5), (1, 1)]
)
def test_quick_signals_are_the_plain_ones(shape: tuple[int, int]) -> None:
    for name, picture in pictures(shape).items():
        measured = signature(picture)
        scalars, light_map = plain_signature(picture)
        assert measured.vector == pytest.approx(scalars, abs=1e-6), name
        # float32: one step is half a millionth where logarithms are 4 to 8.
        assert measured.light_map == pytest.approx(light_map, abs=1e-6), name


@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 2**32), blur=st.sampled_from([0, 2]))
@settings(max_examples=60, deadline=None)
def test_a_picture_of_any_size_has_the_plain_signals(height: int, width: int, seed: int, blur: float) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    if blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8).reshape(picture.shape)
    measured = signature(picture)
    scalars, light_map = plain_signature(picture)
    assert measured.vector == pytest.approx(scalars, abs=1e-6)
    assert measured.light_map == pytest.approx(light_map, abs=1e-6)


@pytest.mark.parametrize("shape", [(8, 70_000), (70_000, 8), (600, 20_000)])
def test_sums_over_long_rows_and_columns_do_not_overflow(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(9)
    picture = np.repeat(rng.choice(np.array([0, 255], np.uint8), (*shape, 1)), 3, axis=2)
    light_map = np.empty((8, 8), np.float32)
    level, *_ = pixels.scalars(picture, light_map)
    assert level == pytest.approx(np.log(picture.mean() + 1), abs=1e-6)
    cells = cv2.resize(picture[..., 0].astype(np.float64), (8, 8), interpolation=cv2.INTER_AREA)
    assert light_map == pytest.approx(np.log1p(np.asarray(cells)), abs=1e-6)


@pytest.mark.parametrize(("shape", "seen"), [((480, 640), (192, 256)), ((200, 256), (200, 256)), ((9, 300), (28, 256))])
def test_an_image_is_measured_at_most_256_pixels_long_and_at_least_28(
    shape: tuple[int, int], seen: tuple[int, int]
) -> None:
    image = np.full((*shape, 3), 77, np.uint8)
    assert as_overview(image).shape == (*seen, 3)
    assert (as_overview(image) == 77).all()


def test_the_measurement_holds_the_scalars_the_lean_and_the_map_without_what_is_common() -> None:
    seen = signature(shot(part_on_fixture() * np.linspace(0.8, 1.2, 256)[None, :, None]))
    measurement = measure(seen)
    assert tuple(measurement[: len(SCALARS)]) == seen.vector
    light = seen.light_map.astype(np.float64)
    half = GRID // 2
    assert measurement[FRAME.index("left_right")] == pytest.approx(light[:, half:].mean() - light[:, :half].mean())
    assert measurement[FRAME.index("top_bottom")] == pytest.approx(light[half:].mean() - light[:half].mean())
    cells = measurement[FRAME.cells("map")]
    assert cells == pytest.approx((light - light.mean()).ravel())


def test_luminance_is_opencvs_for_colours_of_all_kinds() -> None:
    counts = np.arange(256).astype(np.uint8)
    colours = np.stack(np.meshgrid(counts[::5], counts[::5], counts), axis=-1).reshape(-1, 3)
    whole = len(colours) // GRID**2 * GRID**2
    for picture in colours[:whole].reshape(-1, GRID, GRID, 3):
        # A pixel is a cell.
        luminance = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float64)
        assert (signature(picture).light_map == np.log1p(luminance).astype(np.float32)).all()


@pytest.mark.parametrize("shape", [(256, 256), (131, 77)])
def test_a_picture_measures_the_same_however_it_lies_in_memory(shape: tuple[int, int]) -> None:
    picture = shot(part_on_fixture())[: shape[0], : shape[1]].copy()
    read_only = picture.copy()
    read_only.flags.writeable = False
    for other in (
        read_only,
        np.asfortranarray(picture),
        picture[::-1].copy()[::-1],
        picture[..., ::-1].copy()[..., ::-1],
    ):
        measured = signature(other)
        assert measured.vector == signature(picture).vector
        assert (measured.light_map == signature(picture).light_map).all()


def test_threads_at_once_measure_what_one_measures() -> None:
    rng = np.random.default_rng(11)
    overviews = [rng.integers(0, 256, (64 + 8 * n, 256, 3)).astype(np.uint8) for n in range(16)] * 20
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(signature, overviews))
    for measured, overview in zip(together, overviews, strict=True):
        alone = signature(overview)
        assert measured.vector == alone.vector
        assert (measured.light_map == alone.light_map).all()


def test_nothing_is_compiled_before_the_line_is_warmed_and_nothing_after() -> None:
    program = """
import numpy as np
from monitoring import blocks, fit, pixels, signals, steps, watch
from monitoring.sights import Sight
compiled = (pixels.scalars, blocks.cell_means, blocks.describe, fit.fit, steps.step, steps.stand)
print([len(loops.signatures) for loops in compiled])
signals.warm()
watching = watch.Watch(100)
rng = np.random.default_rng(0)
still = rng.integers(60, 200, (40, 60, 3))
for _ in range(200):
    watching.observe(Sight("top"), (still + rng.integers(-2, 3, still.shape)).astype(np.uint8))
for _ in range(5):
    watching.observe(Sight("top"), (0.7 * still).astype(np.uint8))
print(watching.summary()["top"], [len(loops.signatures) for loops in compiled])
"""
    # A process of its own: in this one other tests have compiled everything.
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.splitlines() == ["[0, 0, 0, 0, 0, 0]", "alarm [1, 1, 1, 1, 1, 1]"]


def test_a_view_into_a_larger_frame_measures_as_a_copy_of_it() -> None:
    frame = shot(part_on_fixture())
    inside = frame[16:208, :192]
    assert signature(inside).vector == signature(inside.copy()).vector
