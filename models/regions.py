"""Where the defect is: a model's defect map as boxes in the frame that the camera sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.preprocess import Geometry, tile_spans

THRESHOLD = 0.5
"""From here on a cell of the map belongs to a region."""
MOST = 20
"""Regions of a view: more of them say no more than that the whole part is bad."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box in pixels of the original frame, and the map's highest value inside of it."""

    x: int
    y: int
    width: int
    height: int
    score: float


def find_regions(defect_map: NDArray[np.floating[Any]], geometry: Geometry, width: int, height: int) -> list[Region]:
    """The connected regions of a view's map that reach THRESHOLD, strongest first, at most MOST; often none.

    defect_map: (T, h, w) in [0, 1], one map a tile, row by row, as the geometry cuts a frame of width × height pixels.
    Where tiles overlap the higher value counts, and what crosses a border of tiles is one region. Cells that hold no
    number belong to none.
    """
    above = np.asarray((defect_map >= THRESHOLD).any(axis=(1, 2)))
    if not above.any():
        return []
    rows, cols = tile_spans(geometry, height, width)
    places = [(_touching(rows), row, _touching(cols), col) for row in range(len(rows)) for col in range(len(cols))]
    cells = [
        (tile, _edges(tops[row], tile.shape[0]), _edges(lefts[col], tile.shape[1]))
        for tile, (tops, row, lefts, col), wanted in zip(defect_map, places, above, strict=True)
        if wanted
    ]
    # Tiles need not meet cell on cell: their maps are laid on a grid that has every edge of every cell.
    ys = np.unique(np.concatenate([y for _, y, _ in cells]))
    xs = np.unique(np.concatenate([x for _, _, x in cells]))
    grid = np.zeros((len(ys) - 1, len(xs) - 1))
    for tile, y, x in cells:
        first_row, last_row = np.searchsorted(ys, (y[0], y[-1]))
        first_col, last_col = np.searchsorted(xs, (x[0], x[-1]))
        row_of = np.searchsorted(y, ys[first_row:last_row], side="right") - 1
        col_of = np.searchsorted(x, xs[first_col:last_col], side="right") - 1
        part = grid[first_row:last_row, first_col:last_col]
        np.fmax(part, tile[np.ix_(row_of, col_of)], out=part)
    return _boxes(grid, ys, xs, width, height)


def _boxes(
    grid: NDArray[np.float64], ys: NDArray[np.float64], xs: NDArray[np.float64], width: int, height: int
) -> list[Region]:
    inside = grid >= THRESHOLD
    count, number, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    score = np.zeros(count)
    np.maximum.at(score, np.asarray(number[inside], np.intp), grid[inside])
    # The first component is all that belongs to none. Of equally strong ones the larger goes first.
    strongest = sorted(range(1, count), key=lambda one: (-score[one], -stats[one, cv2.CC_STAT_AREA]))[:MOST]
    found = []
    for one in strongest:
        col, row, across, down = stats[one, : cv2.CC_STAT_AREA].tolist()
        left, top = int(xs[col]), int(ys[row])
        right, bottom = min(width, int(np.ceil(xs[col + across]))), min(height, int(np.ceil(ys[row + down])))
        found.append(Region(left, top, max(1, right - left), max(1, bottom - top), min(1.0, float(score[one]))))
    return found


def _touching(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans without the pixel that rounding may leave between two of them: it would cut a region in two."""
    following = [first for first, _ in spans[1:]]
    return [(first, max(last, after)) for (first, last), after in zip(spans, [*following, 0], strict=True)]


def _edges(span: tuple[int, int], cells: int) -> NDArray[np.float64]:
    """Where the cells of a tile begin, and where the last one ends."""
    return np.linspace(span[0], span[1], cells + 1)
