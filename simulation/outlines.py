"""Plane figures as signed distances, in design pixels: the mould and the fixture are drawn with them."""

import numpy as np

from simulation.shading import Plane


def design_grid(width: int, height: int) -> tuple[Plane, Plane, float]:
    """Coordinates of a frame's pixels as if it were 480 x 360: x and y, float32 (H, W), 0 in the middle, and the scale.

    `scale` is how many of the frame's pixels make one design pixel.
    """
    scale = min(width / 480, height / 360)
    rows, columns = np.mgrid[0:height, 0:width]
    x = (columns - (width - 1) / 2) / scale
    y = (rows - (height - 1) / 2) / scale
    return x.astype(np.float32), y.astype(np.float32), scale


def rounded_box(x: Plane, y: Plane, centre: tuple[float, float], half: tuple[float, float], corner: float) -> Plane:
    """Signed distance in px to the outline of a rounded rectangle, positive inside."""
    past_x = np.abs(x - np.float32(centre[0])) - np.float32(half[0] - corner)
    past_y = np.abs(y - np.float32(centre[1])) - np.float32(half[1] - corner)
    outside = np.hypot(np.maximum(past_x, 0), np.maximum(past_y, 0))
    inside = np.minimum(np.maximum(past_x, past_y), 0)
    return np.asarray(np.float32(corner) - outside - inside, dtype=np.float32)


def disc(x: Plane, y: Plane, centre: tuple[float, float], radius: float) -> Plane:
    """Signed distance in px to a circle, positive inside."""
    away = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    return np.asarray(np.float32(radius) - away, dtype=np.float32)


def step(distance: Plane, width_px: float) -> Plane:
    """Smooth 0..1 ramp, 0 where `distance` <= 0 and 1 from `width_px` on."""
    t = np.clip(distance / np.float32(width_px), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
