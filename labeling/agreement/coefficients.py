"""Agreement of any number of looks at an item, beyond what chance would give: four answers to what chance would give.

The estimators and their variances are those of Gwet (Handbook of Inter-Rater Reliability, 4th edition 2014, chapters 2
to 5; Gwet 2008, British Journal of Mathematical and Statistical Psychology 61, 29-48) and of Krippendorff (2011).

Throughout, counts (n, K) says how many looks put item i into class k. Items may have different numbers of looks: an
item with one look tells which classes are said, not whether looks agree, and an item without looks tells nothing.
Classes that nobody used do not count. group (n,) says which items belong together (the images of one part): a group
weighs one, and the interval is that of so many groups; default: every item its own. None is what nothing can be said
of: no item with two looks, or chance alone would agree always. Where everything agrees an interval has no width: look
at the interval of the plain share then.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from labeling.agreement.kappa import Coefficient, coefficient
from labeling.agreement.shares import Share, partly
from labeling.agreement.weights import METRIC_OF, METRICS, WEIGHTS
from labeling.votes import Floats, Ints

Counts = npt.NDArray[np.number]
CONFIDENCE = 0.95

_Chance = Callable[[Floats, Floats, Floats], tuple[float, Floats]]
"""(weights (K, K), class mix (K,), class mix by item (n, K)) -> chance agreement, and each item's part in it (n,)."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """How far looks at the same item agree."""

    agreement: Share | None
    """Pairs of looks that say the same, with an interval for so many parts."""
    fleiss: Coefficient | None
    ac: Coefficient | None
    """Gwet's AC1; AC2 with weights."""
    pabak: Coefficient | None
    alpha: Coefficient | None
    """Krippendorff's."""

    @property
    def is_paradox(self) -> bool:
        """Whether looks agree and Fleiss' kappa does not say so."""
        return is_paradox(self.agreement, self.fleiss, self.ac)


def coefficients(counts: Counts, weights: str = "identity", group: Ints | None = None) -> Coefficients:
    """All of them; weights: a name in WEIGHTS."""
    return Coefficients(
        pair_agreement(counts, group),
        fleiss_kappa(counts, weights, group),
        gwet_ac(counts, weights, group),
        pabak(counts, weights, group),
        krippendorff_alpha(counts, METRIC_OF[weights], group=group),
    )


def pair_agreement(counts: Counts, group: Ints | None = None) -> Share | None:
    """Pairs of looks at the same item that say the same; a group brings the mean of its items."""
    looks = counts.sum(axis=1)
    again = looks > 1
    m, kept = looks[again], counts[again]
    names = np.arange(len(counts)) if group is None else group
    return partly(names[again], ((kept**2).sum(axis=1) - m) / (m * (m - 1.0)))


def fleiss_kappa(counts: Counts, weights: str = "identity", group: Ints | None = None) -> Coefficient | None:
    """Fleiss' kappa (1971), for two looks an item Scott's pi: chance draws from the classes that were said.

    >>> round(fleiss_kappa(np.array([[3, 0], [2, 1], [0, 3], [1, 2]])).value, 4)
    0.3333
    """

    def chance(w: Floats, mix: Floats, by_item: Floats) -> tuple[float, Floats]:
        return float(mix @ w @ mix), by_item @ ((w + w.T) / 2 @ mix)

    return _beyond_chance(counts, weights, group, chance)


def gwet_ac(counts: Counts, weights: str = "identity", group: Ints | None = None) -> Coefficient | None:
    """Gwet's AC1, with weights AC2: chance strikes only items that are hard to judge, few where one class rules.

    Where only one class was ever said, it is 1: looks agree.

    >>> round(gwet_ac(paired(np.array([[118, 5], [2, 0]]))).value, 4)
    0.9408
    """

    def chance(w: Floats, mix: Floats, by_item: Floats) -> tuple[float, Floats]:
        scale = w.sum() / max(len(mix) * (len(mix) - 1), 1)
        return float(scale * mix @ (1 - mix)), scale * by_item @ (1 - mix)

    return _beyond_chance(counts, weights, group, chance)


def pabak(counts: Counts, weights: str = "identity", group: Ints | None = None) -> Coefficient | None:
    """Kappa with chance the same for every class (Byrt, Bishop and Carlin 1993; for K classes Brennan and Prediger).

    >>> round(pabak(paired(np.array([[118, 5], [2, 0]]))).value, 4)
    0.888
    """

    def chance(w: Floats, mix: Floats, by_item: Floats) -> tuple[float, Floats]:
        even = float(w.mean())
        return even, np.full(len(by_item), even)

    return _beyond_chance(counts, weights, group, chance)


def krippendorff_alpha(
    counts: Counts, metric: str | Floats = "nominal", values: Floats | None = None, group: Ints | None = None
) -> Coefficient | None:
    """Krippendorff's alpha: 1 less the distance within items over the distance between any two looks.

    metric: a name in METRICS, or a (K, K) distance of classes, 0 on the diagonal; values (K,): the numbers that classes
    stand for, ascending, default 0..K-1. The interval is by linearisation over groups, with Student's t, taking the
    distances as given. A percentile bootstrap over 50 items is as wide to 1 % and lies 0.02 lower, whatever the metric.

    >>> round(krippendorff_alpha(paired(np.array([[20, 5], [10, 15]]))).value, 4)
    0.4
    """
    again = counts.sum(axis=1) > 1
    kept = np.asarray(counts[again], np.float64)
    said = kept.sum(axis=0)
    numbers = np.arange(kept.shape[1], dtype=np.float64) if values is None else np.asarray(values, np.float64)
    seen = said > 0
    kept, said = kept[:, seen], said[seen]
    distance = METRICS[metric](numbers[seen], said) if isinstance(metric, str) else metric[np.ix_(seen, seen)]
    apart = float(said @ distance @ said)
    if apart <= 0:
        return None
    m, total = kept.sum(axis=1), float(said.sum())
    within = np.einsum("ik,kl,il->i", kept, distance, kept) / (m - 1)
    value = 1 - (total - 1) * float(within.sum()) / apart
    # The derivative of value by what an item adds to `within`, `total` and `said`.
    pull = -(total - 1) * within / apart + (1 - value) * (2 * kept @ (distance @ said) / apart - m / (total - 1))
    names = np.arange(len(counts)) if group is None else group
    return _with_interval(value, pull - pull.mean(), names[again])


def paired(table: npt.NDArray[np.integer]) -> Ints:
    """The counts of a (K, K) table of two looks an item: as many rows as its sum.

    >>> paired(np.array([[1, 0], [2, 0]])).tolist()
    [[2, 0], [1, 1], [1, 1]]
    """
    one, other = np.indices(table.shape).reshape(2, -1)
    kinds = np.eye(len(table), dtype=np.int64)
    return np.repeat(kinds[one] + kinds[other], table.reshape(-1), axis=0)


HIGH, LOW, APART = 0.8, 0.6, 0.2


def is_paradox(agreement: Share | None, kappa: Coefficient | None, ac: Coefficient | None) -> bool:
    """Whether looks agree, but kappa does not say so because one class rules (Feinstein and Cicchetti 1990).

    That is: agreement of 80 % or more with a kappa under 0.6 and AC1 at least 0.2 above it, or without any kappa.
    """
    if agreement is None or ac is None or agreement.value < HIGH:
        return False
    return kappa is None or (kappa.value < LOW and ac.value - kappa.value >= APART)


def _beyond_chance(counts: Counts, weights: str, group: Ints | None, chance: _Chance) -> Coefficient | None:
    looked = counts.sum(axis=1) > 0
    seen = counts.sum(axis=0) > 0
    kept = np.asarray(counts[looked][:, seen], np.float64)
    m = kept.sum(axis=1)
    again = m > 1
    if not bool(again.any()):
        return None
    if kept.shape[1] == 1:  # one class stands beside those that nobody said
        kept, values = np.hstack([kept, np.zeros_like(kept)]), np.arange(2.0)
    else:
        values = np.flatnonzero(seen).astype(np.float64)
    w = WEIGHTS[weights](values)
    names, number, size = np.unique(
        np.arange(len(kept)) if group is None else group[looked], return_inverse=True, return_counts=True
    )
    weight = 1 / size[number]
    agree = (kept * (kept @ w.T - 1)).sum(axis=1) / np.where(again, m * (m - 1), 1.0)
    told = float(weight[again].sum())
    by_item = kept / m[:, None]
    expected, part = chance(w, weight @ by_item / len(names), by_item)
    if expected >= 1 - 1e-12:
        return None
    observed = float((weight * agree)[again].sum()) / told
    value = (observed - expected) / (1 - expected)
    own = again * (agree - expected) * len(names) / told - 2 * (1 - value) * (part - expected)
    deviation = weight * (own / (1 - expected) - value) / len(names)
    return _with_interval(value, deviation, number)


def _with_interval(value: float, deviation: Floats, group: Ints) -> Coefficient:
    """deviation (n,): what each item moves the value by; the sums over groups are what varies."""
    names, number = np.unique(group, return_inverse=True)
    n = len(names)
    if n == 1:
        return Coefficient(value, min(value, -1.0), 1.0, 1)
    moved = np.bincount(number, weights=deviation)
    spread = float((moved @ moved) * n / (n - 1)) ** 0.5
    return coefficient(value, spread, float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)), n)
