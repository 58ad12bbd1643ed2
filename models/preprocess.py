"""Image bytes to model input: the one implementation that training and serving share.

Headers are read before anything is decoded, because a small file may unpack to gigabytes. A JPEG is decoded by
libjpeg-turbo at the smallest scale that still covers the model's input; other formats are halved until they do, so
both lose detail in the same way. EXIF orientation is ignored on purpose: industrial cameras write none, and a
viewer's rotation flag must not turn a fixed station's image. The functions hold no state and may run on many threads;
simplejpeg and OpenCV release the GIL while they work.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

DECODE_VERSION = 1
OVERVIEW_SIDE_PX = 256
PIXEL_LIMIT = 64_000_000
RAW_MEDIA_TYPE = "application/octet-stream"

Pixels = NDArray[np.uint8]

# Images are worked on side by side; OpenCV's own threads would only wait for each other, and cost more than they save.
cv2.setNumThreads(1)


class UnreadableImage(ValueError):
    """The bytes are not an image that can be decoded in full."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}; {remedy}")


class ImageTooLarge(UnreadableImage):
    """The image has more pixels than are allowed; known from its header, before decoding."""

    def __init__(self, width: int, height: int, pixel_limit: int) -> None:
        self.width = width
        self.height = height
        self.pixel_limit = pixel_limit
        super().__init__(
            f"the image is {width} × {height} pixels, more than the limit of {pixel_limit / 1e6:g} megapixels",
            "crop or bin it in the camera",
        )


class UnknownMediaType(UnreadableImage):
    """The declared media type, or the raw pixel format, is not one that can be read."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as it arrived: an encoded file, or raw pixels with a GenICam format, a size and a stride in bytes."""

    data: bytes
    media_type: str
    pixel_format: str | None = None
    width: int | None = None
    height: int | None = None
    stride: int | None = None


def stored_type(frame: Frame) -> str:
    """The media type under which a frame is kept; that of raw pixels says how to read them again.

    >>> stored_type(Frame(b"", "application/octet-stream", "Mono8", 640, 480))
    'application/octet-stream; format=Mono8; width=640; height=480'
    """
    media_type = frame.media_type.partition(";")[0].strip().lower()
    if media_type != RAW_MEDIA_TYPE:
        return media_type
    fields = {"format": frame.pixel_format, "width": frame.width, "height": frame.height, "stride": frame.stride}
    return "; ".join([media_type, *(f"{name}={value}" for name, value in fields.items() if value is not None)])


def stored_frame(data: bytes, media_type: str) -> Frame:
    """The frame that was kept under a media type from `stored_type`.

    >>> stored_frame(b"", "application/octet-stream; format=Mono8; width=640; height=480").height
    480
    """
    name, *parameters = (part.strip() for part in media_type.split(";"))
    fields = dict(parameter.split("=", 1) for parameter in parameters)
    width, height, stride = (int(fields[side]) if side in fields else None for side in ("width", "height", "stride"))
    return Frame(data, name, fields.get("format"), width, height, stride)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What part of a frame the model sees, and at what size.

    height, width: of one tile, in pixels. roi: x, y, width, height as fractions of the frame. tile_overlap: the
    fraction of a tile that it shares with its neighbour. Tiles are squashed to height × width; the aspect ratio is
    not kept.
    """

    height: int
    width: int
    roi: tuple[float, float, float, float] | None = None
    tile_rows: int = 1
    tile_cols: int = 1
    tile_overlap: float = 0.0
    decode_version: int = DECODE_VERSION

    def __post_init__(self) -> None:
        """Refuse a geometry that no frame can satisfy."""
        if min(self.height, self.width, self.tile_rows, self.tile_cols) < 1:
            raise ValueError("a geometry's height, width, tile_rows and tile_cols must be at least 1")
        if not 0.0 <= self.tile_overlap <= 0.9:
            raise ValueError(f"tile_overlap is {self.tile_overlap}; it must lie in 0..0.9")
        if self.roi is not None:
            x, y, width, height = self.roi
            if min(x, y) < 0 or min(width, height) <= 0 or max(x + width, y + height) > 1 + 1e-9:
                raise ValueError(
                    f"roi is {self.roi}; x, y, width, height are fractions of the frame and must lie inside it"
                )

    @property
    def tiles(self) -> int:
        """The number of tiles a view gives."""
        return self.tile_rows * self.tile_cols

    def to_json(self) -> dict[str, Any]:
        """The fields, with the region of interest as a list."""
        fields = asdict(self)
        fields["roi"] = None if self.roi is None else list(self.roi)
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Geometry":
        """The reverse of to_json; KeyError, TypeError or ValueError where the fields do not fit."""
        roi = fields.get("roi")
        return cls(
            height=int(fields["height"]),
            width=int(fields["width"]),
            roi=None if roi is None else (float(roi[0]), float(roi[1]), float(roi[2]), float(roi[3])),
            tile_rows=int(fields.get("tile_rows", 1)),
            tile_cols=int(fields.get("tile_cols", 1)),
            tile_overlap=float(fields.get("tile_overlap", 0.0)),
            decode_version=int(fields["decode_version"]),
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded view.

    tiles: uint8 (T, H, W, 3) RGB, row by row. overview: uint8 (h, w, 3) RGB, the whole frame with its long side at most
    OVERVIEW_SIDE_PX. scale: decoded size / original size. width, height: of the original frame in pixels.
    """

    tiles: Pixels
    overview: Pixels
    scale: float
    version: int
    width: int
    height: int


def prepare(frame: Frame, geometry: Geometry, *, pixel_limit: int = PIXEL_LIMIT) -> Prepared:
    """Decode a frame, cut its tiles and make its overview.

    Raises:
        UnreadableImage: damaged, cut short, or not what its media type says.
        UnknownMediaType: a type or pixel format that is not supported.
        ImageTooLarge: more than pixel_limit pixels.
        ValueError: the geometry asks for another decode version.
    """
    if geometry.decode_version != DECODE_VERSION:
        raise ValueError(
            f"the geometry needs decode version {geometry.decode_version}, this program has {DECODE_VERSION}; "
            "train the model again"
        )
    width, height = read_size(frame)
    if width * height > pixel_limit:
        raise ImageTooLarge(width, height, pixel_limit)
    min_height, min_width = _needed_size(geometry, height, width)
    decoded = _decode(frame, height, width, min_height, min_width)
    long_side = max(height, width)
    overview_scale = min(1.0, OVERVIEW_SIDE_PX / long_side)
    overview = _shrink(decoded, max(1, round(height * overview_scale)), max(1, round(width * overview_scale)))
    tiles = np.empty((geometry.tiles, geometry.height, geometry.width, 3), np.uint8)
    for tile, region in zip(tiles, _regions(decoded, geometry), strict=True):
        tile[...] = _as_rgb(_shrink(region, geometry.height, geometry.width))
    return Prepared(tiles, _as_rgb(overview), decoded.shape[1] / width, DECODE_VERSION, width, height)


def read_size(frame: Frame) -> tuple[int, int]:
    """Width and height in pixels from the header alone; the errors of prepare, ImageTooLarge excepted."""
    media_type = _media_type(frame)
    if media_type == RAW_MEDIA_TYPE:
        return _raw_size(frame)
    found = sniff(frame.data)
    if found != media_type:
        raise UnreadableImage(
            f"the body is declared {media_type} but its content is {found or 'no image that is known here'}",
            "send the bytes unchanged and declare what they are",
        )
    try:
        width, height = HEADERS[media_type](frame.data)
    except (struct.error, ValueError, IndexError) as error:
        raise _damaged(media_type, "its header is damaged or cut short") from error
    if width < 1 or height < 1:
        raise _damaged(media_type, f"its header says {width} × {height} pixels")
    return width, height


def sniff(data: bytes) -> str | None:
    """The media type that the first bytes show, or None.

    >>> sniff(b"BM" + bytes(52))
    'image/bmp'
    """
    for magic, media_type in MAGIC:
        if data.startswith(magic):
            return media_type
    return None


def _media_type(frame: Frame) -> str:
    media_type = frame.media_type.partition(";")[0].strip().lower()
    if media_type != RAW_MEDIA_TYPE and media_type not in HEADERS:
        known = ", ".join((*HEADERS, RAW_MEDIA_TYPE))
        raise UnknownMediaType(f"the media type {media_type or '(none)'} is not supported", f"send one of {known}")
    return media_type


def _damaged(media_type: str, what: str) -> UnreadableImage:
    return UnreadableImage(f"the {media_type} cannot be read: {what}", "send the complete file as the camera made it")


# --- headers --------------------------------------------------------------------------------------


def _jpeg_size(data: bytes) -> tuple[int, int]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    return width, height


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError("the first chunk is not IHDR")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return width, abs(height)  # a negative height only means that rows run from the top


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    sides: dict[int, int] = {}
    for entry in range(entries):
        offset = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", data, offset)
        if tag in (256, 257):  # ImageWidth, ImageLength; SHORT (3) or LONG (4)
            (sides[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, offset + 8)
    if len(sides) != 2:
        raise ValueError("the first directory has no size")
    return sides[256], sides[257]


HEADERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "image/jpeg": _jpeg_size,
    "image/png": _png_size,
    "image/bmp": _bmp_size,
    "image/tiff": _tiff_size,
}
MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


# --- decoding -------------------------------------------------------------------------------------


def _decode(frame: Frame, height: int, width: int, min_height: int, min_width: int) -> Pixels:
    """Gray (h, w) or RGB (h, w, 3), at least min_height × min_width where the frame has that many pixels."""
    media_type = _media_type(frame)
    if media_type == "image/jpeg":
        return _decode_jpeg(frame.data, min_height, min_width)
    pixels = _decode_raw(frame) if media_type == RAW_MEDIA_TYPE else _decode_file(frame.data, media_type, height, width)
    return _halve(pixels, min_height, min_width)


def _decode_jpeg(data: bytes, min_height: int, min_width: int) -> Pixels:
    try:
        gray = simplejpeg.decode_jpeg_header(data)[2] == "Gray"
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, colorspace="GRAY" if gray else "RGB", min_height=min_height, min_width=min_width, strict=True
        )
    except ValueError as error:
        raise _damaged("image/jpeg", str(error)) from error
    return pixels[:, :, 0] if gray else pixels


def _decode_file(data: bytes, media_type: str, height: int, width: int) -> Pixels:
    if media_type == "image/tiff":
        _check_tiff(data)
    # UNCHANGED also keeps OpenCV from turning the image by its EXIF orientation.
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _damaged(media_type, "decoding failed") from error
    if decoded is None:
        raise _damaged(media_type, "it is damaged or cut short")
    if decoded.shape[:2] != (height, width):
        raise _damaged(media_type, "its content has another size than its header says")
    return _to_rgb(_to_8_bit(decoded, media_type), media_type)


def _check_tiff(data: bytes) -> None:
    from models.tiff import damage  # it brings a compiler, which only compressed TIFFs need

    try:
        found = damage(data)
    except (struct.error, KeyError, IndexError, ZeroDivisionError) as error:
        raise _damaged("image/tiff", "its directory is damaged or cut short") from error
    if found is not None:
        raise _damaged("image/tiff", found)


def _to_8_bit(decoded: NDArray[Any], media_type: str) -> Pixels:
    if decoded.dtype == np.uint8:
        return decoded
    if decoded.dtype == np.uint16:
        return (decoded >> 8).astype(np.uint8)
    raise _damaged(media_type, f"its samples are {decoded.dtype}, not 8 or 16 bit")


def _to_rgb(decoded: Pixels, media_type: str) -> Pixels:
    channels = 1 if decoded.ndim == 2 else decoded.shape[2]
    if channels == 1:
        return decoded.reshape(decoded.shape[:2])
    conversions = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    if channels == 2:  # gray and alpha
        return np.ascontiguousarray(decoded[:, :, 0])
    if channels not in conversions:
        raise _damaged(media_type, f"it has {channels} channels")
    return np.asarray(cv2.cvtColor(decoded, conversions[channels]), np.uint8)


# --- raw pixels -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A GenICam pixel format: bytes a pixel, bits a sample, and the OpenCV conversion to RGB (None: as it is)."""

    bytes_per_pixel: int
    bits: int = 8
    conversion: int | None = None


PIXEL_FORMATS = {
    "Mono8": PixelFormat(1),
    "Mono10": PixelFormat(2, bits=10),
    "Mono12": PixelFormat(2, bits=12),
    "Mono16": PixelFormat(2, bits=16),
    "RGB8": PixelFormat(3),
    "BGR8": PixelFormat(3, conversion=cv2.COLOR_BGR2RGB),
    # OpenCV names a Bayer pattern by the second row's second and third pixel, GenICam by the first row's first two.
    "BayerRG8": PixelFormat(1, conversion=cv2.COLOR_BayerBG2RGB),
    "BayerGR8": PixelFormat(1, conversion=cv2.COLOR_BayerGB2RGB),
    "BayerGB8": PixelFormat(1, conversion=cv2.COLOR_BayerGR2RGB),
    "BayerBG8": PixelFormat(1, conversion=cv2.COLOR_BayerRG2RGB),
}


def _raw_format(frame: Frame) -> PixelFormat:
    if frame.pixel_format not in PIXEL_FORMATS:
        raise UnknownMediaType(
            f"the pixel format {frame.pixel_format or '(none)'} is not supported",
            f"send raw pixels as one of {', '.join(PIXEL_FORMATS)}",
        )
    return PIXEL_FORMATS[frame.pixel_format]


def _raw_size(frame: Frame) -> tuple[int, int]:
    pixel_format = _raw_format(frame)
    if frame.width is None or frame.height is None or frame.width < 1 or frame.height < 1:
        raise UnreadableImage("raw pixels without a width and a height", "send both, in pixels")
    row_bytes = frame.width * pixel_format.bytes_per_pixel
    stride = row_bytes if frame.stride is None else frame.stride
    if stride < row_bytes:
        raise UnreadableImage(
            f"a stride of {stride} bytes is shorter than a row of {row_bytes} bytes", "send the stride in bytes"
        )
    shortest, longest = stride * (frame.height - 1) + row_bytes, stride * frame.height
    if not shortest <= len(frame.data) <= longest:
        raise UnreadableImage(
            f"{len(frame.data)} bytes for {frame.width} × {frame.height} px {frame.pixel_format}, not {longest}",
            "send the whole frame, and its true width, height, stride and pixel format",
        )
    if pixel_format.conversion is not None and pixel_format.bytes_per_pixel == 1 and min(frame.width, frame.height) < 4:
        raise UnreadableImage("a Bayer image needs at least 4 × 4 pixels", "send a larger image")
    return frame.width, frame.height


def _decode_raw(frame: Frame) -> Pixels:
    pixel_format = _raw_format(frame)
    width, height = _raw_size(frame)
    stride = frame.stride or width * pixel_format.bytes_per_pixel
    if pixel_format.bits > 8:
        deep = np.ndarray((height, width), np.dtype("<u2"), frame.data, strides=(stride, 2))
        # Padding bits should be zero; where a camera leaves rubbish there, bright beats wrapped round to dark.
        return np.asarray(np.minimum(deep >> (pixel_format.bits - 8), 255), np.uint8)
    if pixel_format.bytes_per_pixel == 1:
        pixels = np.ndarray((height, width), np.uint8, frame.data, strides=(stride, 1))
    else:
        pixels = np.ndarray((height, width, 3), np.uint8, frame.data, strides=(stride, 3, 1))
    pixels = np.ascontiguousarray(pixels)
    if pixel_format.conversion is None:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, pixel_format.conversion), np.uint8)


# --- geometry -------------------------------------------------------------------------------------


def _needed_size(geometry: Geometry, height: int, width: int) -> tuple[int, int]:
    """The smallest decoded height and width at which no tile, nor the overview, has to be enlarged."""
    _, _, roi_width, roi_height = geometry.roi or (0.0, 0.0, 1.0, 1.0)
    rows = geometry.tile_rows - (geometry.tile_rows - 1) * geometry.tile_overlap
    cols = geometry.tile_cols - (geometry.tile_cols - 1) * geometry.tile_overlap
    overview_scale = min(1.0, OVERVIEW_SIDE_PX / max(height, width))
    needed_height = max(geometry.height * rows / roi_height, height * overview_scale)
    needed_width = max(geometry.width * cols / roi_width, width * overview_scale)
    return min(height, int(np.ceil(needed_height))), min(width, int(np.ceil(needed_width)))


def _regions(decoded: Pixels, geometry: Geometry) -> list[Pixels]:
    """The tiles of the region of interest, row by row, as views of the decoded image."""
    rows, cols = tile_spans(geometry, *decoded.shape[:2])
    return [decoded[top:bottom, left:right] for top, bottom in rows for left, right in cols]


def tile_spans(geometry: Geometry, height: int, width: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Where the rows and the columns of tiles begin and end in an image of this size, in pixels.

    >>> tile_spans(Geometry(32, 32, roi=(0.5, 0.0, 0.5, 1.0), tile_rows=2), 100, 200)
    ([(0, 50), (50, 100)], [(100, 200)])
    """
    x, y, roi_width, roi_height = geometry.roi or (0.0, 0.0, 1.0, 1.0)
    rows = _spans(y * height, roi_height * height, geometry.tile_rows, geometry.tile_overlap, height)
    cols = _spans(x * width, roi_width * width, geometry.tile_cols, geometry.tile_overlap, width)
    return rows, cols


def _spans(start: float, length: float, count: int, overlap: float, limit: int) -> list[tuple[int, int]]:
    """Where `count` equal tiles begin and end along one side, in whole pixels, each at least one pixel long.

    >>> _spans(0, 100, 2, 0.0, 100)
    [(0, 50), (50, 100)]
    """
    side = length / (count - (count - 1) * overlap)
    spans = []
    for index in range(count):
        first = min(round(start + index * side * (1 - overlap)), limit - 1)
        last = round(start + index * side * (1 - overlap) + side)
        spans.append((first, min(max(last, first + 1), limit)))
    return spans


def _halve(pixels: Pixels, min_height: int, min_width: int) -> Pixels:
    """Average 2 × 2 pixels while the result keeps the needed size: what a scaled JPEG decode does, at a like cost."""
    height, width = pixels.shape[:2]
    while height // 2 >= min_height and width // 2 >= min_width and min(height, width) >= 2:
        # An odd last row or column is dropped: INTER_AREA is fast only for whole factors.
        even = pixels[: height // 2 * 2, : width // 2 * 2]
        pixels = np.asarray(cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)
        height, width = pixels.shape[:2]
    return pixels


def _shrink(pixels: Pixels, height: int, width: int) -> Pixels:
    pixels = _halve(pixels, height, width)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _as_rgb(pixels: Pixels) -> Pixels:
    if pixels.ndim == 3:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
