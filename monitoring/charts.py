"""The charts of one camera: sudden change against a slow local baseline, lasting change against commissioning."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np

from monitoring.baseline import CELLS, FEATURES, Baseline, Floats, least_jump, per_measurement, relative
from monitoring.detectors import Detector
from monitoring.detectors.cusum import Cusum
from monitoring.detectors.ewma import Ewma

JUMPS: Final = tuple(f"{name}.jump" for name in (*FEATURES, "map"))
BANDS: Final = tuple(f"{name}.band" for name in (*FEATURES, "map"))
CHARTS: Final = JUMPS + BANDS
"""Every chart's name: `.jump` is against the slow local baseline, `.band` against what commissioning saw."""

NOTICED: Final = 0.5
"""A chart above this share of its limit took part in what another chart alarmed on."""

_RECENT_WEIGHT = 0.4
_WIDTH = 5.0
_DECISION = 10.0
_SLOW_IMAGES = 300
_SETTLE_IMAGES = 30
_CAP = 0.55
_RECENT_DEVIATION = (_RECENT_WEIGHT / (2 - _RECENT_WEIGHT)) ** 0.5


def _capped(level: Floats) -> Floats:
    """Levels over their limit, counted so that no two images in a row take an average at rest to its limit of 1.

    A cell is small enough for a defect to fill it, and the same defect may be on two parts in a row.
    """
    most = _CAP / _RECENT_WEIGHT
    return np.clip(level, -most, most)


def _updated(charts: Sequence[Detector], values: Floats) -> list[float]:
    return [chart.update(value) for chart, value in zip(charts, values[: CELLS.start].tolist(), strict=True)]


class Charts:
    """All charts over one baseline, fed one measurement an image; `limits` float64 (9,) scales the jump charts'."""

    def __init__(self, baseline: Baseline, limits: Floats) -> None:
        self.baseline = baseline
        self.limits = limits
        # At the edge of the band scatter alone must not add up: one deviation more, as the CUSUM's reference value.
        dead_bands = (baseline.band[: CELLS.start] / baseline.spread[: CELLS.start] + 1).tolist()
        self._bands = [Cusum(dead_band, _DECISION) for dead_band in dead_bands]
        recent_deviation = _RECENT_DEVIATION * baseline.spread
        self._jump_reach = np.maximum(_WIDTH * recent_deviation, least_jump()) * per_measurement(limits)
        self._jumps = [
            Ewma(_RECENT_WEIGHT, width) for width in (self._jump_reach / recent_deviation)[: CELLS.start].tolist()
        ]
        # Back to normal means within the CUSUM's dead band: anything wider would clear, alarm and clear again.
        self._band_reach = _WIDTH * recent_deviation
        self._band_reach[: CELLS.start] = baseline.spread[: CELLS.start]
        self.relearn()

    def relearn(self) -> None:
        """Forget the local baseline and every memory: after a gap in time, light may be anywhere in its band."""
        self._slow = self.baseline.centre.copy()
        self._seen = 0
        self.reset()

    def reset(self) -> None:
        """Forget every chart's memory and keep the local baseline."""
        self._recent = np.zeros_like(self.baseline.centre)
        self._jump_level = np.zeros_like(self.baseline.centre)
        self._band_level = np.zeros_like(self.baseline.centre)
        for jump in self._jumps:
            jump.reset()
        for band in self._bands:
            band.reset()

    def update(self, measurement: Floats) -> Floats:
        """Take the measurement (72,) of the next image; return every chart over its limit, (18,) as `CHARTS`."""
        self._seen += 1
        if self._seen <= _SETTLE_IMAGES:
            self._settle(measurement)
        self._follow(measurement, 1.0)
        deviation = measurement - self._slow
        ratios = [
            *_updated(self._jumps, deviation / self.baseline.spread),
            np.abs(self._jump_level[CELLS]).max(),
            *_updated(self._bands, (measurement - self.baseline.centre) / self.baseline.spread),
            np.abs(self._band_level[CELLS]).max(),
        ]
        self._learn(deviation)
        return np.array(ratios)

    def levels(self, measurement: Floats, patience: float) -> Floats:
        """Where the light is now, without the charts' long memory and without learning: (18,) as `CHARTS`.

        `patience` of at least 1 widens the jump limits, infinity lifts them: a local baseline that stands still grows
        stale, and one that followed a fading lamp was never right.
        """
        self._follow(measurement, patience)
        levels = (np.abs(self._jump_level), np.abs(self._band_level))
        return np.concatenate([[*level[: CELLS.start], level[CELLS].max()] for level in levels])

    def shift(self, ratios: Floats) -> Floats:
        """Recent mean deviation (72,) that explains the last ratios (18,).

        It is taken from the local baseline if that saw a jump, for natural wandering is not part of it; from the centre
        of commissioning otherwise.
        """
        if ratios[: len(JUMPS)].max() > NOTICED:
            return self._recent.copy()
        return self._recent + self._slow - self.baseline.centre

    def _settle(self, measurement: Floats) -> None:
        """Take the local baseline from the first images; no jump chart moves while there is nothing to jump from."""
        self._slow = self._slow + (measurement - self._slow) / self._seen
        self._recent[:] = 0.0
        self._jump_level[:] = 0.0
        for chart in self._jumps:
            chart.reset()

    def _learn(self, deviation: Floats) -> None:
        reach = 4 * self.baseline.spread
        self._slow = self._slow + np.clip(deviation, -reach, reach) / min(self._seen, _SLOW_IMAGES)

    def _follow(self, measurement: Floats, patience: float) -> None:
        deviation = measurement - self._slow
        offset = relative(measurement - self.baseline.centre)
        # Signed, so that scatter at the edge of the band averages out instead of adding up.
        outside = offset - np.clip(offset, -self.baseline.band, self.baseline.band)
        jump = _capped(relative(deviation) / (self._jump_reach * patience))
        band = _capped(outside / self._band_reach)
        self._recent = self._recent + _RECENT_WEIGHT * (deviation - self._recent)
        self._jump_level = self._jump_level + _RECENT_WEIGHT * (jump - self._jump_level)
        self._band_level = self._band_level + _RECENT_WEIGHT * (band - self._band_level)

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {
            "baseline": self.baseline.state(),
            "limits": self.limits.tolist(),
            "slow": self._slow.tolist(),
            "recent": self._recent.tolist(),
            "jump_level": self._jump_level.tolist(),
            "band_level": self._band_level.tolist(),
            "seen": self._seen,
            "jumps": [chart.state() for chart in self._jumps],
            "bands": [chart.state() for chart in self._bands],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The charts that `state` was taken from, exactly."""
        charts = cls(Baseline.from_state(state["baseline"]), np.array(state["limits"]))
        charts._slow = np.array(state["slow"])
        charts._recent = np.array(state["recent"])
        charts._jump_level = np.array(state["jump_level"])
        charts._band_level = np.array(state["band_level"])
        charts._seen = state["seen"]
        charts._jumps = [Ewma.from_state(chart) for chart in state["jumps"]]
        charts._bands = [Cusum.from_state(chart) for chart in state["bands"]]
        return charts
