"""Limits that a chart passes by chance with a wanted probability, far out in the tails that charts need.

A probability here is called a `tail`: that of lying beyond the limit. Limits are good to ten digits.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
_TINY: Final = 1e-300
_CLOSE: Final = 1e-15
_NARROW: Final = 1e-12
_MOST_TERMS: Final = 100_000


def two_sided(width: float) -> float:
    """Probability that a normal value is more than `width` deviations away from its mean, on either side."""
    return math.erfc(width / math.sqrt(2))


def normal_limit(tail: float) -> float:
    """What a standard normal value exceeds with this probability."""
    return -_NORMAL.inv_cdf(tail)


def chi_square_limit(tail: float, freedom: float) -> float:
    """What chi-square exceeds with this probability; its degrees of freedom need not be whole."""
    return _where(lambda value: _gamma_above(freedom / 2, value / 2) < tail, freedom)


def chi_square_floor(tail: float, freedom: float) -> float:
    """What chi-square falls below with this probability; its degrees of freedom need not be whole."""
    return _where(lambda value: _gamma_below(freedom / 2, value / 2) > tail, freedom)


def fisher_limit(tail: float, freedom: float, freedom_below: float) -> float:
    """What Fisher's F exceeds with this probability."""

    def beyond(value: float) -> bool:
        left = freedom_below / (freedom_below + freedom * value)
        return _beta(freedom_below / 2, freedom / 2, left) < tail

    return _where(beyond, 1.0)


def weighted_chi_square_limit(tail: float, sums: tuple[float, float, float]) -> float:
    """What a sum of squared independent normal values exceeds with this probability, by three moments.

    `sums` are those of the values' variances, of their squares and of their cubes. Pearson's approximation (Imhof
    1961): the chi-square of the same mean, variance and skewness. Equal variances make it exact.
    """
    first, second, third = sums
    freedom = second**3 / third**2
    return first + (chi_square_limit(tail, freedom) - freedom) * math.sqrt(second / freedom)


def _where(beyond: Callable[[float], bool], start: float) -> float:
    """The positive value from which on `beyond` is true."""
    low, high = 0.0, start
    while not beyond(high):
        low, high = high, 2 * high
    while high - low > _NARROW * high and high > _TINY:
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def _gamma_below(shape: float, value: float) -> float:
    """The regularised lower incomplete gamma function: its series, or one minus the other side's fraction."""
    if value >= shape + 1:
        return 1 - _gamma_fraction(shape, value)
    return _gamma_series(shape, value)


def _gamma_above(shape: float, value: float) -> float:
    """The regularised upper incomplete gamma function."""
    if value < shape + 1:
        return 1 - _gamma_series(shape, value)
    return _gamma_fraction(shape, value)


def _gamma_scale(shape: float, value: float) -> float:
    return math.exp(shape * math.log(value) - value - math.lgamma(shape))


def _gamma_series(shape: float, value: float) -> float:
    if value <= 0:
        return 0.0
    term = total = 1 / shape
    step = shape
    while term > _CLOSE * total:
        step += 1
        term *= value / step
        total += term
    return total * _gamma_scale(shape, value)


def _gamma_fraction(shape: float, value: float) -> float:
    # Lentz's way through the continued fraction: from the front, so that it can end when it is close enough.
    denominator = value + 1 - shape
    front, back = 1 / _TINY, 1 / denominator
    total, change, n = back, 0.0, 0
    while abs(change - 1) > _CLOSE and n < _MOST_TERMS:
        n += 1
        factor = -n * (n - shape)
        denominator += 2
        back = 1 / _not_zero(factor * back + denominator)
        front = _not_zero(denominator + factor / front)
        change = front * back
        total *= change
    return total * _gamma_scale(shape, value)


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _beta(first: float, second: float, value: float) -> float:
    """The regularised incomplete beta function; `value` is in (0, 1)."""
    scale = math.exp(
        math.lgamma(first + second)
        - math.lgamma(first)
        - math.lgamma(second)
        + first * math.log(value)
        + second * math.log1p(-value)
    )
    if value < (first + 1) / (first + second + 2):
        return scale * _beta_fraction(first, second, value) / first
    return 1 - scale * _beta_fraction(second, first, 1 - value) / second


def _beta_fraction(first: float, second: float, value: float) -> float:
    front, back = 1.0, 1 / _not_zero(1 - (first + second) * value / (first + 1))
    total, change, n = back, 0.0, 0
    while abs(change - 1) > _CLOSE and n < _MOST_TERMS:
        n += 1
        even = n * (second - n) * value / ((first + 2 * n - 1) * (first + 2 * n))
        odd = -(first + n) * (first + second + n) * value / ((first + 2 * n) * (first + 2 * n + 1))
        for factor in (even, odd):
            back = 1 / _not_zero(1 + factor * back)
            front = _not_zero(1 + factor / front)
            change = front * back
            total *= change
    return total
