"""The ways a moulded part goes wrong, each drawn as a small change of the part's own surface."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simulation.mould import Mould
from simulation.outlines import step
from simulation.shading import Plane


@dataclass(frozen=True, slots=True)
class Flaw:
    """A change of the part inside one box of its own frame.

    top, left: the box's corner in px; relief: float32 (h, w), px added to the height; gain: float32 (h, w), factor on
    the reflectance; missing: float32 (h, w), 0..1 share of the plastic that is not there; extent: bool (h, w), the
    pixels that a person would circle.
    """

    top: int
    left: int
    relief: Plane
    gain: Plane
    missing: Plane
    extent: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Patch:
    """A box of the frame around a centre, with coordinates relative to that centre."""

    top: int
    left: int
    x: Plane
    y: Plane

    @property
    def blank(self) -> Plane:
        return np.zeros_like(self.x)


def _patch(mould: Mould, centre: tuple[int, int], reach_px: float) -> _Patch:
    """Cut the box of `reach_px` around `centre` (y, x), less what lies outside the frame."""
    reach = int(np.ceil(reach_px)) + 4
    rows, columns = mould.height.shape
    top, bottom = max(0, centre[0] - reach), min(rows, centre[0] + reach + 1)
    left, right = max(0, centre[1] - reach), min(columns, centre[1] + reach + 1)
    y, x = np.mgrid[top - centre[0] : bottom - centre[0], left - centre[1] : right - centre[1]].astype(np.float32)
    return _Patch(top=top, left=left, x=x, y=y)


def _pick(rng: np.random.Generator, points: NDArray[np.intp]) -> tuple[int, int]:
    y, x = points[rng.integers(len(points))]
    return int(y), int(x)


def _stroke(patch: _Patch, path: NDArray[np.float64], thickness: int) -> Plane:
    """Coverage 0..1 of a line through `path`, (n, 2) px (x, y) from the patch's centre."""
    ink = np.zeros(patch.x.shape, np.uint8)
    origin = np.array([patch.x[0, 0], patch.y[0, 0]])
    # 4 fractional bits: a scratch does not care for the pixel grid
    corners = np.round((path - origin) * 16).astype(np.int32)
    cv2.polylines(ink, [corners], False, 255, thickness, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(ink, (0, 0), 0.6), dtype=np.float32) / np.float32(255)


def _curve(rng: np.random.Generator, length_px: float, bend: float) -> NDArray[np.float64]:
    """A curve of `length_px` through the origin, (24, 2), with a random heading and a turn of about `bend` rad."""
    turn = rng.normal(0, bend)
    heading = rng.uniform(0, np.pi) + turn * np.linspace(-0.5, 0.5, 24)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length_px / 23)
    path = np.cumsum(steps, axis=0)
    return np.asarray(path - path[12])


def scratch(rng: np.random.Generator, mould: Mould, size: float, faces: NDArray[np.intp]) -> Flaw:
    """A groove with a burr and stress-whitened flanks, 12 to 150 px long."""
    length = (12 + 138 * size) * mould.scale * rng.uniform(0.8, 1.2)
    patch = _patch(mould, _pick(rng, faces), length * 0.62)
    groove = _stroke(patch, _curve(rng, length, 0.5), 1 if size * mould.scale < 0.6 else 2)
    # the tool skips: a scratch is never equally deep all along
    skips = np.float32(0.75) + np.float32(0.25) * np.sin(patch.x * rng.uniform(0.05, 0.2) + patch.y * 0.1)
    groove = groove * skips.astype(np.float32)
    burr = cv2.GaussianBlur(groove, (0, 0), 1.4)
    depth = np.float32(0.35 + 1.0 * size)
    return Flaw(
        top=patch.top,
        left=patch.left,
        relief=depth * (np.float32(0.7) * burr - groove),
        gain=1 + np.float32(0.05 + 0.27 * size) * groove,
        missing=patch.blank,
        extent=groove > 0.25,
    )


def dent(rng: np.random.Generator, mould: Mould, size: float, faces: NDArray[np.intp]) -> Flaw:
    """A pressed or sunk spot with a soft rim, 5 to 24 px in radius."""
    radius = (5 + 19 * size) * mould.scale * rng.uniform(0.85, 1.15)
    patch = _patch(mould, _pick(rng, faces), radius * 2.2)
    angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    along = patch.x * np.float32(np.cos(angle)) + patch.y * np.float32(np.sin(angle))
    aside = (patch.y * np.float32(np.cos(angle)) - patch.x * np.float32(np.sin(angle))) / np.float32(ratio)
    away = (along * along + aside * aside) / np.float32(radius * radius)
    depth = np.float32((0.10 + 0.26 * size) * radius)
    bowl = np.exp(-np.float32(1.6) * away * np.sqrt(away))
    rim = np.float32(0.16) * np.exp(-np.float32(6.0) * (np.sqrt(away) - np.float32(1.15)) ** 2)
    return Flaw(
        top=patch.top,
        left=patch.left,
        relief=np.asarray(depth * (rim - bowl), dtype=np.float32),
        gain=np.asarray(1 - np.float32(0.05 + 0.05 * size) * bowl, dtype=np.float32),
        missing=patch.blank,
        extent=away < 1.3,
    )


def _specks(rng: np.random.Generator, patch: _Patch, radius: float, count: int) -> Plane:
    """Coverage of `count` ragged grains, the largest in the middle."""
    coverage = patch.blank
    for number in range(count):
        grain = radius if number == 0 else radius * rng.uniform(0.25, 0.6)
        at = (0.0, 0.0) if number == 0 else tuple(rng.normal(0, 1.6 * radius, 2))
        dx, dy = patch.x - np.float32(at[0]), patch.y - np.float32(at[1])
        wobble = _wavy(rng, np.arctan2(dy, dx), 0.22)
        coverage = np.maximum(coverage, step(np.float32(grain) * wobble - np.hypot(dx, dy) + np.float32(0.6), 1.4))
    return coverage


def _wavy(rng: np.random.Generator, angle: Plane, share: float) -> Plane:
    """Radius factor of a ragged round shape: 1 with a few harmonics of about `share`."""
    factor = np.ones_like(angle)
    for harmonic in (2, 3, 5):
        factor = factor + np.float32(rng.normal(0, share / harmonic)) * np.sin(
            harmonic * angle + np.float32(rng.uniform(0, 2 * np.pi))
        )
    return factor


def contamination(rng: np.random.Generator, mould: Mould, size: float, faces: NDArray[np.intp]) -> Flaw:
    """Foreign matter on the face: burnt specks, a fibre, or a smear of grease."""
    radius = (1.1 + 7.0 * size) * mould.scale * rng.uniform(0.85, 1.15)
    kind = rng.choice(["specks", "specks", "fibre", "smear"])
    dark = 0.20 + 0.55 * size
    if kind == "fibre":
        length = 7 * radius + 4
        patch = _patch(mould, _pick(rng, faces), length * 0.62)
        coverage = _stroke(patch, _curve(rng, length, 2.2), 1 if size < 0.7 else 2)
    elif kind == "smear":
        patch = _patch(mould, _pick(rng, faces), radius * 5)
        grease = _specks(rng, patch, radius * 2.2, 3)
        coverage = np.asarray(cv2.GaussianBlur(grease, (0, 0), radius * 0.6 + 0.8), dtype=np.float32)
        dark *= 0.6
    else:
        patch = _patch(mould, _pick(rng, faces), radius * 4.5)
        coverage = _specks(rng, patch, radius, 1 + int(rng.poisson(1 + 4 * size)))
    return Flaw(
        top=patch.top,
        left=patch.left,
        relief=np.float32(0.25) * coverage,
        gain=np.asarray(1 - np.float32(dark) * coverage, dtype=np.float32),
        missing=patch.blank,
        extent=coverage > 0.25,
    )


def short_shot(rng: np.random.Generator, mould: Mould, size: float, outline: NDArray[np.intp]) -> Flaw:
    """Plastic that did not reach the outline: a bay with a rounded front, 5 to 50 px deep."""
    radius = (4.5 + 45 * size**1.2) * mould.scale * rng.uniform(0.9, 1.1)
    patch = _patch(mould, _pick(rng, outline), radius * 1.6 + 8)
    front = np.hypot(patch.x, patch.y) - np.float32(radius) * _wavy(rng, np.arctan2(patch.y, patch.x), 0.16)
    window = np.s_[patch.top : patch.top + patch.x.shape[0], patch.left : patch.left + patch.x.shape[1]]
    height, inside = mould.height[window], mould.depth_inside[window]
    missing = np.clip(np.float32(0.5) - front, 0, 1)
    rounded = step(front, (3 + 5 * size) * mould.scale)
    return Flaw(
        top=patch.top,
        left=patch.left,
        relief=np.asarray(height * (rounded - 1), dtype=np.float32),
        gain=np.ones_like(height),
        missing=np.asarray(missing, dtype=np.float32),
        extent=(missing > 0.5) & (inside > 0),
    )


def dust(rng: np.random.Generator, mould: Mould, faces: NDArray[np.intp]) -> Flaw:
    """A harmless grain, fainter than any contamination: good parts are not spotless either."""
    patch = _patch(mould, _pick(rng, faces), 3 * mould.scale)
    coverage = _specks(rng, patch, 0.8 * mould.scale, 1)
    gain = 1 + np.float32(rng.choice([-0.10, 0.10])) * coverage
    return Flaw(
        top=patch.top,
        left=patch.left,
        relief=patch.blank,
        gain=np.asarray(gain, dtype=np.float32),
        missing=patch.blank,
        extent=coverage > 0.25,
    )


FLAWS: dict[str, Callable[[np.random.Generator, Mould, float, NDArray[np.intp]], Flaw]] = {
    "scratch": scratch,
    "dent": dent,
    "contamination": contamination,
    "short_shot": short_shot,
}
