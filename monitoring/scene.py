"""What keeps still before a camera: learnt from a few images, then every image is measured against it.

The fixture, the rails, the background: whatever the parts do before them, they change only when the light, the optics
or the sensor do. A picture of them that is dimmed, veiled, moved, turned, blurred or lit from one side differs from
the learnt one by a sum of known pictures, its own derivatives among them (as in B. D. Lucas and T. Kanade, 1981), so
that one small least-squares fit tells all of these apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monitoring import blocks
from monitoring.features import GRID, SCENE, Floats
from monitoring.fit import TERMS, fit
from monitoring.saved import StateDamaged, number, packed, unpacked

Pixels = NDArray[np.uint8]
Singles = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALLEST_STILL_SHARE: Final = 0.03
"""With less of the picture keeping still there is no scene."""

_SAMPLES = 20480
_NOISE_SAMPLES = 4096
_MIDDLE = len(SCENE.features) - 4
# What a 3 x 3 mean may scatter from image to image and still count as still: counts, and a share of the brightness.
_STILL_COUNTS = 0.8
_STILL_SHARE = 0.012
_STILL_NOISE = 0.5
_DARKEST, _BRIGHTEST = 6, 248
_MARGIN_SHARE = 1 / 40
_SMALLEST_INTERIOR = 0.02
_LEAST_AROUND = 0.1
"""With less around it, what moves is not a part that lies in the picture."""
_INSIDE = slice(3, -3), slice(3, -3)
"""At the border a derivative is not one."""
_STILL_CELL = 0.9
_PART_CELL = 0.7
_SMALLEST_SPREAD = 0.002
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture of what keeps still before a camera, and what is needed to measure an image against it.

    picture        float32 (h, w), luminance in counts, the median of the images it was learnt from
    still          bool (h, w), where it keeps still
    moving         bool (h, w), where it does not; between the two lies where it might
    noise          pixel noise, counts
    mean_spread    float64 (28, 28), relative image-to-image deviation of each cell's mean
    detail_spread  float64 (28, 28), the same of its detail
    """

    picture: Singles
    still: Mask
    moving: Mask
    noise: float
    mean_spread: Floats
    detail_spread: Floats
    still_cells: NDArray[np.bool_] = field(init=False)
    """bool (28, 28), the cells that lie in what keeps still."""
    part_cells: NDArray[np.bool_] = field(init=False)
    """bool (28, 28), the cells that parts move in."""
    _fit: tuple[NDArray[np.int32], Singles, Singles, Singles, Singles] = field(init=False)
    _weights: tuple[Floats, Floats, Floats] = field(init=False)

    def __post_init__(self) -> None:
        share, moving = _share(self.still), _share(self.moving)
        still_cells, part_cells = share >= min(_STILL_CELL, share.max()), moving >= _PART_CELL
        still = _weights(still_cells, self.mean_spread)
        weights = (still, _weights(part_cells, self.mean_spread), _weights(part_cells, self.detail_spread))
        object.__setattr__(self, "still_cells", still_cells)
        object.__setattr__(self, "part_cells", part_cells)
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_fit", _prepare_fit(self.picture, self.still, self.noise))

    @classmethod
    def learn(cls, images: Sequence[Pixels]) -> Self | None:
        """Learn from images, uint8 (h, w, 3) RGB of one size; None where too little of them keeps still."""
        luminance = np.stack([luminance_of(image) for image in images])
        noise = float(np.median([_noise(picture) for picture in luminance]))
        level = np.median(luminance, axis=(1, 2))
        gain = (level + 1) / np.median(level + 1)
        for _ in range(2):
            even = luminance / gain[:, None, None]
            picture = np.median(even, axis=0)
            moving = _moving(even, picture, noise)
            still = _still(moving)
            if still[_INSIDE].mean() < SMALLEST_STILL_SHARE:
                return None
            gain = luminance[:, still].mean(axis=1) / picture[still].mean()
        means = np.empty((len(images), GRID, GRID, 3))
        detail = np.empty((len(images), GRID, GRID))
        for n, image in enumerate(images):
            blocks.cell_means(image, means[n], detail[n])
        light = np.log(gain)[:, None, None]
        mean_spread = _spread(np.log(means.mean(axis=-1) + 1) - light)
        return cls(picture, still, moving, noise, mean_spread, _spread(np.log(detail + 0.1) - light))

    def fitted(self, image: Pixels) -> Pixels:
        """An image, uint8 (h, w, 3), at the scene's size: one of another size is a change, which has to be measured."""
        height, width = self.picture.shape
        if image.shape[:2] == (height, width):
            return image
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def measure(self, image: Pixels) -> Floats:
        """Measure an image, uint8 (h, w, 3) RGB without gaps, of the scene's size: float64 (n,) as `features.SCENE`."""
        measurement = np.empty(SCENE.size)
        means, detail = np.empty((GRID, GRID, 3)), np.empty((GRID, GRID))
        found, colours = np.empty(TERMS + 2), np.empty(6)
        fit(image, *self._fit, found)
        blocks.cell_means(image, means, detail)
        cells = measurement[SCENE.cells("map")], measurement[SCENE.cells("texture")]
        blocks.describe(means, detail, *self._weights, colours, *cells)
        measurement[0] = found[0]
        measurement[1:3] = colours[:2]
        measurement[3:7] = found[1:5]
        measurement[7] = -found[5]
        measurement[8] = found[11]
        measurement[9:14] = found[6:11]
        measurement[_MIDDLE : _MIDDLE + 4] = colours[2:]
        return measurement

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {
            "shape": list(self.picture.shape),
            "picture": packed(self.picture),
            "still": packed(np.packbits(self.still)),
            "moving": packed(np.packbits(self.moving)),
            "noise": self.noise,
            "mean_spread": packed(self.mean_spread),
            "detail_spread": packed(self.detail_spread),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The scene that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        height, width = (int(number("shape", side)) for side in state["shape"])
        if not (GRID <= height <= 256 * GRID and GRID <= width <= 256 * GRID):
            raise StateDamaged("a scene of no size that images have")
        picture = unpacked("picture", state["picture"], np.float32, height, width)
        still, moving = (
            np.unpackbits(unpacked(name, state[name], np.uint8, (height * width + 7) // 8), count=height * width)
            .reshape(height, width)
            .astype(bool)
            for name in ("still", "moving")
        )
        spreads = [unpacked(name, state[name], np.float64, GRID, GRID) for name in ("mean_spread", "detail_spread")]
        noise = number("noise", state["noise"])
        if not still[_INSIDE].any() or noise < 0 or min(spread.min() for spread in spreads) <= 0:
            raise StateDamaged("a scene in which nothing keeps still")
        return cls(picture, still, moving, noise, *spreads)


def luminance_of(image: Pixels) -> Singles:
    """Luminance, float32 (h, w) in counts."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _moving(even: Singles, picture: Singles, noise: float) -> Mask:
    """Where pictures of even light do not keep still, or show too little or too much light: bool (h, w)."""
    smooth = np.stack([cv2.blur(one - picture, (3, 3)) for one in even])
    bound = np.maximum(_STILL_COUNTS + _STILL_SHARE * picture, _STILL_NOISE * noise)
    restless = _without_specks(smooth.std(axis=0) > bound)
    part = restless | _enclosed(restless)
    if (~part)[_INSIDE].mean() < _LEAST_AROUND:
        part = restless
    return np.asarray(part | _without_specks((picture < _DARKEST) | (picture > _BRIGHTEST)))


def _enclosed(restless: Mask) -> Mask:
    """What rims that move enclose: a smooth part that lies in its nest moves there alone. Not a place of its texture
    that happened to keep still.
    """
    ring = cv2.morphologyEx(restless.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    places, _ = ndimage.label(ndimage.binary_fill_holes(ring) & (ring == 0))
    is_large = np.bincount(places.ravel()) >= _SMALLEST_INTERIOR * places.size
    is_large[0] = False
    return np.asarray(is_large[places])


def _without_specks(mask: Mask) -> Mask:
    """A mask without what is chance."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0)


def _still(moving: Mask) -> Mask:
    """Where it keeps still for sure: what moves reaches a little further than so few images have shown."""
    margin = max(2, round(_MARGIN_SHARE * max(moving.shape)))
    return np.asarray(cv2.dilate(moving.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) == 0)


def _share(mask: Mask) -> Singles:
    """The share of each cell that a mask covers, float32 (28, 28)."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA))


def _prepare_fit(
    picture: Singles, still: Mask, noise: float
) -> tuple[NDArray[np.int32], Singles, Singles, Singles, Singles]:
    """Places, template, solver, terms and precision for `monitoring.fit.fit`."""
    height, width = picture.shape
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.5)
    down, across = np.gradient(smooth)
    curvature = cv2.Laplacian(smooth, cv2.CV_32F)
    inside = np.zeros_like(still)
    inside[_INSIDE] = True
    places = _choose(np.flatnonzero(still & inside), np.hypot(across, down) + np.abs(curvature) / 2)
    rows, columns = np.divmod(places, width)
    half = max(height, width) / 2
    x, y = (columns - (width - 1) / 2) / half, (rows - (height - 1) / 2) / half
    template = picture.ravel()[places].astype(np.float64)
    across, down = across.ravel()[places].astype(np.float64), down.ravel()[places].astype(np.float64)
    light = _light_shapes(x, y, template)
    terms = np.stack(
        [
            template - template.mean(),
            -across,
            -down,
            -(x * down - y * across),
            curvature.ravel()[places].astype(np.float64),
            *(light * template),
            template,
        ]
    )
    deviation = np.sqrt(noise**2 + 0.25 + (0.004 * template) ** 2)
    weighted = terms / deviation**2
    normal = weighted @ terms.T
    # A term that nothing in the scene shows gets no say, whatever the noise makes of it.
    scale = np.sqrt(np.diag(normal)) + 1e-9
    solver = np.linalg.inv(normal / np.outer(scale, scale) + 1e-6 * np.eye(len(terms))) / np.outer(scale, scale)
    found = solver @ weighted
    step = max(1, places.size // _NOISE_SAMPLES)
    # The fit takes every k // m-th place: a last one out of step would shift all of them.
    sampled = slice(0, places.size // step * step, step)
    return (
        places.astype(np.int32),
        template.astype(np.float32),
        np.ascontiguousarray(found[:TERMS], np.float32),
        np.ascontiguousarray(terms[:TERMS, sampled], np.float32),
        (1 / deviation[sampled]).astype(np.float32),
    )


def _light_shapes(x: Floats, y: Floats, template: Floats) -> Floats:
    """Shapes that light takes over a scene, (5, k): lean and bow both ways, and twist; none changes the mean light."""
    shapes = np.stack([x, y, x * x, y * y, x * y])
    return np.asarray(shapes - (shapes @ template / template.sum())[:, None])


def _choose(still: NDArray[np.int64], structure: Singles) -> NDArray[np.int64]:
    """At most `_SAMPLES` places in order: those with most structure, and as many of the rest, evenly."""
    if still.size <= _SAMPLES:
        return still
    ranked = still[np.argsort(-structure.ravel()[still], kind="stable")]
    rest = np.sort(ranked[_SAMPLES // 2 :])
    even = rest[np.linspace(0, rest.size - 1, _SAMPLES - _SAMPLES // 2).round().astype(np.int64)]
    return np.sort(np.concatenate([ranked[: _SAMPLES // 2], even]))


def _weights(cells: Mask, spread: Floats) -> Floats:
    """Weights of cells that scatter so, adding up to 1, or all 0 where there are no cells."""
    weights = np.where(cells, 1 / spread**2, 0.0)
    return np.asarray(weights / max(weights.sum(), 1e-300), np.float64)


def _spread(values: Floats) -> Floats:
    """Robust deviation over the first axis."""
    residual = np.abs(values - np.median(values, axis=0))
    return np.asarray(np.maximum(np.quantile(residual, 0.9, axis=0) / 1.645, _SMALLEST_SPREAD))


def _noise(picture: Singles) -> float:
    """Pixel noise in counts (J. Immerkær, 1996), of the quieter part of the picture."""
    sizes = np.sort(np.abs(cv2.filter2D(picture, -1, _IMMERKAER)), axis=None)
    return float(sizes[: int(0.7 * sizes.size)].mean() / (6 * 0.4637))
