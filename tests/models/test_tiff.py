"""A damaged TIFF is refused: what OpenCV fills up with black must never be judged."""

import struct
from typing import Any

import cv2
import numpy as np
import pytest

from models.preprocess import Frame, Geometry, UnreadableImage, prepare
from models.tiff import damage

COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8}
GEOMETRY = Geometry(16, 16)


def picture(kind: str, height: int, width: int, channels: int, dtype: Any) -> np.ndarray[Any, Any]:
    if kind == "noise":
        return np.random.default_rng(height).integers(0, 255, (height, width, channels)).astype(dtype)
    if kind == "flat":
        return np.full((height, width, channels), 200, dtype)
    ramp = np.indices((height, width)).sum(axis=0)[..., None] % 251
    return np.asarray(ramp * np.ones(channels, int), dtype)


def tiff(pixels: np.ndarray[Any, Any], compression: int) -> bytes:
    done, data = cv2.imencode(".tiff", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert done
    return bytes(data)


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("kind", ["noise", "flat", "ramp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (31, 77), (300, 400), (1, 1)])
def test_whole_pictures_are_whole(
    height: int, width: int, channels: int, kind: str, dtype: Any, compression: int
) -> None:
    assert damage(tiff(picture(kind, height, width, channels, dtype), compression)) is None


@pytest.mark.parametrize("compression", [5, 8])
def test_no_damaged_picture_is_taken_for_another_one(compression: int) -> None:
    """What passes has the size that was promised in every strip, so no row is left to be filled up with black."""
    rng = np.random.default_rng(compression)
    pixels = np.clip(rng.normal(200, 4, (60, 80, 3)), 120, 255).astype(np.uint8)
    whole, filled, refused = tiff(pixels, compression), 0, 0
    for _ in range(400):
        broken = bytearray(whole)
        broken[int(rng.integers(8, len(whole)))] ^= 1 << int(rng.integers(8))
        try:
            found = prepare(Frame(bytes(broken), "image/tiff"), GEOMETRY)
        except UnreadableImage:
            refused += 1
            continue
        filled += int((found.overview.reshape(len(found.overview), -1).max(axis=1) == 0).any())
    assert refused > 0
    assert filled == 0


@pytest.mark.parametrize("compression", [5, 8])
def test_picture_that_is_cut_short_is_refused(compression: int) -> None:
    pixels = picture("ramp", 60, 80, 3, np.uint8)
    whole = tiff(pixels, compression)
    (start,) = struct.unpack_from("<I", whole, 4)
    for cut in range(start - 40, 20, -97):
        blank = whole[:cut] + bytes(start - cut) + whole[start:]
        with pytest.raises(UnreadableImage):
            prepare(Frame(blank, "image/tiff"), GEOMETRY)


def test_compression_whose_damage_can_not_be_told_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="method 32773"):
        prepare(Frame(tiff(picture("ramp", 20, 20, 3, np.uint8), 32773), "image/tiff"), GEOMETRY)
