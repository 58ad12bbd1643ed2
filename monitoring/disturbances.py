"""What may happen to light, optics and sensor, done to a camera's own images, to find out what its monitor notices.

Images are taken for what an sRGB camera sent, or one whose counts are proportional to the light: they are turned into
light, changed there and turned back. What is smoothed on the way gets its noise back.

An image was rounded to counts and is rounded again. Where its noise is a count or so, what the first rounding took is
drawn anew, a little towards what the camera usually sees there, so that neither the level nor the noise of an image
changes by that. Quieter images are only rounded: of them, changes of less than a count look more like patterns than
they would. So are those in which next to nothing keeps still: there the patterns differ from image to image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Planes = NDArray[np.float32]
Done = Callable[[Pixels, np.random.Generator], Pixels]
"""A disturbance that stands: does it to one image, uint8 (h, w, 3); the generator is for what differs from image to
image."""

_STEPS = 16
_SHADES = 1 << 14
_HIDING_NOISE = 0.7
"""Counts of noise in a colour from which on an image hides that it is rounded twice."""
_USUAL_NOISES = 3.0
_FEW_NOISES = 2.0
_STILL_NOISES = 1.5
_STILL_SHARE = 0.1
_LUMINANCE = (0.299, 0.587, 0.114)
_USUAL_IMAGES = 32
_NOISE_IMAGES = 24
_SMOOTH_PX = 9
_LOWER_QUARTER = 0.9
"""Of deviations known from so few images, over the true one."""
_PROBE_PX = 96
_SMALLEST_NOISE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a disturbance must know of a camera's images.

    usual      float32 (h, w, channels) in counts, what they show most of the time; one channel where all are alike
    still      bool (h, w, channels), where they show little else
    light      their mean light, 0..1
    noise      their pixel noise, counts of luminance
    is_linear  whether their counts are proportional to the light
    """

    usual: Planes
    still: NDArray[np.bool_]
    light: float
    noise: float
    is_linear: bool = False

    @classmethod
    def of(cls, images: Sequence[Pixels], *, is_linear: bool = False) -> "Seen":
        """Of some images, uint8 (h, w, 3) of one size, at least two of them. Raises ValueError."""
        if len(images) < 2 or len({image.shape for image in images}) != 1:
            raise ValueError("a camera is known by two images or more, all of one size")
        is_mono = all(np.array_equal(image[..., 0], image[..., 2]) for image in images)
        few = np.stack(images[:: max(1, len(images) // _USUAL_IMAGES)])[..., : 1 if is_mono else 3]
        level = few.mean(axis=(1, 2, 3), dtype=np.float64)
        even = few / np.maximum(level / level.mean(), 1e-3).astype(np.float32)[:, None, None, None]
        usual, noise = np.median(even, axis=0).astype(np.float32), _noise_of(images)
        still = np.median(np.abs(even - usual), axis=0) < _STILL_NOISES * noise
        light = float(_decoding(is_linear).take(few.astype(np.int32) * _STEPS).mean())
        return cls(usual, still, light, noise, is_linear)

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.usual)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.usual.shape[1])

    @property
    def is_mono(self) -> bool:
        """Whether all colours are alike."""
        return bool(self.usual.shape[2] == 1)

    @property
    def hides_rounding(self) -> bool:
        """Whether what the first rounding took is to be drawn anew."""
        return self.channel_noise >= _HIDING_NOISE and bool(self.still.mean() >= _STILL_SHARE)

    @property
    def channel_noise(self) -> float:
        """Counts of noise in each colour, whose mean is the luminance."""
        return self.noise if self.is_mono else self.noise / float(np.linalg.norm(_LUMINANCE))


Begin = Callable[[float, Seen, np.random.Generator], Done]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that may happen.

    amounts  from hardly anything to gross
    begin    makes it happen to a camera by an amount: where and which way is drawn from the generator
    what     it in words
    phrase   it in words with an amount, which goes where `{}` is
    in_px    whether amounts are pixels of the overview; otherwise they are shares
    shown_in_mono  whether a camera of one colour sees it at all
    """

    amounts: tuple[float, ...]
    begin: Begin
    what: str
    phrase: str
    in_px: bool = False
    shown_in_mono: bool = True

    def amount_text(self, amount: float) -> str:
        """The amount alone, such as `4 %` or `5 px`."""
        return f"{amount:g} px" if self.in_px else f"{100 * amount:.3g} %"

    def text(self, amount: float) -> str:
        """It and the amount, such as `4 % less light` or `a spot of 5 px`."""
        return self.phrase.format(self.amount_text(amount))


def _lamp_dim(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    return _lit(seen, lambda light, each: light * np.float32(1 - amount))


def _lamp_off(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    """All of `amount` is missing at one edge, nothing at the other."""
    side = int(rng.integers(4))
    length = seen.width if side < 2 else seen.height
    near = (1 + np.cos(np.linspace(0, np.pi, length, dtype=np.float32))) / 2
    left_over = 1 - np.float32(amount) * (near if side % 2 == 0 else near[::-1])
    field = np.broadcast_to(left_over[None, :] if side < 2 else left_over[:, None], (seen.height, seen.width))
    shape = np.ascontiguousarray(field, np.float32)[..., None]
    return _lit(seen, lambda light, each: light * shape)


def _sunlight(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    """A patch with soft edges that clouds make come and go; `amount` is its light over the picture's mean."""
    rows, columns = np.mgrid[0 : seen.height, 0 : seen.width].astype(np.float32)
    y, x = rng.uniform(0.2, 0.8, 2) * (seen.height, seen.width)
    angle, size = rng.uniform(0, np.pi), 0.2 * min(seen.height, seen.width)
    across = np.abs((columns - x) * np.cos(angle) + (rows - y) * np.sin(angle))
    patch = (1 / (1 + np.exp(np.clip((across - size) / (0.15 * size), -30, 30))))[..., None].astype(np.float32)
    tint = np.ones(1, np.float32) if seen.is_mono else np.array([0.93, 1.0, 1.1], np.float32)
    added = np.float32(amount * seen.light) * patch * tint
    return _lit(
        seen, lambda light, each: light + added * np.float32(np.clip(1 + 0.2 * each.standard_normal(), 0.4, 1.5))
    )


def _colour_temp(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    """Red up and blue down by `amount`, or the other way round; the luminance stays."""
    warmer = float(rng.choice([-1, 1])) * amount
    tint = np.array([1 + warmer, 1, 1 - warmer])
    balanced = (tint / (tint @ [0.2126, 0.7152, 0.0722])).astype(np.float32)
    return _lit(seen, lambda light, each: light * balanced)


def _exposure(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    return _lit(seen, lambda light, each: light * np.float32(1 + amount))


def _soiling(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    """A spot `amount` pixels wide that lets half of the light through, or one that shines as bright as dust does."""
    rows, columns = np.mgrid[0 : seen.height, 0 : seen.width].astype(np.float32)
    y, x = rng.uniform(0.05, 0.95, 2) * (seen.height, seen.width)
    away = np.hypot(rows - y, columns - x)
    opacity = 0.5 * np.clip((amount / 2 - away) / max(1.0, 0.15 * amount) + 0.5, 0, 1)[..., None].astype(np.float32)
    brightness = np.float32(seen.light * (0.1 if rng.random() < 0.7 else 2.0))
    return _lit(seen, lambda light, each: light + opacity * (brightness - light))


def _bump(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    """A shift by `amount` pixels, any way, and a turn of a fortieth of a degree a pixel."""
    angle = rng.uniform(0, 2 * np.pi)
    motion = cv2.getRotationMatrix2D((seen.width / 2, seen.height / 2), float(rng.choice([-1, 1])) * amount / 40, 1.0)
    motion[:, 2] += amount * np.cos(angle), amount * np.sin(angle)

    def move(light: Planes) -> Planes:
        size = (light.shape[1], light.shape[0])
        return np.asarray(
            cv2.warpAffine(light, motion, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT), np.float32
        )

    return _smoothed(seen, move)


def _defocus(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    return _smoothed(seen, lambda light: np.asarray(cv2.GaussianBlur(light, (0, 0), amount), np.float32))


def _flicker(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    return _lit(seen, lambda light, each: light * np.float32(max(0.1, 1 + amount * each.standard_normal())))


def _noise(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    more = max(seen.channel_noise, _SMALLEST_NOISE) * float(np.sqrt((1 + amount) ** 2 - 1))

    def disturb(image: Pixels, each: np.random.Generator) -> Pixels:
        return _counts(image.astype(np.float32), more, seen, each)

    return disturb


def _haze(amount: float, seen: Seen, rng: np.random.Generator) -> Done:
    veil = np.float32(amount * seen.light)
    return _lit(seen, lambda light, each: light * np.float32(1 - amount) + veil)


DISTURBANCES: Final[Mapping[str, Disturbance]] = {
    "lamp_dim": Disturbance((0.01, 0.02, 0.04, 0.08, 0.15, 0.3), _lamp_dim, "less light", "{} less light"),
    "lamp_off": Disturbance(
        (0.02, 0.04, 0.08, 0.15, 0.3, 0.7), _lamp_off, "less light at one edge", "{} less light at one edge"
    ),
    "sunlight": Disturbance(
        (0.02, 0.04, 0.08, 0.15, 0.3, 0.7), _sunlight, "a patch of light", "{} more light in a patch"
    ),
    "colour_temp": Disturbance(
        (0.005, 0.01, 0.02, 0.04, 0.08, 0.15),
        _colour_temp,
        "warmer or colder light",
        "{} warmer or colder light",
        shown_in_mono=False,
    ),
    "exposure": Disturbance((0.01, 0.02, 0.04, 0.08, 0.15, 0.3), _exposure, "more exposure", "{} more exposure"),
    "soiling": Disturbance((3, 5, 8, 12, 20, 40), _soiling, "a spot", "a spot of {}", in_px=True),
    "bump": Disturbance((0.1, 0.25, 0.5, 1, 2, 5), _bump, "a shift", "a shift of {}", in_px=True),
    "defocus": Disturbance((0.3, 0.45, 0.6, 0.9, 1.3, 2), _defocus, "a blur", "a blur of {}", in_px=True),
    "flicker": Disturbance((0.005, 0.01, 0.02, 0.04, 0.08, 0.15), _flicker, "flicker", "{} flicker"),
    "noise": Disturbance((0.1, 0.2, 0.4, 0.7, 1.2, 2), _noise, "more noise", "{} more noise"),
    "haze": Disturbance((0.01, 0.02, 0.04, 0.08, 0.15, 0.3), _haze, "a veil", "a veil of {}"),
}
"""By the name of its cause in `monitoring.diagnosis.CAUSES`."""


def _lit(seen: Seen, change: Callable[[Planes, np.random.Generator], Planes]) -> Done:
    """A change of the light, float32 (h, w, channels) in 0..1."""

    def disturb(image: Pixels, each: np.random.Generator) -> Pixels:
        return _encoded(change(_decoded(image, seen, each), each), 0.0, seen, each)

    return disturb


def _smoothed(seen: Seen, change: Callable[[Planes], Planes]) -> Done:
    """A change of the lens, which the sensor's noise comes after: what the change takes of it is given back."""
    probe = np.random.default_rng(0).standard_normal((_PROBE_PX, _PROBE_PX, 1)).astype(np.float32)
    kept = float(np.var(change(probe).reshape(_PROBE_PX, _PROBE_PX)[8:-8, 8:-8]) / np.var(probe))
    lost = seen.channel_noise * float(np.sqrt(max(0.0, 1 - kept)))

    def disturb(image: Pixels, each: np.random.Generator) -> Pixels:
        light = _decoded(image, seen, each)
        return _encoded(change(light).reshape(light.shape), lost, seen, each)

    return disturb


def _decoded(image: Pixels, seen: Seen, each: np.random.Generator) -> Planes:
    """Light, float32 (h, w, channels): of one colour only where all are alike."""
    counts = image[..., :1] if seen.is_mono else image
    if not seen.hides_rounding:
        return np.asarray(_decoding(seen.is_linear).take(counts.astype(np.int32) * _STEPS), np.float32)
    values = counts.astype(np.float32)
    noise = np.float32(seen.channel_noise)
    odd = values - seen.usual * np.float32(values.mean() / max(float(seen.usual.mean()), 1e-3))
    # What is not as usual, or never the same, has its own surroundings to be compared with.
    apart = np.float32(9 / 8) * (values - cv2.blur(values, (3, 3)).reshape(values.shape))
    usual = seen.still & (np.abs(odd) < _USUAL_NOISES * noise)
    odd = np.clip(np.where(usual, odd, apart), -_FEW_NOISES * noise, _FEW_NOISES * noise)
    # Rounding added a twelfth to the variance, and drawing anew what it took adds another (Sheppard 1898).
    values += each.random(values.shape, np.float32) - np.float32(0.5) - odd / (12 * noise * noise)
    steps = np.rint(values * _STEPS).astype(np.int32)
    return np.asarray(_decoding(seen.is_linear).take(steps, mode="clip"), np.float32)


def _encoded(light: Planes, noise: float, seen: Seen, each: np.random.Generator) -> Pixels:
    shades = np.clip(light, 0, 1) * np.float32(_SHADES - 1)
    return _counts(_encoding(seen.is_linear)[shades.astype(np.int32)], noise, seen, each)


def _counts(values: Planes, noise: float, seen: Seen, each: np.random.Generator) -> Pixels:
    """Counts, with so much more noise, rounded to an image, uint8 (h, w, 3)."""
    if seen.is_mono:
        values = values[..., :1]
    if noise > 0:
        values = values + np.float32(noise) * each.standard_normal(values.shape, np.float32)
    counts = np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(counts, (*counts.shape[:2], 3)))


@cache
def _decoding(is_linear: bool) -> Planes:
    """Light by sixteenths of a count, float32 (4081,)."""
    counts = np.arange(255 * _STEPS + 1) / (255 * _STEPS)
    if is_linear:
        return counts.astype(np.float32)
    return np.where(counts <= 0.04045, counts / 12.92, ((counts + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _encoding(is_linear: bool) -> Planes:
    """Counts by light, float32 (16384,)."""
    light = (np.arange(_SHADES) + 0.5) / _SHADES
    if is_linear:
        return (255 * light).astype(np.float32)
    return (255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.float32)


def _noise_of(images: Sequence[Pixels]) -> float:
    """Pixel noise in counts: what differs from one image to the next where they are most alike, or what the smoothest
    places show (as J. Immerkær, 1996), whichever is less: the first fails where all moves, the second where all has
    texture.
    """
    luminance = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32) for image in images[:_NOISE_IMAGES]]
    steps = np.stack([after - before for before, after in pairwise(luminance)])
    steps -= np.median(steps, axis=(1, 2), keepdims=True)
    between = float(np.quantile(np.sqrt(np.mean(np.square(steps), axis=0)), 0.25)) / (2**0.5 * _LOWER_QUARTER)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    sizes = np.mean([np.abs(cv2.filter2D(one, -1, kernel)) for one in luminance], axis=0)
    smoothest = float(np.quantile(cv2.blur(sizes, (_SMOOTH_PX, _SMOOTH_PX)), 0.05))
    return min(between, float(np.sqrt(np.pi / 2)) * smoothest / 6)
