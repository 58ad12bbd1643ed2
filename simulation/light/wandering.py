"""How light and material vary by themselves, image by image, while nothing is wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from simulation.light.cameras import LightPlan

LIFE_IMAGES = 60_000
"""After so many images everything comes again."""

_PERSISTENCE = 0.99
_APART = 0.35
"""Share of the wandering that the two lamps do not have in common."""
_LOT_IMAGES = (350, 1000)
_LOT_LEVEL, _LOT_COLOUR, _LOT_CONTRAST = 0.006, 0.002, 0.03

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wandering:
    """Factors by image, float64 (LIFE_IMAGES,) each: of the left and the right lamp, of red, of the parts' reflectance,
    their redness and their texture.
    """

    left: Floats
    right: Floats
    red: Floats
    part_level: Floats
    part_red: Floats
    part_contrast: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, light: LightPlan) -> "Wandering":
        """A life under such light."""
        phase = rng.uniform(0, 2 * np.pi)
        wave = 2 * np.pi * np.arange(LIFE_IMAGES) / light.cycle_images + phase
        together = light.wobble * _wobble(rng) + light.cycle * np.sin(wave)
        left, right = (1 + together + _APART * light.wobble * _wobble(rng) for _ in range(2))
        level, red, contrast = (_lots(rng, deviation) for deviation in (_LOT_LEVEL, _LOT_COLOUR, _LOT_CONTRAST))
        return cls(left, right, 1 + light.colour_cycle * np.sin(wave + 0.8), level, red, contrast)


def _wobble(rng: np.random.Generator) -> Floats:
    """An autoregression of first order, of unit deviation from the first image on."""
    kicks = rng.standard_normal(LIFE_IMAGES) * np.sqrt(1 - _PERSISTENCE**2)
    kicks[0] = rng.standard_normal()
    return np.asarray(lfilter([1.0], [1.0, -_PERSISTENCE], kicks), np.float64)


def _lots(rng: np.random.Generator, deviation: float) -> Floats:
    """1, and a little off, the same for all parts of a lot."""
    most = LIFE_IMAGES // _LOT_IMAGES[0] + 1
    lots = np.repeat(rng.normal(1, deviation, most), rng.integers(*_LOT_IMAGES, most))
    return np.resize(lots, LIFE_IMAGES)
