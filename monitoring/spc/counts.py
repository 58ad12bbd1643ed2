"""Rejects among parts: what a chart can be made of, and how sure a share is.

E. B. Wilson (1927), as method 3 of R. G. Newcombe, Statistics in Medicine 17 (1998).
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

CONFIDENCE: Final = 0.95
_Z: Final = 1.959963984540054
"""The normal quantile of a two-sided interval of CONFIDENCE."""


class WrongCounts(ValueError):
    """The counts are none that a chart can be made of."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def wilson(count: ArrayLike, parts: ArrayLike) -> tuple[Floats, Floats]:
    """The 95 % interval of a share, by Wilson's score; `count` of `parts` (> 0), both of one shape.

    >>> low, high = wilson(15, 148)
    >>> f"{float(low):.4f} {float(high):.4f}"
    '0.0624 0.1605'
    """
    k, n = np.asarray(count, np.float64), np.asarray(parts, np.float64)
    share, reach = k / n, _Z * np.sqrt(k * (n - k) / n + _Z**2 / 4)
    low, high = (k + _Z**2 / 2 - reach) / (n + _Z**2), (k + _Z**2 / 2 + reach) / (n + _Z**2)
    # Rounding may leave the share itself a hair outside where nothing or everything was counted.
    return np.minimum(np.clip(low, 0, 1), share), np.maximum(np.clip(high, 0, 1), share)


def checked(rejects: ArrayLike, parts: ArrayLike) -> tuple[Counts, Counts]:
    """Both as whole numbers (m,), with 0 <= rejects <= parts and parts >= 1.

    Raises WrongCounts.
    """
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
