"""How a height map looks from above under a bar lamp on its left and one on its right."""

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

_ELEVATION = np.deg2rad(48.0)
_TILT = np.deg2rad(14.0)
_GLOSS = np.float32(0.30)


def _lamp_direction(side: float) -> tuple[float, float, float]:
    """Unit vector to a lamp; `side` is -1 for the left one, +1 for the right one, both a little behind the part."""
    reach = np.cos(_ELEVATION)
    return float(side * reach * np.cos(_TILT)), float(-reach * np.sin(_TILT)), float(np.sin(_ELEVATION))


def _half_vector(lamp: tuple[float, float, float]) -> tuple[float, float, float]:
    """Unit vector halfway between a lamp and the camera, which looks straight down (Blinn's gloss model)."""
    x, y, z = lamp
    length = float(np.sqrt(x * x + y * y + (z + 1.0) ** 2))
    return x / length, y / length, (z + 1.0) / length


def _shade_one(slope_x: Plane, slope_y: Plane, up: Plane, lamp: tuple[float, float, float]) -> Plane:
    diffuse = (up * np.float32(lamp[2]) - slope_x * np.float32(lamp[0]) - slope_y * np.float32(lamp[1])) / np.float32(
        lamp[2]
    )
    half = _half_vector(lamp)
    facing = up * np.float32(half[2]) - slope_x * np.float32(half[0]) - slope_y * np.float32(half[1])
    facing = np.maximum(facing, 0)
    # facing**32 by squaring: np.power on float32 costs thirty times as much
    for _ in range(5):
        facing = facing * facing
    # never quite dark: the walls of the cell send a little light everywhere
    return np.asarray(np.maximum(diffuse, np.float32(0.12)) + _GLOSS * facing, dtype=np.float32)


def shade(height: Plane) -> NDArray[np.float32]:
    """Return the light each lamp sends to the camera, float32 (H, W, 2), left lamp first; flat matt ground is about 1.

    `height` is float32 (H, W) in pixels, upwards to the camera.
    """
    slope_x = np.asarray(cv2.Scharr(height, cv2.CV_32F, 1, 0, scale=1 / 32), dtype=np.float32)
    slope_y = np.asarray(cv2.Scharr(height, cv2.CV_32F, 0, 1, scale=1 / 32), dtype=np.float32)
    up: Plane = (1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)).astype(np.float32, copy=False)
    across: Plane = slope_x * up
    along: Plane = slope_y * up
    both = [_shade_one(across, along, up, _lamp_direction(side)) for side in (-1.0, 1.0)]
    return np.stack(both, axis=-1).astype(np.float32, copy=False)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], blur_px: float, stretch: float = 1.0) -> Plane:
    """Gaussian noise of unit deviation, blurred to grains of about `blur_px`, `stretch` times longer along x."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), sigmaX=blur_px * stretch, sigmaY=blur_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray((soft - soft.mean()) / soft.std(), dtype=np.float32)
