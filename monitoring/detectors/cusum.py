"""Cumulative sum with a dead band: sure on small lasting shifts, blind to what the band holds."""

from collections.abc import Mapping
from typing import Self

# Two images at least: one odd part, one empty nest or one torn frame is no change of light.
_CAP = 0.6


class Cusum:
    """Two-sided CUSUM of standardised values (Page 1954); only what exceeds the dead band adds up.

    dead_band  half-width of what is normal, in standard deviations
    limit      decision interval, in standard deviations

    A value adds at most 60 % of the limit, so no single image brings a chart at rest to alarm.

    >>> chart = Cusum(dead_band=1.0, limit=8.0)
    >>> stream = [0.9, -0.9] * 50 + [3.0] * 10
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    104
    """

    __slots__ = ("_above", "_below", "dead_band", "limit")

    def __init__(self, dead_band: float = 0.5, limit: float = 10.0) -> None:
        self.dead_band = dead_band
        self.limit = limit
        self._above = 0.0
        self._below = 0.0

    def update(self, value: float) -> float:
        """Take one standardised value (0 = normal, unit deviation); return chart over limit, 1.0 = at the limit."""
        cap = _CAP * self.limit
        self._above = max(0.0, self._above + min(value - self.dead_band, cap))
        self._below = max(0.0, self._below + min(-value - self.dead_band, cap))
        return max(self._above, self._below) / self.limit

    def reset(self) -> None:
        """Forget every value."""
        self._above = 0.0
        self._below = 0.0

    def state(self) -> dict[str, float]:
        """Settings and memory, JSON-serialisable."""
        return {"dead_band": self.dead_band, "limit": self.limit, "above": self._above, "below": self._below}

    @classmethod
    def from_state(cls, state: Mapping[str, float]) -> Self:
        """The detector that `state` was taken from, exactly."""
        detector = cls(state["dead_band"], state["limit"])
        detector._above = state["above"]
        detector._below = state["below"]
        return detector
