"""Surfaces made of nothing but numbers: noise of many sizes, brushed metal, weave and speckle."""

from collections.abc import Callable, Mapping
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Texture = Callable[[np.random.Generator, int, int], Plane]


def value_noise(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Random values on lattices of 4 to 64 pixels, smoothly joined and added up, coarse ones stronger: cast iron."""
    total = np.zeros((height, width), np.float32)
    for cell_px in (4, 8, 16, 32, 64):
        lattice = rng.standard_normal((height // cell_px + 3, width // cell_px + 3)).astype(np.float32)
        size = (lattice.shape[1] * cell_px, lattice.shape[0] * cell_px)
        fine = cv2.resize(lattice, size, interpolation=cv2.INTER_CUBIC)
        total += np.float32(cell_px**0.4) * fine[cell_px : cell_px + height, cell_px : cell_px + width]
    return _even(total)


def brushed_metal(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Fine scratches along the rows, each of its own length."""
    total = np.zeros((height, width), np.float32)
    for length_px in (6.0, 18.0, 45.0):
        scratches = rng.standard_normal((height, width)).astype(np.float32)
        drawn = cv2.GaussianBlur(scratches, (0, 0), sigmaX=length_px, sigmaY=0.6, borderType=cv2.BORDER_REFLECT)
        total += drawn / drawn.std()
    return _even(total)


def weave(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Threads over and under each other, 7 pixels apart, none quite straight and none as thick as the next."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = 1.5 * value_noise(rng, height, width)
    across, along = (2 * np.pi / 7 * (place + bend) for place in (columns, rows))
    over = np.sin(across / 2) * np.sin(along / 2) > 0
    thread = np.where(over, np.cos(across), np.cos(along))
    return _even(thread.astype(np.float32) + np.float32(0.4) * value_noise(rng, height, width))


def speckle(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Grains that glint: the squared size of a blurred complex noise, as a rough surface scatters light."""
    parts = (cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 1.1) for _ in range(2))
    power = sum(np.square(part) for part in parts)
    return _even(np.asarray(np.minimum(power, np.quantile(power, 0.98)), np.float32))


def plain(rng: np.random.Generator, height: int, width: int) -> Plane:
    """A smooth sheet: nothing but wide, faint clouds."""
    clouds = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 24)
    return _even(np.asarray(clouds, np.float32))


TEXTURES: Final[Mapping[str, Texture]] = {
    "value_noise": value_noise,
    "brushed_metal": brushed_metal,
    "weave": weave,
    "speckle": speckle,
    "plain": plain,
}
"""By name: of a generator, height and width, float32 (height, width) of mean 0 and deviation 1, at most 3 off."""


def _even(picture: Plane) -> Plane:
    return np.asarray(np.clip((picture - picture.mean()) / picture.std(), -3, 3), np.float32)
