"""Exponentially weighted moving average: quick on jumps, and it forgets."""

import math
from collections.abc import Mapping
from typing import ClassVar, Final, Self

from monitoring.saved import number

CAP: Final = 0.68
"""Share of its limit that one value can bring a chart to: two in a row alarm, one and its neighbour's noise do not."""


class Ewma:
    """Two-sided EWMA chart of standardised values (Roberts 1959), with the limits of a long-running chart.

    weight  share of the newest value, in (0, 1]
    width   limit in standard deviations of the average

    A value counts for at most what brings a chart at rest to `CAP` of its limit, so no single image can alarm: `cap`.
    `limit` is what the `average` is measured by.

    >>> chart = Ewma(weight=0.25, width=5.0)
    >>> stream = [0.5, -0.5] * 50 + [3.0] * 10
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    103
    """

    __slots__ = ("average", "cap", "limit", "weight", "width")
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, weight: float = 0.3, width: float = 5.0) -> None:
        self.weight = weight
        self.width = width
        self.limit = width * math.sqrt(weight / (2 - weight))
        self.cap = CAP * self.limit / weight
        self.average = 0.0

    def update(self, value: float) -> float:
        """Take one standardised value (0 = normal, unit deviation); return chart over limit, 1.0 = at the limit."""
        counted = value if -self.cap <= value <= self.cap else math.copysign(self.cap, value)
        self.average += self.weight * (counted - self.average)
        return abs(self.average) / self.limit

    def reset(self) -> None:
        """Forget every value."""
        self.average = 0.0

    def state(self) -> dict[str, float]:
        """Settings and memory, JSON-serialisable."""
        return {"weight": self.weight, "width": self.width, "average": self.average}

    @classmethod
    def from_state(cls, state: Mapping[str, float]) -> Self:
        """The detector that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        detector = cls(number("weight", state["weight"]), number("width", state["width"]))
        detector.average = number("average", state["average"])
        return detector
