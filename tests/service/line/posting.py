"""How a test speaks to the line."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from httpx2 import Client, Response

from service.line.server import LineServer
from service.wiring import Stores
from storage import happenings, inspections
from storage.records import Alarm, Event, Inspection
from tests.service.line.stocked import change_recipe, wait_until

PNG = "image/png"
BOUNDARY = "0a1b2c3d4e"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def post(
    http: Client,
    body: bytes,
    trigger: str = "1",
    *,
    media_type: str = PNG,
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> Response:
    """One view of one part."""
    return http.post(
        "/v1/inspections",
        params={"station": "s1", "trigger_id": trigger, **query},
        content=body,
        headers={"content-type": media_type, **(headers or {})},
    )


def form(parts: Sequence[tuple[str, str, bytes]], boundary: str = BOUNDARY) -> bytes:
    """A multipart body of (name, content type, content)."""
    body = b""
    for name, content_type, content in parts:
        headers = f'Content-Disposition: form-data; name="{name}"\r\nContent-Type: {content_type}'
        body += f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def post_form(
    http: Client,
    body: bytes,
    *,
    path: str = "/v1/inspections",
    content_type: str = MULTIPART,
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> Response:
    """A multipart body, whatever is in it."""
    return http.post(path, params=query, content=body, headers={"content-type": content_type, **(headers or {})})


def post_views(
    http: Client,
    images: Mapping[str, bytes],
    trigger: str = "1",
    *,
    path: str = "/v1/inspections",
    views: Sequence[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
    **meta: Any,
) -> Response:
    """Several views of one part in one request; `views`: what is said of each, by default only its name."""
    said = [{"view_id": name} for name in images] if views is None else list(views)
    text = json.dumps({"station": "s1", "trigger_id": trigger, "views": said, **meta})
    parts = [("meta", "application/json", text.encode()), *((name, PNG, image) for name, image in images.items())]
    return post_form(http, form(parts), path=path, headers=headers, **(query or {}))


def verdict(response: Response) -> tuple[int, str, int]:
    """Status, disposition and result code; every body has the two."""
    answer = json.loads(response.content)
    return response.status_code, answer["disposition"], answer["result_code"]


def server_of(http: Client) -> LineServer:
    """What runs behind the app."""
    server: LineServer = http.app.state.line  # type: ignore[attr-defined]  # Starlette types `app` as a callable
    return server


def own(http: Client, station: str = "s1") -> None:
    """The station is known to be this line's, so that its first part need not ask: a short deadline would pass."""
    assert asyncio.run(server_of(http).ownership.owner_of(station, wait_s=20.0)) is None


def of_trigger(http: Client, trigger: str, **query: Any) -> Response:
    """The answer for a part that somebody else posts."""
    return http.get("/v1/inspections", params={"station": "s1", "trigger_id": trigger, **query})


def expect_views(http: Client, stores: Stores, *views: str, **changes: Any) -> None:
    """From now on these views make a part."""
    version = change_recipe(stores, expected_views=views, **changes).version
    wait_until(lambda: server_of(http).champions.active(None, "s1").recipe.version == version)


def drained(http: Client) -> bool:
    """Whether everything answered is in the database."""
    return server_of(http).journal.waiting_count == 0


def recorded(http: Client) -> list[Inspection]:
    """All inspections in the database, newest first."""
    with server_of(http).database.read() as connection:
        return inspections.latest(connection, 100_000)


def settled(http: Client, count: int) -> list[Inspection]:
    """All inspections once there are so many of them, newest first.

    For parts that were late: their answer leaves first, the record follows.
    """
    wait_until(lambda: drained(http) and len(recorded(http)) >= count)
    return recorded(http)


def is_idle(http: Client) -> bool:
    """Whether no part is in work, not even one whose answer has left, so that the next one finds a thread."""
    server = server_of(http)
    return server.admission.total == 0 and server.dispatcher.wait_ms("s1", 1.0) == 0


def alarms_of(http: Client) -> list[Alarm]:
    """All alarms in the database, newest first."""
    with server_of(http).database.read() as connection:
        return happenings.latest_alarms(connection, 1000)


def events_of(http: Client, kind: str) -> Sequence[Event]:
    """All events of a kind in the database, newest first."""
    with server_of(http).database.read() as connection:
        return happenings.latest_events(connection, 1000, kind)
