"""How well a model judges, as far as its own probabilities tell: no label is needed, and they have to be right."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from scipy import stats

WINDOW: Final = 2000
"""Parts that an estimate rests on, the newest."""
FEWEST: Final = 200
"""With fewer parts nothing is estimated."""

_LEVEL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """An expected share, with the bounds between which the true one lies in 95 of 100 such windows."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is expected of the newest parts.

    passed, rejected  how many of them there are
    escapes           share of those passed that are defective; None where none passed
    overkill          share of those rejected that are good; None where none was rejected
    """

    passed: int
    rejected: int
    escapes: Share | None
    overkill: Share | None


class ExpectedErrors:
    """The errors to be expected of the newest parts (confidence-based performance estimation).

    Of parts with p_defect 0.01 that passed, one in a hundred is an escape: so much the probabilities say, as long as
    they are calibrated and the parts and their light are as they were. Where they are not, nothing here shows it: that
    is for the monitors of light, optics and product to say, and while an alarm of theirs stands this is no estimate.

    >>> errors = ExpectedErrors()
    >>> for part in range(1000):
    ...     errors.add(0.9 if part % 10 == 0 else 0.01, passed=part % 10 > 0)
    >>> found = errors.estimate()
    >>> found.passed, found.escapes
    (900, Share(expected=0.01, low=0.0044, high=0.0167))
    """

    def __init__(self) -> None:
        self._parts: deque[tuple[float, bool]] = deque(maxlen=WINDOW)

    def add(self, p_defect: float, passed: bool) -> None:
        """Take a decided part: its probability of a defect, and whether it passed or was rejected."""
        self._parts.append((p_defect, passed))

    def estimate(self) -> Estimate | None:
        """What is expected of the newest parts; None while they are too few."""
        parts = list(self._parts)
        if len(parts) < FEWEST:
            return None
        of_passed = [p for p, passed in parts if passed]
        of_rejected = [1 - p for p, passed in parts if not passed]
        return Estimate(len(of_passed), len(of_rejected), _share(of_passed), _share(of_rejected))


def _share(chances: list[float]) -> Share | None:
    """The share of parts that are wrong, where each is with its own chance."""
    if not chances:
        return None
    # Many parts that are each hardly ever wrong: their number is Poisson's, and never less spread than with its law.
    mean, count = sum(chances), len(chances)
    low, high = stats.poisson.interval(_LEVEL, mean) if mean > 0 else (0, 0)
    return Share(round(mean / count, 4), round(float(low) / count, 4), round(min(1.0, float(high) / count), 4))
