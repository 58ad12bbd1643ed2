"""Whether the compressed pixels of a TIFF are whole: libtiff reports damage, OpenCV then fills up with black.

What is missing would look like a dark part, and a model may like dark parts. So the codes are counted before anything
is decoded: every strip must give exactly the bytes that the header promises. TIFF 6.0 (Adobe, 1992), section 13.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

UNCOMPRESSED, LZW, DEFLATE, OLD_DEFLATE = 1, 5, 8, 32946
_SIZES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
"""BYTE, SHORT, LONG."""
_DEFAULTS = {258: (1,), 259: (UNCOMPRESSED,), 277: (1,), 284: (1,)}


def damage(data: bytes) -> str | None:
    """What is wrong with the compressed pixels of the first picture; None where nothing is.

    Raises struct.error, KeyError or IndexError where the directory is cut short or lacks a field.
    """
    fields = _fields(data)
    compression = fields[259][0]
    if compression == UNCOMPRESSED:
        return None
    if compression not in (LZW, DEFLATE, OLD_DEFLATE):
        return f"its pixels are compressed by method {compression}, of which damage can't be told"
    return _strips_damage(data, fields, compression)


def _strips_damage(data: bytes, fields: Mapping[int, tuple[int, ...]], compression: int) -> str | None:
    offsets, counts, sizes = _pieces(fields)
    if not len(offsets) == len(counts) == len(sizes):
        return "its list of strips contradicts its size"
    for start, count, size in zip(offsets, counts, sizes, strict=True):
        piece = data[start : start + count]
        if len(piece) != count or _unpacked_size(piece, compression, size) != size:
            return "its compressed pixels are damaged or cut short"
    return None


def _pieces(fields: Mapping[int, tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    """Where each strip or tile begins, how long it is, and how many bytes it must give."""
    width, height = fields[256][0], fields[257][0]
    samples, planes = fields[277][0], 1
    if fields[284][0] == 2:
        samples, planes = 1, fields[277][0]
    bits = fields[258][0] * samples
    if 322 in fields:
        tile_width, tile_height = fields[322][0], fields[323][0]
        tiles = -(-width // tile_width) * -(-height // tile_height) * planes
        return fields[324], fields[325], [tile_height * (-(-tile_width * bits // 8))] * tiles
    rows = min(fields.get(278, (height,))[0], height)
    row_bytes = -(-width * bits // 8)
    strips = [min(rows, height - first) * row_bytes for first in range(0, height, rows)]
    return fields[273], fields[279], strips * planes


def _fields(data: bytes) -> dict[int, tuple[int, ...]]:
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    found: dict[int, tuple[int, ...]] = dict(_DEFAULTS)
    for entry in range(entries):
        at = directory + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if kind not in _SIZES:
            continue
        letter, size = _SIZES[kind]
        if count * size > len(data):
            raise struct.error("a field is longer than the file")
        place = at + 8 if count * size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
        found[tag] = struct.unpack_from(f"{order}{count}{letter}", data, place)
    return found


def _unpacked_size(piece: bytes, compression: int, most: int) -> int:
    if compression == LZW:
        return int(_lzw_size(np.frombuffer(piece, np.uint8), most))
    unpacking = zlib.decompressobj()
    try:
        size = len(unpacking.decompress(piece, most + 1))
    except zlib.error:
        return -1
    return size if unpacking.eof else -1


def _compiled(function: Any) -> Any:
    return numba.njit(nogil=True, cache=True)(function)


@_compiled
def _lzw_size(piece: NDArray[np.uint8], most: int) -> int:
    """Bytes that a strip gives, counted by its codes; -1 where a code is impossible or the end mark is missing."""
    lengths = np.ones(4097, np.int64)
    following, width, before = 258, 9, -1
    held, bits, total = 0, 0, 0
    for byte in piece:
        held = ((held << 8) | byte) & 0xFFFFFFF
        bits += 8
        if bits < width:
            continue
        bits -= width
        code = (held >> bits) & ((1 << width) - 1)
        if code == 257:
            return total
        if code == 256:
            following, width, before = 258, 9, -1
            continue
        if code > following or (before < 0 and code > 255) or following > 4095:
            return -1
        if before >= 0:
            lengths[following] = lengths[before] + 1
            following += 1
        elif code >= 258:
            return -1
        total += lengths[code]
        before = code
        if total > most:
            return -1
        # TIFF widens its codes one code early.
        if following + 1 >= (1 << width) and width < 12:
            width += 1
    return total if total == most else -1  # some writers leave out the end mark
