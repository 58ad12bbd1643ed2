"""Rendered injection-moulded parts, seen from above by the line's camera."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from simulation.fixture import build_fixture
from simulation.flaws import FLAWS, Flaw, dust
from simulation.mould import cut_mould
from simulation.shading import Plane, shade, smooth_noise

OK = "ok"
CLASSES: tuple[str, ...] = (OK, *FLAWS)

_PLASTIC = (0.60, 0.585, 0.55)
_FULL_WELL = 9000.0  # electrons at white: a small industrial sensor
_READ_NOISE = 9.0  # electrons


@dataclass(frozen=True, slots=True)
class Light:
    """The lamps at one moment: `level` scales both, `left` and `right` one each; `colour` > 0 is warmer, < 0 colder.

    A `colour` of 0.1 raises red by 10 % against green and lowers blue by as much.
    """

    level: float = 1.0
    left: float = 1.0
    right: float = 1.0
    colour: float = 0.0


@dataclass(frozen=True, slots=True)
class RenderedPart:
    """One picture with its truth: image uint8 (H, W, 3) RGB; region (x, y, w, h) in px, None for a good part."""

    image: NDArray[np.uint8]
    truth: str
    region: tuple[int, int, int, int] | None
    size: float


@dataclass(frozen=True, slots=True)
class ScheduledPart:
    """A part that is still to be made: everything that decides its picture but the light."""

    index: int
    defect: str | None
    size: float
    lot: int
    seed: int

    @property
    def truth(self) -> str:
        """The class that a perfect inspector would give."""
        return self.defect or OK


class UnknownDefectError(ValueError):
    """A defect that the renderer cannot draw."""

    def __init__(self, defect: str) -> None:
        self.defect = defect
        self.remedy = f"use one of {', '.join(FLAWS)}, or None for a good part"
        super().__init__(f"unknown defect {defect!r}: {self.remedy}")


class PartRenderer:
    """Renders parts of one mould in one fixture; whatever does not change from part to part is made once.

    `seed` decides the mould's texture, the fixture and the lots' colours. The same seed and generator give the same
    bytes. Rendering changes nothing in the renderer, so threads may share it.
    """

    def __init__(self, seed: int, width: int = 480, height: int = 360) -> None:
        rng = np.random.default_rng(seed)
        self.width, self.height, self._seed = width, height, seed
        self._mould = cut_mould(rng, width, height)
        self._fixture = build_fixture(rng, width, height)
        self._faces = self._mould.face_points()
        self._outline = self._mould.outline_points()
        self._grain = rng.standard_normal((3, 2 * height, 2 * width), dtype=np.float32)
        self._flow = smooth_noise(rng, (2 * height, 2 * width), 26 * self._mould.scale, stretch=2.0)
        self._perfect = self._perfect_part()

    def _perfect_part(self) -> NDArray[np.float32]:
        """The flawless part, float32 (H, W, 4): light from the left lamp, from the right one, plastic, shadow."""
        silhouette = self._mould.silhouette
        lit = shade(self._mould.height) * self._mould.openness[..., None]
        reach = 7 * self._mould.scale
        shadow = cv2.GaussianBlur(silhouette, (0, 0), reach)
        return np.dstack([lit, silhouette, shadow]).astype(np.float32)

    def render(
        self, rng: np.random.Generator, defect: str | None, size: float, light: Light, lot: int = 0
    ) -> RenderedPart:
        """Render one part with at most one defect of `size` 0 (barely visible) .. 1 (gross).

        Raises UnknownDefectError.
        """
        if defect is not None and defect not in FLAWS:
            raise UnknownDefectError(defect)
        part = self._perfect.copy()
        for _ in range(rng.poisson(0.7)):
            self._spoil(part, dust(rng, self._mould, self._faces))
        placement = self._place(rng)
        region = None
        if defect is not None:
            points = self._outline if defect == "short_shot" else self._faces
            flaw = FLAWS[defect](rng, self._mould, size, points)
            self._spoil(part, flaw)
            region = self._region(flaw, placement)
        image = self._expose(rng, part, placement, light, lot)
        return RenderedPart(image=image, truth=defect or OK, region=region, size=size if defect else 0.0)

    def _spoil(self, part: NDArray[np.float32], flaw: Flaw) -> None:
        """Draw a flaw into `part`, touching only the flaw's own box."""
        rows, columns = flaw.relief.shape
        box = np.s_[flaw.top : flaw.top + rows, flaw.left : flaw.left + columns]
        window = part[box]
        if flaw.relief.any():
            lit = shade(self._mould.height[box] + flaw.relief) * self._mould.openness[box][..., None]
            # the outermost pixels lack a neighbour for their slope; the flaw has faded there
            window[1:-1, 1:-1, :2] = lit[1:-1, 1:-1]
        window[..., :2] *= flaw.gain[..., None]
        window[..., 2] *= 1 - flaw.missing
        window[..., 3] *= 1 - np.float32(0.5) * flaw.missing

    def _place(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """How the part lies in its nest: affine (2, 3) from the part's frame to the picture."""
        scale = self._mould.scale
        turn = float(np.clip(rng.normal(0, 0.9), -2.5, 2.5))
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        placement = np.asarray(cv2.getRotationMatrix2D(middle, turn, 1.0), dtype=np.float64)
        placement[:, 2] += np.clip(rng.normal(0, 2.2, 2), -6, 6) * scale
        return placement

    def _region(self, flaw: Flaw, placement: NDArray[np.float64]) -> tuple[int, int, int, int]:
        """Bounding box in the picture of what a person would circle; never empty."""
        y, x = np.nonzero(flaw.extent)
        if not len(x):
            y, x = (np.array([side // 2]) for side in flaw.extent.shape)
        spots = np.stack([x + flaw.left, y + flaw.top, np.ones_like(x)])
        picture = placement @ spots
        limit = np.array([self.width - 1, self.height - 1])
        low = np.clip(np.floor(picture.min(axis=1)), 0, limit).astype(int)
        high = np.clip(np.ceil(picture.max(axis=1)), 0, limit).astype(int)
        return int(low[0]), int(low[1]), int(high[0] - low[0] + 1), int(high[1] - low[1] + 1)

    def _lot_colour(self, lot: int) -> NDArray[np.float32]:
        """Albedo of the lot's granulate, (3,)."""
        rng = np.random.default_rng([self._seed, lot])
        tone, tint = rng.normal(0, 0.035), rng.normal(0, 0.008, 3)
        return np.asarray(np.asarray(_PLASTIC) * np.exp(tone + tint), dtype=np.float32)

    def _expose(
        self,
        rng: np.random.Generator,
        part: NDArray[np.float32],
        placement: NDArray[np.float64],
        light: Light,
        lot: int,
    ) -> NDArray[np.uint8]:
        """Lay the part into the fixture, light both, and read the sensor out."""
        lain = cv2.warpAffine(part, placement, (self.width, self.height), flags=cv2.INTER_LINEAR)
        from_left, from_right, plastic, shadow = cv2.split(lain)
        left, right = light.level * light.left, light.level * light.right
        fixture = self._fixture
        down, along = int(rng.integers(self.height)), int(rng.integers(self.width))
        crop = np.s_[down : down + self.height, along : along + self.width]
        flow = 1 + np.float32(abs(rng.normal(0, 0.012))) * self._flow[crop]
        shine = from_left * fixture.left_field * np.float32(left) + from_right * fixture.right_field * np.float32(right)
        shine *= plastic * flow
        ground = (1 - plastic) * (1 - np.float32(0.62) * shadow)
        albedo = self._lot_colour(lot)
        warmth = (1 + light.colour, 1.0, 1 - light.colour)
        grain_at = np.s_[int(rng.integers(self.height)) :, int(rng.integers(self.width)) :]
        channels = []
        for channel in range(3):
            behind = cv2.addWeighted(fixture.left[channel], left, fixture.right[channel], right, 0.0)
            signal = behind * ground + shine * albedo[channel]
            signal *= np.float32(warmth[channel])
            grain = self._grain[channel][grain_at][: self.height, : self.width]
            channels.append(_read_out(signal, grain))
        return np.asarray(cv2.merge(channels), dtype=np.uint8)


def _read_out(signal: Plane, grain: Plane) -> NDArray[np.uint8]:
    """Turn light (0..1 of full scale) into grey values: photon noise grows with the light, read noise does not."""
    deviation = np.sqrt(signal * np.float32(1 / _FULL_WELL) + np.float32((_READ_NOISE / _FULL_WELL) ** 2))
    # rounds and saturates in the same pass
    grey = cv2.addWeighted(signal, 255.0, deviation * grain, 255.0, 0.0, dtype=cv2.CV_8U)
    return np.asarray(grey, dtype=np.uint8)


def encode_jpeg(image: NDArray[np.uint8], quality: int = 92) -> bytes:
    """Compress a uint8 (H, W, 3) RGB picture as the camera PC would."""
    jpeg: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="420"
    )
    return jpeg


def draw_schedule(rng: np.random.Generator, n: int, defect_rate: float, lot_size: int = 200) -> Iterator[ScheduledPart]:
    """Draw `n` parts in the order of production, a share `defect_rate` of them defective, all four kinds alike.

    Sizes lean to the large side; about one defect in eight is hard to see.
    """
    kinds = list(FLAWS)
    for index in range(n):
        defect = kinds[int(rng.integers(len(kinds)))] if rng.random() < defect_rate else None
        size = float(rng.beta(4.0, 1.5)) if defect else 0.0
        seed = int(rng.integers(2**32))
        yield ScheduledPart(index=index, defect=defect, size=size, lot=index // lot_size, seed=seed)
