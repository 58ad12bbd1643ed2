"""Medians with distribution-free intervals."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

WANTED = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A median, the interval that holds the true one with probability `coverage`, and of how many values."""

    median: float
    low: float
    high: float
    coverage: float
    n: int


def median_interval(values: Iterable[float]) -> Interval:
    """The median and its interval between two order statistics; nothing is assumed of the values.

    Conover, Practical Nonparametric Statistics (1999), ch. 3.2. The narrowest symmetric interval with at least 95 %;
    under six values even the widest has less, and `coverage` says how much.

    >>> median_interval([5, 1, 4, 2, 3, 6, 7])
    Interval(median=4.0, low=1.0, high=7.0, coverage=0.984375, n=7)
    >>> median_interval(range(20)).low, round(median_interval(range(20)).coverage, 4)
    (5.0, 0.9586)
    """
    ordered = sorted(float(value) for value in values)
    n = len(ordered)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0.0, 0)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    left_out = 0
    while left_out + 1 <= (n - 1) // 2 and _coverage(n, left_out + 1) >= WANTED:
        left_out += 1
    return Interval(median, ordered[left_out], ordered[n - 1 - left_out], _coverage(n, left_out), n)


def _coverage(n: int, left_out: int) -> float:
    """That the true median lies between the values left when `left_out` are taken off at each end."""
    return 1 - 2 * sum(math.comb(n, k) for k in range(left_out + 1)) / 2**n if n > 1 else 0.0
