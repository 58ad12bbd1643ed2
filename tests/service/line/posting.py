"""How a test speaks to the line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from service.line.server import LineServer
from storage import happenings, inspections
from storage.records import Alarm, Event, Inspection

PNG = "image/png"


def post(
    http: TestClient,
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


def verdict(response: Response) -> tuple[int, str, int]:
    """Status, disposition and result code; every body has the two."""
    answer = json.loads(response.content)
    return response.status_code, answer["disposition"], answer["result_code"]


def server_of(http: TestClient) -> LineServer:
    """What runs behind the app."""
    server: LineServer = http.app.state.line  # type: ignore[attr-defined]  # Starlette types `app` as a callable
    return server


def drained(http: TestClient) -> bool:
    """Whether everything answered is in the database."""
    return server_of(http).journal.waiting_count == 0


def recorded(http: TestClient) -> list[Inspection]:
    """All inspections in the database, newest first."""
    with server_of(http).database.read() as connection:
        return inspections.latest(connection, 100_000)


def alarms_of(http: TestClient) -> list[Alarm]:
    """All alarms in the database, newest first."""
    with server_of(http).database.read() as connection:
        return happenings.latest_alarms(connection, 1000)


def events_of(http: TestClient, kind: str) -> Sequence[Event]:
    """All events of a kind in the database, newest first."""
    with server_of(http).database.read() as connection:
        return happenings.latest_events(connection, 1000, kind)
