"""The shape that the mould gives every part: a rounded housing with bosses, ribs, an engraving and a gate mark."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simulation.outlines import design_grid, disc, rounded_box, step
from simulation.shading import Plane, smooth_noise

# sizes in pixels of a 480 x 360 frame; a larger frame scales them
_HALF_WIDTH, _HALF_HEIGHT, _CORNER = 158.0, 106.0, 30.0
_BEVEL = 11.0
_BOSS_INSET = 32.0


@dataclass(frozen=True, slots=True)
class Mould:
    """A part as the mould would make it every time, lying straight in the middle of the frame.

    height: float32 (H, W), px above the fixture; openness: float32 (H, W), 0 in a deep hole .. 1 on open ground;
    depth_inside: float32 (H, W), px from the outline inwards, negative outside; scale: frame px per design px.
    """

    height: Plane
    openness: Plane
    depth_inside: Plane
    scale: float

    @property
    def silhouette(self) -> Plane:
        """Float32 (H, W), 1 where there is plastic, with an outline softened over a pixel."""
        return np.asarray(np.clip(self.depth_inside + np.float32(0.5), 0, 1), dtype=np.float32)

    def face_points(self) -> NDArray[np.intp]:
        """Return (n, 2) pixels (y, x) of the open face, where a flaw of the surface can be seen."""
        open_face = (self.depth_inside > _BEVEL * self.scale) & (self.openness > 0.85)
        return np.argwhere(open_face)

    def outline_points(self) -> NDArray[np.intp]:
        """Return (n, 2) pixels (y, x) on the outline."""
        return np.argwhere(np.abs(self.depth_inside) < 0.8)


def _engraving(shape: tuple[int, int], scale: float) -> Plane:
    """Coverage 0..1 of the engraved material mark and part number."""
    ink = np.zeros(shape, np.uint8)
    middle_y, middle_x = shape[0] / 2, shape[1] / 2
    lines = ((">PA66<", 30.0, -36.0, 0.72), ("LP-7 C2", 27.0, -10.0, 0.72))
    for text, x, y, size in lines:
        at = (round(middle_x + x * scale), round(middle_y + y * scale))
        cv2.putText(ink, text, at, cv2.FONT_HERSHEY_SIMPLEX, size * scale, 255, max(1, round(scale)), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(ink, (0, 0), 0.5 * scale), dtype=np.float32) / np.float32(255)


def _body(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Height and depth inside of the plain housing: bevelled edge, a raised rim, a sunk name field."""
    inside = rounded_box(x, y, (0, 0), (_HALF_WIDTH, _HALF_HEIGHT), _CORNER)
    rim = step(inside - 13, 3) * step(21 - inside, 3)
    field = rounded_box(x, y, (72, -30), (60, 28), 7)
    height = 12 * step(inside, _BEVEL) + 2.2 * rim - 2.0 * step(field, 3)
    return np.asarray(height, dtype=np.float32), inside


def _features(x: Plane, y: Plane, height: Plane) -> tuple[Plane, Plane]:
    """Add bosses with holes, ribs, a slot, ejector marks and the gate; returns height and openness."""
    hole = np.zeros_like(height)
    for side_x in (-1, 1):
        for side_y in (-1, 1):
            at = (side_x * (_HALF_WIDTH - _BOSS_INSET - 8), side_y * (_HALF_HEIGHT - _BOSS_INSET - 2))
            height = height + 3.5 * step(disc(x, y, at, 17), 4)
            hole = np.maximum(hole, step(disc(x, y, at, 8.5), 2.5))
    for number in range(6):
        rib = rounded_box(x, y, (-104 + 17 * number, -6), (3.4, 54), 3.2)
        height = height + 4.0 * step(rib, 3.2)
    hole = np.maximum(hole, step(rounded_box(x, y, (72, 56), (38, 10), 5), 2.5))
    for at in ((-130.0, -8.0), (136.0, 12.0), (10.0, 78.0), (0.0, -80.0)):
        ring = disc(x, y, at, 8)
        height = height - 0.5 * step(ring, 1.5)
    gate = disc(x, y, (66, 20), 6)
    height = height + 1.6 * step(gate, 4) - 1.2 * step(disc(x, y, (66, 20), 12), 2)
    height = height - 7.0 * hole
    return np.asarray(height, dtype=np.float32), np.asarray(1 - 0.86 * hole, dtype=np.float32)


def cut_mould(rng: np.random.Generator, width: int, height: int) -> Mould:
    """Cut a mould for frames of `width` x `height` px; `rng` decides only its spark-eroded texture."""
    x, y, scale = design_grid(width, height)
    relief, inside = _body(x, y)
    relief, openness = _features(x, y, relief)
    engraving = _engraving((height, width), scale)
    relief = relief - 1.5 * engraving
    # what lies lower than its surroundings sees less of the cell
    crowded = relief - cv2.GaussianBlur(relief, (0, 0), 5 * scale)
    openness = openness * np.clip(1 + 0.045 * np.minimum(crowded, 0), 0.4, 1) * (1 - 0.13 * engraving)
    relief = relief * np.float32(scale) + np.float32(0.055) * smooth_noise(rng, (height, width), 0.9)
    return Mould(
        height=np.asarray(relief, dtype=np.float32),
        openness=np.asarray(openness, dtype=np.float32),
        depth_inside=np.asarray(inside * np.float32(scale), dtype=np.float32),
        scale=scale,
    )
