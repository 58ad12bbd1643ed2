"""What a detector can work with, and how it says that it can't."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitoring.saved import StateDamaged, count

_MOST_CELLS: Final = 1_000_000


class SettingOutOfRange(ValueError):
    """A detector was given a setting that no chart can work with."""

    def __init__(self, name: str, value: float, wanted: str) -> None:
        super().__init__(f"{name} is {value}, it must be {wanted}")
        self.name = name
        self.value = value
        self.remedy = f"Give a {name} that is {wanted}."


class ShapeMismatch(ValueError):
    """A detector was given a value of another shape than the one that it watches."""

    remedy = "Give values of the shape that the detector was made for, or make one for theirs."

    def __init__(self, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        super().__init__(f"a value of shape {found} where the detector watches {wanted}")
        self.found = found
        self.wanted = wanted


class TooFewSamples(ValueError):
    """A detector was asked to learn what is normal from too few samples."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(f"{found} samples say what is normal, at least {needed} are needed")
        self.found = found
        self.needed = needed
        self.remedy = f"Learn from at least {needed} samples, better from a full day of the line."


def between(name: str, value: float, low: float, high: float) -> float:
    """`value` if it lies between the two, neither of them included. Raises `SettingOutOfRange`."""
    if not low < value < high:
        raise SettingOutOfRange(name, value, f"above {low:g} and below {high:g}")
    return value


def share(name: str, value: float) -> float:
    """`value` if it is above 0 and at most 1. Raises `SettingOutOfRange`."""
    if not 0 < value <= 1:
        raise SettingOutOfRange(name, value, "above 0 and at most 1")
    return value


def at_least(name: str, value: int, least: int) -> int:
    """`value` if it is no smaller. Raises `SettingOutOfRange`."""
    if not value >= least:
        raise SettingOutOfRange(name, value, f"at least {least}")
    return value


def sides(shape: tuple[int, int], least: int) -> tuple[int, int]:
    """Rows and columns of a map: each no fewer than `least`, at most a million cells. Raises `SettingOutOfRange`."""
    height, width = shape
    rows, columns = at_least("rows", height, least), at_least("columns", width, least)
    if rows * columns > _MOST_CELLS:
        raise SettingOutOfRange("cells", rows * columns, f"at most {_MOST_CELLS}")
    return rows, columns


def saved_sides(saved: Any) -> tuple[int, int]:
    """Rows and columns of a saved map. Raises `monitoring.saved.StateDamaged`."""
    if len(saved) != 2:
        raise StateDamaged("shape is not rows and columns")
    return count("rows", saved[0]), count("columns", saved[1])


def fitted(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """`value` as float64 of exactly this shape, another array without gaps in memory. Raises `ShapeMismatch`."""
    # Always a copy: compiled code is made again for an array that may not be written to, which takes a second.
    found = np.array(value, np.float64, order="C")
    if found.shape != shape:
        raise ShapeMismatch(found.shape, shape)
    return found


@contextmanager
def saved_settings() -> Iterator[None]:
    """Within it, a setting that no chart can work with was never saved: `StateDamaged`."""
    try:
        yield
    except SettingOutOfRange as error:
        raise StateDamaged(str(error)) from error
