"""How much two different labels agree where classes have an order, and how far apart they are."""

from collections.abc import Callable

import numpy as np

from labeling.votes import Floats


def identity(values: Floats) -> Floats:
    """Only the same class agrees."""
    return np.asarray(np.eye(len(values)), np.float64)


def linear(values: Floats) -> Floats:
    """Agreement falls with the distance of the values.

    >>> linear(np.arange(3.0))[0].tolist()
    [1.0, 0.5, 0.0]
    """
    return _falling(np.abs(values[:, None] - values))


def quadratic(values: Floats) -> Floats:
    """Agreement falls with the squared distance of the values.

    >>> quadratic(np.arange(3.0))[0].tolist()
    [1.0, 0.75, 0.0]
    """
    return _falling((values[:, None] - values) ** 2)


def ordinal(values: Floats) -> Floats:
    """Agreement falls with the number of pairs of classes from one to the other (Gwet 2014, chapter 3).

    >>> ordinal(np.arange(4.0))[0].round(3).tolist()
    [1.0, 0.833, 0.5, 0.0]
    """
    between = 1 + np.abs(np.arange(len(values))[:, None] - np.arange(len(values)))
    return _falling(between * (between - 1.0) / 2)


WEIGHTS: dict[str, Callable[[Floats], Floats]] = {
    "identity": identity,
    "linear": linear,
    "quadratic": quadratic,
    "ordinal": ordinal,
}
"""values (K,), ascending -> (K, K) agreement of two classes, 1 on the diagonal, 0 the least."""

Metric = Callable[[Floats, Floats], Floats]
"""values (K,), ascending, and how often each was said (K,) -> (K, K) distance of two classes, 0 on the diagonal."""


def _of_ranks(values: Floats, said: Floats) -> Floats:
    # Krippendorff's: all that was said from one class to the other, both ends by half, squared.
    upto = np.cumsum(said) - said / 2
    return np.asarray((upto[:, None] - upto) ** 2, np.float64)


def _of_ratios(values: Floats, said: Floats) -> Floats:
    total = values[:, None] + values
    return np.asarray(((values[:, None] - values) / np.where(total == 0, 1.0, total)) ** 2, np.float64)


METRICS: dict[str, Metric] = {
    "nominal": lambda values, said: 1 - identity(values),
    "linear": lambda values, said: 1 - linear(values),
    "ordinal": _of_ranks,
    "interval": lambda values, said: 1 - quadratic(values),
    "ratio": _of_ratios,
}
"""Distances for Krippendorff's alpha (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability)."""

METRIC_OF = {"identity": "nominal", "linear": "linear", "quadratic": "interval", "ordinal": "ordinal"}
"""By weights the metric that says the same."""


def _falling(distance: Floats) -> Floats:
    largest = float(distance.max(initial=0.0))
    return np.asarray(1 - distance / largest if largest > 0 else np.ones_like(distance), np.float64)
