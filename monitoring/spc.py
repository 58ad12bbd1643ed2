"""Statistical process control of counts: the p-chart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGMAS = 3.0
"""Distance of the control limits from the centre, in standard deviations (Shewhart)."""


class CountsInvalid(ValueError):
    """Counts that no samples can have given."""

    remedy = "Give one count and one sample size per sample: 0 <= count <= size, size > 0."


@dataclass(frozen=True, slots=True, eq=False)
class PChart:
    """Shares float64 (n,), their centre, the limits float64 (n,) of each sample, and bool (n,) which are outside."""

    share: NDArray[np.float64]
    centre: float
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    outside: NDArray[np.bool_]


def p_chart(nonconforming: ArrayLike, inspected: ArrayLike, *, centre: float | None = None) -> PChart:
    """Chart the share of nonconforming parts with three-sigma limits for each sample's own size.

    `nonconforming` and `inspected` are (n,) counts, oldest first. `centre` is the standard to hold, a share in [0, 1];
    without it the samples' own pooled share is used. Raises `CountsInvalid`.

    The thirty samples of frozen orange juice cans of Montgomery, *Introduction to Statistical Quality Control*, table
    7.1: centre 0.2313, limits 0.0524 and 0.4102, samples 15 and 23 out of control.

    >>> cans = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22]
    >>> cans += [8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6]
    >>> chart = p_chart(cans, [50] * 30)
    >>> round(chart.centre, 4), round(float(chart.lower[0]), 4), round(float(chart.upper[0]), 4)
    (0.2313, 0.0524, 0.4102)
    >>> (np.flatnonzero(chart.outside) + 1).tolist()
    [15, 23]
    """
    count = np.asarray(nonconforming, np.float64)
    size = np.asarray(inspected, np.float64)
    if count.ndim != 1 or count.shape != size.shape or count.size == 0:
        raise CountsInvalid(f"{count.shape} counts for {size.shape} samples")
    if not bool(np.all((size > 0) & (count >= 0) & (count <= size))):
        raise CountsInvalid("a count below zero or above its sample's size, or an empty sample")
    share = count / size
    middle = float(count.sum() / size.sum()) if centre is None else centre
    reach = SIGMAS * np.sqrt(middle * (1 - middle) / size)
    lower = np.maximum(middle - reach, 0.0)
    upper = np.minimum(middle + reach, 1.0)
    return PChart(share, middle, lower, upper, (share < lower) | (share > upper))
