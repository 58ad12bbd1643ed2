"""Moving average of squares: notices that values scatter more, as under a flickering lamp, or less."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from monitoring.detectors.ewma import CAP
from monitoring.detectors.ranges import between, saved_settings, share
from monitoring.detectors.tails import chi_square_floor, two_sided, weighted_chi_square_limit
from monitoring.saved import StateDamaged, number


class Dispersion:
    """EWMA chart of the squares of standardised values (Wortham & Ringer 1971, MacGregor & Harris 1993).

    weight   share of the newest value, in (0, 1]
    width    limit: as rare at one value as a normal one this many deviations off, on its side
    falling  watch for less scatter too, as from a frozen picture

    `variance` is the average, 1 while nothing has changed; the chart is its excess over 1, as a share of the excess at
    `limit`. A lasting shift of the values is scatter around 0 too. The average is a sum of chi-squares with weights
    that fall off, so `limit` is Pearson's three-moment one and `floor` the chi-square's of the same variance.

    A value counts for at most what brings a chart at rest to `CAP` of its limit, so no single image can alarm: `cap`,
    a square. NaN is passed over, infinity counts as the cap. Raises `monitoring.detectors.ranges.SettingOutOfRange`.

    >>> chart = Dispersion(weight=0.1, width=5.0)
    >>> stream = [1.0, -1.0] * 50 + [3.0, -3.0] * 10
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    104
    """

    __slots__ = ("cap", "falling", "floor", "limit", "variance", "weight", "width")
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, weight: float = 0.1, width: float = 5.0, *, falling: bool = False) -> None:
        self.weight = share("weight", weight)
        self.width = between("width", width, 0, 30)
        self.falling = falling
        tail = two_sided(width) / 2
        # Sums of the powers of the weights that an average over a long run gives to its values.
        sums = (1.0, weight**2 / (1 - (1 - weight) ** 2), weight**3 / (1 - (1 - weight) ** 3))
        self.limit = weighted_chi_square_limit(tail, sums)
        freedom = 1 / sums[1]
        self.floor = chi_square_floor(tail, freedom) / freedom
        self.cap = 1 + CAP * (self.limit - 1) / weight
        self.variance = 1.0

    def update(self, value: float) -> float:
        """Take one standardised value (0 = normal, unit deviation); return chart over limit, 1.0 = at the limit."""
        square = value * value
        if square == square:  # not NaN
            self.variance += self.weight * ((square if square < self.cap else self.cap) - self.variance)
        excess = self.variance - 1
        if excess >= 0:
            return excess / (self.limit - 1)
        return excess / (self.floor - 1) if self.falling else 0.0

    def reset(self) -> None:
        """Forget every value."""
        self.variance = 1.0

    def state(self) -> dict[str, Any]:
        """Settings and memory, JSON-serialisable."""
        return {"weight": self.weight, "width": self.width, "falling": self.falling, "variance": self.variance}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        if type(state["falling"]) is not bool:
            raise StateDamaged("falling is neither true nor false")
        with saved_settings():
            weight, width = number("weight", state["weight"]), number("width", state["width"])
            detector = cls(weight, width, falling=state["falling"])
        detector.variance = number("variance", state["variance"])
        if not 0 <= detector.variance <= detector.cap:
            raise StateDamaged("a variance that no values lead to")
        return detector
