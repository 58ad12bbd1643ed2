"""Numbers of a saved state, read back only if they are what was saved: what is damaged is found before it is used."""

import base64
import binascii
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StateDamaged(ValueError):
    """A saved state holds something that was never saved."""

    remedy = "Commission the camera again: what it had learnt can't be trusted."

    def __init__(self, what: str) -> None:
        super().__init__(f"the saved state is damaged: {what}")
        self.what = what


def floats(name: str, values: Any, *shape: int) -> NDArray[np.float64]:
    """Finite float64 numbers of exactly this shape. Raises `StateDamaged`."""
    return np.asarray(_numbers(name, values, "fi", shape), np.float64)


def packed(values: NDArray[Any]) -> str:
    """The bytes of an array as text, a tenth as long as its numbers and exact; its shape is not in it."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def unpacked(name: str, text: Any, kind: type[Any], *shape: int) -> NDArray[Any]:
    """The array of this kind and shape that `packed` made the text of, finite numbers all. Raises `StateDamaged`."""
    try:
        found = np.frombuffer(base64.b64decode(text, validate=True), kind).reshape(shape)
    except (binascii.Error, ValueError, TypeError) as error:
        raise StateDamaged(f"{name} is not {shape} packed numbers") from error
    if not np.isfinite(found).all():
        raise StateDamaged(f"{name} is not {shape} finite numbers")
    return found.copy()


def integers(name: str, values: Any, *shape: int) -> NDArray[np.int64]:
    """Whole numbers, int64, of exactly this shape. Raises `StateDamaged`."""
    return np.asarray(_numbers(name, values, "i", shape), np.int64)


def _numbers(name: str, values: Any, kinds: str, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        found = np.array(values)
    except (ValueError, OverflowError) as error:  # rows of different lengths, or beyond any number
        raise StateDamaged(f"{name} is not {shape} numbers") from error
    if found.dtype.kind not in kinds or found.shape != shape or not np.isfinite(found).all():
        raise StateDamaged(f"{name} is not {shape} finite numbers")
    return found


def number(name: str, value: Any) -> float:
    """One finite number. Raises `StateDamaged`."""
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise StateDamaged(f"{name} is not a finite number")
    return float(value)


def count(name: str, value: Any) -> int:
    """One whole number, at least 0. Raises `StateDamaged`."""
    if type(value) is not int or value < 0:
        raise StateDamaged(f"{name} is not a count")
    return value
