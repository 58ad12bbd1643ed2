"""Bodies that a broken camera, a broken network or a bad mind would send; all from one seed."""

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tests.service.line.stocked import BRIGHT, DARK, picture, png_header

RAW = "application/octet-stream"
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/bmp": ".bmp", "image/tiff": ".tiff"}
HUGE = 60_000
"""Pixels a side that a bomb's header says."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request. may_pass: whether the body is, by a test of its own, a whole image or may be one."""

    kind: str
    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)
    may_pass: bool = False
    raw: bool = False
    """The body is the whole of what goes over the wire, HTTP and all."""


Rng = np.random.Generator
Make = Callable[[Rng], Case]


def encoded_whole(rng: Rng) -> tuple[str, bytes]:
    media_type = list(SUFFIXES)[int(rng.integers(4))]
    level = (DARK, BRIGHT)[int(rng.integers(2))]
    done, data = cv2.imencode(SUFFIXES[media_type], picture(level, int(rng.integers(50)), 96, 128))
    assert done
    return media_type, bytes(data)


def truncated(rng: Rng) -> Case:
    media_type, whole = encoded_whole(rng)
    cut = whole[: int(rng.integers(1, len(whole)))]
    return Case("truncated", cut, media_type, may_pass=is_whole(media_type, cut))


def flipped(rng: Rng) -> Case:
    media_type, whole = encoded_whole(rng)
    body = bytearray(whole)
    for at in rng.integers(0, len(body), int(rng.integers(1, 8))):
        body[at] ^= 1 << int(rng.integers(8))
    return Case("flipped", bytes(body), media_type, may_pass=is_whole(media_type, bytes(body)))


def bomb(rng: Rng) -> Case:
    media_type = list(SUFFIXES)[int(rng.integers(4))]
    _, jpeg = cv2.imencode(".jpg", picture(DARK))
    data = bytes(jpeg)
    frame = data.index(b"\xff\xc0") + 5
    bodies = {
        "image/jpeg": data[:frame] + struct.pack(">HH", HUGE, HUGE) + data[frame + 4 :],
        "image/png": png_header(HUGE, HUGE)[:-4] + zlib.crc32(png_header(HUGE, HUGE)[12:29]).to_bytes(4, "big"),
        "image/bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, HUGE, HUGE, 1, 24, 0, 0, 0, 0, 0, 0),
        "image/tiff": b"II*\x00\x08\x00\x00\x00\x02\x00" + struct.pack("<HHIIHHII", 256, 4, 1, HUGE, 257, 4, 1, HUGE),
    }
    return Case("bomb", bodies[media_type] + rng.bytes(50), media_type)


def mislabelled(rng: Rng) -> Case:
    media_type, whole = encoded_whole(rng)
    others = [name for name in (*SUFFIXES, "text/html", "", "image/webp", "application/json") if name != media_type]
    return Case("mislabelled", whole, others[int(rng.integers(len(others)))])


def empty(rng: Rng) -> Case:
    return Case("empty", b"", (*SUFFIXES, RAW)[int(rng.integers(5))])


def noise(rng: Rng) -> Case:
    media_type = list(SUFFIXES)[int(rng.integers(4))]
    magic = (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*")[int(rng.integers(6))]
    return Case("noise", magic + rng.bytes(int(rng.integers(0, 20_000))), media_type)


def polyglot(rng: Rng) -> Case:
    media_type, whole = encoded_whole(rng)
    before = (b"<html>", b"GIF89a", b"%PDF-1.7\n", b"PK\x03\x04", b"BM", b"\x7fELF")[int(rng.integers(6))]
    return Case("polyglot", before + whole, media_type, may_pass=is_whole(media_type, before + whole))


def lying_raw(rng: Rng) -> Case:
    """Sizes that are not the frame's; those that happen to fit the bytes can't be told from true ones."""
    pixels = bytes(64 * 48)
    sizes = (0, 1, 47, 63, 65, 4096, 2**16, 2**31, 999_999_999, -1)
    headers = {
        "x-pixel-format": ("Mono8", "Mono16", "RGB8", "BayerRG8", "Mono12", "mono8", "")[int(rng.integers(7))],
        "x-width": str(sizes[int(rng.integers(len(sizes)))]),
        "x-height": str(sizes[int(rng.integers(len(sizes)))]),
        "x-stride": str(sizes[int(rng.integers(len(sizes)))]),
    }
    body = pixels[: int(rng.integers(0, len(pixels)))]
    return Case("lying_raw", body, RAW, headers, may_pass=_fits(headers, len(body)))


def _fits(headers: dict[str, str], size: int) -> bool:
    width, height, stride = (int(headers[f"x-{name}"]) for name in ("width", "height", "stride"))
    row = width * {"Mono8": 1, "BayerRG8": 1, "Mono16": 2, "Mono12": 2, "RGB8": 3}.get(
        headers["x-pixel-format"], 1 << 40
    )
    return 0 < row <= stride and height > 0 and stride * (height - 1) + row <= size <= stride * height


def form(rng: Rng) -> Case:
    deep, wide = "[" * 30_000 + "]" * 30_000, "x" * 200_000
    metas = (
        deep,
        '{"station":"s1","trigger_id":' + deep + "}",
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        json.dumps({"station": "s1", "trigger_id": wide}),
        json.dumps({"station": "s1", "trigger_id": "1", "views": [{"view_id": str(n)} for n in range(3000)]}),
        '{"station":"s1","trigger_id":1e999999}',
        '{"station":"s1","trigger_id":"\\ud800"}',
        "null",
        "",
        '{"station":{"a":1},"trigger_id":[1]}',
    )
    meta = metas[int(rng.integers(len(metas)))]
    whole = (
        f'--b\r\nContent-Disposition: form-data; name="meta"\r\n\r\n{meta}\r\n'
        f'--b\r\nContent-Disposition: form-data; name="0"\r\nContent-Type: image/png\r\n\r\n'
    ).encode() + rng.bytes(200)
    closing = b"\r\n--b--\r\n" if rng.random() < 0.7 else b""
    return Case("form", whole + closing, "multipart/form-data; boundary=b")


def too_large(rng: Rng) -> Case:
    return Case("too_large", bytes(1_500_000 + int(rng.integers(1000))), "image/bmp")


def broken_http(rng: Rng) -> Case:
    line = b"POST /v1/inspections?station=s1&trigger_id=1 HTTP/1.1\r\nhost: x\r\n"
    image = b"content-type: image/png\r\n"
    wires = (
        b"\x16\x03\x01\x02\x00\x01\x00" + rng.bytes(200),
        rng.bytes(300),
        b"GET / HTTP/9.9\r\n\r\n",
        line + b"content-length: -5\r\n\r\n",
        line + b"content-length: abc\r\n\r\n",
        line + b"content-length: 5\r\ncontent-length: 7\r\n\r\nabcdefg",
        line + image + b"transfer-encoding: chunked\r\n\r\nZZZ\r\n",
        line + image + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
        line + image + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        line + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
        line + b"\x00: \x00\r\n\r\n",
        b"POST /v1/inspections?" + b"a=b&" * 5000 + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        b"POST /v1/inspections?station=%ff%fe&trigger_id=%00 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        b"\r\n" * 2000,
    )
    return Case("broken_http", wires[int(rng.integers(len(wires)))], "", raw=True)


MAKERS: tuple[tuple[Make, float], ...] = (
    (truncated, 0.2),
    (flipped, 0.3),
    (bomb, 0.06),
    (mislabelled, 0.08),
    (empty, 0.03),
    (noise, 0.08),
    (polyglot, 0.06),
    (lying_raw, 0.06),
    (form, 0.05),
    (too_large, 0.02),
    (broken_http, 0.06),
)


def cases(count: int, seed: int) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    makers, shares = zip(*MAKERS, strict=True)
    for chosen in rng.choice(len(makers), count, p=np.array(shares) / sum(shares)):
        yield makers[int(chosen)](rng)


def is_whole(media_type: str, data: bytes) -> bool:
    """Whether every pixel that the file's header tells of is in the file, undamaged as far as the format can tell."""
    try:
        return _WHOLE[media_type](data)
    except (ValueError, IndexError, KeyError, struct.error, zlib.error):
        return False


def _whole_jpeg(data: bytes) -> bool:
    simplejpeg.decode_jpeg(data, strict=True)  # at full size, where the line decodes a scaled one
    return True


def _whole_png(data: bytes) -> bool:
    """All chunks that matter have the right checksum, and the pixels unpack to the size that the header says."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at, packed, header = 8, b"", b""
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        is_critical = not name[0] & 0x20
        if is_critical and zlib.crc32(name + body) != struct.unpack_from(">I", data, at + 8 + size)[0]:
            return False
        header = body if name == b"IHDR" else header
        packed += body if name == b"IDAT" else b""
        if name == b"IEND":
            break
        at += 12 + size
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    return bool(len(zlib.decompressobj().decompress(packed)) >= height * (1 + (width * channels * depth + 7) // 8))


def _whole_bmp(data: bytes) -> bool:
    (start,) = struct.unpack_from("<I", data, 10)
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return bool(len(data) >= start + (width * bits + 31) // 32 * 4 * abs(height))


def _whole_tiff(data: bytes) -> bool:
    """Its strips lie within the file."""
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    fields: dict[int, NDArray[np.int64]] = {}
    for entry in range(entries):
        at = directory + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if tag not in (273, 279) or kind not in (3, 4) or count > 1 << 16:
            continue
        size, letter = (2, "H") if kind == 3 else (4, "I")
        start = at + 8 if size * count <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
        fields[tag] = np.array(struct.unpack_from(f"{order}{count}{letter}", data, start), np.int64)
    return bool((fields[273] + fields[279] <= len(data)).all())


_WHOLE: dict[str, Callable[[bytes], bool]] = {
    "image/jpeg": _whole_jpeg,
    "image/png": _whole_png,
    "image/bmp": _whole_bmp,
    "image/tiff": _whole_tiff,
}
