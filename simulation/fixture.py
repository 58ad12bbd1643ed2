"""What stands still in the picture: the nest plate with rails, pins and screws, and the two lamps above it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simulation.outlines import design_grid, disc, rounded_box, step
from simulation.shading import Plane, shade, smooth_noise

_PLATE = (0.26, 0.265, 0.275)
_STEEL = (0.52, 0.52, 0.51)
_MARK = (0.74, 0.74, 0.72)
_RAIL = (0.19, 0.27, 0.42)


@dataclass(frozen=True, slots=True)
class Fixture:
    """The static scene, split by lamp so that either can be dimmed.

    left, right: float32 (3, H, W), the fixture's picture (0..1, R, G, B) under that lamp alone at full power;
    left_field, right_field: float32 (H, W), what each lamp sends to a white flat surface, lens vignetting included.
    """

    left: Plane
    right: Plane
    left_field: Plane
    right_field: Plane


def _lamp_fields(x: Plane, y: Plane, half_width: float) -> tuple[Plane, Plane]:
    """Fall-off of each lamp across the frame times the lens's vignetting."""
    across = x / np.float32(half_width)
    vignette = 1 - np.float32(0.20) * (across * across + (y / np.float32(half_width)) ** 2)
    left = (np.float32(0.5) - np.float32(0.11) * across) * vignette
    right = (np.float32(0.5) + np.float32(0.11) * across) * vignette
    return np.asarray(left, dtype=np.float32), np.asarray(right, dtype=np.float32)


def _paint(albedo: NDArray[np.float32], coverage: Plane, colour: tuple[float, float, float]) -> NDArray[np.float32]:
    tint = np.asarray(colour, dtype=np.float32)[:, None, None]
    return albedo * (1 - coverage) + tint * coverage


def _hardware(x: Plane, y: Plane, height: Plane, albedo: NDArray[np.float32]) -> tuple[Plane, NDArray[np.float32]]:
    """Add rails, screws, locating pins and the reference marks."""
    for side in (-1, 1):
        rail = rounded_box(x, y, (0, side * 160), (262, 16), 3)
        groove = rounded_box(x, y, (0, side * 160), (300, 3.5), 1)
        albedo = _paint(albedo, step(rail, 1), _RAIL)
        height = height + 5 * step(rail, 3) - 2.5 * step(groove, 2)
        for at_x in (-205, -70, 70, 205):
            head = disc(x, y, (at_x, side * 160), 9)
            albedo = _paint(albedo, step(head, 1), _STEEL)
            height = height + 3 * step(head, 3) - 4 * step(disc(x, y, (at_x, side * 160), 4), 1.5)
    for at in ((-192.0, -62.0), (-192.0, 62.0), (192.0, -62.0), (192.0, 62.0)):
        pin = disc(x, y, at, 9)
        albedo = _paint(albedo, step(pin, 1), _STEEL)
        height = height + 7 * step(pin, 9)
    for side in (-1, 1):
        for arm in ((11.0, 1.4), (1.4, 11.0)):
            albedo = _paint(albedo, step(rounded_box(x, y, (side * 216, 0), arm, 0.5), 1), _MARK)
    return height, albedo


def build_fixture(rng: np.random.Generator, width: int, height: int) -> Fixture:
    """Build the scene for frames of `width` x `height` px; `rng` decides its brushing and stains."""
    x, y, scale = design_grid(width, height)
    albedo = np.broadcast_to(np.asarray(_PLATE, dtype=np.float32)[:, None, None], (3, height, width)).copy()
    brushed = smooth_noise(rng, (height, width), 0.7, stretch=14)
    worn = smooth_noise(rng, (height, width), 22 * scale)
    relief, albedo = _hardware(x, y, np.zeros((height, width), np.float32), albedo)
    albedo = albedo * (1 + np.float32(0.05) * brushed + np.float32(0.06) * worn)
    lit = shade(np.asarray(relief * np.float32(scale), dtype=np.float32))
    low = cv2.GaussianBlur(relief, (0, 0), 6 * scale) - relief
    lit = lit * np.clip(1 - 0.10 * np.maximum(low, 0), 0.25, 1)[..., None]
    left_field, right_field = _lamp_fields(x, y, (width / 2) / scale)
    return Fixture(
        left=np.asarray(albedo * (lit[..., 0] * left_field), dtype=np.float32),
        right=np.asarray(albedo * (lit[..., 1] * right_field), dtype=np.float32),
        left_field=left_field,
        right_field=right_field,
    )
