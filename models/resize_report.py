"""What Loupe's own resize changes, against the usual ways from every pixel to a model's size."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.evaluation import Interval, grouped_proportion
from models.preprocess import Frame, Pixels, UnreadableImage


@dataclass(frozen=True, slots=True)
class ResizeEffect:
    """Verdicts that another resize would change, of images; share with its 95 % interval, counted in parts."""

    changed: int
    images: int
    share: Interval
    largest_change: float
    """Of p_defect."""

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "changed": self.changed,
            "images": self.images,
            "share": self.share.to_json(),
            "largest_change": self.largest_change,
        }


def resize_effect(
    own: NDArray[np.float64], other: NDArray[np.float64], group: NDArray[Any], pass_below: float, reject_from: float
) -> ResizeEffect:
    """Compare p_defect (n,) after Loupe's resize with p_defect (n,) after another; group (n,): which part."""
    changed = _verdicts(own, pass_below, reject_from) != _verdicts(other, pass_below, reject_from)
    largest = float(np.abs(own - other).max(initial=0.0))
    return ResizeEffect(int(changed.sum()), len(own), grouped_proportion(changed, group), largest)


def _verdicts(p_defect: NDArray[np.float64], pass_below: float, reject_from: float) -> NDArray[np.int64]:
    return (p_defect >= pass_below).astype(np.int64) + (p_defect >= reject_from)


def decode_in_full(frame: Frame) -> Pixels:
    """Every pixel of an encoded image, uint8 (h, w, 3) RGB, as OpenCV reads it.

    Raises UnreadableImage.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(frame.data, np.uint8), flags)
    if decoded is None:
        raise UnreadableImage("the image can't be decoded", "send the complete file as the camera made it")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _linear(pixels: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _area(pixels: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _antialiased(pixels: Pixels, height: int, width: int) -> Pixels:
    """A triangle as wide as a target pixel, first along rows, then along columns, rounded after each: as Pillow."""
    across = np.einsum("ow,hwc->hoc", _triangles(pixels.shape[1], width), pixels.astype(np.float32), optimize=True)
    across = np.clip(np.floor(across + 0.5), 0, 255)
    down = np.einsum("oh,hwc->owc", _triangles(pixels.shape[0], height), across, optimize=True)
    return np.asarray(np.clip(np.floor(down + 0.5), 0, 255), np.uint8)


def _triangles(old: int, new: int) -> NDArray[np.float32]:
    """(new, old) weights, each row summing to 1."""
    scale = old / new
    centre = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old)[None, :] + 0.5 - centre[:, None]) / max(scale, 1.0)
    weight = np.maximum(1.0 - distance, 0.0)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), np.float32)


RESIZERS: Mapping[str, Callable[[Pixels, int, int], Pixels]] = {
    "linear": _linear,
    "area": _area,
    "antialias": _antialiased,
}
"""How others come from every pixel to the model's size: OpenCV's two usual ways, and Pillow's and torchvision's."""
