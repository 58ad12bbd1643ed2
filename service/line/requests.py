"""What a camera PC or PLC says about a part, and every way in which it can be refused before it is inspected."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from models.preprocess import HEADERS, PIXEL_FORMATS, RAW_MEDIA_TYPE, Frame

_quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii
"""Text as JSON; `json.dumps` makes an encoder for each call."""

MODES = ("production", "shadow", "challenge")
FIELD_LIMIT = 200
QUERY_FIELDS = 50
VIEW_LIMIT = 16
DEFAULT_VIEW = "0"
MEDIA_TYPES = (*HEADERS, RAW_MEDIA_TYPE)
MULTIPART = "multipart/form-data"
ENCODINGS = {
    **{name.removeprefix("image/"): name for name in HEADERS},
    "raw": RAW_MEDIA_TYPE,
    **{m: m for m in MEDIA_TYPES},
}
"""What `encoding` of a view may be: a media type or its short name."""
STATION_REMEDY = f"use 1 to {FIELD_LIMIT} letters, digits, dots and dashes"


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


def too_large(limit: int) -> BodyTooLarge:
    """The refusal of a body of more bytes than this."""
    return BodyTooLarge(
        f"the body is larger than {limit / 1e6:g} MB", "send a smaller image, or raise LOUPE_MAX_IMAGE_MB"
    )


def stopping() -> NotReady:
    """The refusal of everything new while the server ends."""
    return NotReady("the line server is stopping", "send the trigger again to the one that takes its place")


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """One image of a part, as it was announced."""

    view_id: str
    camera: str
    media_type: str
    pixel_format: str | None = None
    width: int | None = None
    height: int | None = None
    stride: int | None = None
    sha256: str | None = None
    """What the image's bytes must hash to, where the sender says so."""
    exposure_us: float | None = None
    gain: float | None = None

    def frame(self, body: bytes) -> Frame:
        """The image of the body as it was announced."""
        return Frame(body, self.media_type, self.pixel_format, self.width, self.height, self.stride)


@dataclass(frozen=True, slots=True)
class PartRequest:
    """A part with the views that this request brings."""

    station: str
    trigger_id: str
    trigger_epoch: str
    product: str | None
    part_id: str | None
    lot: str | None
    captured_at: datetime | None
    deadline_ms: float | None
    mode: str
    views: tuple[ViewRequest, ...]
    part_key: str = field(init=False)
    """What all views of the part have in common."""

    def __post_init__(self) -> None:
        """Make the key, which every step asks for."""
        object.__setattr__(self, "part_key", part_key(self.station, self.trigger_epoch, self.trigger_id))

    def key(self, view: ViewRequest) -> str:
        """The idempotency key of a view.

        >>> view = ViewRequest("0", "0", "image/png")
        >>> PartRequest("s1", "7", "", None, None, None, None, None, "production", (view,)).key(view)
        '["s1", "", "7", "0"]'
        """
        return f"{self.part_key[:-1]}, {_quoted(view.view_id)}]"

    def watched_camera(self, view: ViewRequest) -> str:
        """The camera's name among all stations."""
        return f"{self.station}/{view.camera}"


def part_key(station: str, trigger_epoch: str, trigger_id: str) -> str:
    """Names a part whatever its views: a JSON list.

    >>> part_key("s1", "", "7")
    '["s1", "", "7"]'
    """
    return f"[{_quoted(station)}, {_quoted(trigger_epoch)}, {_quoted(trigger_id)}]"


def read_query(query: bytes) -> dict[str, str]:
    """The fields of a query string; of one that comes twice the first counts.

    >>> read_query(b"station=s%201&trigger_id=7")
    {'station': 's 1', 'trigger_id': '7'}

    Raises WrongRequest.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_FIELDS)
    except ValueError as error:
        raise WrongRequest("the query can't be read", "send `name=value` pairs, percent-encoded") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def read_request(query: Mapping[str, str], headers: Mapping[str, str]) -> PartRequest:
    """The request for one view whose image is the body: its fields are in the query string and headers.

    Raises WrongRequest, UnknownType.
    """
    identity = _identity(query)
    media_type = media_type_of(headers)
    if media_type not in MEDIA_TYPES:
        raise UnknownType(
            f"content type {media_type[:FIELD_LIMIT] or '(none)'} is not read here",
            f"send one view as {', '.join(MEDIA_TYPES)}, or several as {MULTIPART}",
        )
    view = ViewRequest(
        view_id=_text(query, "view_id") or DEFAULT_VIEW,
        camera=_text(query, "camera") or "0",
        media_type=media_type,
        pixel_format=_pixel_format(headers.get("x-pixel-format")),
        width=_whole(headers, "x-width"),
        height=_whole(headers, "x-height"),
        stride=_whole(headers, "x-stride"),
    )
    return _part(query, identity, (view,))


def read_meta(text: bytes, types: Mapping[str, str]) -> PartRequest:
    """The request for several views: the JSON part `meta`, and the content type of each file part by its name.

    Raises WrongRequest, UnknownType.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongRequest("the part `meta` is no JSON", "send one JSON object as the part `meta`") from error
    if not isinstance(fields, dict):
        raise WrongRequest("the part `meta` is no JSON object", "send one JSON object as the part `meta`")
    announced = fields.get("views", [{"view_id": name} for name in types])
    if not isinstance(announced, list) or not all(isinstance(view, dict) for view in announced):
        raise WrongRequest("`views` of `meta` is no list of objects", "send `views: [{view_id, camera, …}]`")
    if not 1 <= len(announced) <= VIEW_LIMIT:
        raise WrongRequest(f"the part has {len(announced)} views", f"send 1 to {VIEW_LIMIT}")
    said = [_as_text(view) for view in announced]
    names = [_text(view, "view_id") or "" for view in said]
    if not all(names):
        raise WrongRequest("a view of `meta` has no view_id", "name each view as its file part is named")
    if len(set(names)) != len(names):
        raise WrongRequest(f"a view is named twice: {names}", "give each view a view_id of its own")
    if set(names) != set(types):
        raise WrongRequest(
            f"`views` names {sorted(names)}, the files are {sorted(types)}",
            "send one file a view, named by its view_id",
        )
    text_fields = _as_text(fields)
    views = tuple(_announced_view(name, view, types[name]) for name, view in zip(names, said, strict=True))
    return _part(text_fields, _identity(text_fields), views)


def read_deadline(fields: Mapping[str, str]) -> float | None:
    """`deadline_ms`, where it is named.

    Raises WrongRequest.
    """
    return _positive(fields, "deadline_ms")


def wrong_name(name: str) -> str | None:
    """What keeps this from being a name of anything, to be put behind the word for it; None: nothing.

    >>> wrong_name("a ")
    "'a ' begins or ends with a space"
    """
    if not name:
        return "is empty"
    if len(name) > FIELD_LIMIT:
        return f"is {len(name)} characters long"
    if not name.isprintable():
        return f"{name!r} holds control characters"
    return f"{name!r} begins or ends with a space" if name != name.strip() else None


def wrong_station(name: str) -> str | None:
    """What keeps this from being the name of a station: it is one level of an address, and of a topic.

    >>> wrong_station("line/1")
    "'line/1' holds one of / + #"
    """
    return wrong_name(name) or (f"{name!r} holds one of / + #" if any(sign in name for sign in "/+#") else None)


def media_type_of(headers: Mapping[str, str]) -> str:
    """The content type without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _identity(fields: Mapping[str, str]) -> tuple[str, str]:
    station, trigger_id = _text(fields, "station"), _text(fields, "trigger_id")
    if not station or not trigger_id:
        missing = "station" if not station else "trigger_id"
        raise WrongRequest(
            f"the request has no {missing}",
            "add ?station=NAME&trigger_id=COUNTER: a part without them can't be identified",
        )
    if (wrong := wrong_station(station)) is not None:
        raise WrongRequest(f"station {wrong}", STATION_REMEDY)
    return station, trigger_id


def _part(fields: Mapping[str, str], identity: tuple[str, str], views: tuple[ViewRequest, ...]) -> PartRequest:
    mode = fields.get("mode") or "production"
    if mode not in MODES:
        raise WrongRequest(f"mode {mode[:FIELD_LIMIT]!r} is unknown", f"use one of {', '.join(MODES)}")
    return PartRequest(
        station=identity[0],
        trigger_id=identity[1],
        trigger_epoch=_text(fields, "trigger_epoch") or "",
        product=_text(fields, "product"),
        part_id=_text(fields, "part_id"),
        lot=_text(fields, "lot"),
        captured_at=read_time(fields, "captured_at"),
        deadline_ms=read_deadline(fields),
        mode=mode,
        views=views,
    )


def _announced_view(view_id: str, fields: Mapping[str, str], content_type: str) -> ViewRequest:
    encoding = (fields.get("encoding") or content_type).partition(";")[0].strip().lower()
    media_type = ENCODINGS.get(encoding, encoding)
    if media_type not in MEDIA_TYPES:
        raise UnknownType(f"view {view_id!r} has encoding {encoding[:FIELD_LIMIT]!r}", f"use {', '.join(ENCODINGS)}")
    sha256 = fields.get("sha256", "").strip().lower() or None
    return ViewRequest(
        view_id=view_id,
        camera=_text(fields, "camera") or view_id,
        media_type=media_type,
        pixel_format=_pixel_format(fields.get("pixel_format")),
        width=_whole(fields, "width"),
        height=_whole(fields, "height"),
        stride=_whole(fields, "stride"),
        sha256=sha256,
        exposure_us=_positive(fields, "exposure_us"),
        gain=_number(fields, "gain"),
    )


def _as_text(fields: Mapping[str, Any]) -> dict[str, str]:
    """JSON's numbers and strings as a query string would hold them; null is as good as absent."""
    found = {}
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            if name != "views":
                raise WrongRequest(f"{name[:FIELD_LIMIT]!r} of `meta` is no text or number", "send text or a number")
        elif value is not None:
            found[name] = str(value)
    return found


def _text(fields: Mapping[str, str], name: str) -> str | None:
    value = fields.get(name, "").strip()
    if len(value) > FIELD_LIMIT:
        raise WrongRequest(f"{name} is {len(value)} characters long", f"use at most {FIELD_LIMIT}")
    if not value.isprintable():
        raise WrongRequest(f"{name} holds control characters", "use printable characters")
    return value or None


def _pixel_format(name: str | None) -> str | None:
    if name is not None and name not in PIXEL_FORMATS:
        raise UnknownType(
            f"pixel format {name[:FIELD_LIMIT]!r} is not read here", f"send one of {', '.join(PIXEL_FORMATS)}"
        )
    return name


def _number(fields: Mapping[str, str], name: str) -> float | None:
    if name not in fields:
        return None
    try:
        value = float(fields[name])
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e7:
        raise WrongRequest(f"{name}={fields[name][:FIELD_LIMIT]!r} is no number", "use a number below 10 million")
    return value


def _positive(fields: Mapping[str, str], name: str) -> float | None:
    value = _number(fields, name)
    if value is not None and value <= 0:
        raise WrongRequest(f"{name}={fields[name][:FIELD_LIMIT]!r} is not above 0", "use a number such as 80")
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


def read_time(fields: Mapping[str, str], name: str) -> datetime | None:
    """The time in a field; without a zone it is taken as UTC, for cameras often have none.

    Raises WrongRequest.
    """
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
