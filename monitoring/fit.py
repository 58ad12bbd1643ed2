"""Least squares of an image against a learnt scene, over the pixels that keep still; compiled.

Kept machine code knows changes of this file alone: nothing here may take a number from another module.
"""

import math

import numpy as np
from numpy.typing import NDArray

from monitoring.compiled import compiled

Pixels = NDArray[np.uint8]
Singles = NDArray[np.float32]
Places = NDArray[np.int32]
Floats = NDArray[np.float64]

TERMS = 10
"""Ways in which a scene changes its looks, one column of the fit each."""


@compiled(long=True)
def fit(
    image: Pixels, places: Places, template: Singles, solver: Singles, terms: Singles, precision: Singles, found: Floats
) -> None:
    """Fit an image, uint8 (h, w, 3) without gaps, at `places`, int32 (k,), pixels counted row by row.

    template   float32 (k,), luminance there when the scene was learnt, counts
    solver     float32 (10, k), the fit's pseudo-inverse
    terms      float32 (10, m), change of the luminance by a unit of each term, at every `k // m`-th place
    precision  float32 (m,), one over the deviation of each of those pixels

    Writes into `found`, float64 (12,): the log of the light over the template's, the ten terms after the light is
    taken out, and the log of the mean size of what they leave, in deviations, each counted as 3 at most.
    """
    values = np.empty(places.size, np.float32)
    gain = max(_gather(image.reshape(image.size), places, values) / _sum(template), 1e-3)
    _less(values, np.float32(1 / gain), template)
    for term in range(TERMS):
        found[1 + term] = _product(solver[term], values)
    left = values[:: places.size // precision.size][: precision.size].copy()
    for term in range(TERMS):
        _take_out(left, np.float32(found[1 + term]), terms[term])
    found[0] = math.log(gain)
    # One hundredth keeps the logarithm of a picture without any noise.
    found[1 + TERMS] = math.log(gain * _mean_size(left, precision) + 0.01)


@compiled(inner=True)
def _gather(pixels: Pixels, places: Places, values: Singles) -> float:
    """Take the luminance at the places, as OpenCV rounds it; give its sum."""
    total = np.int64(0)
    for k in range(places.size):
        first = 3 * places[k]
        red, green, blue = np.int32(pixels[first]), np.int32(pixels[first + 1]), np.int32(pixels[first + 2])
        luminance = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15
        values[k] = np.float32(luminance)
        total += luminance
    return float(total)


@compiled(inner=True)
def _less(values: Singles, share: np.float32, template: Singles) -> None:
    for k in range(values.size):
        values[k] = values[k] * share - template[k]


@compiled(inner=True)
def _take_out(values: Singles, amount: np.float32, term: Singles) -> None:
    for k in range(values.size):
        values[k] -= amount * term[k]


@compiled(inner=True, reorder=True)
def _sum(values: Singles) -> float:
    total = np.float32(0)
    for k in range(values.size):
        total += values[k]
    return float(total)


@compiled(inner=True, reorder=True)
def _product(one: Singles, other: Singles) -> float:
    total = np.float32(0)
    for k in range(one.size):
        total += one[k] * other[k]
    return float(total)


@compiled(inner=True, reorder=True)
def _mean_size(values: Singles, precision: Singles) -> float:
    total = np.float32(0)
    for k in range(values.size):
        total += min(abs(values[k] * precision[k]), np.float32(3))
    return float(total) / values.size


def warm() -> None:
    """Load or compile all of it."""
    one, terms = np.ones(1, np.float32), np.ones((TERMS, 1), np.float32)
    fit(np.zeros((1, 1, 3), np.uint8), np.zeros(1, np.int32), one, terms, terms, one, np.zeros(TERMS + 2))
