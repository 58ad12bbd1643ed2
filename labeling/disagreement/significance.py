"""What is more than chance: exact tests on counts, and how many of many findings may be false."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from labeling.votes import Floats, Ints

FALSE_DISCOVERIES = 0.05
"""The share of false ones among all that is reported."""


def q_values(p: npt.ArrayLike) -> Floats:
    """The least share of false discoveries at which each finding is still reported (Benjamini and Hochberg 1995).

    >>> q_values([0.01, 0.04, 0.03, 0.9]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.9]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(len(values), 0, -1)
    found = np.empty_like(values)
    found[order] = np.minimum.accumulate(np.minimum(values[order] * len(values) / ranks, 1.0))
    return found


def more_often(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """The probability of so many of all hits among these n looks, or more, if it's as likely as among the others.

    Fisher's exact test, one-sided. 1 where there is nothing to compare.

    >>> round(more_often(3, 4, 1, 4), 4)  # the lady tasting tea
    0.2429
    """
    if min(n, other_n) == 0:
        return 1.0
    every, both = n + other_n, hits + other_hits
    k = np.arange(hits, min(n, both) + 1)
    log = _log_choose(n, k) + _log_choose(other_n, both - k) - _log_choose(every, both)
    return float(min(1.0, np.exp(log[both - k <= other_n]).sum()))


def _log_choose(n: int, k: Ints | int) -> Floats:
    inside = np.minimum(np.maximum(k, 0), n)
    return np.asarray(gammaln(n + 1) - gammaln(inside + 1) - gammaln(n - inside + 1))


@dataclass(frozen=True, slots=True)
class Uneven:
    """Whether looks of some level hit more or less often than the strata that they come from."""

    p: float
    expected: Floats
    """(levels,) hits if all levels were alike."""


def unevenness(
    hit: npt.NDArray[np.bool_], level: Ints, stratum: Ints, rng: np.random.Generator, draws: int = 4999
) -> Uneven:
    """A permutation test of looks: hits are dealt anew within each stratum (Cochran, Mantel and Haenszel's null).

    The statistic sums the squared deviations over all levels, each divided by its expectation. p is exact for the draws
    made: (1 + as uneven ones) / (1 + draws) (Phipson and Smyth 2010).

    >>> hit, level = np.arange(40) % 8 == 0, np.repeat([0, 1], 20)
    >>> unevenness(hit, level, level * 0, np.random.default_rng(0)).p > 0.5
    True
    """
    levels = int(level.max(initial=0)) + 1
    strata = int(stratum.max(initial=0)) + 1
    size, hits = np.zeros((strata, levels), np.int64), np.zeros(strata, np.int64)
    np.add.at(size, (stratum, level), 1)
    np.add.at(hits, stratum, hit.astype(np.int64))
    expected = (size * (hits / np.maximum(size.sum(axis=1), 1))[:, None]).sum(axis=0)
    drawn = np.zeros((draws, levels))
    for one in range(strata):
        drawn += rng.multivariate_hypergeometric(size[one], int(hits[one]), size=draws, method="marginals")
    found = np.bincount(level[hit], minlength=levels)
    scale = np.maximum(expected, 1e-12)
    statistic = ((found - expected) ** 2 / scale).sum()
    as_uneven = (((drawn - expected) ** 2 / scale).sum(axis=1) >= statistic - 1e-9).sum()
    return Uneven((1 + int(as_uneven)) / (1 + draws), expected)
