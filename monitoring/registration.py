"""How far a camera moved: the shift and turn that lay one picture on another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring.saved import number
from monitoring.scene import Scene, luminance_of

SMALLEST_MOVE_PX: Final = 0.3

_ROUNDS = 30
_ENOUGH = 1e-4
_SMOOTH_PX = 5
_OVERLAP = 0.5
"""A motion that pushes more than the rest of what keeps still out of the picture explains nothing."""
_EXPLAINED = 0.6
"""A motion is believed if it leaves less than this share of the difference."""


@dataclass(frozen=True, slots=True)
class Motion:
    """How far a picture moved: to the right and down, px of the overview, and turned clockwise, degrees."""

    right_px: float
    down_px: float
    turn_degrees: float

    @property
    def length_px(self) -> float:
        """How far the middle of the picture moved."""
        return float(np.hypot(self.right_px, self.down_px))

    def state(self) -> dict[str, float]:
        """JSON-serialisable, exact."""
        return {"right_px": self.right_px, "down_px": self.down_px, "turn_degrees": self.turn_degrees}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The motion that `state` was taken from. Raises `monitoring.saved.StateDamaged`."""
        return cls(*(number(name, state[name]) for name in ("right_px", "down_px", "turn_degrees")))


def register(scene: Scene, overview: NDArray[np.uint8]) -> Motion | None:
    """How far an overview, uint8 (h, w, 3), moved against the scene; None where no motion explains the difference.

    By the enhanced correlation coefficient (G. Evangelidis and E. Psarakis, 2008), over what keeps still, from the
    shift that phase correlation finds. Takes some ten milliseconds.
    """
    seen = luminance_of(overview)
    still = scene.still
    scale = float(seen[still].mean()) / max(float(scene.picture[still].mean()), 1.0)
    even = seen / max(scale, 1e-3)
    template = np.where(still, scene.picture, scene.picture[still].mean()).astype(np.float32)
    moved = np.where(still, even, scene.picture[still].mean()).astype(np.float32)
    window = cv2.createHanningWindow((template.shape[1], template.shape[0]), cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(template, moved, window)
    mask = still.astype(np.uint8)
    best: tuple[float, NDArray[np.float32]] | None = None
    for start in ((right, down), (0.0, 0.0)):
        warp = np.array([[1, 0, start[0]], [0, 1, start[1]]], np.float32)
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ROUNDS, _ENOUGH)
        try:
            _, found = cv2.findTransformECC(scene.picture, even, warp, cv2.MOTION_EUCLIDEAN, criteria, mask, _SMOOTH_PX)
        except cv2.error:  # it does not converge where no motion explains the picture
            continue
        warp = np.asarray(found, np.float32)
        left = _difference(scene, even, warp)
        if best is None or left < best[0]:
            best = left, warp
    if best is None or not best[0] <= _EXPLAINED * _difference(scene, even, np.eye(2, 3, dtype=np.float32)):
        return None
    return _motion(best[1], scene.picture.shape)


def _difference(scene: Scene, seen: NDArray[np.float32], warp: NDArray[np.float32]) -> float:
    """Root mean square difference over what keeps still, counts, beyond what the noise makes."""
    height, width = seen.shape
    size, flags = (width, height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = cv2.warpAffine(seen, warp, size, flags=flags)
    inside = cv2.warpAffine(np.ones_like(seen), warp, size, flags=flags) > 0.99
    where = scene.still & inside
    if where.sum() < _OVERLAP * scene.still.sum():
        return float("inf")
    smooth = cv2.blur(back - scene.picture, (3, 3))[where]
    smooth -= np.median(smooth)
    return float(np.sqrt(max(float(np.mean(smooth**2)) - (scene.noise / 3) ** 2, 0.0)))


def _motion(warp: NDArray[np.float32], shape: tuple[int, ...]) -> Motion | None:
    """The motion of the picture that `warp` undoes, measured in its middle."""
    height, width = shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    right, down = (warp.astype(np.float64) @ middle - middle[:2]).tolist()
    turn = float(np.degrees(np.arctan2(warp[1, 0], warp[0, 0])))
    reach = np.hypot(right, down) + abs(np.radians(turn)) * max(shape) / 2
    return Motion(right, down, turn) if reach >= SMALLEST_MOVE_PX else None
