"""Why light or optics changed: the cause that fits what the images since then show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monitoring.features import GRID, SCENE, Floats, Layout
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, number, packed, unpacked

Side = Literal["left", "right", "top", "bottom"]

CAUSES: Final = (
    "lamp_dim",
    "lamp_off",
    "sunlight",
    "colour_temp",
    "exposure",
    "soiling",
    "bump",
    "defocus",
    "flicker",
    "noise",
    "haze",
    "new_batch",
    "defect_rate",
    "other",
)
"""What an alarm may say; `monitoring.advice` has what each means and what to do."""

_SIGNIFICANT = 4.0
_SIGNIFICANT_CELL = 5.0
_SPOT_EDGE = 0.4
_LARGEST_SPOT_CELLS = 70
_SPOT_LEADS = 2.5
_LOCAL_IMAGES = 30
_FLICKER_IMAGES = 4
_FLICKER_SPREADS = 2.5
_FLICKER_SHARE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """A cause and where it shows.

    cause     one of `CAUSES`
    side      the side short of light, where a lamp fails on one side
    x, y      middle of the spot or of the strongest change, as shares of width and height, where it has a place
    motion    how far the camera moved, where it did and that could be measured
    size      the change that leads, in the smallest changes worth an alarm; below 0 where parts have less of something
    images    how many images of the alarm it rests on
    heat_map  float32 (28, 28), change of the log luminance of each cell: -0.1 is about 10 % darker
    """

    cause: str
    heat_map: NDArray[np.float32]
    images: int
    size: float
    side: Side | None = None
    x: float | None = None
    y: float | None = None
    motion: Motion | None = None

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {
            "cause": self.cause,
            "heat_map": packed(self.heat_map),
            "images": self.images,
            "size": self.size,
            "side": self.side,
            "x": self.x,
            "y": self.y,
            "motion": self.motion and self.motion.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The diagnosis that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        if state["cause"] not in CAUSES:
            raise StateDamaged("an alarm without a known cause")
        if state["side"] not in (None, *get_args(Side)):
            raise StateDamaged("an alarm at no side of the picture")
        heat_map = unpacked("heat_map", state["heat_map"], np.float32, GRID, GRID)
        place = [None if state[axis] is None else number(axis, state[axis]) for axis in ("x", "y")]
        motion = Motion.from_state(state["motion"]) if state["motion"] else None
        size, images = number("size", state["size"]), int(number("images", state["images"]))
        return cls(state["cause"], heat_map, images, size, state["side"], place[0], place[1], motion)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What the images of an alarm show together.

    layout  what was measured
    shift   float64 (n,), their mean less what was normal before
    spread  float64 (n,), image-to-image deviation
    band    float64 (n,), how far of it commissioning saw the light wander, where that is what it is held against
    levels  the level of each of them, less the normal one
    chart   the chart that raised the alarm
    motion  how far the camera moved, where it was found to have
    """

    layout: Layout
    shift: Floats
    spread: Floats
    band: Floats
    levels: Sequence[float]
    chart: str
    motion: Motion | None = None

    @property
    def beyond(self) -> Floats:
        """The shift without what the light does anyway, (n,)."""
        return np.asarray(np.sign(self.shift) * np.maximum(np.abs(self.shift) - self.band, 0.0))

    @property
    def error(self) -> Floats:
        """Deviation of `shift` by chance alone, (n,)."""
        return np.asarray(self.spread * np.sqrt(1 / len(self.levels) + 1 / _LOCAL_IMAGES))

    @property
    def cells(self) -> Floats:
        """The shift of the map, (28, 28), without what is common to its cells."""
        return self.shift[self.layout.cells("map")].reshape(GRID, GRID)

    @property
    def heat_map(self) -> NDArray[np.float32]:
        """The change of the log luminance of each cell, float32 (28, 28)."""
        return np.asarray(self.cells + self.shift[0], np.float32)

    @property
    def units(self) -> Floats:
        """What counts as one, (n,): the smallest change worth an alarm, of the alarm's kind.

        In a whole frame it is no less than what the parts make of it from one to the next.
        """
        least = self.layout.widths("least_jump" if self.chart.endswith((".jump", ".flicker")) else "least_drift")
        return least if self.layout is SCENE else np.maximum(least, self.spread)

    def sizes(self) -> dict[str, float]:
        """Every feature's shift in its units; 0 where chance explains it."""
        features = len(self.layout.features)
        beyond = self.beyond[:features]
        units = beyond / self.units[:features]
        certain = np.abs(beyond) > _SIGNIFICANT * self.error[:features]
        return dict(zip(self.layout.names, np.where(certain, units, 0.0).tolist(), strict=True))

    def flickers(self) -> bool:
        """Whether the level jumps from image to image, about where it was."""
        if len(self.levels) < _FLICKER_IMAGES:
            return self.chart == "level.flicker"
        steps = np.diff(self.levels)
        # One odd image makes two steps, and is no flicker.
        if self.chart != "level.flicker" and np.sort(np.abs(steps))[-3] < _FLICKER_SHARE * np.abs(steps).max():
            return False
        jumps = float(steps.std()) / 2**0.5
        return jumps > _FLICKER_SPREADS * float(self.spread[0]) and abs(float(np.mean(self.levels))) < 2 * jumps

    def spot(self) -> tuple[float, float, float] | None:
        """Height (units), x and y (shares) of the spot that stands alone in any map, if there is one."""
        spots = [spot for cell in self.layout.maps if (spot := self._spot(cell.name)) is not None]
        return max(spots, key=lambda spot: spot[0], default=None)

    def _spot(self, name: str) -> tuple[float, float, float] | None:
        where = self.layout.cells(name)
        shift, error = np.abs(self.beyond[where]).reshape(GRID, GRID), self.error[where].reshape(GRID, GRID)
        height = np.where(shift > _SIGNIFICANT_CELL * error, shift / self.units[where.start], 0.0)
        if height.max() < 1:
            return None
        peak = np.unravel_index(int(height.argmax()), height.shape)
        hot, _ = ndimage.label(height > _SPOT_EDGE * height[peak])
        spot = hot == hot[peak]
        if spot.sum() > _LARGEST_SPOT_CELLS:
            return None
        row, column = ndimage.center_of_mass(height * spot)
        return float(height[peak]), (float(column) + 0.5) / GRID, (float(row) + 0.5) / GRID


def may_have_moved(change: Change) -> bool:
    """Whether the picture differs by more than light makes it: in its edges, of the whole scene."""
    if change.layout is not SCENE:
        return False
    sizes = change.sizes()
    edges = max(abs(sizes[name]) for name in ("shift_x", "shift_y", "turn", "focus", "contrast"))
    return sizes["noise"] > 1 and edges > 1


def diagnose(change: Change) -> Diagnosis:
    """Name the cause of a change."""
    sizes = change.sizes()
    found = Diagnosis("other", change.heat_map, len(change.levels), max(abs(size) for size in sizes.values()))
    if change.flickers():
        return replace(found, cause="flicker")
    if change.layout is SCENE:
        return _of_scene(change, sizes, found)
    return _of_frame(change, sizes, found)


def _of_scene(change: Change, sizes: dict[str, float], found: Diagnosis) -> Diagnosis:
    light, blur, veil, grain = sizes["level"], -sizes["focus"], -sizes["contrast"], sizes["noise"]
    shapes = {name: sizes[name] for name in ("lean_x", "lean_y", "bow_x", "bow_y", "twist")}
    shape = max(abs(size) for size in shapes.values())
    colour = max(abs(sizes["red_green"]), abs(sizes["blue_green"]))
    move = (sizes["shift_x"] ** 2 + sizes["shift_y"] ** 2 + sizes["turn"] ** 2) ** 0.5
    part = max(abs(sizes[name]) for name in change.layout.names if name.startswith("part_"))
    if change.motion is not None:
        return replace(found, cause="bump", motion=change.motion)
    spot = change.spot()
    others = max(abs(light), abs(veil), abs(blur), shape, colour, part)
    leads = _SPOT_LEADS if change.chart.split(".")[0] not in _MAPS else 1.0
    if spot is not None and spot[0] > leads * others:
        return replace(found, cause="soiling", x=spot[1], y=spot[2])
    if move > 1.0 and move > 0.25 * max(abs(blur), abs(veil), shape):
        return replace(found, cause="bump")
    leading = max(
        ("blur", abs(blur)), ("veil", abs(veil)), ("light", abs(light)), ("shape", shape), ("colour", colour),
        key=lambda pair: pair[1],
    )  # fmt: skip
    if leading[1] == 0 or grain > 3 * leading[1] or part > 3 * leading[1]:
        return replace(found, cause=_without_light(change, grain, part))
    if leading[0] == "blur":
        return replace(found, cause="defocus")
    if leading[0] == "veil":
        # A veil adds no grain; edges that are elsewhere do.
        return replace(found, cause="bump" if grain > 2 else "haze")
    if leading[0] == "colour":
        return replace(found, cause="colour_temp")
    if shape < 0.4 * abs(light):
        return replace(found, cause="lamp_dim" if light < 0 else "exposure")
    return _uneven(change, shapes, light, found)


def _without_light(change: Change, grain: float, part: float) -> str:
    if grain <= 0 and part == 0:
        return _BY_CHART.get(change.chart.split(".")[0], "other")
    return "noise" if grain > 0.5 * part else "new_batch"


_MAPS: Final = ("map", "texture")

_BY_CHART: Final[Mapping[str, str]] = {
    "level": "lamp_dim",
    "red_green": "colour_temp",
    "blue_green": "colour_temp",
    "contrast": "haze",
    "shift_x": "bump",
    "shift_y": "bump",
    "turn": "bump",
    "focus": "defocus",
    "noise": "noise",
    "lean_x": "sunlight",
    "lean_y": "sunlight",
    "bow_x": "sunlight",
    "bow_y": "sunlight",
    "twist": "sunlight",
    "part_level": "new_batch",
    "part_red_green": "new_batch",
    "part_blue_green": "new_batch",
    "part_texture": "new_batch",
    **dict.fromkeys(_MAPS, "soiling"),
}
"""What a chart's feature stands for, where the images show nothing that chance would not."""


def _uneven(change: Change, shapes: dict[str, float], light: float, found: Diagnosis) -> Diagnosis:
    """Tell a lamp that fails on one side from light that falls in."""
    lean = max(("lean_x", "lean_y"), key=lambda name: abs(shapes[name]))
    leans = abs(shapes[lean]) >= 0.6 * max(abs(size) for size in shapes.values())
    if light < 0 and leans:
        return replace(found, cause="lamp_off", side=_dark_side(lean, shapes[lean]))
    brightest = np.unravel_index(int(change.cells.argmax()), change.cells.shape)
    x, y = (float(brightest[1]) + 0.5) / GRID, (float(brightest[0]) + 0.5) / GRID
    return replace(found, cause="sunlight", x=x, y=y)


def _of_frame(change: Change, sizes: dict[str, float], found: Diagnosis) -> Diagnosis:
    """The same from the whole frame, parts and all: coarser, for nothing in it keeps still."""
    lean = max(("left_right", "top_bottom"), key=lambda name: abs(sizes[name]))
    spot = change.spot()
    others = max(abs(size) for size in sizes.values())
    if spot is not None and spot[0] > _SPOT_LEADS * others:
        return replace(found, cause="soiling", x=spot[1], y=spot[2])
    leading = max(sizes, key=lambda name: abs(sizes[name]))
    if sizes[leading] == 0:
        leading = change.chart.split(".")[0]
    if leading in ("level", "map", *_LEANS):
        light = change.shift[0]
        if abs(sizes[lean]) > 0.4 * abs(sizes["level"]):
            if light < 0:
                return replace(found, cause="lamp_off", side=_dark_side(lean, sizes[lean]))
            return replace(found, cause="sunlight")
        # Less light leaves the contrast as it is; dirt is darker than what it lies on.
        if light < 0 and sizes["contrast"] > 0.35 * abs(sizes["level"]):
            return replace(found, cause="soiling")
        return replace(found, cause="lamp_dim" if light < 0 else "exposure")
    if leading == "contrast":
        return replace(found, cause=_of_contrast(sizes))
    if leading == "focus":
        return replace(found, cause="defocus" if sizes["focus"] < 0 else "new_batch")
    if leading == "noise":
        return replace(found, cause="noise" if sizes["noise"] > 0 else "new_batch")
    return replace(found, cause="colour_temp")


def _of_contrast(sizes: dict[str, float]) -> str:
    # A veil takes as much of the fine detail as of the coarse.
    if sizes["focus"] < 0.5 * sizes["contrast"] < 0:
        return "defocus"
    return "haze" if sizes["contrast"] < 0 <= sizes["level"] else "new_batch"


_LEANS: Final = ("left_right", "top_bottom")


def _dark_side(lean: str, size: float) -> Side:
    if lean in ("lean_x", "left_right"):
        return "left" if size > 0 else "right"
    return "top" if size > 0 else "bottom"
