"""What one overview says about light, optics and sensor: the signature of an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MAP_SIZE: Final = 8
"""Rows and columns of the coarse light map."""

SCALARS: Final = ("level", "red_green", "blue_green", "contrast", "focus", "noise")
"""Names of the scalar signals, in the order of `Signature.vector`."""

_CURVATURE = np.array([1, -2, 1], np.float32)
_QUIET_SHARE = 0.7
_QUIET_MEAN_PER_SIGMA = 0.4637
"""Mean of the smallest 70 % of |N(0, 1)|."""


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

    Every signal is finite for every image, a black one included. Raises `OverviewInvalid` for any other array.

    >>> grey = np.full((64, 64, 3), 99, np.uint8)
    >>> {name: round(value, 3) for name, value in signature(grey).values.items() if name != "noise"}
    {'level': 4.605, 'red_green': 0.0, 'blue_green': 0.0, 'contrast': -6.908, 'focus': 0.0}
    """
    if overview.dtype != np.uint8 or overview.ndim != 3 or overview.shape[2] != 3 or overview.size == 0:
        raise OverviewInvalid(overview.shape, str(overview.dtype))
    luminance = np.asarray(cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY), np.uint8)
    red, green, blue, _ = cv2.mean(overview)
    mean, deviation = (float(moment[0, 0]) for moment in cv2.meanStdDev(luminance))
    noise = _noise(luminance)
    # One count added throughout: it bounds the logarithm of a black image and is nothing in a lit one.
    return Signature(
        level=float(np.log(mean + 1)),
        red_green=float(np.log((red + 1) / (green + 1))),
        blue_green=float(np.log((blue + 1) / (green + 1))),
        contrast=float(np.log(deviation / (mean + 1) + 1e-3)),
        focus=_focus(luminance, noise),
        noise=float(np.log(noise + 0.1)),
        light_map=_light_map(luminance),
    )


def _light_map(luminance: NDArray[np.uint8]) -> NDArray[np.float32]:
    cells = cv2.resize(luminance.astype(np.float32), (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.log1p(cells), np.float32)


def _noise(luminance: NDArray[np.uint8]) -> float:
    """Noise in counts: Immerkær (1996), "Fast noise variance estimation", over the quietest pixels.

    The kernel has no answer to planes and edges of any constant slope; leaving out the loudest pixels takes out texture
    and defects.
    """
    answer = cv2.convertScaleAbs(cv2.sepFilter2D(luminance, cv2.CV_16S, _CURVATURE, _CURVATURE))
    counts = np.asarray(cv2.calcHist([answer], [0], None, [256], [0, 256]), np.float64).ravel()
    quiet = _QUIET_SHARE * counts.sum()
    kept = np.clip(quiet - (np.cumsum(counts) - counts), 0, counts)
    return float(kept @ np.arange(256) / quiet) / (6 * _QUIET_MEAN_PER_SIGMA)


def _focus(luminance: NDArray[np.uint8], noise: float) -> float:
    """Log ratio of detail at the finest scale to detail at four times that scale."""
    fine = _detail(luminance, 1)
    # A running mean, not a smaller picture: an edge must count the same wherever it falls on the coarse grid.
    coarse = _detail(np.asarray(cv2.blur(luminance, (4, 4)), np.uint8), 4)
    # White noise of sigma s adds 2 s² to the energy of a difference; the mean of 4 x 4 leaves a sixteenth of it.
    fine_energy = max(fine - 2 * noise**2, 0.0) + 1.0
    coarse_energy = max(coarse - noise**2 / 8, 0.0) + 1.0
    return 0.5 * float(np.log(fine_energy / coarse_energy))


def _detail(luminance: NDArray[np.uint8], lag: int) -> float:
    """Mean squared difference of pixels `lag` apart, in counts²; 0 in a direction too short for it."""
    height, width = luminance.shape
    energy = 0.0
    if width > lag:
        across = cv2.norm(luminance[:, lag:], luminance[:, :-lag], cv2.NORM_L2SQR)
        energy += across / (height * (width - lag))
    if height > lag:
        down = cv2.norm(luminance[lag:], luminance[:-lag], cv2.NORM_L2SQR)
        energy += down / (width * (height - lag))
    return energy / 2
