"""A camera's stream for the tests of the optics core: parts that jitter on a fixture, under light that wanders."""

from collections.abc import Callable
from functools import cache
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 120, 160
SENSOR_NOISE: Final = 1.2

Picture = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Change = Callable[[Picture, int], Picture]
"""What happened to light or optics before the sensor, given the picture, float64 (h, w, 3) in counts, and the number of
the image in its stream."""
Kind = Literal["fixture", "web", "sizes"]
"""What a camera sees: parts on a fixture; a web that runs through all of the picture; parts in pictures of any size."""


def as_is(picture: Picture, _: int) -> Picture:
    return picture


def stream(seed: int, count: int, change: Change = as_is, kind: Kind = "fixture", part: float = 1.0) -> list[Pixels]:
    """Images, uint8 (120, 160, 3); `part` is how bright the parts are, of how bright they should be."""
    return list(_stream(seed, count, change, kind, part))


@cache
def _stream(seed: int, count: int, change: Change, kind: Kind, part: float) -> tuple[Pixels, ...]:
    rng = np.random.default_rng(seed)
    show = _web if kind == "web" else _part_on_fixture
    images = []
    for index in range(count):
        light = 1 + 0.004 * np.sin(index / 100) + 0.002 * rng.standard_normal()
        image = shot(change(show(rng, part) * light, index), rng)
        images.append(image[: HEIGHT - index % 3] if kind == "sizes" else image)
    return tuple(images)


def shot(picture: Picture, rng: np.random.Generator) -> Pixels:
    """What a sensor makes of a picture."""
    noise = SENSOR_NOISE * rng.standard_normal(picture.shape, np.float32)
    return np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)


@cache
def fixture() -> Picture:
    """Rails across, pins and a rough plate; the picture is not to be changed."""
    rng = np.random.default_rng(1)
    plate = 85 + 14 * _smooth(rng.standard_normal((HEIGHT, WIDTH)), 1.5)
    for row in (10, 24, 97, 112):
        plate[row : row + 4] += 35
    for x in range(12, WIDTH, 17):
        for y in (17, 106):
            cv2.circle(plate, (x, y), 4, 160.0, -1)
    for column in (12, 144):
        plate[30:92, column : column + 3] -= 40
    return np.asarray(_smooth(plate, 1.0)[..., None] * np.array([1.05, 1.0, 0.9]))


def _smooth(picture: Picture, sigma: float) -> Picture:
    smooth = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float64)
    return smooth if abs(smooth.mean()) > 1 else smooth / smooth.std()


@cache
def _part() -> Picture:
    rng = np.random.default_rng(2)
    face = 125 + 8 * _smooth(rng.standard_normal((50, 100)), 1.0)
    face[10:15, 8:80] = 90.0
    return np.asarray(face[..., None] * np.array([1.0, 0.95, 0.88]))


def _part_on_fixture(rng: np.random.Generator, part: float) -> Picture:
    picture = fixture().copy()
    top, left = 35 + rng.integers(-2, 3), 30 + rng.integers(-2, 3)
    face = _part() * part
    if rng.random() < 0.03:
        row, column = rng.integers(0, 40, 2)
        face = face.copy()
        face[row : row + 6, column : column + 12] = 30.0
    picture[top : top + 50, left : left + 100] = face
    return picture


@cache
def _cloth() -> Picture:
    rng = np.random.default_rng(3)
    return np.asarray(100 + 30 * _smooth(rng.standard_normal((4 * HEIGHT, WIDTH)), 1.2))


def _web(rng: np.random.Generator, part: float) -> Picture:
    rolled = np.roll(_cloth(), int(rng.integers(0, 4 * HEIGHT)), axis=0)[:HEIGHT] * part
    return np.asarray(rolled[..., None] * np.array([1.0, 0.95, 0.9]))


@cache
def dimmed(share: float) -> Change:
    """All light falls by a share; it rises by a negative one."""
    return lambda picture, _: picture * (1 - share)


@cache
def fading(share: float, images: int) -> Change:
    """Light falls evenly, by a share within so many images."""
    return lambda picture, index: picture * (1 - share * min(index / images, 1.0))


@cache
def coloured(red: float, blue: float) -> Change:
    """Red and blue light times so much."""
    return lambda picture, _: picture * np.array([red, 1.0, blue])


@cache
def weak_at(side: str, share: float) -> Change:
    """The light falls by a share at one side and by nothing at the other."""
    across = np.linspace(1.0, 0.0, WIDTH)[None, :, None]
    down = np.linspace(1.0, 0.0, HEIGHT)[:, None, None]
    weight = {"left": across, "right": across[:, ::-1], "top": down, "bottom": down[::-1]}[side]
    return lambda picture, _: picture * (1 - share * weight)


@cache
def shone_on(x: float, y: float, share: float) -> Change:
    """Light falls on a place, shares of width and height, and around it."""
    return lambda picture, _: picture * (1 + share * _blob(x, y, 0.3 * WIDTH))


@cache
def soiled(x: float, y: float, radius_px: float, opacity: float) -> Change:
    """A spot before the lens, out of focus."""
    return lambda picture, _: picture * (1 - opacity * _blob(x, y, radius_px))


def _blob(x: float, y: float, sigma_px: float) -> Picture:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    square = (columns - (x * WIDTH - 0.5)) ** 2 + (rows - (y * HEIGHT - 0.5)) ** 2
    return np.asarray(np.exp(-square / (2 * sigma_px**2)))[..., None]


@cache
def moved(right_px: float, down_px: float, turn_degrees: float = 0.0) -> Change:
    """The picture moved and turned clockwise about its middle, where the mean of its edge comes in."""
    middle = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    warp = cv2.getRotationMatrix2D(middle, -turn_degrees, 1.0)
    warp[:, 2] += np.array([right_px, down_px])

    def change(picture: Picture, _: int) -> Picture:
        return np.asarray(
            cv2.warpAffine(picture, warp, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        )

    return change


@cache
def blurred(sigma_px: float) -> Change:
    """Out of focus."""
    return lambda picture, _: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.float64)


@cache
def veiled(share: float) -> Change:
    """A share of the light comes from everywhere."""
    return lambda picture, _: picture * (1 - share) + share * picture.mean(axis=(0, 1))


@cache
def flickering(share: float) -> Change:
    """Light differs by a share from one image to the next, and on the whole it does not."""
    return lambda picture, index: picture * (1 + share * float(np.random.default_rng(index).choice([-1, 1])))


@cache
def grainy(sigma: float) -> Change:
    """So much more noise, in counts."""

    def change(picture: Picture, index: int) -> Picture:
        return picture + sigma * np.random.default_rng(index).standard_normal(picture.shape)

    return change
