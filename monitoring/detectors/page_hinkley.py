"""Page-Hinkley test: sure on small lasting shifts of a level that nobody knows exactly."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from monitoring.detectors.ranges import at_least, between, saved_settings
from monitoring.saved import StateDamaged, count, number

CAP: Final = 0.6
"""Share of its limit that one value can bring a chart at rest to."""
CEILING: Final = 3.0
"""Most that a chart is over its limit: what has become normal must not stand in the sum for as long again."""

_KNOWN = 50


class PageHinkley:
    """Two-sided Page-Hinkley test of standardised values (Page 1954, Hinkley 1971).

    tolerance  how far from the running mean values may lie for ever, in standard deviations, at least 0
    limit      decision interval, in standard deviations
    memory     values that the running mean is made of, at most

    `mean` is 0 at first, as if that had been the mean of 50 values, for standardised values have been seen before. It
    never grows too sure to follow: a shift that lasts is the new normal after some times `memory` values and the alarm
    ends, while a drift of more than `tolerance` in `memory` values alarms.

    A value adds at most 60 % of the limit, so no single image brings a chart at rest to alarm: `cap`. `above` and
    `below` are the sums, at most three times the limit. NaN is passed over, infinity counts as the cap. Raises
    `monitoring.detectors.ranges.SettingOutOfRange`.

    >>> chart = PageHinkley(tolerance=0.5, limit=8.0)
    >>> stream = [0.9, -0.9] * 50 + [3.0] * 10
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    103
    """

    __slots__ = ("above", "below", "cap", "known", "limit", "mean", "memory", "tolerance")
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, tolerance: float = 0.5, limit: float = 12.0, memory: int = 1000) -> None:
        self.tolerance = between("tolerance", tolerance, -1e-9, 1e6)
        self.limit = between("limit", limit, 0, 1e6)
        self.memory = at_least("memory", memory, 2)
        self.cap = CAP * limit + tolerance
        self.reset()

    def reset(self) -> None:
        """Forget every value."""
        self.mean = 0.0
        self.known = min(_KNOWN, self.memory - 1)
        self.above = 0.0
        self.below = 0.0

    def update(self, value: float) -> float:
        """Take one standardised value (0 = normal, unit deviation); return chart over limit, 1.0 = at the limit."""
        deviation = value - self.mean
        if deviation == deviation:  # not NaN
            cap = self.cap
            deviation = cap if deviation > cap else -cap if deviation < -cap else deviation
            if self.known < self.memory:
                self.known += 1
            step = deviation / self.known
            self.mean += step
            deviation -= step
            most = CEILING * self.limit
            above, below = self.above + deviation - self.tolerance, self.below - deviation - self.tolerance
            self.above = 0.0 if above < 0.0 else most if above > most else above
            self.below = 0.0 if below < 0.0 else most if below > most else below
        return (self.below if self.below > self.above else self.above) / self.limit

    def state(self) -> dict[str, Any]:
        """Settings and memory, JSON-serialisable."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "cap"}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        with saved_settings():
            tolerance, limit = number("tolerance", state["tolerance"]), number("limit", state["limit"])
            detector = cls(tolerance, limit, count("memory", state["memory"]))
        detector.mean = number("mean", state["mean"])
        detector.above, detector.below = number("above", state["above"]), number("below", state["below"])
        detector.known = count("known", state["known"])
        if not 0 <= min(detector.above, detector.below) <= max(detector.above, detector.below) <= CEILING * limit:
            raise StateDamaged("sums that no values lead to")
        if not 0 < detector.known <= detector.memory:
            raise StateDamaged("a mean of more values than it is made of")
        return detector
