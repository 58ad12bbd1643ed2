"""What is measured of a camera's images: of a whole frame, or of a scene whose still part has been learnt."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID: Final = 28
"""Rows and columns of a map of the image."""
CELLS: Final = GRID * GRID


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of an image. All widths are in its own unit; for logarithms of counts 0.01 is about 1 %.

    smallest_spread  the least image-to-image deviation that is believed
    least_jump       the smallest sudden change that is worth an alarm
    least_drift      the smallest slow change that is
    unseen_wander    how far it may wander in the part of a natural cycle of the light that was not seen
    gross_change     what nobody would call normal, whatever was seen
    still            measured where nothing moves, so that one image far off is proof enough
    """

    name: str
    smallest_spread: float
    least_jump: float
    least_drift: float
    unseen_wander: float
    gross_change: float
    still: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What a measurement, float64 (n,), holds: the features, then for every map its `CELLS` cells, row by row.

    name      "frame" or "scene"
    features  each with charts of its own
    maps      one cell of each map, as a feature; its charts are those of the worst cell
    """

    name: str
    features: tuple[Feature, ...]
    maps: tuple[Feature, ...]
    charts: tuple[str, ...] = field(init=False)
    """Names of the charts. `.jump` is against the last 30 images, `.drift` against the last 300, `.band` against what
    commissioning saw, `.flicker` the scatter from image to image."""

    def __post_init__(self) -> None:
        charts = [f"{of.name}.{kind}" for kind in ("jump", "drift", "band") for of in self.charted]
        object.__setattr__(self, "charts", (*charts, "level.flicker"))

    def __deepcopy__(self, _: object) -> "Layout":
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(feature.name for feature in self.features)

    @property
    def charted(self) -> tuple[Feature, ...]:
        """What has charts: the features, then the maps."""
        return (*self.features, *self.maps)

    @property
    def places(self) -> NDArray[np.int64]:
        """For each number of a measurement, int64 (n,), where what it belongs to stands in `charted`."""
        features = len(self.features)
        return np.concatenate([np.arange(features), features + np.repeat(np.arange(len(self.maps)), CELLS)])

    @property
    def size(self) -> int:
        """Numbers in a measurement."""
        return len(self.features) + len(self.maps) * CELLS

    def cells(self, name: str) -> slice:
        """Where the cells of a map lie in a measurement."""
        first = len(self.features) + [cell.name for cell in self.maps].index(name) * CELLS
        return slice(first, first + CELLS)

    def index(self, name: str) -> int:
        """Where a feature lies in a measurement."""
        return self.names.index(name)

    def widths(self, name: str) -> Floats:
        """A width of every measurement, float64 (n,), by its name in `Feature`."""
        return np.array([getattr(of, name) for of in self.charted], np.float64)[self.places]


FRAME: Final = Layout(
    "frame",
    (
        Feature("level", 0.001, 0.014, 0.006, 0.02, 0.06),
        Feature("red_green", 0.0004, 0.003, 0.001, 0.006, 0.04),
        Feature("blue_green", 0.0004, 0.003, 0.001, 0.006, 0.04),
        Feature("contrast", 0.002, 0.03, 0.004, 0.02, 0.2),
        Feature("focus", 0.003, 0.02, 0.005, 0.02, 0.2),
        Feature("noise", 0.005, 0.04, 0.03, 0.03, 0.4),
        Feature("left_right", 0.001, 0.008, 0.004, 0.01, 0.1),
        Feature("top_bottom", 0.001, 0.008, 0.004, 0.01, 0.1),
    ),
    (Feature("map", 0.002, 0.02, 0.008, 0.02, 0.25),),
)
"""Of the whole frame, parts and all: for cameras that see nothing that keeps still."""

SCENE: Final = Layout(
    "scene",
    (
        Feature("level", 0.001, 0.013, 0.006, 0.015, 0.06, still=True),
        Feature("red_green", 0.0003, 0.003, 0.001, 0.01, 0.03, still=True),
        Feature("blue_green", 0.0003, 0.003, 0.001, 0.01, 0.03, still=True),
        Feature("contrast", 0.001, 0.012, 0.003, 0.012, 0.06, still=True),
        Feature("shift_x", 0.003, 0.12, 0.03, 0.15, 0.8, still=True),
        Feature("shift_y", 0.003, 0.12, 0.03, 0.15, 0.8, still=True),
        Feature("turn", 0.003, 0.12, 0.03, 0.15, 0.8, still=True),
        Feature("focus", 0.003, 0.03, 0.0035, 0.03, 0.15, still=True),
        Feature("noise", 0.008, 0.06, 0.03, 0.05, 0.3, still=True),
        Feature("lean_x", 0.0003, 0.006, 0.0006, 0.006, 0.03, still=True),
        Feature("lean_y", 0.0003, 0.006, 0.0006, 0.006, 0.03, still=True),
        Feature("bow_x", 0.0003, 0.006, 0.001, 0.006, 0.03, still=True),
        Feature("bow_y", 0.0003, 0.006, 0.001, 0.006, 0.03, still=True),
        Feature("twist", 0.0003, 0.006, 0.001, 0.006, 0.03, still=True),
        Feature("part_level", 0.001, 0.01, 0.006, 0.012, 0.06),
        Feature("part_red_green", 0.0005, 0.005, 0.003, 0.006, 0.04),
        Feature("part_blue_green", 0.0005, 0.005, 0.003, 0.006, 0.04),
        Feature("part_texture", 0.004, 0.04, 0.03, 0.04, 0.3),
    ),
    (
        Feature("map", 0.002, 0.015, 0.008, 0.01, 0.12),
        Feature("texture", 0.01, 0.25, 0.08, 0.05, 0.8),
    ),
)
"""Of a scene: what keeps still (level to twist), the part that moves before it, and both in cells of brightness and of
texture.

level, red_green, blue_green  log of the light on the still region, and of its colour, over those when it was learnt
contrast                      share of the still region's contrast that is gained; a veil of haze takes some away
shift_x, shift_y, turn        how far the picture moved and turned, px of the overview; `turn` at half its long side
focus                         sharpness gained: minus the growth of half the squared blur radius, px²
noise                         log of the pixel noise where it keeps still
lean_x, lean_y                how much brighter the right and the lower edge became than the middle, as a share
bow_x, bow_y, twist           the same of the left and right edges, of the upper and lower ones, and of two opposite
                              corners
part_level, part_red_green, part_blue_green  log of the part's reflectance against the still region, and its colour
part_texture                  log of the part's fine detail over its brightness
map, texture                  log of the brightness of a cell, and of its fine detail, against its kind's
"""

LAYOUTS: Final = {layout.name: layout for layout in (FRAME, SCENE)}
