"""Whatever is sent: an answer, never a pass, never a crash."""

import json
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from httpx2 import Client

from tests.service.line.posting import drained, post, recorded, verdict
from tests.service.line.stocked import BRIGHT, DARK, encoded, picture, png_header, wait_until

RAW = "application/octet-stream"
TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff", RAW)
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/bmp": ".bmp", "image/tiff": ".tiff"}


def assert_refused_or_unreadable(http: Client, body: bytes, trigger: str, media_type: str, **headers: str) -> None:
    """4xx, or 200 with 906; a line that reads only the disposition is safe."""
    response = post(http, body, trigger, media_type=media_type, headers=headers)
    status, disposition, code = verdict(response)
    assert disposition == "recheck"
    assert (status, code) == (200, 906) or 400 <= status < 500
    assert json.loads(response.content)["reasons"][0]


def large_jpeg() -> bytes:
    done, data = cv2.imencode(".jpg", picture(DARK, height=480, width=640))
    assert done
    return bytes(data)


@pytest.mark.parametrize("media_type", TYPES)
def test_empty_body_is_unreadable(line: Client, media_type: str) -> None:
    assert_refused_or_unreadable(line, b"", "1", media_type)


def test_jpeg_that_is_cut_short_never_passes(line: Client) -> None:
    whole = large_jpeg()
    rng = np.random.default_rng(3)
    cuts = {1, 2, 3, 4, 20, len(whole) // 2, len(whole) - 3, len(whole) - 50, *rng.integers(1, len(whole) - 2, 60)}
    for cut in sorted(int(c) for c in cuts):
        assert_refused_or_unreadable(line, whole[:cut], f"cut-{cut}", "image/jpeg")
    assert verdict(post(line, whole, "whole", media_type="image/jpeg")) == (200, "pass", 0)


@pytest.mark.parametrize("media_type", ["image/png", "image/bmp", "image/tiff"])
def test_file_that_is_cut_short_never_passes(line: Client, media_type: str) -> None:
    whole = encoded(DARK, suffix=SUFFIXES[media_type])
    # The last bytes of a PNG and a TIFF hold no pixels: without them the picture is still whole.
    for cut in np.linspace(1, len(whole) * 0.7, 20).astype(int):
        assert_refused_or_unreadable(line, whole[:cut], f"cut-{cut}", media_type)


@pytest.mark.parametrize("side", [30_000, 2**31 - 1, 2**32 - 1])
def test_png_that_would_unpack_to_gigabytes_is_unreadable(line: Client, side: int) -> None:
    assert_refused_or_unreadable(line, png_header(side, side), "1", "image/png")


def test_small_png_that_unpacks_to_gigabytes_is_not_unpacked(line: Client) -> None:
    side = 20_000
    packed = zlib.compress(bytes(side * 3 + 1) * 500, 9)
    chunk = b"IDAT" + packed
    bomb = png_header(side, side)[:-4] + zlib.crc32(png_header(side, side)[12:29]).to_bytes(4, "big")
    bomb += len(packed).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    assert_refused_or_unreadable(line, bomb, "1", "image/png")


def test_size_of_nothing_is_unreadable(line: Client) -> None:
    for n, (width, height) in enumerate([(0, 0), (0, 5), (5, 0)]):
        assert_refused_or_unreadable(line, png_header(width, height), str(n), "image/png")


@pytest.mark.parametrize("declared", TYPES)
def test_file_declared_as_another_type_is_unreadable(line: Client, declared: str) -> None:
    for media_type, suffix in SUFFIXES.items():
        if media_type != declared:
            assert_refused_or_unreadable(line, encoded(DARK, suffix=suffix), media_type, declared)


def test_polyglots_never_pass(line: Client) -> None:
    jpeg, png = encoded(DARK, suffix=".jpg"), encoded(DARK)
    web = b"<html><script>alert(1)</script></html>"
    mixed = [web + jpeg, web + png, b"GIF89a" + jpeg, b"%PDF-1.7\n" + png, b"PK\x03\x04" + jpeg, b"BM" + png]
    for n, body in enumerate(mixed):
        for media_type in SUFFIXES:
            assert_refused_or_unreadable(line, body, f"{n}-{media_type}", media_type)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-pixel-format": "Mono8"},
        {"x-pixel-format": "Mono8", "x-width": "64"},
        {"x-pixel-format": "Mono8", "x-width": "0", "x-height": "0"},
        {"x-pixel-format": "Mono8", "x-width": "64", "x-height": "49"},
        {"x-pixel-format": "Mono8", "x-width": "64", "x-height": "47"},
        {"x-pixel-format": "Mono16", "x-width": "64", "x-height": "48"},
        {"x-pixel-format": "Mono8", "x-width": "64", "x-height": "48", "x-stride": "63"},
        {"x-pixel-format": "Mono8", "x-width": "64", "x-height": "48", "x-stride": "999999999"},
        {"x-pixel-format": "Mono8", "x-width": "999999999", "x-height": "999999999"},
        {"x-pixel-format": "BayerRG8", "x-width": "1", "x-height": "3072"},
        {"x-pixel-format": "Mono8p", "x-width": "64", "x-height": "48"},
        {"x-pixel-format": "mono8", "x-width": "64", "x-height": "48"},
    ],
)
def test_raw_pixels_that_do_not_add_up_are_unreadable(line: Client, headers: dict[str, str]) -> None:
    assert_refused_or_unreadable(line, bytes(64 * 48), "1", RAW, **headers)


def test_random_bytes_never_pass(line: Client) -> None:
    rng = np.random.default_rng(11)
    magic = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*", png_header(64, 48)]
    for n in range(250):
        body = magic[n % len(magic)] + rng.bytes(int(rng.integers(0, 3000)))
        assert_refused_or_unreadable(line, body, str(n), TYPES[int(rng.integers(len(SUFFIXES)))])
    wait_until(lambda: drained(line))
    found = recorded(line)
    assert {(i.disposition, i.result_code) for i in found} == {("recheck", 906)}
    assert len(found) == 250


def test_flipped_bits_of_a_defect_never_break_the_line(line: Client) -> None:
    """Damaged bits may still be an image; a defect must not turn into a crash or a reject without a reason."""
    rng = np.random.default_rng(12)
    for n in range(100):
        suffix = sorted(SUFFIXES.values())[n % 4]
        media_type = next(name for name, s in SUFFIXES.items() if s == suffix)
        body = bytearray(encoded(BRIGHT, suffix=suffix))
        for at in rng.integers(0, len(body), 3):
            body[at] ^= 1 << int(rng.integers(8))
        response = post(line, bytes(body), str(n), media_type=media_type)
        assert response.status_code == 200
        assert response.json()["disposition"] in ("pass", "recheck", "reject")


def test_hostile_text_in_every_field_is_answered(line: Client) -> None:
    texts = ["'; DROP TABLE inspections;--", "../../etc/passwd", "%00", "ä" * 200, "🜲", "{}", '"', "\\", "a b", "\x00"]
    names = ("station", "trigger_epoch", "part_id", "lot", "camera", "view_id", "product")
    for name in names:
        for text in texts:
            response = post(line, encoded(DARK), f"{name}-{texts.index(text)}", **_as_query(name, text))
            assert response.status_code in (200, 422, 503)
            assert {"disposition", "result_code"} <= response.json().keys()
    wait_until(lambda: drained(line))
    # Of the seven fields, an unknown product is not ready, and a station with a slash or an # is refused.
    assert len(recorded(line)) == 9 * 6 - 1


def _as_query(name: str, text: str) -> dict[str, Any]:
    return {name: text}
