"""What may happen to light, optics and sensor of a camera, three sizes each, and what may happen to its parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """Where and which way a change happens: drawn once, when it begins.

    side is 0 for left, 1 for right; x and y are shares of the picture; direction is an angle; sign is -1 or 1; height
    and width are the picture's.
    """

    side: int
    x: float
    y: float
    direction: float
    sign: int
    height: int
    width: int
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> "Place":
        """A place in a picture of this size."""
        x, y = rng.uniform(0.12, 0.88, 2)
        direction, sign = rng.uniform(0, 2 * np.pi), int(rng.choice([-1, 1]))
        return cls(int(rng.integers(2)), x, y, direction, sign, height, width, int(rng.integers(2**31)))


@dataclass(slots=True)
class Conditions:
    """How things stand when one picture is taken; as it is made, all is normal.

    lamps          what each of the two gives
    tint           factor of red, green and blue
    stray          further light on the scene, (h, w), or None
    motion         2 x 3, how the picture lies otherwise, or None
    blur_px        further blur
    film           opacity (h, w) and brightness of what lies on the glass, or None
    veil           share of the picture that a haze replaces
    gain, noise    of the sensor
    part_level, part_contrast  of the parts' reflectance and texture
    defect_share   of the parts that are defective
    """

    lamps: tuple[float, float] = (1.0, 1.0)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    stray: Plane | None = None
    motion: NDArray[np.float64] | None = None
    blur_px: float = 0.0
    film: tuple[Plane, float] | None = None
    veil: float = 0.0
    gain: float = 1.0
    noise: float = 1.0
    part_level: float = 1.0
    part_contrast: float = 1.0
    defect_share: float = 0.03


Effect = Callable[[Conditions, float, Place, np.random.Generator], None]
"""Puts conditions right for an amount, at a place; the generator is of this picture alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change: its amounts, from barely worth an alarm to gross, and its effect; no amount is no effect."""

    amounts: tuple[float, float, float]
    effect: Effect


def _lamp_dim(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    left, right = now.lamps
    now.lamps = left * (1 - amount), right * (1 - amount)


def _lamp_off(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    lamps = list(now.lamps)
    lamps[place.side] *= 1 - amount
    now.lamps = lamps[0], lamps[1]


def _sunlight(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    """A window's light, a parallelogram with soft edges, which clouds make come and go."""
    rows, columns = np.mgrid[0 : place.height, 0 : place.width].astype(np.float32)
    size = min(place.height, place.width)
    lean = 0.5 * np.cos(place.direction)
    across = np.abs((columns - place.x * place.width) - lean * (rows - place.y * place.height)) / (0.16 * size)
    along = np.abs(rows - place.y * place.height) / (0.38 * size)
    edge = np.minimum(1 - across, 1 - along) * 6
    cloud = float(np.clip(1 + 0.3 * rng.standard_normal(), 0.4, 1.4))
    now.stray = np.asarray(amount * cloud / (1 + np.exp(-np.clip(edge, -30, 30))), np.float32)


def _colour_temp(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    red, blue = 1 + place.sign * amount, 1 - place.sign * amount
    luminance = 0.2126 * red + 0.7152 + 0.0722 * blue
    now.tint = red / luminance, 1 / luminance, blue / luminance


def _exposure(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    now.gain = 1 + amount


def _soiling(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    """A splash of a few drops; `amount` is its radius over the picture's long side."""
    drawn = np.random.default_rng(place.seed)
    radius = amount * max(place.height, place.width)
    film = np.zeros((place.height, place.width), np.float32)
    for _ in range(5):
        away = drawn.normal(0, 0.45 * radius, 2)
        centre = int(place.x * place.width + away[0]), int(place.y * place.height + away[1])
        cv2.circle(film, centre, max(1, round(radius * drawn.uniform(0.35, 0.8))), 1.0, -1)
    film = np.asarray(cv2.GaussianBlur(film, (0, 0), max(1.0, 0.3 * radius)), np.float32)
    now.film = film * np.float32(min(0.85, 0.25 + 7 * amount)), 0.02 if place.sign < 0 else 0.9


def _bump(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    """A shift of `amount` over the long side, any way, and a turn of a tenth of a degree for a thousandth of it."""
    reach = amount * max(place.height, place.width)
    middle = (place.width / 2, place.height / 2)
    motion = cv2.getRotationMatrix2D(middle, place.sign * 35.0 * amount, 1.0)
    motion[:, 2] += reach * np.cos(place.direction), reach * np.sin(place.direction)
    now.motion = np.asarray(motion, np.float64)


def _defocus(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    now.blur_px = amount


def _flicker(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    power = max(0.2, 1 + amount * float(rng.standard_normal()))
    now.lamps = now.lamps[0] * power, now.lamps[1] * power


def _noise(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    now.noise = 1 + amount


def _haze(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    now.veil = amount


def _new_batch(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    now.part_level *= 1 + place.sign * amount
    now.part_contrast *= 1 + 2 * amount


def _defect_rate(now: Conditions, amount: float, place: Place, rng: np.random.Generator) -> None:
    now.defect_share += amount


CHANGES: Final[Mapping[str, Change]] = {
    "lamp_dim": Change((0.05, 0.12, 0.30), _lamp_dim),
    "lamp_off": Change((0.12, 0.35, 0.85), _lamp_off),
    "sunlight": Change((0.05, 0.15, 0.40), _sunlight),
    "colour_temp": Change((0.025, 0.06, 0.15), _colour_temp),
    "exposure": Change((0.06, 0.18, 0.45), _exposure),
    "soiling": Change((0.015, 0.035, 0.08), _soiling),
    "bump": Change((0.005, 0.014, 0.035), _bump),
    "defocus": Change((0.55, 0.95, 1.9), _defocus),
    "flicker": Change((0.025, 0.06, 0.15), _flicker),
    "noise": Change((0.35, 0.9, 2.2), _noise),
    "haze": Change((0.04, 0.09, 0.22), _haze),
}
"""What happens to light, optics and sensor, by the name of its cause."""

PART_CHANGES: Final[Mapping[str, Change]] = {
    "new_batch": Change((0.05, 0.12, 0.28), _new_batch),
    "defect_rate": Change((0.06, 0.15, 0.40), _defect_rate),
}
"""What happens to the parts."""

RAMPS: Final = ("lamp_dim", "sunlight", "soiling", "defocus", "haze")
"""What also comes slowly: a lamp ages, the sun moves, dust settles."""
