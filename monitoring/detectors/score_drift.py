"""Drift of a model's scores: their whole distribution against the one it was approved with, without any label."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.detectors.ewma import CAP
from monitoring.detectors.ranges import TooFewSamples, at_least, between, saved_settings, share
from monitoring.detectors.tails import chi_square_limit, two_sided
from monitoring.saved import StateDamaged, count, floats, number

Floats = NDArray[np.float64]

FEWEST: Final = 50
"""Fewer scores say nothing about a distribution's tails."""
KNOTS: Final = 256
"""Most different scores that a reference is remembered by."""
COMPONENTS: Final = ("mean", "spread", "tail")
"""What each of the smooth test's components is about."""

_ORDERS = len(COMPONENTS)
_NEVER_SEEN = 0.01
_BEYOND = 1e300


class ScoreDrift:
    """EWMA chart of a score's place in its reference distribution (Neyman 1937, as a chart).

    knots      float64 (k, 3): rising scores, with the shares of the reference below and up to each; between two of
               them the reference is taken to be even
    moments    float64 (1 + 3, 3): mean, and below it the covariance, of the components over the reference
    samples    how many scores the reference was
    weight     share of the newest score, in (0, 1]
    width      limit: as rare at one score as a normal value this many deviations off, on either side

    `ScoreDrift.fit` learns the first three from scores. A score's place, the share of the reference below it and half
    of what ties with it, is even over (0, 1) while nothing has changed, whatever the scores are. Its first three
    Legendre polynomials tell of a change of mean, of spread and of tails; `components` are their averages. The chart
    is their squared distance from normal (chi-square), the excess over its mean as a share of that at the limit, and
    the limit is wider the fewer scores the reference had.

    Scores that all stay the same are a change, also where they stay at the middle. One score brings a chart at rest to
    a part of its limit only. NaN is passed over; infinity is a score beyond the reference. The average of places has
    somewhat longer tails than chi-square knows of: with the given weight and width there is a false alarm in
    about 200 000 independent scores. Raises `monitoring.detectors.ranges.SettingOutOfRange`.

    >>> reference = [(index + 0.5) / 1000 for index in range(1000)]
    >>> chart = ScoreDrift.fit(reference)
    >>> stream = [index * 0.618 % 1 for index in range(100)] + [0.8 + index * 0.618 % 0.2 for index in range(50)]
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    116
    >>> {name: round(value, 1) for name, value in chart.components.items()}
    {'mean': 4.7, 'spread': 3.4, 'tail': 0.8}
    """

    __slots__ = (
        "_average",
        "_below",
        "_cap",
        "_expected",
        "_gain",
        "_limit",
        "_moments",
        "_scores",
        "_upto",
        "_whitening",
        "samples",
        "weight",
        "width",
    )
    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, knots: Floats, moments: Floats, samples: int, weight: float = 0.05, width: float = 5.0) -> None:
        self.samples = at_least("samples", samples, FEWEST)
        self.weight = share("weight", weight)
        self.width = between("width", width, 0, 30)
        self._scores: list[float] = knots[:, 0].tolist()
        self._below: list[float] = knots[:, 1].tolist()
        self._upto: list[float] = knots[:, 2].tolist()
        self._moments = moments
        # A direction that the reference never went in, for want of different scores, is not endlessly rare.
        factor = np.linalg.inv(np.linalg.cholesky(moments[1:] + _NEVER_SEEN * np.eye(_ORDERS)))
        self._whitening: tuple[float, ...] = (*moments[0].tolist(), *factor[np.tril_indices(_ORDERS)].tolist())
        self._gain = (2 - weight) / weight
        # The average over a long run is steadier than the reference's own mean, if that had few scores.
        self._expected = _ORDERS * (1 + self._gain / samples)
        self._limit = chi_square_limit(two_sided(width), _ORDERS) * (1 + self._gain / samples)
        self._cap = (_ORDERS + CAP**2 * (self._limit - self._expected) / (weight * (2 - weight))) ** 0.5
        self._average = (0.0, 0.0, 0.0)

    @classmethod
    def fit(cls, scores: ArrayLike, weight: float = 0.05, width: float = 5.0) -> Self:
        """Learn from scores (n,) of parts as the line makes them; what is not finite is left out.

        Raises `monitoring.detectors.ranges.TooFewSamples` below 50, `monitoring.detectors.ranges.SettingOutOfRange`.
        """
        found = np.asarray(scores, np.float64).ravel()
        found = np.sort(found[np.abs(found) <= _BEYOND])
        if found.size < FEWEST:
            raise TooFewSamples(found.size, FEWEST)
        knots = _knots(found)
        blank = cls(knots, np.concatenate([np.zeros((1, _ORDERS)), np.eye(_ORDERS)]), found.size, weight, width)
        places = np.array([_polynomials(blank.place(score)) for score in found.tolist()])
        covariance = np.atleast_2d(np.cov(places, rowvar=False, bias=True))
        return cls(knots, np.concatenate([places.mean(0)[None], covariance]), found.size, weight, width)

    def place(self, score: float) -> float:
        """Share of the reference below a score, with half of what ties with it: 0 below all, 1 above all."""
        scores = self._scores
        index = bisect_left(scores, score)
        if index == len(scores):
            return 1.0
        if scores[index] == score:
            return (self._below[index] + self._upto[index]) / 2
        if index == 0:
            return 0.0
        low, upto = scores[index - 1], self._upto[index - 1]
        return upto + (self._below[index] - upto) * (score - low) / (scores[index] - low)

    def update(self, value: float) -> float:
        """Take one score; return chart over limit, 1.0 = at the limit."""
        first, second, third = self._average
        if value == value:  # not NaN
            a, b, c = _polynomials(self.place(value))
            mean_a, mean_b, mean_c, aa, ba, bb, ca, cb, cc = self._whitening
            a, b, c = a - mean_a, b - mean_b, c - mean_c
            a, b, c = aa * a, ba * a + bb * b, ca * a + cb * b + cc * c
            size = math.sqrt(a * a + b * b + c * c)
            counted = self.weight * (1.0 if size < self._cap else self._cap / size)
            kept = 1 - self.weight
            first, second, third = kept * first + counted * a, kept * second + counted * b, kept * third + counted * c
            self._average = (first, second, third)
        excess = (first * first + second * second + third * third) * self._gain - self._expected
        return excess / (self._limit - self._expected) if excess > 0.0 else 0.0

    @property
    def components(self) -> dict[str, float]:
        """Each component's average, in standard deviations of it: which side of the distribution moved, and how."""
        scale = self._gain**0.5
        return dict(zip(COMPONENTS, (scale * average for average in self._average), strict=True))

    def reset(self) -> None:
        """Forget every score but the reference's."""
        self._average = (0.0, 0.0, 0.0)

    def state(self) -> dict[str, Any]:
        """Settings, reference and memory, JSON-serialisable."""
        return {
            "knots": [list(knot) for knot in zip(self._scores, self._below, self._upto, strict=True)],
            "moments": self._moments.tolist(),
            "samples": self.samples,
            "weight": self.weight,
            "width": self.width,
            "average": list(self._average),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        knots = floats("knots", state["knots"], len(state["knots"]), 3)
        moments = floats("moments", state["moments"], 1 + _ORDERS, _ORDERS)
        shares = knots[:, 1:].ravel()
        if not (len(knots) > 0 and np.all(np.diff(knots[:, 0]) > 0) and np.all(np.diff(shares) >= 0)):
            raise StateDamaged("a reference whose scores or shares do not rise")
        if shares[0] < 0 or shares[-1] > 1 or np.abs(knots[:, 0]).max() > _BEYOND:
            raise StateDamaged("a reference beyond any scores")
        if not np.array_equal(moments[1:], moments[1:].T) or np.linalg.eigvalsh(moments[1:])[0] < -_NEVER_SEEN / 2:
            raise StateDamaged("moments is no covariance")
        with saved_settings():
            samples = count("samples", state["samples"])
            weight, width = number("weight", state["weight"]), number("width", state["width"])
            detector = cls(knots, moments, samples, weight, width)
        first, second, third = floats("average", state["average"], _ORDERS).tolist()
        if math.hypot(first, second, third) > detector._cap * (1 + 1e-9):
            raise StateDamaged("an average that no scores lead to")
        detector._average = (first, second, third)
        return detector


def _polynomials(place: float) -> tuple[float, float, float]:
    """The first three Legendre polynomials, shifted to (0, 1): mean 0, deviation 1 and uncorrelated over it."""
    x = 2 * place - 1
    return 1.7320508075688772 * x, 1.118033988749895 * (3 * x * x - 1), 1.3228756555322954 * x * (5 * x * x - 3)


def _knots(rising: Floats) -> Floats:
    """At most `KNOTS` of the different scores, with their shares: those at even shares, so every frequent one is."""
    scores, counts = np.unique(rising, return_counts=True)
    ends = np.cumsum(counts)
    # Both from whole numbers: a share up to one score is exactly the share below the next.
    upto, below = ends / rising.size, (ends - counts) / rising.size
    if scores.size > KNOTS:
        kept = np.unique(np.searchsorted(upto, np.linspace(0, 1, KNOTS)).clip(0, scores.size - 1))
        scores, below, upto = scores[kept], below[kept], upto[kept]
    return np.stack([scores, below, upto], axis=1)
