"""Cumulative sum with a dead band: sure on small lasting shifts, blind to what the band holds."""

from collections.abc import Mapping
from typing import ClassVar, Self

from monitoring.saved import number

# Two images at least: one odd part, one empty nest or one torn frame is no change of light.
_CAP = 0.6


class Cusum:
    """Two-sided CUSUM of standardised values (Page 1954); only what exceeds the dead band adds up.

    dead_band  half-width of what is normal, in standard deviations
    limit      decision interval, in standard deviations

    A value adds at most 60 % of the limit, so no single image brings a chart at rest to alarm: `cap`. `above` and
    `below` are the sums.

    >>> chart = Cusum(dead_band=1.0, limit=8.0)
    >>> stream = [0.9, -0.9] * 50 + [3.0] * 10
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    104
    """

    __slots__ = ("above", "below", "cap", "dead_band", "limit")
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, dead_band: float = 0.5, limit: float = 10.0) -> None:
        self.dead_band = dead_band
        self.limit = limit
        self.cap = _CAP * limit
        self.above = 0.0
        self.below = 0.0

    def update(self, value: float) -> float:
        """Take one standardised value (0 = normal, unit deviation); return chart over limit, 1.0 = at the limit."""
        # Spelled out, for every part of every camera comes by here: min and max take three times as long.
        above, below = value - self.dead_band, -value - self.dead_band
        above = self.above + (self.cap if above > self.cap else above)
        below = self.below + (self.cap if below > self.cap else below)
        self.above = above if above > 0.0 else 0.0
        self.below = below if below > 0.0 else 0.0
        return (self.below if self.below > self.above else self.above) / self.limit

    def reset(self) -> None:
        """Forget every value."""
        self.above = 0.0
        self.below = 0.0

    def state(self) -> dict[str, float]:
        """Settings and memory, JSON-serialisable."""
        return {"dead_band": self.dead_band, "limit": self.limit, "above": self.above, "below": self.below}

    @classmethod
    def from_state(cls, state: Mapping[str, float]) -> Self:
        """The detector that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        dead_band, limit, above, below = (
            number(name, state[name]) for name in ("dead_band", "limit", "above", "below")
        )
        detector = cls(dead_band, limit)
        detector.above, detector.below = above, below
        return detector
