"""What one overview says about light, optics and sensor: the signature of an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring import pixels, steps

MAP_SIZE: Final = 8
"""Rows and columns of the coarse light map."""

SCALARS: Final = ("level", "red_green", "blue_green", "contrast", "focus", "noise")
"""Names of the scalar signals, in the order of `Signature.vector`."""


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
    light_map   float32 (8, 8), log of the mean luminance of each cell
    """

    level: float
    red_green: float
    blue_green: float
    contrast: float
    focus: float
    noise: float
    light_map: NDArray[np.float32]

    @property
    def values(self) -> Mapping[str, float]:
        """The scalar signals by name."""
        return dict(zip(SCALARS, self.vector, strict=True))

    @property
    def vector(self) -> tuple[float, ...]:
        """The scalar signals in the order of `SCALARS`."""
        return (self.level, self.red_green, self.blue_green, self.contrast, self.focus, self.noise)


def signature(overview: NDArray[np.uint8]) -> Signature:
    """Measure an overview: uint8 (h, w, 3) RGB of any size, the whole frame before any crop.

    Every signal is finite for every image, a black one included. Other threads run meanwhile. The first call in a
    process takes as long as `warm`. Raises `OverviewInvalid` for any other array.

    >>> grey = np.full((64, 64, 3), 99, np.uint8)
    >>> {name: round(value, 3) for name, value in signature(grey).values.items() if name != "noise"}
    {'level': 4.605, 'red_green': 0.0, 'blue_green': 0.0, 'contrast': -6.908, 'focus': 0.0}
    """
    if overview.dtype != np.uint8 or overview.ndim != 3 or overview.shape[2] != 3 or overview.size == 0:
        raise OverviewInvalid(overview.shape, str(overview.dtype))
    if not overview.flags.carray:  # compiled for one layout: without gaps and, as most arrays are, writable
        overview = np.array(overview, order="C")
    light_map = np.empty((MAP_SIZE, MAP_SIZE), np.float32)
    scalars = pixels.scalars(overview, light_map)
    if min(overview.shape[:2]) < MAP_SIZE:
        light_map = _strip_map(overview)
    return Signature(*scalars, light_map)


def _strip_map(overview: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The light map of a picture with fewer rows or columns than the map: what lies between them is interpolated."""
    luminance = np.asarray(cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY), np.float32)
    cells = cv2.resize(luminance, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    return np.log1p(np.asarray(cells, np.float32))


def warm() -> None:
    """Load or compile all that watching the light needs, so that no part waits for it.

    Takes a quarter of a second, and several seconds where nothing was kept for this code and this processor.
    """
    signature(np.zeros((MAP_SIZE, MAP_SIZE, 3), np.uint8))
    steps.warm()
