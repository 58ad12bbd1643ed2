"""The images that a benchmark sends: rendered or a folder's, and bytes of its own for every request."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.preprocess import sniff
from simulation.parts import Light, PartRenderer, draw_schedule, encode_jpeg

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/bmp": ".bmp", "image/tiff": ".tif"}
PNG_HEADER_BYTES = 33
"""Signature and IHDR: other chunks may follow."""


class NoImages(ValueError):
    """A folder holds no image that can be sent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"no image lies under {folder}")
        self.remedy = "name a folder with JPEG, PNG, BMP or TIFF files"


@dataclass(frozen=True, slots=True)
class Part:
    """An encoded image and its media type."""

    data: bytes
    media_type: str


def rendered_parts(count: int, width: int, height: int, seed: int = 0) -> list[Part]:
    """JPEGs of rendered parts, about 5 % of them with a flaw."""
    renderer = PartRenderer(seed, width=width, height=height)
    schedule = draw_schedule(np.random.default_rng(seed), count, 0.05)
    return [
        Part(
            encode_jpeg(renderer.render(np.random.default_rng(p.seed), p.defect, p.size, Light(), lot=p.lot).image),
            "image/jpeg",
        )
        for p in schedule
    ]


def folder_parts(folder: Path, limit: int | None = None) -> list[Part]:
    """The images under a folder, in the order of their names; of many, `limit` evenly spread ones.

    Raises NoImages.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in _KNOWN_SUFFIXES)
    if limit is not None and len(files) > limit:
        files = [files[n * len(files) // limit] for n in range(limit)]
    found = [(path.read_bytes()) for path in files]
    parts = [Part(data, media_type) for data in found if (media_type := sniff(data)) is not None]
    if not parts:
        raise NoImages(folder)
    return parts


_KNOWN_SUFFIXES = {*SUFFIXES.values(), ".jpeg", ".tiff"}


def write_parts(parts: Sequence[Part], folder: Path) -> None:
    """Write the images where `folder_parts` finds them again, in the same order."""
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        (folder / f"{number:06d}{SUFFIXES[part.media_type]}").write_bytes(part.data)


def numbered(part: Part, serial: int) -> tuple[bytes | memoryview, ...]:
    """The same picture as other bytes, so that nothing that goes by content can take two requests for one.

    A JPEG gets a comment, a PNG a text chunk, anything else a tail after its end; pixels stay as they are.

    >>> b"".join(numbered(Part(bytes.fromhex("ffd8ffd9"), "image/jpeg"), 7)).hex()
    'ffd8fffe000a0000000000000007ffd9'
    """
    tag = struct.pack(">Q", serial)
    view = memoryview(part.data)
    if part.media_type == "image/jpeg":
        return view[:2], b"\xff\xfe\x00\x0a" + tag, view[2:]
    if part.media_type == "image/png":
        chunk = b"tEXtserial\x00" + tag.hex().encode()
        framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return view[:PNG_HEADER_BYTES], framed, view[PNG_HEADER_BYTES:]
    return view, tag
