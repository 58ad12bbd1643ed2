"""One image's step of all charts of a camera, compiled: over what the charts know and what they remember.

Kept machine code knows changes of this file alone: nothing here may take a number from another module.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.compiled import compiled

Floats = NDArray[np.float64]

FEATURES: Final = 8
"""The first measurements, each with a jump and a band chart of its own; the others are the light map's cells."""
SIDE: Final = 8
"""Rows and columns of the light map."""
CELLS: Final = SIDE * SIDE

CENTRE, SPREAD, BAND, NO_BAND, JUMP_REACH, BAND_REACH, WEIGHT, LIMIT, CAP, DEAD_BAND, DECISION, DECISION_CAP = range(12)
"""Rows of the charts' settings, float64 (12, 72): NO_BAND is zeros; from WEIGHT on, the features' columns alone."""

SLOW, RECENT, JUMP_LEVEL, BAND_LEVEL, AVERAGE, ABOVE, BELOW = range(7)
"""Rows of the charts' memory, float64 (7, 72): the slow local baseline, the recent deviation from it, the levels
against it and against commissioning; from AVERAGE on, in the features' columns, the features' charts."""

EXACT, ROUNDED = range(2)
"""Rows of ratios, float64 (2, 18): every chart over its limit as it is, and to four digits."""

RECENT_WEIGHT: Final = 0.4
QUIET: Final = 0.35
"""A chart below this share of its limit says nothing about a change."""

# Counted so that no two images in a row take an average at rest to its limit of 1. A cell is small enough for a defect
# to fill it, and the same defect may be on two parts in a row.
_MOST = 0.55 / RECENT_WEIGHT
_SLOW_IMAGES = 300
_SETTLE_IMAGES = 30
_LEARNING_SPREADS = 4.0


def warm() -> None:
    """Load or compile all of it."""
    measurement, ratios = np.zeros(FEATURES + CELLS), np.zeros((2, 2 * FEATURES + 2))
    settings, memory = np.ones((DECISION_CAP + 1, measurement.size)), np.zeros((BELOW + 1, measurement.size))
    light_map, last_quiet = np.zeros((SIDE, SIDE), np.float32), np.zeros(ratios.shape[1], np.int64)
    scalars = (0.0,) * (FEATURES - 2)
    fill(measurement, light_map, *scalars)
    step(measurement, settings, memory, 1, ratios)
    watch(measurement, settings, memory, 1, ratios, last_quiet, 0, light_map, *scalars)
    stand(measurement, settings, memory, 1.0, ratios)


@compiled()
def fill(
    measurement: Floats,
    light_map: NDArray[np.float32],
    level: float,
    red_green: float,
    blue_green: float,
    contrast: float,
    focus: float,
    noise: float,
) -> None:
    """Write a measurement, float64 (72,): scalars, the map's lean (right over left, bottom over top), its cells."""
    measurement[0], measurement[1], measurement[2] = level, red_green, blue_green
    measurement[3], measurement[4], measurement[5] = contrast, focus, noise
    across = 0.0
    down = 0.0
    for row in range(SIDE):
        for column in range(SIDE):
            cell = np.float64(light_map[row, column])
            measurement[FEATURES + row * SIDE + column] = cell
            across += cell if column >= SIDE // 2 else -cell
            down += cell if row >= SIDE // 2 else -cell
    measurement[FEATURES - 2] = across / (CELLS // 2)
    measurement[FEATURES - 1] = down / (CELLS // 2)


@compiled()
def step(measurement: Floats, settings: Floats, memory: Floats, seen: int, ratios: Floats) -> float:
    """Take a measurement into the memory of charts that have seen so many, this one included; give the worst ratio.

    Writes every chart over its limit into `ratios`, float64 (2, 18): as it is, and to four digits.
    """
    return _step(measurement, settings, memory, seen, ratios)


@compiled()
def watch(
    measurement: Floats,
    settings: Floats,
    memory: Floats,
    seen: int,
    ratios: Floats,
    last_quiet: NDArray[np.int64],
    image: int,
    light_map: NDArray[np.float32],
    level: float,
    red_green: float,
    blue_green: float,
    contrast: float,
    focus: float,
    noise: float,
) -> float:
    """`fill` and `step` at once, as for almost every part; while no chart is above its limit, notes the quiet ones.

    Those get `image` in `last_quiet`, int64 (18,).
    """
    fill(measurement, light_map, level, red_green, blue_green, contrast, focus, noise)
    worst = _step(measurement, settings, memory, seen, ratios)
    if not worst > 1.0:
        for chart in range(last_quiet.size):
            if ratios[EXACT, chart] < QUIET:
                last_quiet[chart] = image
    return worst


@compiled()
def stand(measurement: Floats, settings: Floats, memory: Floats, patience: float, ratios: Floats) -> float:
    """Take a measurement into the recent levels alone; write those into `ratios`, (2, 18), and give the worst.

    `patience` of at least 1 widens the jump limits, infinity lifts them.
    """
    _follow(measurement, settings, memory, patience)
    for feature in range(FEATURES):
        ratios[EXACT, feature] = abs(memory[JUMP_LEVEL, feature])
        ratios[EXACT, FEATURES + 1 + feature] = abs(memory[BAND_LEVEL, feature])
    return _finish(memory, ratios)


@compiled(inner=True)
def _step(measurement: Floats, settings: Floats, memory: Floats, seen: int, ratios: Floats) -> float:
    if seen <= _SETTLE_IMAGES:
        _settle(measurement, memory, seen)
    _follow(measurement, settings, memory, 1.0)
    for feature in range(FEATURES):
        ratios[EXACT, feature] = _jump(measurement, settings, memory, feature)
        ratios[EXACT, FEATURES + 1 + feature] = _band(measurement, settings, memory, feature)
    _learn(measurement, settings, memory, seen)
    return _finish(memory, ratios)


@compiled(inner=True)
def _settle(measurement: Floats, memory: Floats, seen: int) -> None:
    """Take the local baseline from the first images; no jump chart moves while there is nothing to jump from."""
    for n in range(measurement.size):
        memory[SLOW, n] += (measurement[n] - memory[SLOW, n]) / seen
        memory[RECENT, n] = 0.0
        memory[JUMP_LEVEL, n] = 0.0
        memory[AVERAGE, n] = 0.0


@compiled(inner=True)
def _follow(measurement: Floats, settings: Floats, memory: Floats, patience: float) -> None:
    """Take a measurement into the recent levels against both centres."""
    deviation = np.empty(measurement.size)
    for n in range(measurement.size):
        deviation[n] = measurement[n] - memory[SLOW, n]
        memory[RECENT, n] += RECENT_WEIGHT * (deviation[n] - memory[RECENT, n])
    _level(deviation, settings[NO_BAND], settings[JUMP_REACH], patience, memory[JUMP_LEVEL])
    for n in range(measurement.size):
        deviation[n] = measurement[n] - settings[CENTRE, n]
    _level(deviation, settings[BAND], settings[BAND_REACH], 1.0, memory[BAND_LEVEL])


@compiled(inner=True)
def _level(deviation: Floats, band: Floats, reach: Floats, patience: float, levels: Floats) -> None:
    """Take deviations into levels: what is outside the band, signed, so that scatter at its edge averages out."""
    # What is common to the cells is the level's matter.
    common = _middle(deviation[FEATURES:])
    for n in range(FEATURES, deviation.size):
        deviation[n] -= common
    for n in range(deviation.size):
        outside = deviation[n] - max(min(deviation[n], band[n]), -band[n])
        counted = max(min(outside / (reach[n] * patience), _MOST), -_MOST)
        levels[n] += (counted - levels[n]) * RECENT_WEIGHT


@compiled(inner=True)
def _middle(values: Floats) -> float:
    """The median of the cells; so short a list is in order before any cleverer way has begun."""
    ordered = np.empty(CELLS)
    for n in range(CELLS):
        value = values[n]
        place = n
        while place > 0 and ordered[place - 1] > value:
            ordered[place] = ordered[place - 1]
            place -= 1
        ordered[place] = value
    middle: float = (ordered[CELLS // 2 - 1] + ordered[CELLS // 2]) / 2
    return middle


@compiled(inner=True)
def _jump(measurement: Floats, settings: Floats, memory: Floats, feature: int) -> float:
    """`monitoring.detectors.ewma.Ewma`, of a feature's deviation from the slow local baseline."""
    value = (measurement[feature] - memory[SLOW, feature]) / settings[SPREAD, feature]
    cap = settings[CAP, feature]
    counted = max(min(value, cap), -cap)
    memory[AVERAGE, feature] += settings[WEIGHT, feature] * (counted - memory[AVERAGE, feature])
    ratio: float = abs(memory[AVERAGE, feature]) / settings[LIMIT, feature]
    return ratio


@compiled(inner=True)
def _band(measurement: Floats, settings: Floats, memory: Floats, feature: int) -> float:
    """`monitoring.detectors.cusum.Cusum`, of a feature's deviation from the centre of commissioning."""
    value = (measurement[feature] - settings[CENTRE, feature]) / settings[SPREAD, feature]
    dead_band, cap = settings[DEAD_BAND, feature], settings[DECISION_CAP, feature]
    memory[ABOVE, feature] = max(memory[ABOVE, feature] + min(value - dead_band, cap), 0.0)
    memory[BELOW, feature] = max(memory[BELOW, feature] + min(-value - dead_band, cap), 0.0)
    ratio: float = max(memory[ABOVE, feature], memory[BELOW, feature]) / settings[DECISION, feature]
    return ratio


@compiled(inner=True)
def _learn(measurement: Floats, settings: Floats, memory: Floats, seen: int) -> None:
    """Move the slow local baseline a little towards what was measured."""
    for n in range(measurement.size):
        reach = _LEARNING_SPREADS * settings[SPREAD, n]
        deviation = measurement[n] - memory[SLOW, n]
        memory[SLOW, n] += max(min(deviation, reach), -reach) / min(seen, _SLOW_IMAGES)


@compiled(inner=True)
def _finish(memory: Floats, ratios: Floats) -> float:
    """Write the map's two charts, which are those of its worst cell, and all to four digits; give the worst, or NaN."""
    jump = 0.0
    band = 0.0
    for n in range(FEATURES, FEATURES + CELLS):
        jump = max(jump, abs(memory[JUMP_LEVEL, n]))
        band = max(band, abs(memory[BAND_LEVEL, n]))
    ratios[EXACT, FEATURES] = jump
    ratios[EXACT, 2 * FEATURES + 1] = band
    worst = 0.0
    for chart in range(ratios.shape[1]):
        ratio = ratios[EXACT, chart]
        ratios[ROUNDED, chart] = np.floor(ratio * 1e4 + 0.5) / 1e4
        # NaN is not at most anything, and nothing is larger than NaN.
        if not ratio <= worst and worst == worst:
            worst = ratio
    return worst
