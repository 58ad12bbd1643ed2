import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.preprocess import Geometry, tile_spans
from models.regions import MOST, Region, find_regions

Map = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def maps(geometry: Geometry, rows: int = 8, cols: int = 8) -> Map:
    return np.zeros((geometry.tiles, rows, cols), np.float32)


def painted(geometry: Geometry, width: int, height: int, box: tuple[int, int, int, int], cells: int = 8) -> Map:
    """What a perfect model would say of a defect that fills the box x, y, width, height of a frame."""
    x, y, across, down = box
    rows, cols = tile_spans(geometry, height, width)
    found = maps(geometry, cells, cells)
    for tile, ((top, bottom), (left, right)) in zip(found, [(r, c) for r in rows for c in cols], strict=True):
        ys, xs = np.linspace(top, bottom, cells + 1), np.linspace(left, right, cells + 1)
        hit_y = (ys[1:] > y) & (ys[:-1] < y + down)
        hit_x = (xs[1:] > x) & (xs[:-1] < x + across)
        tile[np.ix_(hit_y, hit_x)] = 0.9
    return found


def test_nothing_above_the_threshold_is_no_region() -> None:
    geometry = Geometry(32, 32, tile_rows=2, tile_cols=3)
    assert find_regions(maps(geometry) + np.float32(0.49), geometry, 640, 480) == []


def test_one_cell_is_its_box_in_the_frame() -> None:
    geometry = Geometry(32, 32)
    found = maps(geometry)
    found[0, 2, 5] = 0.75
    assert find_regions(found, geometry, 640, 480) == [Region(400, 120, 80, 60, 0.75)]


def test_roi_shifts_the_box() -> None:
    geometry = Geometry(32, 32, roi=(0.25, 0.5, 0.5, 0.5))
    found = maps(geometry)
    found[0, 0, 0] = found[0, 7, 7] = 1.0
    first, last = find_regions(found, geometry, 640, 480)
    assert first == Region(160, 240, 40, 30, 1.0)
    assert last == Region(440, 450, 40, 30, 1.0)


def test_cells_that_touch_at_a_corner_are_one_region() -> None:
    geometry = Geometry(32, 32)
    found = maps(geometry)
    found[0, 1, 1], found[0, 2, 2], found[0, 6, 6] = 0.625, 0.875, 0.75
    assert find_regions(found, geometry, 80, 80) == [Region(10, 10, 20, 20, 0.875), Region(60, 60, 10, 10, 0.75)]


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.25, 0.5])
def test_what_crosses_a_border_of_tiles_is_one_region(overlap: float) -> None:
    geometry = Geometry(32, 32, tile_rows=2, tile_cols=3, tile_overlap=overlap)
    box = (100, 200, 450, 60)
    (found,) = find_regions(painted(geometry, 640, 480, box), geometry, 640, 480)
    assert found.x <= 100
    assert found.x + found.width >= 550
    assert found.y <= 200
    assert found.y + found.height >= 260


def test_a_pixel_lost_to_rounding_between_tiles_cuts_nothing() -> None:
    lost = [
        (height, count)
        for height in range(10, 600)
        for count in range(2, 9)
        for rows in [tile_spans(Geometry(8, 8, roi=(0.0, 0.1, 1.0, 0.7), tile_rows=count), height, 10)[0]]
        if any(after[0] > before[1] for before, after in itertools.pairwise(rows))
    ]
    assert lost
    for height, count in lost:
        geometry = Geometry(8, 8, roi=(0.0, 0.1, 1.0, 0.7), tile_rows=count)
        assert len(find_regions(maps(geometry) + np.float32(0.9), geometry, 10, height)) == 1


@given(
    st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    st.sampled_from([None, (0.1, 0.2, 0.7, 0.6)]), st.integers(40, 700), st.integers(40, 700),
    st.tuples(*[st.floats(0.0, 1.0)] * 4),
)  # fmt: skip
def test_box_is_found_within_a_cell_whatever_the_tiles(
    rows: int,
    cols: int,
    overlap: float,
    roi: tuple[float, float, float, float] | None,
    width: int,
    height: int,
    at: tuple[float, float, float, float],
) -> None:
    geometry = Geometry(32, 32, roi=roi, tile_rows=rows, tile_cols=cols, tile_overlap=overlap)
    tops, lefts = tile_spans(geometry, height, width)
    (left, right), (top, bottom) = (lefts[0][0], lefts[-1][1]), (tops[0][0], tops[-1][1])
    x, y = left + int(at[0] * (right - left - 3)), top + int(at[1] * (bottom - top - 3))
    across, down = 1 + int(at[2] * (right - x - 1)), 1 + int(at[3] * (bottom - y - 1))
    (found,) = find_regions(painted(geometry, width, height, (x, y, across, down)), geometry, width, height)
    cell_x = max(last - first for first, last in lefts) / 8
    cell_y = max(last - first for first, last in tops) / 8
    assert x - cell_x - 1 <= found.x <= x
    assert y - cell_y - 1 <= found.y <= y
    assert x + across <= found.x + found.width <= x + across + cell_x + 1
    assert y + down <= found.y + found.height <= y + down + cell_y + 1
    assert found.score == pytest.approx(0.9)


def test_strongest_come_first_and_the_rest_is_cut_off() -> None:
    geometry = Geometry(256, 256)
    found = maps(geometry, 32, 32)
    found[0, ::2, ::2] = np.random.default_rng(3).permutation(np.linspace(0.5, 1.0, 256)).reshape(16, 16)
    regions = find_regions(found, geometry, 320, 320)
    assert len(regions) == MOST
    assert [r.score for r in regions] == sorted((r.score for r in regions), reverse=True)
    assert regions[0].score == 1.0
    assert regions[-1].score == pytest.approx(np.linspace(0.5, 1.0, 256)[-MOST])


def test_of_equally_strong_regions_the_larger_goes_first() -> None:
    geometry = Geometry(32, 32)
    found = maps(geometry)
    found[0, 0, 0] = found[0, 4, 4] = found[0, 4, 5] = 1.0
    assert [r.width for r in find_regions(found, geometry, 80, 80)] == [20, 10]


def test_map_finer_than_the_frame_still_gives_whole_pixels_inside_it() -> None:
    geometry = Geometry(64, 64)
    found = maps(geometry, 64, 64)
    found[0, 0, 0] = found[0, 63, 63] = found[0, 30, 31] = 1.0
    regions = find_regions(found, geometry, 10, 7)
    assert all(r.width >= 1 and r.height >= 1 for r in regions)
    assert all(0 <= r.x <= r.x + r.width <= 10 and 0 <= r.y <= r.y + r.height <= 7 for r in regions)


def test_cells_that_hold_no_number_belong_to_no_region() -> None:
    geometry = Geometry(32, 32, tile_cols=2, tile_overlap=0.5)
    found = maps(geometry)
    found[...] = np.nan
    assert find_regions(found, geometry, 60, 60) == []
    found[0, 3, 3], found[1, 0, 0] = 0.8, np.inf
    assert sorted(r.score for r in find_regions(found, geometry, 60, 60)) == pytest.approx([0.8, 1.0])
