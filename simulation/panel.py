"""A panel of inspectors as numbers: images hard for everybody, inspectors of different skill, answers on request."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """What every inspector would answer about every image at first sight, and the truth."""

    truth: Ints
    """(n,) classes from 0; class 0 is good."""
    answer: Ints
    """(n, inspectors)"""
    class_count: int


def panel(rng: np.random.Generator, images: int, inspectors: int, mix: Floats, worst: float = 0.25) -> Panel:
    """Draw a panel: images of this mix of classes, inspectors who err on 3 % to `worst` of easy ones.

    A hard image (difficulty from a beta distribution) is hard for all, and looks to all of them like the same other
    class four times in five; so their errors go together, as on real parts.
    """
    classes = len(mix)
    truth = rng.choice(classes, images, p=mix)
    difficulty = rng.beta(1.2, 3.5, images)
    lookalike = (truth + rng.integers(1, classes, images)) % classes
    slip = rng.uniform(0.03, worst, inspectors)
    wrong = rng.random((images, inspectors)) < np.clip(slip + 0.6 * difficulty[:, None] ** 1.5, 0, 0.9)
    other = (truth[:, None] + rng.integers(1, classes, (images, inspectors))) % classes
    seen = np.where(rng.random((images, inspectors)) < 0.8, lookalike[:, None], other)
    return Panel(truth, np.where(wrong, seen, truth[:, None]).astype(np.int64), classes)
