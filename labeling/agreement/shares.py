"""Shares of parts with exact intervals: the evidence of a study is parts, not looks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from labeling.votes import Floats, Ints

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of n parts with its two-sided 95 % interval; hits is fractional where a part counts in part."""

    hits: float
    n: int
    value: float
    low: float
    high: float


def share(hits: float, n: int, confidence: float = 0.95) -> Share:
    """A share with its two-sided interval (Clopper and Pearson 1934), straight from scipy's incomplete beta; n >= 1.

    >>> found = share(42, 50)
    >>> round(100 * found.low, 2), round(100 * found.high, 2)
    (70.89, 92.83)
    """
    tail, hits = (1 - confidence) / 2, min(hits, n)  # a sum of fractions may exceed n by its last bit
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Share(hits, n, hits / n, low, high)


def wholly(group: Ints, hit: Bools) -> Share | None:
    """The share of groups whose every look is a hit; group and hit (m,), one entry a look. None without looks."""
    names, number = np.unique(group, return_inverse=True)
    failed = np.bincount(number[~hit], minlength=len(names)) > 0
    return share(int((~failed).sum()), len(names)) if len(names) else None


def partly(group: Ints, hit: Bools | Floats) -> Share | None:
    """The mean over groups of the share of looks that hit, with an interval for that many groups, not looks.

    group, hit (m,), one entry a look; a hit may count in part, from 0 to 1. None without looks. Three looks at one part
    give a finer estimate of that part, but no more evidence about parts than one.
    """
    names, number, looks = np.unique(group, return_inverse=True, return_counts=True)
    return share(float((hit / looks[number]).sum()), len(names)) if len(names) else None


def repeatability(group: Ints, item: Ints, said: Ints) -> Share | None:
    """Of the groups with an item that was looked at more than once, those whose items were each judged one way.

    All three (m,), one entry a look; an item belongs to one group.
    """
    _, number, looks = np.unique(item, return_inverse=True, return_counts=True)
    lowest, highest = np.full(len(looks), np.iinfo(np.int64).max), np.full(len(looks), -1)
    np.minimum.at(lowest, number, said)
    np.maximum.at(highest, number, said)
    again = (looks > 1)[number]
    return wholly(group[again], (lowest == highest)[number[again]])
