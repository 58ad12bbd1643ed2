"""Cohen's kappa of two columns of labels, plain or weighted, and the bias between the two."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from labeling.agreement.weights import WEIGHTS
from labeling.votes import Floats


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A figure up to 1, such as agreement beyond chance, with its 95 % interval; n parts.

    Few looks of unequal number can bring agreement beyond chance below -1.
    """

    value: float
    low: float
    high: float
    n: int


def coefficient(value: float, deviation: float, quantile: float, n: int) -> Coefficient:
    """A figure with the interval of so many standard deviations to either side, as far as figures go."""
    reach = deviation * quantile
    return Coefficient(value, max(min(value, -1.0), value - reach), min(1.0, value + reach), n)


def cohen_kappa(
    table: npt.NDArray[np.number], n: int | None = None, confidence: float = 0.95, weights: str = "identity"
) -> Coefficient | None:
    """Cohen's kappa of a (K, K) table of counts, with the large-sample interval of Fleiss, Cohen and Everitt (1969).

    n: how many independent things the table holds; default: its sum. weights: a name in WEIGHTS, for classes that have
    an order; classes that nobody used do not count. None where chance alone would agree always.

    >>> found = cohen_kappa(np.array([[20, 5], [10, 15]]))
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
    (0.4, 0.1511, 0.6489)
    >>> round(cohen_kappa(np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]]), weights="quadratic").value, 4)
    0.8922
    """
    total = float(table.sum())
    if total == 0:
        return None
    seen = (table.sum(axis=0) + table.sum(axis=1)) > 0
    p = np.asarray(table[np.ix_(seen, seen)], np.float64) / total
    value, unit = kappa_with_deviation(p, WEIGHTS[weights](np.flatnonzero(seen).astype(np.float64)))
    if np.isnan(value):
        return None
    things = round(total) if n is None else n
    return coefficient(float(value), float(unit) / things**0.5, float(ndtri((1 + confidence) / 2)), things)


def kappa_with_deviation(p: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Kappa of tables of shares (..., K, K), and its standard deviation times the root of how many things there are.

    Both (...); NaN where chance alone would agree always.
    """
    rows, columns = p.sum(axis=-1), p.sum(axis=-2)
    observed = (p * weights).sum(axis=(-2, -1))
    chance = np.einsum("...i,ij,...j->...", rows, weights, columns)
    left = np.where(chance >= 1 - 1e-12, np.nan, 1 - chance)
    kappa = (observed - chance) / left
    mean = np.einsum("ij,...j->...i", weights, columns)[..., :, None]
    mean = mean + np.einsum("...i,ij->...j", rows, weights)[..., None, :]
    beside = (p * (weights - mean * (1 - kappa)[..., None, None]) ** 2).sum(axis=(-2, -1))
    variance = beside - (kappa - chance * (1 - kappa)) ** 2
    return kappa, np.sqrt(np.maximum(variance, 0.0)) / left
