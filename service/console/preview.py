"""Stored images as a browser can show them."""

import simplejpeg

from models.preprocess import Geometry, prepare, read_size, stored_frame

BROWSERS_SHOW = frozenset({"image/jpeg", "image/png", "image/bmp"})
FULL_SIDE_PX = 4096
QUALITY = 90
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""A picture's address holds its hash, or the id of a record that is never changed: what it names stays the same."""


def preview(data: bytes, media_type: str, side_px: int) -> bytes:
    """A JPEG of the image with its long side at most `side_px`.

    Raises UnreadableImage.
    """
    frame = stored_frame(data, media_type)
    width, height = read_size(frame)
    scale = min(1.0, side_px / max(width, height))
    # One tile that is the whole frame: the same decoding as for the model, so people see what the model sees.
    geometry = Geometry(height=max(1, round(height * scale)), width=max(1, round(width * scale)))
    pixels = prepare(frame, geometry).tiles[0]
    encoded: bytes = simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorspace="RGB", colorsubsampling="444")
    return encoded


def full_url(image_sha256: str, media_type: str) -> str:
    """Address of the whole image in a form that browsers show: the stored bytes where they can."""
    if media_type in BROWSERS_SHOW:
        return f"/api/images/{image_sha256}"
    return f"/api/images/{image_sha256}/preview?side={FULL_SIDE_PX}"


def thumbnail_url(image_sha256: str) -> str:
    """Address of a small picture."""
    return f"/api/images/{image_sha256}/preview?side=160"
