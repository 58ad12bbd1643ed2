"""The means over an image's cells, and what is read from them, against numpy as the definitions read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring import blocks
from monitoring.features import GRID
from monitoring.signals import as_overview

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
SHAPES = [(28, 28), (29, 31), (56, 28), (28, 255), (120, 160), (100, 256), (256, 100), (192, 256), (256, 256)]


def any_image(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def cell_means(image: Pixels, count: int = GRID) -> tuple[Floats, Floats]:
    means, detail = np.empty((count, count, 3)), np.empty((count, count))
    blocks.cell_means(image, means, detail)
    return means, detail


def plain_cell_means(image: Pixels, count: int = GRID) -> tuple[Floats, Floats]:
    """Cells between whole pixels; behind the last column there is no neighbour, and no difference to it."""
    height, width, _ = image.shape
    counts = image.astype(np.float64)
    differences = np.zeros(counts.shape)
    differences[:, :-1] = np.abs(np.diff(counts, axis=1))
    means, detail = np.empty((count, count, 3)), np.empty((count, count))
    for row in range(count):
        for column in range(count):
            cell = (
                slice(row * height // count, (row + 1) * height // count),
                slice(column * width // count, (column + 1) * width // count),
            )
            means[row, column] = counts[cell].mean(axis=(0, 1))
            detail[row, column] = differences[cell].mean()
    return means, detail


@pytest.mark.parametrize("shape", SHAPES)
def test_means_and_detail_are_the_plain_ones(shape: tuple[int, int]) -> None:
    image = any_image(*shape)
    for found, expected in zip(cell_means(image), plain_cell_means(image), strict=True):
        assert found == pytest.approx(expected, rel=1e-12)


@given(height=st.integers(GRID, 256), width=st.integers(GRID, 256), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_an_image_of_any_size_has_the_plain_means(height: int, width: int, seed: int) -> None:
    image = any_image(height, width, seed)
    for found, expected in zip(cell_means(image), plain_cell_means(image), strict=True):
        assert found == pytest.approx(expected, rel=1e-12)


def test_the_brightest_and_the_sharpest_of_the_largest_cells_do_not_overflow() -> None:
    white = np.full((256, 56, 3), 255, np.uint8)
    means, detail = cell_means(white, 1)
    assert (means == 255).all()
    assert (detail == 0).all()
    stripes = np.zeros((256, 56, 3), np.uint8)
    stripes[:, ::2] = 255
    means, detail = cell_means(stripes, 1)
    assert (means == 127.5).all()
    assert detail[0, 0] == pytest.approx(255 * 55 / 56)


def strided(image: Pixels) -> dict[str, Pixels]:
    height, width, _ = image.shape
    framed = np.zeros((height + 4, width + 6, 3), np.uint8)
    framed[2:-2, 3:-3] = image
    read_only = image.copy()
    read_only.flags.writeable = False
    return {
        "inside a larger frame": framed[2:-2, 3:-3],
        "by columns": np.asfortranarray(image),
        "upside down": image[::-1].copy()[::-1],
        "BGR": image[..., ::-1].copy()[..., ::-1],
        "of read-only bytes": read_only,
    }


@pytest.mark.parametrize("shape", [(28, 28), (61, 97), (256, 100)])
def test_an_overview_measures_the_same_however_the_image_lay_in_memory(shape: tuple[int, int]) -> None:
    image = any_image(*shape)
    for name, other in strided(image).items():
        overview = as_overview(other)
        assert overview.flags.c_contiguous, name
        assert (overview == image).all(), name
        for found, expected in zip(cell_means(overview), cell_means(image), strict=True):
            assert (found == expected).all(), name


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((480, 640), (192, 256)),
        ((256, 256), (256, 256)),
        ((1080, 1920), (144, 256)),
        ((10, 10), (28, 28)),
        ((2000, 16), (256, 28)),
        ((1, 1), (28, 28)),
        ((27, 300), (28, 256)),
    ],
)
def test_an_overview_has_no_side_that_is_too_long_or_too_short(shape: tuple[int, int], seen: tuple[int, int]) -> None:
    assert as_overview(any_image(*shape)).shape == (*seen, 3)


def logarithm(colours: Floats) -> Floats:
    return np.asarray(np.log(colours @ np.array([0.299, 0.587, 0.114]) + 1))


def weights(rng: np.random.Generator, where: NDArray[np.bool_]) -> Floats:
    drawn = np.where(where, rng.uniform(0.5, 2, where.shape), 0.0)
    return np.asarray(drawn / max(drawn.sum(), 1e-300))


@pytest.mark.parametrize("parts", ["half", "none", "all"])
def test_a_description_is_the_plain_one(parts: str) -> None:
    rng = np.random.default_rng(4)
    means, detail = rng.uniform(0, 255, (GRID, GRID, 3)), rng.uniform(0, 40, (GRID, GRID))
    is_part = {"half": rng.random((GRID, GRID)) < 0.5, "none": np.zeros((GRID, GRID), bool)}.get(parts)
    is_part = np.ones((GRID, GRID), bool) if is_part is None else is_part
    still, part, texture = weights(rng, ~is_part), weights(rng, is_part), weights(rng, is_part)
    colours, cells, details = np.empty(6), np.empty(GRID**2), np.empty(GRID**2)
    blocks.describe(means, detail, still, part, texture, colours, cells, details)

    of_still, of_part = (np.tensordot(weight, means, 2) for weight in (still, part))
    fine, coarse = float((texture * detail).sum()), float((still * detail).sum())
    background, foreground = logarithm(of_still), logarithm(of_part)
    red, blue = (np.log((of_still[n] + 1) / (of_still[1] + 1)) for n in (0, 2))
    part_red, part_blue = (np.log((of_part[n] + 1) / (of_part[1] + 1)) for n in (0, 2))
    expected = [
        red,
        blue,
        foreground - background,
        part_red - red,
        part_blue - blue,
        np.log(fine + 0.1) - foreground,
    ]
    assert colours == pytest.approx(expected, abs=1e-12)
    kind = np.where(still > 0, background, foreground)
    assert cells.reshape(GRID, GRID) == pytest.approx(logarithm(means) - kind, abs=1e-12)
    kind = np.log(np.where(still > 0, coarse, fine) + 0.1)
    assert details.reshape(GRID, GRID) == pytest.approx(np.log(detail + 0.1) - kind, abs=1e-12)


def test_what_is_common_to_all_cells_is_not_in_them() -> None:
    rng = np.random.default_rng(5)
    means, detail = rng.uniform(60, 120, (GRID, GRID, 3)), rng.uniform(5, 9, (GRID, GRID))
    still = weights(rng, np.ones((GRID, GRID), bool))
    none = np.zeros((GRID, GRID))
    found = []
    for light in (1.0, 1.5):
        colours, cells, details = np.empty(6), np.empty(GRID**2), np.empty(GRID**2)
        blocks.describe(light * means, light * detail, still, none, none, colours, cells, details)
        found.append((cells, details))
    assert found[1][0] == pytest.approx(found[0][0], abs=2e-3)
    assert found[1][1] == pytest.approx(found[0][1], abs=2e-3)
