"""CUSUM of single parts, good or bad: the quickest to see that the defect rate rose, or fell."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from monitoring.detectors.ranges import SettingOutOfRange, between, saved_settings
from monitoring.saved import StateDamaged, number

_CAP = 0.6
_APART = 1.01
_MOST_STATES: Final = 1_000_000


class BernoulliCusum:
    """Bernoulli CUSUM of parts in the order they came (Reynolds & Stoumbos 1999): 1 for a defect, 0 for none.

    p0          defect rate while nothing has changed, in (0, 0.5)
    p1          risen rate to find soonest, above `p0`
    fallen      lower rate to find soonest, below `p0`; None to watch for a rise only. Fewer defects than ever are more
                often a blind camera than a better process
    run_length  parts from one false alarm to the next, on average; with both sides watched each has twice as many

    The sums are of log-likelihood ratios, in units of what one good part is worth: each good part takes 1 from `above`
    and each defect adds `rise` - 1, a whole number, for which `p1` is bent as the authors do, the more the nearer `p0`
    is to 0.5; `below` mirrors it with `fall`. So the run length for a limit is exact, from the chart's Markov chain,
    and `rise_limit` and `fall_limit` are the least that give the wanted one. No single defect brings a chart at rest
    to more than 60 % of its limit.

    A value between 0 and 1 is the probability that the part is a defect and adds what is expected of it. Values
    beyond, infinite ones too, count as the nearer end; NaN is passed over. Raises
    `monitoring.detectors.ranges.SettingOutOfRange`, also where only a limit of a million or more would do.

    >>> chart = BernoulliCusum(p0=0.02, p1=0.06, run_length=10_000)
    >>> (chart.rise, chart.rise_limit)
    (27, 130)
    >>> stream = ([0.0] * 49 + [1.0]) * 10 + ([0.0] * 9 + [1.0]) * 20
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    569
    """

    __slots__ = ("above", "below", "fall", "fall_limit", "fallen", "p0", "p1", "rise", "rise_limit", "run_length")
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self, p0: float = 0.02, p1: float = 0.06, fallen: float | None = 0.005, run_length: float = 100_000
    ) -> None:
        self.p0 = between("p0", p0, 0, 0.5)
        self.p1 = between("p1", p1, _APART * p0, 1)
        self.fallen = fallen if fallen is None else between("fallen", fallen, 0, p0 / _APART)
        self.run_length = between("run_length", run_length, 1, 1e12)
        wanted = run_length if fallen is None else 2 * run_length
        self.rise = max(2, _parts_a_defect(p0, p1))
        self.rise_limit = max(_rise_limit(p0, self.rise, wanted), math.ceil((self.rise - 1) / _CAP))
        self.fall = self.fall_limit = 0
        if fallen is not None:
            self.fall = _parts_a_defect(p0, fallen)
            self.fall_limit = _fall_limit(p0, self.fall, wanted)
        self.above = 0.0
        self.below = 0.0

    def update(self, value: float) -> float:
        """Take one part: 1 a defect, 0 none, or the probability; return chart over limit, 1.0 = at the limit."""
        if value == value:  # not NaN
            value = 0.0 if value < 0.0 else 1.0 if value > 1.0 else value
            above = self.above + self.rise * value - 1.0
            self.above = above if above > 0.0 else 0.0
            if self.fall:
                below = self.below + 1.0 - self.fall * value
                self.below = below if below > 0.0 else 0.0
        rising = self.above / self.rise_limit
        if not self.fall:
            return rising
        falling = self.below / self.fall_limit
        return falling if falling > rising else rising

    def reset(self) -> None:
        """Forget every part."""
        self.above = 0.0
        self.below = 0.0

    def state(self) -> dict[str, Any]:
        """Settings and memory, JSON-serialisable."""
        names = ("p0", "p1", "fallen", "run_length", "above", "below")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        p0, p1, run_length, above, below = (
            number(name, state[name]) for name in ("p0", "p1", "run_length", "above", "below")
        )
        with saved_settings():
            fallen = state["fallen"]
            detector = cls(p0, p1, fallen if fallen is None else number("fallen", fallen), run_length)
        if above < 0 or below < 0:
            raise StateDamaged("sums that no parts lead to")
        detector.above, detector.below = above, below
        return detector


def _parts_a_defect(p0: float, other: float) -> int:
    """How many good parts one defect outweighs in the sum of likelihood ratios, as the nearest whole number.

    Not so near as to turn the chart's drift while the rate is `p0`: away from the limit.
    """
    good = math.log1p(-other) - math.log1p(-p0)
    exact = 1 - (math.log(other) - math.log(p0)) / good
    nearest = round(exact)
    if other > p0:
        return nearest if nearest * p0 < 1 else math.floor(exact)
    return nearest if nearest * p0 > 1 else math.ceil(exact)


def _rise_limit(p0: float, rise: int, run_length: float) -> int:
    """Least whole limit whose chart runs so many parts on average from a sum of 0 to one above the limit.

    The sum goes one down with a good part, not below 0, and `rise` - 1 up with a defect. The parts still to come from
    each sum are found from the limit downwards, as a multiple of those from the limit itself and a rest; the bottom
    gives the multiplier.
    """
    multiple, rest = [1.0], [0.0]
    for limit in range(_MOST_STATES):
        before = limit - rise + 1
        above_multiple, above_rest = (multiple[before], rest[before]) if before >= 0 else (0.0, 0.0)
        top = (1 / p0 + rest[limit] - above_rest) / (multiple[limit] - above_multiple)
        if multiple[limit] * top - rest[limit] >= run_length:
            return limit
        multiple.append((multiple[limit] - p0 * above_multiple) / (1 - p0))
        rest.append((rest[limit] + 1 - p0 * above_rest) / (1 - p0))
    raise _no_limit(run_length)


def _fall_limit(p0: float, fall: int, run_length: float) -> int:
    """Least whole limit whose chart runs so many parts on average from a sum of 0 to one above the limit.

    The sum goes one up with a good part and `fall` - 1 down with a defect, not below 0.
    """
    # Parts from a sum of 0 until the sum first is the index: what all lower ones take and one step more.
    parts = [0.0]
    for limit in range(_MOST_STATES):
        down = max(limit - fall + 1, 0)
        parts.append((parts[limit] + 1 - p0 * parts[down]) / (1 - p0))
        if parts[limit + 1] >= run_length:
            return limit
    raise _no_limit(run_length)


def _no_limit(run_length: float) -> SettingOutOfRange:
    return SettingOutOfRange("run_length", run_length, f"small enough for a limit below {_MOST_STATES} at these rates")
