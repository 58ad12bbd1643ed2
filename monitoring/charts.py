"""The charts of one camera: sudden change against a slow local baseline, lasting change against commissioning."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.baseline import CELLS, FEATURES, Baseline, Floats, least_jump, per_measurement
from monitoring.detectors.cusum import Cusum
from monitoring.detectors.ewma import Ewma
from monitoring.saved import StateDamaged, count, floats
from monitoring.signals import Signature

JUMPS: Final = tuple(f"{name}.jump" for name in (*FEATURES, "map"))
BANDS: Final = tuple(f"{name}.band" for name in (*FEATURES, "map"))
CHARTS: Final = JUMPS + BANDS
"""Every chart's name: `.jump` is against the slow local baseline, `.band` against what commissioning saw."""

NOTICED: Final = 0.5
"""A chart above this share of its limit took part in what another chart alarmed on."""

_WIDTH = 5.0
_DECISION = 10.0
_FEATURES = slice(CELLS.start)
_RECENT_DEVIATION = (steps.RECENT_WEIGHT / (2 - steps.RECENT_WEIGHT)) ** 0.5
_BEYOND = 1e9
"""Logarithms of counts, and sums of them within any life, are far smaller."""
_SAVED: Final = {
    steps.SLOW: "slow",
    steps.RECENT: "recent",
    steps.JUMP_LEVEL: "jump_level",
    steps.BAND_LEVEL: "band_level",
}


class Charts:
    """All charts over one baseline, fed one measurement an image; `limits` float64 (9,) scales the jump charts'."""

    def __init__(self, baseline: Baseline, limits: Floats) -> None:
        self.baseline = baseline
        self.limits = limits
        recent_deviation = _RECENT_DEVIATION * baseline.spread
        jump_reach = np.maximum(_WIDTH * recent_deviation, least_jump()) * per_measurement(limits)
        # Back to normal means within the CUSUM's dead band: anything wider would clear, alarm and clear again.
        band_reach = _WIDTH * recent_deviation
        band_reach[_FEATURES] = baseline.spread[_FEATURES]
        self._settings = np.zeros((steps.DECISION_CAP + 1, baseline.centre.size))
        self._settings[steps.CENTRE], self._settings[steps.SPREAD] = baseline.centre, baseline.spread
        self._settings[steps.BAND] = baseline.band
        self._settings[steps.JUMP_REACH], self._settings[steps.BAND_REACH] = jump_reach, band_reach
        self._memory = np.zeros((steps.BELOW + 1, baseline.centre.size))
        widths = (jump_reach / recent_deviation)[_FEATURES].tolist()
        # At the edge of the band scatter alone must not add up: one deviation more, as the CUSUM's reference value.
        dead_bands = (baseline.band[_FEATURES] / baseline.spread[_FEATURES] + 1).tolist()
        self._take(
            [Ewma(steps.RECENT_WEIGHT, width) for width in widths],
            [Cusum(dead_band, _DECISION) for dead_band in dead_bands],
        )
        self.worst = 0.0
        """The largest of the last ratios."""
        self.relearn()

    def _take(self, jumps: Sequence[Ewma], bands: Sequence[Cusum]) -> None:
        """Go on with these detectors' settings and memory; their arithmetic is that of `monitoring.steps`."""
        self._jumps, self._bands = jumps, bands
        settings, memory = self._settings[:, _FEATURES], self._memory[:, _FEATURES]
        settings[steps.WEIGHT] = [chart.weight for chart in jumps]
        settings[steps.LIMIT] = [chart.limit for chart in jumps]
        settings[steps.CAP] = [chart.cap for chart in jumps]
        settings[steps.DEAD_BAND] = [chart.dead_band for chart in bands]
        settings[steps.DECISION] = [chart.limit for chart in bands]
        settings[steps.DECISION_CAP] = [chart.cap for chart in bands]
        memory[steps.AVERAGE] = [chart.average for chart in jumps]
        memory[steps.ABOVE] = [chart.above for chart in bands]
        memory[steps.BELOW] = [chart.below for chart in bands]

    def relearn(self) -> None:
        """Forget the local baseline and every memory: after a gap in time, light may be anywhere in its band."""
        self._memory[steps.SLOW] = self.baseline.centre
        self._seen = 0
        self.reset()

    def reset(self) -> None:
        """Forget every chart's memory and keep the local baseline."""
        self._memory[steps.RECENT :] = 0.0

    def update(self, measurement: Floats) -> Floats:
        """Take the measurement (72,) of the next image; return every chart over its limit, (18,) as `CHARTS`."""
        self._seen += 1
        ratios = np.empty((2, len(CHARTS)))
        self.worst = steps.step(measurement, self._settings, self._memory, self._seen, ratios)
        exact: Floats = ratios[steps.EXACT]
        return exact

    def watch(self, signature: Signature, measurement: Floats, last_quiet: NDArray[np.int64], image: int) -> Floats:
        """`update` with the signature of the next image, whose number is `image`; return its ratios twice, (2, 18).

        They are as they are and to four digits. Writes the image's measurement, (72,), and its number into `last_quiet`
        (18,) where a chart says nothing about a change, while none is above its limit.
        """
        self._seen += 1
        ratios = np.empty((2, len(CHARTS)))
        self.worst = steps.watch(
            measurement,
            self._settings,
            self._memory,
            self._seen,
            ratios,
            last_quiet,
            image,
            signature.light_map,
            signature.level,
            signature.red_green,
            signature.blue_green,
            signature.contrast,
            signature.focus,
            signature.noise,
        )
        return ratios

    def levels(self, measurement: Floats, patience: float) -> Floats:
        """Where the light is now, without the charts' long memory and without learning: (2, 18) as of `watch`.

        `patience` of at least 1 widens the jump limits, infinity lifts them: a local baseline that stands still grows
        stale, and one that followed a fading lamp was never right.
        """
        ratios = np.empty((2, len(CHARTS)))
        self.worst = steps.stand(measurement, self._settings, self._memory, patience, ratios)
        return ratios

    def shift(self, ratios: Floats) -> Floats:
        """Recent mean deviation (72,) that explains the last ratios (18,).

        It is taken from the local baseline if that saw a jump, for natural wandering is not part of it; from the centre
        of commissioning otherwise.
        """
        if ratios[: len(JUMPS)].max() > NOTICED:
            recent: Floats = self._memory[steps.RECENT].copy()
            return recent
        shift: Floats = self._memory[steps.RECENT] + self._memory[steps.SLOW] - self.baseline.centre
        return shift

    def copy(self) -> Self:
        """These charts as they are now, which goes its own way from here on."""
        twin = copy(self)
        twin._memory = self._memory.copy()
        return twin

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        memory = self._memory.tolist()
        averages, above, below = memory[steps.AVERAGE], memory[steps.ABOVE], memory[steps.BELOW]
        return {
            "baseline": self.baseline.state(),
            "limits": self.limits.tolist(),
            **{name: memory[row] for row, name in _SAVED.items()},
            "seen": self._seen,
            "jumps": [{**chart.state(), "average": averages[n]} for n, chart in enumerate(self._jumps)],
            "bands": [{**chart.state(), "above": above[n], "below": below[n]} for n, chart in enumerate(self._bands)],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The charts that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        limits = floats("limits", state["limits"], len(JUMPS))
        if limits.min() < 1:
            raise StateDamaged("limits below any that calibration gives")
        charts = cls(Baseline.from_state(state["baseline"]), limits)
        jumps = [Ewma.from_state(chart) for chart in state["jumps"]]
        bands = [Cusum.from_state(chart) for chart in state["bands"]]
        if (len(jumps), len(bands)) != (len(FEATURES), len(FEATURES)):
            raise StateDamaged("a chart for every feature is not there")
        charts._take(jumps, bands)
        for row, name in _SAVED.items():
            charts._memory[row] = floats(name, state[name], CELLS.stop)
        charts._seen = count("seen", state["seen"])
        if not max(np.abs(charts._memory).max(), np.abs(charts._settings).max()) < _BEYOND:
            raise StateDamaged("numbers beyond any that light gives")
        return charts
