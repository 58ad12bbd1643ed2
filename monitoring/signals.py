"""What one overview says about light, optics and sensor: the signature of an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring import blocks, fit, pixels, steps
from monitoring.features import CELLS, FRAME, GRID, Floats

SCALARS: Final = ("level", "red_green", "blue_green", "contrast", "focus", "noise")
"""Names of the scalar signals, in the order of `Signature.vector`."""


Pixels = NDArray[np.uint8]

_LONGEST_SIDE_PX = 256


class OverviewInvalid(ValueError):
    """The overview is not a non-empty uint8 (h, w, 3) array."""

    remedy = "Pass the whole frame as uint8 RGB (h, w, 3); repeat a mono frame in all three channels."

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        super().__init__(f"overview is {dtype} {shape}, expected non-empty uint8 (h, w, 3)")
        self.shape = shape
        self.dtype = dtype


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """Signals of one image; logarithms are natural and of 8-bit counts, so a change of 0.01 is about 1 %.

    level       log of the mean luminance
    red_green   log of mean red over mean green; 0 for a mono camera
    blue_green  log of mean blue over mean green; 0 for a mono camera
    contrast    log of the luminance's standard deviation over its mean: falls under haze, keeps under dimming
    focus       log of fine over coarse detail, sensor noise taken out: falls under blur, keeps under dimming
    noise       log of the pixel noise in counts, measured where the image is quiet
    light_map   float32 (28, 28), log of the mean luminance of each cell
    overview    what it was measured on, so that it can be measured against a scene too; None where only this is known
    """

    level: float
    red_green: float
    blue_green: float
    contrast: float
    focus: float
    noise: float
    light_map: NDArray[np.float32]
    overview: Pixels | None = None

    @property
    def values(self) -> Mapping[str, float]:
        """The scalar signals by name."""
        return dict(zip(SCALARS, self.vector, strict=True))

    @property
    def vector(self) -> tuple[float, ...]:
        """The scalar signals in the order of `SCALARS`."""
        return (self.level, self.red_green, self.blue_green, self.contrast, self.focus, self.noise)


def as_overview(image: Pixels) -> Pixels:
    """An image, uint8 (h, w, 3) of any size, as it is measured: without gaps, its long side at most 256 pixels, its
    short side at least 28. Raises `OverviewInvalid` for any other array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise OverviewInvalid(image.shape, str(image.dtype))
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST_SIDE_PX / max(height, width))
    size = max(GRID, round(width * scale)), max(GRID, round(height * scale))
    if size != (width, height):
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Compiled for one layout: without gaps and, as most arrays are, writable.
    return image if image.flags.carray else np.array(image, order="C")


def signature(overview: Pixels) -> Signature:
    """Measure an overview: uint8 (h, w, 3) RGB of any size, the whole frame before any crop.

    Every signal is finite for every image, a black one included. Other threads run meanwhile. The first call in a
    process takes as long as `warm`. Raises `OverviewInvalid` for any other array.

    >>> grey = np.full((64, 64, 3), 99, np.uint8)
    >>> {name: round(value, 3) for name, value in signature(grey).values.items() if name != "noise"}
    {'level': 4.605, 'red_green': 0.0, 'blue_green': 0.0, 'contrast': -6.908, 'focus': 0.0}
    """
    overview = as_overview(overview)
    light_map = np.empty((GRID, GRID), np.float32)
    return Signature(*pixels.scalars(overview, light_map), light_map, overview)


def measure(seen: Signature) -> Floats:
    """The measurement of a whole frame, float64 (n,) as `monitoring.features.FRAME`.

    After the scalars comes the lean of the light, right over left and bottom over top, and then the light map, each
    cell against the mean of all.
    """
    light = seen.light_map.astype(np.float64)
    measurement = np.empty(FRAME.size)
    measurement[: len(SCALARS)] = seen.vector
    half = GRID // 2
    measurement[len(SCALARS)] = light[:, half:].mean() - light[:, :half].mean()
    measurement[len(SCALARS) + 1] = light[half:].mean() - light[:half].mean()
    measurement[FRAME.cells("map")] = (light - light.mean()).reshape(CELLS)
    return measurement


def warm() -> None:
    """Load or compile all that watching the light needs, so that no part waits for it.

    Takes a quarter of a second, and several seconds where nothing was kept for this code and this processor.
    """
    measure(signature(np.zeros((GRID, GRID, 3), np.uint8)))
    for loops in (blocks, fit, steps):
        loops.warm()
