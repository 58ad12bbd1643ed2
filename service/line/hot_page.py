"""What `/docs` says of the hot routes: FastAPI, which makes the page, never sees them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from models.preprocess import PIXEL_FORMATS
from service.line.refusals import STATUS
from service.line.requests import DEFAULT_VIEW, FIELD_LIMIT, MEDIA_TYPES, MODES, MULTIPART

_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": FIELD_LIMIT}
_PIXELS: Mapping[str, Any] = {"type": "integer", "minimum": 0}

QUERY: dict[str, tuple[Mapping[str, Any], str]] = {
    "station": (_TEXT, "Who asks; without / + #. Needed where the body is one image."),
    "trigger_id": (_TEXT, "Which part: counts up. Needed where the body is one image."),
    "trigger_epoch": (_TEXT, "Changes when the PLC restarts and its counter begins anew."),
    "product": (_TEXT, "Needed where more than one product has a champion."),
    "part_id": (_TEXT, "For genealogy."),
    "lot": (_TEXT, "For genealogy."),
    "camera": ({**_TEXT, "default": "0"}, "Camera of the view."),
    "view_id": ({**_TEXT, "default": DEFAULT_VIEW}, "Name of the view."),
    "captured_at": ({"type": "string", "format": "date-time"}, "ISO 8601; without a zone it is UTC."),
    "deadline_ms": (
        {"type": "number", "exclusiveMinimum": 0},
        "Counts from the first byte received; default: the recipe's, else LOUPE_DEADLINE_MS.",
    ),
    "mode": (
        {"type": "string", "enum": list(MODES), "default": MODES[0]},
        "All but the first stay out of counts and out of watching the light.",
    ),
}
"""Of an inspection whose image is the body; in a multipart body `meta` holds these fields."""
EXPECTED: dict[str, tuple[Mapping[str, Any], str]] = {
    "expected": (_TEXT, "What must be found: ok, not_ok, or a class. Always in the query.")
}
"""Of a challenge, besides."""
HEADERS: dict[str, tuple[Mapping[str, Any], str]] = {
    "X-Pixel-Format": ({"type": "string", "enum": list(PIXEL_FORMATS)}, "Of application/octet-stream."),
    "X-Width": (_PIXELS, "Of application/octet-stream (px)."),
    "X-Height": (_PIXELS, "Of application/octet-stream (px)."),
    "X-Stride": (_PIXELS, "Of application/octet-stream, where rows are padded (bytes)."),
}


def with_hot_routes(page: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI page with the hot routes on it."""
    added = {
        "/v1/inspections": _operation("Post Inspection", "Judge a part.", QUERY),
        "/v1/challenges": _operation(
            "Post Challenge",
            "Judge a part whose answer is known; a station that gets it wrong stops until it gets one right.",
            {**{name: found for name, found in QUERY.items() if name != "mode"}, **EXPECTED},
        ),
    }
    paths = {path: {**page["paths"].get(path, {}), "post": operation} for path, operation in added.items()}
    return {**page, "paths": {**page["paths"], **paths}}


def _operation(summary: str, description: str, query: Mapping[str, tuple[Mapping[str, Any], str]]) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": description,
        "operationId": summary.lower().replace(" ", "_"),
        "parameters": [
            {"name": name, "in": place, "required": name == "expected", "schema": schema, "description": text}
            for place, fields in (("query", query), ("header", HEADERS))
            for name, (schema, text) in fields.items()
        ],
        "requestBody": {"required": True, "content": _bodies()},
        "responses": _responses(),
    }


def _bodies() -> dict[str, Any]:
    image = {"type": "string", "format": "binary"}
    several = {
        "type": "object",
        "required": ["meta"],
        "properties": {
            "meta": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "The fields of the query and `views`: a list of view_id, camera, encoding, pixel_format,"
                " width, height, stride, exposure_us, gain, sha256.",
            }
        },
        "additionalProperties": {**image, "description": "One file a view, named by its view_id."},
    }
    return {**{name: {"schema": image} for name in MEDIA_TYPES}, MULTIPART: {"schema": several}}


def _responses() -> dict[str, Any]:
    answer = {
        "type": "object",
        "required": ["disposition", "result_code"],
        "properties": {
            "disposition": {"type": "string", "enum": ["pass", "reject", "rework", "recheck"]},
            "result_code": {"type": "integer", "description": "0: pass; from 900 on nothing was decided."},
        },
    }
    content = {
        "application/json": {"schema": answer},
        "text/plain": {"schema": {"type": "string", "description": "RESULT_CODE DISPOSITION RESULT_ID"}},
    }
    why = defaultdict(list)
    for refusal, (status, code) in STATUS.items():
        why[status].append(f"{code}: {(refusal.__doc__ or '').lower()}")
    told = {200: ["Every identified part, decided or not."], **why}
    return {str(status): {"description": " ".join(told[status]), "content": content} for status in sorted(told)}
