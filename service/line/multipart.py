"""Several views in one body: multipart/form-data into its parts, held in memory as the whole body is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.line.requests import VIEW_LIMIT, WrongRequest

META = "meta"
META_BYTES = 64 * 1024
HEADER_BYTES = 4096


@dataclass(slots=True)
class _Part:
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Form:
    """The JSON text of the part `meta`; the files and their content types by name."""

    meta: bytes
    files: Mapping[str, bytes]
    types: Mapping[str, str]


def read_form(body: bytes, content_type: str) -> Form:
    """The parts of a body.

    Raises WrongRequest.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise WrongRequest("the multipart body names no boundary", "let the HTTP client set the content type")
    named = [(_name(part), part) for part in _parts(body, boundary)]
    files = {name: part for name, part in named if name != META}
    metas = [part for name, part in named if name == META]
    if len(metas) != 1 or len(files) + 1 != len(named):
        raise WrongRequest(
            f"the multipart body has {len(metas)} parts named `meta` and {len(named)} in all",
            "send one JSON part `meta`, and one file part a view under a name of its own",
        )
    if len(metas[0].body) > META_BYTES:
        raise WrongRequest(f"the part `meta` is larger than {META_BYTES} bytes", "send only the fields of the line API")
    return Form(
        bytes(metas[0].body),
        {name: bytes(part.body) for name, part in files.items()},
        {name: part.headers.get("content-type", b"").decode("latin-1") for name, part in files.items()},
    )


def _name(part: _Part) -> str:
    _, options = parse_options_header(part.headers.get("content-disposition", b""))
    name = options.get(b"name", b"").decode("utf-8", "replace").strip()
    if not name:
        raise WrongRequest("a part of the multipart body has no name", "name it `meta` or by its view_id")
    return name


def _parts(body: bytes, boundary: bytes) -> list[_Part]:
    parts: list[_Part] = []
    header, value = bytearray(), bytearray()

    def begin() -> None:
        if len(parts) > VIEW_LIMIT:
            raise WrongRequest(f"the multipart body has more than {VIEW_LIMIT} files", "send fewer views")
        parts.append(_Part())

    def header_end() -> None:
        parts[-1].headers[header.decode("latin-1").lower()] = bytes(value)
        header.clear()
        value.clear()

    def grow(piece: bytearray, data: bytes, start: int, end: int) -> None:
        piece += data[start:end]
        if len(piece) > HEADER_BYTES:
            raise WrongRequest("a header of the multipart body is too long", "send only name and content type")

    ended = False

    def finish() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_part_data": lambda data, start, end: parts[-1].body.extend(memoryview(data)[start:end]),
                "on_header_field": lambda data, start, end: grow(header, data, start, end),
                "on_header_value": lambda data, start, end: grow(value, data, start, end),
                "on_header_end": header_end,
                "on_end": finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise WrongRequest(f"the multipart body can't be read: {error}", "send it as multipart/form-data") from error
    if not ended:
        raise WrongRequest("the multipart body is cut short", "send it whole, with its closing boundary")
    return parts
