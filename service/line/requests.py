"""What a camera PC or PLC says about a part, and every way in which it can be refused before it is inspected."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from models.preprocess import HEADERS, PIXEL_FORMATS, RAW_MEDIA_TYPE, Frame

MODES = ("production", "shadow", "challenge")
FIELD_LIMIT = 200
MEDIA_TYPES = (*HEADERS, RAW_MEDIA_TYPE)


class Refusal(Exception):
    """The part was not inspected; `remedy` says what to do. Nothing is recorded."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class WrongRequest(Refusal):
    """A field is missing or can't be used."""


class UnknownType(Refusal):
    """The body's type is not one that Loupe reads."""


class BodyTooLarge(Refusal):
    """The body is larger than the limit."""


class BodyTooSlow(Refusal):
    """The body did not arrive in time."""


class OtherImage(Refusal):
    """The same trigger came with another image; the first one stands."""


class Overloaded(Refusal):
    """More parts are waiting than can be in time."""


class NotReady(Refusal):
    """No model is ready for this part."""


class KeyMissing(Refusal):
    """No key, or one that is not known."""


class WrongStation(Refusal):
    """The key is for another station."""


@dataclass(frozen=True, slots=True)
class PartRequest:
    """One view of one part, as it was announced."""

    station: str
    trigger_id: str
    trigger_epoch: str
    product: str | None
    part_id: str | None
    lot: str | None
    camera: str
    view_id: str
    captured_at: datetime | None
    deadline_ms: float | None
    mode: str
    media_type: str
    pixel_format: str | None
    width: int | None
    height: int | None
    stride: int | None

    @property
    def key(self) -> str:
        """The idempotency key."""
        return json.dumps([self.station, self.trigger_epoch, self.trigger_id, self.view_id])

    def frame(self, body: bytes) -> Frame:
        """The image of the body as it was announced."""
        return Frame(body, self.media_type, self.pixel_format, self.width, self.height, self.stride)

    @property
    def watched_camera(self) -> str:
        """The camera's name among all stations."""
        return f"{self.station}/{self.camera}"


def read_request(query: Mapping[str, str], headers: Mapping[str, str]) -> PartRequest:
    """The request in a query string and headers.

    Raises WrongRequest, UnknownType.
    """
    station, trigger_id = _text(query, "station"), _text(query, "trigger_id")
    if not station or not trigger_id:
        missing = "station" if not station else "trigger_id"
        raise WrongRequest(
            f"the request has no {missing}",
            "add ?station=NAME&trigger_id=COUNTER: a part without them can't be identified",
        )
    if any(sign in station for sign in "/+#"):
        raise WrongRequest(f"station {station!r} holds one of / + #", "use letters, digits, dots and dashes")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnknownType(
            f"content type {media_type[:FIELD_LIMIT] or '(none)'} is not read here",
            f"send one view as {', '.join(MEDIA_TYPES)}",
        )
    mode = query.get("mode", "production")
    if mode not in MODES:
        raise WrongRequest(f"mode {mode[:FIELD_LIMIT]!r} is unknown", f"use one of {', '.join(MODES)}")
    return PartRequest(
        station=station,
        trigger_id=trigger_id,
        trigger_epoch=_text(query, "trigger_epoch") or "",
        product=_text(query, "product"),
        part_id=_text(query, "part_id"),
        lot=_text(query, "lot"),
        camera=_text(query, "camera") or "0",
        view_id=_text(query, "view_id") or "0",
        captured_at=_time(query, "captured_at"),
        deadline_ms=_positive(query, "deadline_ms"),
        mode=mode,
        media_type=media_type,
        pixel_format=_pixel_format(headers),
        width=_whole(headers, "x-width"),
        height=_whole(headers, "x-height"),
        stride=_whole(headers, "x-stride"),
    )


def _text(fields: Mapping[str, str], name: str) -> str | None:
    value = fields.get(name, "").strip()
    if len(value) > FIELD_LIMIT:
        raise WrongRequest(f"{name} is {len(value)} characters long", f"use at most {FIELD_LIMIT}")
    if not value.isprintable():
        raise WrongRequest(f"{name} holds control characters", "use printable characters")
    return value or None


def _pixel_format(headers: Mapping[str, str]) -> str | None:
    name = headers.get("x-pixel-format")
    if name is not None and name not in PIXEL_FORMATS:
        raise UnknownType(
            f"pixel format {name[:FIELD_LIMIT]!r} is not read here", f"send one of {', '.join(PIXEL_FORMATS)}"
        )
    return name


def _positive(fields: Mapping[str, str], name: str) -> float | None:
    if name not in fields:
        return None
    try:
        value = float(fields[name])
    except ValueError:
        value = float("nan")
    if not 0 < value < 1e7:
        raise WrongRequest(
            f"{name}={fields[name][:FIELD_LIMIT]!r} is no time in ms", "use a number above 0, such as 80"
        )
    return value


def _whole(fields: Mapping[str, str], name: str) -> int | None:
    if name not in fields:
        return None
    value = fields[name].strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise WrongRequest(
            f"{name}={value[:FIELD_LIMIT]!r} is no whole number", f"send {name} in pixels (stride in bytes)"
        )
    return int(value)


def _time(fields: Mapping[str, str], name: str) -> datetime | None:
    """A time without a zone is taken as UTC: cameras often have none."""
    if not fields.get(name):
        return None
    # A `+` in a query string that was not escaped arrives as a space.
    text = fields[name].strip().replace(" ", "+") if "T" in fields[name] else fields[name].strip()
    try:
        value = datetime.fromisoformat(text)
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongRequest(
            f"{name}={text[:FIELD_LIMIT]!r} is no time", "use ISO 8601, such as 2026-03-01T06:30:00Z"
        ) from error
