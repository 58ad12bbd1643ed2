"""One image's step of all charts of a camera, compiled: over what the charts know and what they remember.

A measurement, float64 (n,), is so many features and then the cells of maps; every feature has its charts, and each
kind of chart of a map is that of its worst cell. `places`, int64 (n,), says which of so many features and maps, one
after the other, each number belongs to. Kept machine code knows changes of this file alone: nothing here
may take a number from another module.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.compiled import compiled

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

CENTRE, SPREAD, BAND, SUDDEN, JUMP, CAP, DRIFT, DECISION, SUM_CAP, LONG_CAP, LASTING, FLICKER = range(12)
"""Rows of the charts' settings, float64 (12, n): what commissioning saw (centre, deviation from image to image, half
the width of normal wandering); limits of one image's deviation (infinite where one image is no proof) and of the quick
average, and what a deviation counts for in that at most; the limit of the slow average, that of the sums in deviations,
and what counts at most in the sums and in the slow average; a cell's limit beyond the band; and in the first column
that of the level's mean square, in the second what a square counts for in it at most."""

QUICK, SLOW, RECENT, LONG, ABOVE, BELOW, SQUARE, PREVIOUS = range(8)
"""Rows of the charts' memory, float64 (8, n): the baseline of about the last 30 images and of the last 300, the
averages of the deviation from them, the cumulative sums beyond the band or, for a cell, the average beyond it in
ABOVE; and in the first column the mean square of the level's standardised steps from image to image, and the level
of the last image."""

EXACT, ROUNDED = range(2)
"""Rows of ratios, float64 (2, m): every chart over its limit as it is, and to four digits."""

RECENT_WEIGHT: Final = 0.4
LONG_WEIGHT: Final = 0.15
CELL_WEIGHT: Final = 0.05
SQUARE_WEIGHT: Final = 0.15
SETTLE_IMAGES: Final = 20
"""Images that the local baselines are taken from after a gap; nothing jumps meanwhile."""
SLOW_IMAGES: Final = 300
MOST_LONG: Final = 0.12
"""Share of its limit that one image brings a slow chart to of what may be an odd part."""
QUIET: Final = 0.35
"""A chart below this share of its limit says nothing about a change."""

_QUICK_IMAGES = 30
_LEARNING_SPREADS = 4.0
_MOST_LEVEL = 0.55
_MOST_DRIFT = 1.2


@compiled()
def step(
    measurement: Floats,
    settings: Floats,
    memory: Floats,
    places: Places,
    features: int,
    seen: int,
    ratios: Floats,
    last_quiet: NDArray[np.int64],
    image: int,
) -> float:
    """Take a measurement into the memory of charts that have seen so many, this one included; give the worst ratio.

    Writes every chart over its limit into `ratios`, float64 (2, 3 k + 1): jumps, drifts and bands of the k features and
    maps, then the level's flicker. While none is above its limit, those that say nothing about a change get the number
    `image` in `last_quiet`, int64 (3 k + 1,).
    """
    if seen <= SETTLE_IMAGES:
        _settle(measurement, memory, seen)
    exact = ratios[EXACT]
    exact[:] = 0.0
    kinds = exact.size // 3
    # A local baseline of few images is itself off by chance, which an average of the deviations does not average out.
    quick, slow = min(seen, _QUICK_IMAGES), min(seen, SLOW_IMAGES)
    once, jumped = _unsure(1.0, quick), _unsure(RECENT_WEIGHT, quick)
    jumped_cell, drifted, drifted_cell = (
        _unsure(RECENT_WEIGHT, slow),
        _unsure(LONG_WEIGHT, slow),
        _unsure(CELL_WEIGHT, slow),
    )
    for n in range(measurement.size):
        spread = settings[SPREAD, n]
        offset = measurement[n] - settings[CENTRE, n]
        is_cell = n >= features
        local = measurement[n] - memory[SLOW if is_cell else QUICK, n]
        if seen <= SETTLE_IMAGES:
            local = 0.0
        cap = settings[CAP, n]
        memory[RECENT, n] += RECENT_WEIGHT * (max(min(local, cap), -cap) - memory[RECENT, n])
        jump = abs(memory[RECENT, n]) / settings[JUMP, n] / (jumped_cell if is_cell else jumped)
        jump = _worse(jump, abs(local) / settings[SUDDEN, n] / once)
        lasting = measurement[n] - memory[SLOW, n]
        cap = settings[LONG_CAP, n]
        weight = CELL_WEIGHT if is_cell else LONG_WEIGHT
        memory[LONG, n] += weight * (max(min(lasting, cap), -cap) - memory[LONG, n])
        drift = abs(memory[LONG, n]) / settings[DRIFT, n] / (drifted_cell if is_cell else drifted)
        if is_cell:
            band = _outside(offset, settings[BAND, n], settings[LASTING, n], n, memory)
        else:
            band = _sums(offset / spread, settings, memory, n)
        chart = places[n]
        exact[chart] = _worse(exact[chart], jump)
        exact[kinds + chart] = _worse(exact[kinds + chart], drift)
        exact[2 * kinds + chart] = _worse(exact[2 * kinds + chart], band)
    exact[3 * kinds] = _flicker(measurement, settings, memory)
    _learn(measurement, settings, memory, seen)
    worst = _finish(ratios)
    if not worst > 1.0:
        for chart in range(last_quiet.size):
            if exact[chart] < QUIET:
                last_quiet[chart] = image
    return worst


@compiled()
def stand(
    measurement: Floats,
    settings: Floats,
    memory: Floats,
    places: Places,
    features: int,
    patience: float,
    ratios: Floats,
) -> float:
    """Take a measurement into the recent levels alone, while an alarm stands; write those and give the worst.

    Nothing is learnt, and the long memory of sums is no matter: only where it is now. `patience` of at least 1 widens
    the limits against the local baseline, infinity lifts them.
    """
    exact = ratios[EXACT]
    exact[:] = 0.0
    kinds = exact.size // 3
    for n in range(measurement.size):
        is_cell = n >= features
        jump, drift = settings[JUMP, n] * patience, settings[DRIFT, n] * patience
        deviation = measurement[n] - memory[SLOW, n]
        most = _MOST_LEVEL / RECENT_WEIGHT * jump
        memory[RECENT, n] += RECENT_WEIGHT * (_within(deviation, most) - memory[RECENT, n])
        weight = CELL_WEIGHT if is_cell else LONG_WEIGHT
        memory[LONG, n] += weight * (_within(deviation, _MOST_DRIFT * drift) - memory[LONG, n])
        offset = measurement[n] - settings[CENTRE, n]
        # Back to normal means within the sums' dead band: anything wider would clear, alarm and clear again.
        limit = settings[JUMP, n] if is_cell else settings[SPREAD, n]
        beyond = (offset - _within(offset, settings[BAND, n])) / limit
        memory[ABOVE, n] += RECENT_WEIGHT * (_within(beyond, _MOST_LEVEL / RECENT_WEIGHT) - memory[ABOVE, n])
        chart = places[n]
        exact[chart] = _worse(exact[chart], abs(memory[RECENT, n]) / jump)
        exact[kinds + chart] = _worse(exact[kinds + chart], abs(memory[LONG, n]) / drift)
        exact[2 * kinds + chart] = _worse(exact[2 * kinds + chart], abs(memory[ABOVE, n]))
    exact[3 * kinds] = _flicker(measurement, settings, memory)
    return _finish(ratios)


def warm() -> None:
    """Load or compile all of it."""
    measurement, ratios = np.zeros(2), np.zeros((2, 7))
    settings, memory = np.ones((FLICKER + 1, 2)), np.zeros((PREVIOUS + 1, 2))
    places = np.arange(2)
    step(measurement, settings, memory, places, 1, 1, ratios, np.zeros(7, np.int64), 0)
    stand(measurement, settings, memory, places, 1, 1.0, ratios)


@compiled(inner=True)
def _unsure(weight: float, images: int) -> float:
    """How much wider an average's deviation is from a baseline of so many images than from a known one."""
    wider: float = np.sqrt(1 + (2 - weight) / weight / images)
    return wider


@compiled(inner=True)
def _worse(one: float, other: float) -> float:
    """The larger one; NaN is larger than any number."""
    return other if not other <= one and one == one else one


@compiled(inner=True)
def _within(value: float, most: float) -> float:
    return max(min(value, most), -most)


@compiled(inner=True)
def _settle(measurement: Floats, memory: Floats, seen: int) -> None:
    """Take the local baselines from the first images."""
    for n in range(measurement.size):
        memory[SLOW, n] += (measurement[n] - memory[SLOW, n]) / seen
        memory[QUICK, n] = memory[SLOW, n]
        memory[RECENT, n] = 0.0
        memory[LONG, n] = 0.0
    if seen == 1:
        memory[PREVIOUS, 0] = measurement[0]


@compiled(inner=True)
def _outside(offset: float, band: float, limit: float, n: int, memory: Floats) -> float:
    """Take what is outside the band into a cell's average, signed, so that scatter at the edge averages out."""
    beyond = offset - max(min(offset, band), -band)
    counted = _within(beyond / limit, MOST_LONG / CELL_WEIGHT)
    memory[ABOVE, n] += CELL_WEIGHT * (counted - memory[ABOVE, n])
    ratio: float = abs(memory[ABOVE, n])
    return ratio


@compiled(inner=True)
def _sums(value: float, settings: Floats, memory: Floats, n: int) -> float:
    """`monitoring.detectors.cusum.Cusum`, of a feature's standardised deviation from the centre of commissioning.

    At the edge of the band scatter alone must not add up: one deviation more, as the usual reference value.
    """
    decision = settings[DECISION, n]
    dead_band = settings[BAND, n] / settings[SPREAD, n] + 1
    cap = settings[SUM_CAP, n]
    memory[ABOVE, n] = max(memory[ABOVE, n] + min(value - dead_band, cap), 0.0)
    memory[BELOW, n] = max(memory[BELOW, n] + min(-value - dead_band, cap), 0.0)
    ratio: float = max(memory[ABOVE, n], memory[BELOW, n]) / decision
    return ratio


@compiled(inner=True)
def _flicker(measurement: Floats, settings: Floats, memory: Floats) -> float:
    """The mean square of the level's steps from image to image, each square counted as so much at most.

    Steps, not deviations: slow wandering and a lasting change add nothing to them (J. von Neumann, 1941).
    """
    square = (measurement[0] - memory[PREVIOUS, 0]) ** 2 / (2 * settings[SPREAD, 0] ** 2)
    memory[SQUARE, 0] += SQUARE_WEIGHT * (min(square, settings[FLICKER, 1]) - memory[SQUARE, 0])
    memory[PREVIOUS, 0] = measurement[0]
    ratio: float = memory[SQUARE, 0] / settings[FLICKER, 0]
    return ratio


@compiled(inner=True)
def _learn(measurement: Floats, settings: Floats, memory: Floats, seen: int) -> None:
    """Move the local baselines a little towards what was measured."""
    for n in range(measurement.size):
        reach = _LEARNING_SPREADS * settings[SPREAD, n]
        deviation = measurement[n] - memory[SLOW, n]
        memory[SLOW, n] += max(min(deviation, reach), -reach) / min(seen, SLOW_IMAGES)
        deviation = measurement[n] - memory[QUICK, n]
        memory[QUICK, n] += max(min(deviation, reach), -reach) / min(seen, _QUICK_IMAGES)


@compiled(inner=True)
def _finish(ratios: Floats) -> float:
    """Write all ratios to four digits; give the worst, or NaN."""
    worst = 0.0
    for chart in range(ratios.shape[1]):
        ratio = ratios[EXACT, chart]
        ratios[ROUNDED, chart] = np.floor(ratio * 1e4 + 0.5) / 1e4
        worst = _worse(worst, ratio)
    return worst
