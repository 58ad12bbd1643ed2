"""Why the light changed: the cause that fits a shift of the measurements."""

from typing import Final, Literal

import numpy as np

from monitoring.baseline import CELLS, FEATURES, Floats
from monitoring.signals import MAP_SIZE

Side = Literal["left", "right", "top", "bottom"]

CAUSES: Final = (
    "lamp_dim",
    "brighter",
    "lamp_side",
    "colour",
    "defocus",
    "haze",
    "noise",
    "stray_light",
    "product",
    "other",
)

# Shifts that weigh the same to an engineer, in the signals' own units (0.01 is about 1 %).
_WEIGHT: Final = {"level": 0.03, "colour": 0.01, "contrast": 0.08, "focus": 0.04, "noise": 0.15, "map": 0.04}

_CELL_FLOOR = 0.003
_LEANING = 0.3
_UNEXPLAINED = 0.35
_AXIS = np.linspace(-1, 1, MAP_SIZE)


def diagnose(shift: Floats, spread: Floats) -> tuple[str, Side | None]:
    """Name the cause of a shift (72,) of measurements that scatter by `spread` (72,) from image to image.

    Both are in the order of `monitoring.baseline.measure`. Returns one of `CAUSES`; a lamp that fails on one side comes
    with the side that is short of light.
    """
    by_name = dict(zip(FEATURES, shift.tolist(), strict=False))
    cells = shift[CELLS].reshape(MAP_SIZE, MAP_SIZE)
    quiet = 1 / (spread[CELLS].reshape(MAP_SIZE, MAP_SIZE) ** 2 + _CELL_FLOOR**2)
    weight = quiet / quiet.sum()
    common = float((weight * cells).sum())
    sizes = {
        "level": abs(by_name["level"]),
        "colour": max(abs(by_name["red_green"]), abs(by_name["blue_green"])),
        "contrast": abs(by_name["contrast"]),
        "focus": abs(by_name["focus"]),
        "noise": abs(by_name["noise"]),
        "map": float((weight * (cells - common) ** 2).sum()) ** 0.5,
    }
    leading = max(sizes, key=lambda name: sizes[name] / _WEIGHT[name])
    if leading in ("level", "map", "contrast"):
        return _light(by_name, cells, weight)
    if leading == "focus":
        return ("defocus" if by_name["focus"] < 0 else "other"), None
    if leading == "noise":
        return ("noise" if by_name["noise"] > 0 else "other"), None
    return "colour", None


def _light(by_name: dict[str, float], cells: Floats, weight: Floats) -> tuple[str, Side | None]:
    """Tell apart what changes the amount of light: everywhere, from one side, by a veil, or in a patch."""
    level, slope_x, slope_y = _plane(cells, weight)
    lean = max(abs(slope_x), abs(slope_y)) / max(abs(level), 1e-6)
    plane = level + slope_x * _AXIS + slope_y * _AXIS[:, None]
    energy = float((weight * cells**2).sum()) + 1e-12
    unexplained = float((weight * (cells - plane) ** 2).sum()) / energy
    if by_name["contrast"] < -0.05 and by_name["level"] > 0:
        return "haze", None
    if _part_only(cells, weight):
        return "product", None
    if unexplained < _UNEXPLAINED and level < 0 and lean > _LEANING:
        return "lamp_side", _dark_side(slope_x, slope_y)
    if unexplained < _UNEXPLAINED and lean <= _LEANING:
        return ("lamp_dim" if level < 0 else "brighter"), None
    strongest = cells.flat[int((np.abs(cells) * np.sqrt(weight)).argmax())]
    return ("stray_light" if strongest > 0 else "other"), None


def _plane(cells: Floats, weight: Floats) -> tuple[float, float, float]:
    """Weighted least-squares plane over the map: level in the middle, slopes per half width and half height."""
    columns = np.stack([np.ones_like(cells), np.tile(_AXIS, (MAP_SIZE, 1)), np.tile(_AXIS[:, None], MAP_SIZE)])
    design = columns.reshape(3, -1) * np.sqrt(weight).ravel()
    solution, *_ = np.linalg.lstsq(design.T, (cells * np.sqrt(weight)).ravel(), rcond=None)
    level, slope_x, slope_y = solution.tolist()
    return level, slope_x, slope_y


def _part_only(cells: Floats, weight: Floats) -> bool:
    """Whether most of where parts move about changed alike and nothing did where the fixture stands still."""
    still = weight > np.median(weight)
    part = cells[weight <= np.quantile(weight, 0.25)]
    change = abs(float(np.median(part)))
    alike = float(np.quantile(np.abs(part - np.median(part)), 0.75)) < 0.5 * change
    return alike and bool(still.any()) and float(np.abs(cells[still]).max()) < 0.5 * change


def _dark_side(slope_x: float, slope_y: float) -> Side:
    if abs(slope_x) >= abs(slope_y):
        return "left" if slope_x > 0 else "right"
    return "top" if slope_y > 0 else "bottom"
