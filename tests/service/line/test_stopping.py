"""The end of a line server: what is in work is answered, nothing new is begun, slow bodies are not awaited."""

import asyncio
import json
import time
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.line import server
from service.line.stopping import LAST_BODY_S, Stopping
from service.wiring import Stores
from storage.journal import Journal
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import PNG, drained, post, post_views, recorded, server_of, verdict
from tests.service.line.stocked import DARK, add_champion, encoded, promote, store_model, wait_until, write_slow_model

Message = MutableMapping[str, Any]


def begin_stopping(http: TestClient) -> None:
    """As the server does when it is told to end."""
    assert http.portal is not None
    http.portal.call(server_of(http).stopping.begin)


def test_new_parts_are_refused_and_the_connection_is_let_go(asgi_line: TestClient) -> None:
    answered = post(asgi_line, encoded(DARK))
    begin_stopping(asgi_line)
    for response in (
        post(asgi_line, encoded(DARK), "2"),
        post_views(asgi_line, {"left": encoded(DARK)}, "2"),
        asgi_line.post("/v1/challenges", params={"station": "s1", "trigger_id": "2", "expected": "ok"}),
    ):
        assert verdict(response) == (503, "recheck", 907)
        assert response.headers["connection"] == "close"
        assert "stopping" in response.json()["reasons"][0]
    text = post(asgi_line, encoded(DARK), "2", headers={"accept": "text/plain"})
    assert (text.status_code, text.text, text.headers["connection"]) == (503, "907 recheck -\n", "close")
    ready = asgi_line.get("/health/ready")
    assert (ready.status_code, ready.json()["status"], ready.json()["result_code"]) == (503, "draining", 907)
    assert asgi_line.get("/health/live").status_code == 200
    assert asgi_line.get(f"/v1/inspections/{answered.json()['result_id']}").content == answered.content
    wait_until(lambda: drained(asgi_line))
    assert [i.trigger_id for i in recorded(asgi_line)] == ["1"]


def test_part_in_work_is_answered(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", 100)))
    with open_line(client=("127.0.0.1", 50_000)) as http, ThreadPoolExecutor(1) as pool:
        assert isinstance(http, TestClient)
        begun = pool.submit(post, http, encoded(DARK))
        wait_until(lambda: server_of(http).admission.total == 1)
        time.sleep(0.1)
        begin_stopping(http)
        assert verdict(begun.result()) == (200, "pass", 0)


async def answered_slowly(
    http: TestClient, wait_s: float, *, begin: bool, path: str = "/v1/inspections", content_type: str = PNG
) -> tuple[int, dict[str, Any], float]:
    """Status, body and seconds for a part of whose image the first byte comes at once and the rest after `wait_s`."""
    server, image = server_of(http), encoded(DARK)
    sent: list[Message] = []
    parts = [image[:1], image[1:]]

    async def receive() -> Message:
        chunk = parts.pop(0)
        if not parts:
            await asyncio.sleep(wait_s)
        return {"type": "http.request", "body": chunk, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"station=s1&trigger_id=slow",
        "headers": [(b"content-type", content_type.encode())], "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    started = time.monotonic()
    app: Any = http.app
    request = asyncio.create_task(app(scope, receive, send))
    await asyncio.sleep(0.05)
    if begin:
        server.stopping.begin()
    await request
    head, body = sent
    return head["status"], json.loads(body["body"]), time.monotonic() - started


@pytest.mark.parametrize("content_type", [PNG, "multipart/form-data; boundary=x"])
def test_slow_body_is_cut_short(asgi_line: TestClient, content_type: str) -> None:
    assert asgi_line.portal is not None
    status, answer, took_s = asgi_line.portal.call(
        lambda: answered_slowly(asgi_line, 8.0, begin=True, content_type=content_type)
    )
    assert (status, answer["disposition"], answer["result_code"]) == (503, "recheck", 907)
    assert "stopping" in answer["reasons"][0]
    assert took_s < 4
    assert server_of(asgi_line).admission.total == 0


def test_body_that_comes_soon_is_awaited(asgi_line: TestClient) -> None:
    assert asgi_line.portal is not None
    status, answer, _ = asgi_line.portal.call(lambda: answered_slowly(asgi_line, LAST_BODY_S / 3, begin=True))
    assert (status, answer["disposition"]) == (200, "pass")
    assert verdict(post(asgi_line, encoded(DARK), "2")) == (503, "recheck", 907)


def test_slow_body_is_awaited_while_nobody_stops_the_server(asgi_line: TestClient) -> None:
    assert asgi_line.portal is not None
    status, answer, _ = asgi_line.portal.call(lambda: answered_slowly(asgi_line, 1.3 * LAST_BODY_S, begin=False))
    assert (status, answer["disposition"]) == (200, "pass")


def test_read_that_is_over_its_time_does_not_keep_the_others_from_being_cut_short() -> None:
    """Its timer has run, but its task has not had its turn yet when the end begins."""

    async def play() -> float:
        stopping = Stopping()

        async def read(wait_s: float) -> None:
            async with stopping.limited(wait_s):
                await asyncio.sleep(60)

        reads = [asyncio.create_task(read(wait_s)) for wait_s in (0.05, 30.0)]
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        # Set for the moment behind the first one's: both are due in the same turn of the loop.
        loop.call_later(0.051, stopping.begin)
        time.sleep(0.1)
        began = time.monotonic()
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(result) for result in results] == [TimeoutError, TimeoutError]
        assert stopping.begun
        return time.monotonic() - began

    assert asyncio.run(play()) < 3 * LAST_BODY_S


def test_end_does_not_wait_until_everything_is_in_the_database(
    stores: Stores, tmp_path: Path, open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_INTERVAL_S", 3600.0)
    monkeypatch.setattr(server, "FIRST_DRAIN_S", 0.0)
    add_champion(stores, tmp_path)
    with open_line() as http:
        answer = post(http, encoded(DARK))
        assert answer.status_code == 200
        folder = server_of(http).settings.data_dir / "line" / "journal"
    journal = Journal(folder, reserve_bytes=1 << 20)
    left = journal.waiting_count
    journal.close()
    assert left > 0
    monkeypatch.undo()
    with open_line() as http:
        wait_until(lambda: drained(http))
        assert [found.answer.encode() for found in recorded(http)] == [answer.content]
