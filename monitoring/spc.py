"""Control charts for the share (p) or number (np) of rejects in a subgroup of parts.

D. C. Montgomery, Introduction to Statistical Quality Control, 7th ed.: p and np charts section 7.2.1, subgroups of
varying size 7.2.2, run rules of Western Electric 5.3.4. Intervals: E. B. Wilson (1927), as method 3 of R. G. Newcombe,
Statistics in Medicine 17 (1998).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "beyond_3_sigma": "the point lies outside the control limits",
        "2_of_3_beyond_2_sigma": "two of three points in a row lie beyond two sigma on one side",
        "4_of_5_beyond_1_sigma": "four of five points in a row lie beyond one sigma on one side",
        "8_on_one_side": "eight points in a row lie on one side of the centre line",
    }
)
"""The run rules of Western Electric: name -> what it says. A rule is told at the point that completes its pattern."""

SIGMAS: Final = 3.0
CONFIDENCE: Final = 0.95
_Z: Final = 1.959963984540054
"""The normal quantile of a two-sided interval of CONFIDENCE."""


class WrongCounts(ValueError):
    """The counts are none that a chart can be made of."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class ControlChart:
    """One chart of m subgroups; shares from 0 to 1 on a p chart, numbers of parts on an np chart."""

    centre: float
    centre_low: float
    centre_high: float
    """Wilson interval of the centre line; all three are equal where the centre was given."""
    value: Floats
    """(m,)"""
    low: Floats
    high: Floats
    """(m,) Wilson interval of each value: where the rate of the subgroup itself may lie."""
    lower_limit: Floats
    upper_limit: Floats
    """(m,) Three-sigma limits, never outside what the value can be."""
    rules: tuple[tuple[str, ...], ...]
    """Names of the RULES that each point breaks; empty: none."""


def wilson(count: ArrayLike, parts: ArrayLike) -> tuple[Floats, Floats]:
    """The 95 % interval of a share, by Wilson's score; `count` of `parts` (>= 1), both of one shape.

    >>> low, high = wilson(15, 148)
    >>> f"{float(low):.4f} {float(high):.4f}"
    '0.0624 0.1605'
    """
    k, n = np.asarray(count, np.float64), np.asarray(parts, np.float64)
    share, reach = k / n, _Z * np.sqrt(k * (n - k) / n + _Z**2 / 4)
    low, high = (k + _Z**2 / 2 - reach) / (n + _Z**2), (k + _Z**2 / 2 + reach) / (n + _Z**2)
    # Rounding may leave the share itself a hair outside where nothing or everything was counted.
    return np.minimum(np.clip(low, 0, 1), share), np.maximum(np.clip(high, 0, 1), share)


def p_chart(rejects: ArrayLike, parts: ArrayLike, *, centre: float | None = None) -> ControlChart:
    """The share of rejects in subgroups of any size.

    `rejects` and `parts` are whole numbers (m,), in the order of time, with 0 <= rejects <= parts and parts >= 1.
    `centre` is the share that is wanted or was found in a period under control (0..1); None: that of these subgroups.
    The rules are judged on each point's own sigma, so that size does not matter (Montgomery's standardised chart).
    The limits lean on the normal approximation: where a subgroup holds few rejects (centre * parts < 5), a point
    above them is weaker evidence than on a chart of measurements.

    Raises WrongCounts.
    """
    k, n = _checked(rejects, parts)
    share = k / n
    if centre is None:
        middle = float(k.sum() / n.sum())
        middle_low, middle_high = (float(end) for end in wilson(k.sum(), n.sum()))
    else:
        middle = middle_low = middle_high = centre
    sigma = np.sqrt(middle * (1 - middle) / n)
    low, high = wilson(k, n)
    return ControlChart(
        middle,
        middle_low,
        middle_high,
        share,
        low,
        high,
        np.clip(middle - SIGMAS * sigma, 0, 1),
        np.clip(middle + SIGMAS * sigma, 0, 1),
        _broken_rules(_in_sigmas(share - middle, sigma)),
    )


def np_chart(rejects: ArrayLike, parts: ArrayLike, *, centre: float | None = None) -> ControlChart:
    """The number of rejects in subgroups of equal size; arguments as for `p_chart`, `centre` a share there as well.

    Raises WrongCounts, also where the subgroups differ in size.
    """
    k, n = _checked(rejects, parts)
    if len(set(n.tolist())) > 1:
        raise WrongCounts(
            f"an np chart needs subgroups of equal size, these have from {n.min()} to {n.max()} parts",
            "make subgroups of a number of parts, or use a p chart",
        )
    share, size = p_chart(k, n, centre=centre), float(n[0])
    return ControlChart(
        share.centre * size,
        share.centre_low * size,
        share.centre_high * size,
        k.astype(np.float64),
        share.low * size,
        share.high * size,
        share.lower_limit * size,
        share.upper_limit * size,
        share.rules,
    )


def _checked(rejects: ArrayLike, parts: ArrayLike) -> tuple[Counts, Counts]:
    k, n = np.asarray(rejects, np.int64), np.asarray(parts, np.int64)
    if k.ndim != 1 or k.shape != n.shape or not k.size:
        raise WrongCounts(
            f"rejects have shape {k.shape}, parts {n.shape}", "give both as (m,) with at least one subgroup"
        )
    if (n < 1).any() or (k < 0).any() or (k > n).any():
        raise WrongCounts(
            "a subgroup has no parts, or more rejects than parts", "leave out empty subgroups and count again"
        )
    return k, n


def _in_sigmas(distance: Floats, sigma: Floats) -> Floats:
    """Where sigma is 0 (a centre of 0 or 1), any distance at all is beyond every limit."""
    beyond = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.divide(distance, sigma, out=beyond, where=sigma > 0)


def _broken_rules(z: Floats) -> tuple[tuple[str, ...], ...]:
    # In the order of RULES: how many of how many in a row beyond how many sigmas.
    patterns = ((1, 1, 3.0), (2, 3, 2.0), (4, 5, 1.0), (8, 8, 0.0))
    broken = [_any_side(z, *pattern) for pattern in patterns]
    return tuple(tuple(name for name, at in zip(RULES, broken, strict=True) if at[point]) for point in range(z.size))


def _any_side(z: Floats, wanted: int, of: int, sigmas: float) -> NDArray[np.bool_]:
    """(m,) True where a point beyond `sigmas` completes `wanted` such points among the last `of`, all on one side."""
    found = np.zeros(z.size, np.bool_)
    for side in (z, -z):
        beyond = side > sigmas
        among = np.convolve(beyond.astype(np.int64), np.ones(of, np.int64))[: z.size]
        found |= beyond & (among >= wanted)
    return found
