"""Taking a change of light out of an image again, where that is safe: by a gain a channel, from what keeps still.

Only a lamp or exposure that changed everything alike, or its colour, is taken out: haze, dirt, blur and light that
falls in lose or add what no gain gives back. Never by matching histograms: a defect is part of the histogram, and most
of it would be matched away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring.features import SCENE, Floats

Pixels = NDArray[np.uint8]

LARGEST_GAIN: Final = 1.5
"""Beyond this, or below one over it, too few grey levels are left or too many were cut off."""
NEAR: Final = 0.03
"""Gains that differ by less are the same: a lamp wobbles by as much."""
RETAINED: Final = 0.9
"""Share of its contrast that every known defect must keep."""

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_COARSE_PX = 4.0


@dataclass(frozen=True, slots=True)
class Correction:
    """Gains of red, green and blue that make an image as bright, and of the colour, that it was before."""

    red: float
    green: float
    blue: float

    def apply(self, image: Pixels) -> Pixels:
        """The corrected image, uint8 (..., h, w, 3) RGB."""
        return self._scaled(image, np.array([self.red, self.green, self.blue]))

    def undo(self, image: Pixels) -> Pixels:
        """How an image of before, uint8 (..., h, w, 3) RGB, would look under the changed light."""
        return self._scaled(image, 1 / np.array([self.red, self.green, self.blue]))

    @staticmethod
    def _scaled(image: Pixels, gains: Floats) -> Pixels:
        counts = np.arange(256)[:, None] * gains
        table = np.clip(counts + 0.5, 0, 255).astype(np.uint8)
        found = np.empty_like(image)
        for channel in range(3):
            found[..., channel] = table[:, channel][image[..., channel]]
        return found

    def is_near(self, other: "Correction") -> bool:
        """Whether every gain is the other's but for a few per cent: what was proven of one holds for the other."""
        pairs = ((self.red, other.red), (self.green, other.green), (self.blue, other.blue))
        return all(abs(mine / its - 1) <= NEAR for mine, its in pairs)

    def retained(self, defects: Sequence[Pixels]) -> float:
        """Smallest share of its fine contrast that any of the defects, uint8 (h, w, 3) RGB, keeps: 1 = all of it.

        They are pictures of before, of the defect and little else. Each is put under the changed light, counts rounded
        and cut off as a camera does, and then corrected. 0 where there are none to be sure with.
        """
        return min((self._kept(defect) for defect in defects), default=0.0)

    def _kept(self, defect: Pixels) -> float:
        before, after = _contrast(defect), _contrast(self.apply(self.undo(defect)))
        return after / before if before > 0 else 1.0

    def is_safe(self, defects: Sequence[Pixels]) -> bool:
        """Whether every known defect keeps its contrast under this correction."""
        return self.retained(defects) >= RETAINED


EXPLAINED: Final = {
    "lamp_dim": ("level", "noise"),
    "exposure": ("level", "noise"),
    "colour_temp": ("level", "noise", "red_green", "blue_green"),
}
"""The signals that a safe cause moves; where another one is beyond its limit, something else happened too."""


def is_alone(cause: str, ratios: Mapping[str, float]) -> bool:
    """Whether nothing but a safe cause moves a camera's charts, given by name as shares of their limits."""
    explained = EXPLAINED.get(cause, ())
    return all(ratio <= 1 or chart.partition(".")[0] in explained for chart, ratio in ratios.items())


def correction(cause: str, shift: Floats) -> Correction | None:
    """What takes out an alarm's shift, float64 (n,) as `monitoring.features.SCENE`; None where that isn't safe.

    Only numbers of what keeps still are used: what parts look like has no say.
    """
    if cause not in EXPLAINED:
        return None
    level, red_green, blue_green = (float(shift[SCENE.index(name)]) for name in ("level", "red_green", "blue_green"))
    green = level - float(np.log(_LUMINANCE @ np.exp([red_green, 0.0, blue_green])))
    gains = np.exp([-green - red_green, -green, -green - blue_green])
    if gains.max() > LARGEST_GAIN or gains.min() < 1 / LARGEST_GAIN:
        return None
    red, green, blue = gains.tolist()
    return Correction(red, green, blue)


def _contrast(image: Pixels) -> float:
    """Deviation of the luminance from its own coarse picture, counts."""
    luminance = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    return float((luminance - cv2.GaussianBlur(luminance, (0, 0), _COARSE_PX)).std())
