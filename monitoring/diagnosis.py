"""Why light or optics changed: the cause that fits what the images since then show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monitoring.features import CELLS, GRID, SCENE, Floats, Layout
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
_CHANCE_CELL = 3.0
_LOCAL_IMAGES = 30
_FLICKER_IMAGES = 4
_FLICKER_SPREADS = 2.5
_FLICKER_SHARE = 0.3

_SPOT_EDGE = 0.4
_LARGEST_SPOT_CELLS = 70
_ROUND = 2.5
"""How far a spot's cells may lie from its middle, as a multiple of a disc's (mean square): a part's rim is no spot."""
_SPOT_SHARE = 0.55
_ONE_CELL_SHARE = 0.9
"""An edge that is less sharp, or a pin that shines, is one cell too."""
_SMALL_BRIGHT_CELLS = 10
_LARGEST_BRIGHT_CELLS = 40
_LIT_TEXTURE = 0.4
"""Light makes a place's texture brighter by as much as the place, less what is noise of it."""

_FIT_ROUNDS = 8
_ROUGH = 0.006
"""How far a cell lies from light of a smooth shape when there is nothing else, log luminance."""
_LEAST_UNEVEN = 0.18
"""Light counts as even that changed its shape by less than this share of its level."""

_SURE_LEAN = 1.3
_LEAST_LEAN = 0.01
"""How uneven the light of a whole frame must have become: in errors of its lean, and log luminance."""
_ONE_LAMP = 0.35
"""The least share of the level's change that one lamp of two, or light that falls in, makes a whole frame uneven by."""
_MOST_UNEVEN = 3.0
"""The most that light which falls in makes it so by."""


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

    def spot(self) -> tuple[float, float] | None:
        """x and y (shares) of the middle of the spot that makes most of the change, if one does.

        Squared changes of the log luminance are compared: the spot's with those of light of a smooth shape, of what
        neither explains, and of level and colour on the whole. In their own units they could not be: a spot adds to the
        features of the light's shape, which are far finer measures than a cell.
        """
        where = self.layout.cells("map")
        change, error = self.beyond[where], self.error[where]
        light = _light_in(change, error)
        left = change - light
        height = np.where(np.abs(left) > _SIGNIFICANT_CELL * error, np.abs(left), 0.0)
        peak = int(height.argmax())
        if height[peak] < self.units[where.start]:
            return None
        labels, _ = ndimage.label((height > _SPOT_EDGE * height[peak]).reshape(GRID, GRID))
        spot = labels == labels.flat[peak]
        if not _is_compact(spot) or (left[peak] > 0 and self._is_lit(spot.ravel(), left)):
            return None
        cells = int(spot.sum())
        near = ndimage.binary_dilation(spot, iterations=1 + round(cells**0.5 / 4)).ravel()
        sharp = np.maximum(np.abs(left) - _CHANCE_CELL * error, 0.0) ** 2
        smooth = np.maximum(np.abs(light - np.median(light)) - error, 0.0) ** 2
        common = np.maximum(np.abs(self.beyond[_COMMON]) - self.units[_COMMON], 0.0) ** 2
        own, rest = float(sharp[near].sum()), float((sharp + smooth)[~near].sum() + CELLS * common.sum())
        if own <= (_SPOT_SHARE if cells > 1 else _ONE_CELL_SHARE) * (own + rest):
            return None
        row, column = ndimage.center_of_mass(height.reshape(GRID, GRID) * spot)
        return (float(column) + 0.5) / GRID, (float(row) + 0.5) / GRID

    def _is_lit(self, spot: NDArray[np.bool_], left: Floats) -> bool:
        """Whether a brighter spot, bool (784,), is light that falls there: dirt hides the texture, light does not."""
        cells = int(spot.sum())
        if not _SMALL_BRIGHT_CELLS < cells <= _LARGEST_BRIGHT_CELLS:
            return cells > _LARGEST_BRIGHT_CELLS
        if self.layout is not SCENE:
            # Where noise would hide more of it, what is seen may be the brightest of a wide light.
            around = ndimage.binary_dilation(spot.reshape(GRID, GRID), iterations=2).ravel()
            noise = float(np.quantile(self.error[self.layout.cells("map")][around], 0.9))
            is_all = _SPOT_EDGE * float(left[spot].max()) > _SIGNIFICANT_CELL * noise
            return not is_all and float(self.shift[self.layout.index("contrast")]) > 0
        where = self.layout.cells("texture")
        weight = 1 / self.error[where][spot] ** 2
        return float(weight @ self.shift[where][spot]) > _LIT_TEXTURE * float(weight @ left[spot])

    def uneven(self, shapes: Mapping[str, float]) -> float:
        """The largest change of the light's shape that is not chance, by `sizes`, as a share of its level's change."""
        beyond = np.abs(self.beyond)
        most = max((float(beyond[self.layout.index(name)]) for name, size in shapes.items() if size), default=0.0)
        return most / max(float(beyond[0]), 1e-9)

    def lean(self) -> tuple[float, float, float]:
        """What light of a smooth shape did to the map: its deviation, and how much brighter the right and the lower
        edge became than the middle, all of the log luminance.
        """
        where = self.layout.cells("map")
        shapes = _shapes_in(self.shift[where], 1 / self.error[where] ** 2)
        return float((_SHAPES @ shapes).std()), float(shapes[1]), float(shapes[2])


_COMMON: Final = slice(0, 3)
"""Level and colours, the first features of either layout."""


def _shapes() -> Floats:
    """Shapes that light takes over the cells, (784, 6): even, lean right and down, bow both ways, twist."""
    y, x = (np.mgrid[:GRID, :GRID].reshape(2, CELLS) - (GRID - 1) / 2) / (GRID / 2)
    return np.stack([np.ones(CELLS), x, y, x * x, y * y, x * y], axis=1)


_SHAPES: Final = _shapes()


def _shapes_in(change: Floats, weight: Floats) -> Floats:
    """How much of each shape is in the change of the cells, (6,), by least squares."""
    weighted = _SHAPES.T * weight
    return np.asarray(np.linalg.solve(weighted @ _SHAPES, weighted @ change))


def _light_in(change: Floats, error: Floats) -> Floats:
    """The part of the cells' change, (784,), that is light of a smooth shape, whatever a few of them say.

    By least squares, reweighted as if errors were Cauchy's (P. Holland and R. Welsch, 1977).
    """
    width = np.hypot(2 * error, _ROUGH)
    light = np.full_like(change, np.median(change))
    for _ in range(_FIT_ROUNDS):
        light = _SHAPES @ _shapes_in(change, 1 / (width**2 + (change - light) ** 2))
    return light


def _is_compact(spot: NDArray[np.bool_]) -> bool:
    """Whether the cells of a spot, bool (28, 28), are few and lie together."""
    rows, columns = np.nonzero(spot)
    # The mean square distance from the middle of a disc is its area over two pi.
    return bool(rows.size <= _LARGEST_SPOT_CELLS and 2 * np.pi * (rows.var() + columns.var()) <= _ROUND * rows.size)


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
    if spot is not None:
        return replace(found, cause="soiling", x=spot[0], y=spot[1])
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
    if change.uneven(shapes) < _LEAST_UNEVEN:
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
    spot = change.spot()
    if spot is not None:
        return replace(found, cause="soiling", x=spot[0], y=spot[1])
    of_uneven = _of_uneven_frame(change, found)
    if of_uneven is not None:
        return of_uneven
    leading = max(sizes, key=lambda name: abs(sizes[name]))
    if sizes[leading] == 0:
        # Nothing is certain: the chart that alarmed, and which way it went, is what there is.
        leading = change.chart.split(".")[0]
        sizes = dict.fromkeys(sizes, 0.0)
        if leading in sizes:
            sizes[leading] = float(change.shift[change.layout.index(leading)])
    if leading in _LEANS and change.shift[0] < 0:
        return replace(found, cause="lamp_off", side=_dark_side(leading, sizes[leading]))
    return replace(found, cause=_by_leading(leading, sizes, float(change.shift[0])))


def _by_leading(leading: str, sizes: dict[str, float], light: float) -> str:
    """What it is that changed a whole frame's feature, or else its map, more than all others."""
    if leading == "level" and light < 0:
        # Less light leaves the contrast as it is; dirt is darker than what it lies on.
        return "soiling" if sizes["contrast"] > 0.35 * abs(sizes["level"]) else "lamp_dim"
    if leading == "level":
        return "exposure"
    if leading in _LEANS:
        return "sunlight"
    if leading == "map":
        return "soiling"
    if leading == "noise":
        return "noise" if sizes["noise"] > 0 else "new_batch"
    of_contrast = _of_contrast(sizes)
    if leading == "contrast":
        return of_contrast
    if leading == "focus" and sizes["focus"] < 0:
        return "defocus"
    # A veil takes some of the colour, too, and less of the finest detail.
    if of_contrast == "haze":
        return "haze"
    return "new_batch" if leading == "focus" else "colour_temp"


def _of_uneven_frame(change: Change, found: Diagnosis) -> Diagnosis | None:
    """The cause by what happened to the evenness of the light, where that tells; coarse detail of what moves looks like
    a little of it.
    """
    index = change.layout.index("left_right")
    chance = float(np.hypot(*change.error[index : index + 2]))
    uneven, right, down = change.lean()
    light, contrast = float(change.shift[0]), float(change.shift[change.layout.index("contrast")])
    # A veil evens out what was uneven before.
    if uneven < max(_SURE_LEAN * chance, _LEAST_LEAN) or contrast < -uneven:
        return None
    share = uneven / max(abs(light), 1e-9)
    if light < 0 and _ONE_LAMP < share <= 1:
        lean, size = max(("left_right", right), ("top_bottom", down), key=lambda pair: abs(pair[1]))
        return replace(found, cause="lamp_off", side=_dark_side(lean, size))
    if contrast > 0 and (share > 1 if light < 0 else _ONE_LAMP < share < _MOST_UNEVEN):
        return replace(found, cause="soiling" if light < 0 else "sunlight")
    return None


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
