"""A camera's stream for the tests of monitor and watch: parts that jitter under light that wanders slowly."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from monitoring.signals import Signature, signature

SIDE_PX = 96

Picture = NDArray[np.float64]
Change = Callable[[Picture], Picture]


def as_is(picture: Picture) -> Picture:
    return picture


def stream(seed: int, count: int, change: Change = as_is) -> list[Signature]:
    """Signatures of `count` images; `change` is what happened to light or optics before the sensor."""
    return list(_stream(seed, count, change))


@cache
def _stream(seed: int, count: int, change: Change) -> tuple[Signature, ...]:
    rng = np.random.default_rng(seed)
    fixture = np.full((SIDE_PX, SIDE_PX, 3), 40.0)
    fixture[:, ::12] = 70.0
    signatures = []
    for index in range(count):
        picture = fixture.copy()
        top, left = 24 + rng.integers(-1, 2, 2)
        picture[top : top + 48, left : left + 48] = (130.0, 120.0, 110.0)
        picture[top + 10 : top + 14, left + 6 : left + 40] = 90.0
        if rng.random() < 0.03:
            row, column = rng.integers(0, 36, 2)
            picture[top + row : top + row + 6, left + column : left + column + 12] = 30.0
        light = 1 + 0.004 * np.sin(index / 100) + 0.002 * rng.standard_normal()
        seen = change(picture * light) + rng.normal(0, 1.2, picture.shape)
        signatures.append(signature(np.clip(seen + 0.5, 0, 255).astype(np.uint8)))
    return tuple(signatures)
