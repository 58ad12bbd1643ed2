import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import simplejpeg

from models.preprocess import (
    DECODE_VERSION,
    PIXEL_FORMATS,
    Frame,
    Geometry,
    ImageTooLarge,
    Pixels,
    UnknownMediaType,
    UnreadableImage,
    prepare,
    read_size,
)

ENCODED = {"image/jpeg": ".jpg", "image/png": ".png", "image/bmp": ".bmp", "image/tiff": ".tiff"}


def scene(height: int = 120, width: int = 160) -> Pixels:
    """RGB, smooth, each corner of another colour."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 60)], axis=2).astype(np.uint8)


def encoded(image: Pixels, media_type: str) -> bytes:
    flipped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return bytes(cv2.imencode(ENCODED[media_type], flipped)[1].tobytes())


def raw(image: Pixels, pixel_format: str, **fields: int) -> Frame:
    height, width = image.shape[:2]
    return Frame(image.tobytes(), "application/octet-stream", pixel_format, width, height, **fields)


@pytest.mark.parametrize("media_type", ENCODED)
def test_every_format_gives_the_same_picture(media_type: str) -> None:
    image = scene()
    prepared = prepare(Frame(encoded(image, media_type), media_type), Geometry(120, 160))
    assert (prepared.width, prepared.height, prepared.version) == (160, 120, DECODE_VERSION)
    assert np.abs(prepared.tiles[0].astype(int) - image).mean() < 2.5
    assert prepared.overview.shape == (120, 160, 3)


@pytest.mark.parametrize("media_type", ENCODED)
def test_gray_becomes_three_equal_channels(media_type: str) -> None:
    prepared = prepare(Frame(encoded(scene()[:, :, 0], media_type), media_type), Geometry(64, 64))
    assert prepared.tiles.shape == (1, 64, 64, 3)
    assert (prepared.tiles[..., 0] == prepared.tiles[..., 2]).all()
    assert (prepared.overview[..., 0] == prepared.overview[..., 1]).all()


@pytest.mark.parametrize("media_type", ENCODED)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_an_error_and_never_half_a_picture(media_type: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, media_type)
    with pytest.raises(UnreadableImage) as caught:
        prepare(Frame(data[: int(len(data) * kept)], media_type), Geometry(32, 32))
    assert caught.value.reason
    assert caught.value.remedy


@pytest.mark.parametrize("media_type", ENCODED)
def test_flipped_bytes_give_a_picture_or_the_documented_error(media_type: str) -> None:
    rng = np.random.default_rng(1)
    data = encoded(scene(40, 40), media_type)
    for _ in range(100):
        broken = bytearray(data)
        for position in rng.integers(len(broken), size=5):
            broken[position] = rng.integers(256)
        try:
            assert prepare(Frame(bytes(broken), media_type), Geometry(32, 32)).tiles.shape == (1, 32, 32, 3)
        except UnreadableImage:
            continue


def test_content_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(UnreadableImage, match=r"declared image/png .* image/jpeg"):
        prepare(Frame(encoded(scene(), "image/jpeg"), "image/png"), Geometry(32, 32))


def test_media_type_parameters_and_case_are_ignored() -> None:
    assert read_size(Frame(encoded(scene(), "image/png"), "Image/PNG; q=1")) == (160, 120)


def test_unknown_types_are_told_apart_from_damage() -> None:
    with pytest.raises(UnknownMediaType, match="image/webp"):
        read_size(Frame(b"RIFF", "image/webp"))
    with pytest.raises(UnknownMediaType, match="YUV422"):
        read_size(Frame(b"", "application/octet-stream", "YUV422", 2, 2))


def test_a_png_bomb_is_refused_from_its_header() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(ImageTooLarge) as caught:
        prepare(Frame(data, "image/png"), Geometry(32, 32))
    assert (caught.value.width, caught.value.height) == (40_000, 40_000)


@pytest.mark.parametrize("media_type", ENCODED)
def test_the_pixel_limit_holds_for_every_format(media_type: str) -> None:
    frame = Frame(encoded(scene(), media_type), media_type)
    prepare(frame, Geometry(32, 32), pixel_limit=160 * 120)
    with pytest.raises(ImageTooLarge):
        prepare(frame, Geometry(32, 32), pixel_limit=160 * 120 - 1)


@pytest.mark.parametrize("media_type", ["image/png", "image/tiff"])
def test_sixteen_bit_samples_are_scaled_to_eight(media_type: str) -> None:
    deep = scene()[:, :, 0].astype(np.uint16) * 257
    data = cv2.imencode(ENCODED[media_type], deep)[1].tobytes()
    assert (prepare(Frame(data, media_type), Geometry(120, 160)).tiles[0, :, :, 0] == scene()[:, :, 0]).all()


def test_alpha_is_dropped() -> None:
    with_alpha = np.dstack([scene(), np.zeros((120, 160), np.uint8)])
    data = cv2.imencode(".png", cv2.cvtColor(with_alpha, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    assert (prepare(Frame(data, "image/png"), Geometry(120, 160)).tiles[0] == scene()).all()


@pytest.mark.parametrize(("pixel_format", "bits"), [("Mono10", 10), ("Mono12", 12), ("Mono16", 16)])
def test_deep_mono_keeps_its_brightness(pixel_format: str, bits: int) -> None:
    gray = scene()[:, :, 0]
    frame = raw((gray.astype(np.uint16) << (bits - 8)).view(np.uint16), pixel_format)
    assert (prepare(frame, Geometry(120, 160)).tiles[0, :, :, 1] == gray).all()


def test_raw_colour_orders() -> None:
    image = scene()
    assert (prepare(raw(image, "RGB8"), Geometry(120, 160)).tiles[0] == image).all()
    assert (prepare(raw(np.ascontiguousarray(image[:, :, ::-1]), "BGR8"), Geometry(120, 160)).tiles[0] == image).all()


@pytest.mark.parametrize("pixel_format", [name for name in PIXEL_FORMATS if name.startswith("Bayer")])
def test_bayer_patterns_follow_genicam(pixel_format: str) -> None:
    colour = {"R": 200, "G": 120, "B": 30}
    first, second = pixel_format[5], pixel_format[6]
    below = {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}[first + second]
    mosaic = np.tile(
        np.array([[colour[first], colour[second]], [colour[below[0]], colour[below[1]]]], np.uint8), (16, 16)
    )
    assert (prepare(raw(mosaic, pixel_format), Geometry(32, 32)).tiles[0, 8, 8] == [200, 120, 30]).all()


def test_a_stride_skips_the_padding_of_each_row() -> None:
    gray = scene()[:, :, 0]
    padded = np.hstack([gray, np.full((120, 16), 255, np.uint8)])
    frame = Frame(padded.tobytes(), "application/octet-stream", "Mono8", 160, 120, 176)
    assert (prepare(frame, Geometry(120, 160)).tiles[0, :, :, 0] == gray).all()


@pytest.mark.parametrize(
    "frame",
    [
        Frame(bytes(99), "application/octet-stream", "Mono8", 10, 10),
        Frame(bytes(200), "application/octet-stream", "Mono8", 10, 10),
        Frame(bytes(100), "application/octet-stream", "Mono8", None, 10),
        Frame(bytes(100), "application/octet-stream", "Mono8", 10, 10, 5),
        Frame(bytes(4), "application/octet-stream", "BayerRG8", 2, 2),
    ],
)
def test_raw_pixels_that_do_not_add_up_are_refused(frame: Frame) -> None:
    with pytest.raises(UnreadableImage):
        prepare(frame, Geometry(32, 32))


def test_jpeg_is_decoded_no_larger_than_needed() -> None:
    data = simplejpeg.encode_jpeg(scene(960, 1280), quality=95)
    small = prepare(Frame(data, "image/jpeg"), Geometry(224, 224))
    assert small.scale == pytest.approx(0.25)
    cropped = prepare(Frame(data, "image/jpeg"), Geometry(224, 224, roi=(0.5, 0.5, 0.25, 0.25)))
    assert cropped.scale == pytest.approx(1.0)
    tiled = prepare(Frame(data, "image/jpeg"), Geometry(224, 224, tile_rows=2, tile_cols=2))
    assert tiled.scale == pytest.approx(0.5)


def test_jpeg_and_png_of_a_large_picture_agree() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (960, 1280, 3), dtype=np.uint8), (0, 0), 4)
    geometry = Geometry(224, 224)
    jpeg = prepare(Frame(simplejpeg.encode_jpeg(np.asarray(image), quality=98), "image/jpeg"), geometry)
    png = prepare(Frame(encoded(np.asarray(image, np.uint8), "image/png"), "image/png"), geometry)
    assert np.abs(jpeg.tiles.astype(int) - png.tiles).mean() < 2


def test_region_of_interest_and_tiles_lie_where_they_should() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[50:, 100:] = 255
    geometry = Geometry(25, 50, tile_rows=2, tile_cols=2)
    means = prepare(Frame(encoded(image, "image/png"), "image/png"), geometry).tiles.mean(axis=(1, 2, 3))
    assert means.tolist() == [0, 0, 0, 255]
    corner = Geometry(25, 50, roi=(0.5, 0.5, 0.5, 0.5))
    assert prepare(Frame(encoded(image, "image/png"), "image/png"), corner).tiles.min() == 255


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_tiles_cover_the_whole_region(overlap: float) -> None:
    image = scene(90, 130)
    geometry = Geometry(32, 32, tile_rows=3, tile_cols=4, tile_overlap=overlap)
    tiles = prepare(Frame(encoded(image, "image/png"), "image/png"), geometry).tiles
    assert tiles.shape == (12, 32, 32, 3)
    assert tiles[0, 0, 0, 0] < 10
    assert tiles[-1, -1, -1, 0] > 245
    assert tiles[-1, -1, -1, 1] > 245


def test_the_overview_shows_the_whole_frame_however_small_the_region() -> None:
    data = encoded(scene(600, 800), "image/png")
    prepared = prepare(Frame(data, "image/png"), Geometry(32, 32, roi=(0.0, 0.0, 0.1, 0.1)))
    assert prepared.overview.shape == (192, 256, 3)
    assert prepared.overview[-1, -1, 0] > 245


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_odd_sizes_work(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 80, np.uint8)
    prepared = prepare(Frame(encoded(image, "image/png"), "image/png"), Geometry(32, 32, tile_rows=2, tile_cols=2))
    assert (prepared.tiles == 80).all()


def test_exif_orientation_is_ignored() -> None:
    data = encoded(scene(), "image/jpeg")
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert (
        prepare(Frame(turned, "image/jpeg"), Geometry(64, 64)).tiles
        == prepare(Frame(data, "image/jpeg"), Geometry(64, 64)).tiles
    ).all()


def test_another_decode_version_is_refused() -> None:
    with pytest.raises(ValueError, match="decode version 99"):
        prepare(Frame(encoded(scene(), "image/png"), "image/png"), Geometry(32, 32, decode_version=99))


def test_many_threads_give_the_same_pixels() -> None:
    frames = [Frame(encoded(scene(100 + i, 150), "image/jpeg"), "image/jpeg") for i in range(8)]
    one_by_one = [prepare(frame, Geometry(64, 64)).tiles for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda frame: prepare(frame, Geometry(64, 64)).tiles, frames))
    assert all((a == b).all() for a, b in zip(one_by_one, together, strict=True))


def test_geometry_survives_json() -> None:
    geometry = Geometry(224, 320, roi=(0.1, 0.2, 0.5, 0.5), tile_rows=2, tile_cols=3, tile_overlap=0.1)
    assert Geometry.from_json(geometry.to_json()) == geometry
    assert Geometry.from_json(Geometry(64, 64).to_json()) == Geometry(64, 64)


@pytest.mark.parametrize(
    "fields", [{"height": 0}, {"tile_overlap": 0.95}, {"roi": (0.5, 0.0, 0.6, 1.0)}, {"tile_rows": 0}]
)
def test_an_impossible_geometry_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Geometry(**{"height": 32, "width": 32, **fields})  # type: ignore[arg-type] # wrong values on purpose
