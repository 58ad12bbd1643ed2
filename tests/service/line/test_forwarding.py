"""Two line servers on one machine: a request reaches the owner of its station, whoever it was sent to."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.line.app import create_app
from service.line.forwarding import FORWARDED, WAITED_MS, waited_s
from service.line.protocol import LineHost, line_config
from service.line.server import LineServer, running
from service.settings import Settings
from service.wiring import Stores
from storage import inspections, keys, leases
from storage.keys import secret_hash
from storage.records import Key
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    MADE_AT,
    add_champion,
    change_recipe,
    encoded,
    promote,
    store_model,
    wait_until,
    write_slow_model,
)


class Line:
    """A line server on a port of its own."""

    def __init__(self, host: LineHost, server: LineServer, client: httpx.Client) -> None:
        self.host, self.server, self.client = host, server, client

    def post(self, body: bytes, trigger: str, station: str, **query: Any) -> httpx.Response:
        return self.client.post(
            "/v1/inspections",
            params={"station": station, "trigger_id": trigger, **query},
            content=body,
            headers={"content-type": "image/png"},
        )

    def forwarded(self) -> dict[str, int]:
        text = self.client.get("/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("loupe_forwarded_total{")]
        return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


@contextmanager
def hosted(settings: Settings, name: str, **changes: Any) -> Iterator[Line]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        own = settings.model_copy(update={"line_name": name, "port": port, **changes})
        with running(own) as server:
            host = LineHost(
                line_config(create_app(nullcontext(server)), "127.0.0.1", port),
                server.stopping,
                lambda: server.admission.total,
            )
            thread = threading.Thread(target=host.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
                    wait_until(lambda: server.state() == "ready" and host.started)
                    yield Line(host, server, client)
            finally:
                host.should_exit = True
                thread.join(20)


@pytest.fixture
def champion(stores: Stores, tmp_path: Path) -> None:
    add_champion(stores, tmp_path)


@pytest.fixture
def pair(settings: Settings, champion: None) -> Iterator[tuple[Line, Line]]:
    """Line servers a and b; s1 belongs to a."""
    with hosted(settings, "a") as a, hosted(settings, "b") as b:
        assert a.post(encoded(DARK, 99), "first", "s1").status_code == 200
        yield a, b


def test_part_is_decided_by_the_owner_of_its_station(pair: tuple[Line, Line]) -> None:
    a, b = pair
    image = encoded(BRIGHT, 1)
    passed = b.post(image, "1", "s1", part_id="P 1/ü")
    assert passed.status_code == 200
    assert passed.json()["disposition"] == "reject"
    assert passed.json()["part_id"] == "P 1/ü"
    assert "infer;dur=" in passed.headers["server-timing"]
    assert passed.headers["content-type"] == "application/json"
    assert a.post(image, "1", "s1", part_id="P 1/ü").content == passed.content
    assert b.post(encoded(DARK, 2), "1", "s1").status_code == 409
    assert b.forwarded() == {"answered": 2}
    assert a.forwarded() == {}
    wait_until(lambda: a.server.journal.waiting_count == 0)
    with a.server.database.read() as connection:
        found = [i for i in inspections.latest(connection, 10) if i.trigger_id == "1"]
    assert [i.answer.encode() for i in found] == [passed.content]


def test_line_form_for_plcs_travels(pair: tuple[Line, Line]) -> None:
    _, b = pair
    response = b.client.post(
        "/v1/inspections?station=s1&trigger_id=5",
        content=encoded(DARK),
        headers={"content-type": "image/png", "accept": "text/plain"},
    )
    assert response.text.split()[:2] == ["0", "pass"]
    assert response.headers["content-type"].startswith("text/plain")


def test_body_of_unknown_length_is_passed_on(pair: tuple[Line, Line]) -> None:
    _, b = pair
    image = encoded(DARK)
    chunks = (image[n : n + 500] for n in range(0, len(image), 500))
    response = b.client.post(
        "/v1/inspections?station=s1&trigger_id=6", content=chunks, headers={"content-type": "image/png"}
    )
    assert (response.status_code, response.json()["result_code"]) == (200, 0)


def test_several_views_are_passed_on(pair: tuple[Line, Line]) -> None:
    a, b = pair
    meta = {"station": "s1", "trigger_id": "9", "views": [{"view_id": "l"}, {"view_id": "r"}]}
    files: dict[str, tuple[str | None, str | bytes, str]] = {
        "meta": (None, json.dumps(meta), "application/json"),
        "l": ("l.png", encoded(DARK, 1), "image/png"),
        "r": ("r.png", encoded(BRIGHT, 2), "image/png"),
    }
    response = b.client.post("/v1/inspections", files=files)
    assert (response.status_code, response.json()["disposition"]) == (200, "reject")
    assert a.client.get("/v1/inspections?station=s1&trigger_id=9").content == response.content


def test_challenge_reaches_the_owner(pair: tuple[Line, Line]) -> None:
    a, b = pair
    response = b.client.post(
        "/v1/challenges?station=s1&trigger_id=c1&expected=not_ok",
        content=encoded(BRIGHT),
        headers={"content-type": "image/png"},
    )
    assert (response.status_code, response.json()["passed"]) == (200, True)
    assert a.server.stations.challenge("s1") is not None


def test_state_answers_and_long_polls_come_from_the_owner(pair: tuple[Line, Line]) -> None:
    a, b = pair
    posted = a.post(encoded(DARK), "20", "s1")
    wait_until(lambda: b.server.ownership.known_elsewhere("s1") is not None)
    state = b.client.get("/v1/stations/s1/state").json()
    assert state["parts_since_start"] == 2
    assert b.client.get("/v1/inspections?station=s1&trigger_id=20").content == posted.content
    later = threading.Timer(0.3, a.post, (encoded(DARK, 3), "21", "s1"))
    later.start()
    waited = b.client.get("/v1/inspections?station=s1&trigger_id=21&wait_ms=10000")
    later.join()
    assert waited.json()["trigger_id"] == "21"
    assert b.client.get("/v1/inspections?station=s1&trigger_id=22").status_code == 404


def test_answer_is_found_by_its_id_before_it_is_in_the_database(pair: tuple[Line, Line]) -> None:
    a, b = pair
    wait_until(lambda: b.server.ownership.known_elsewhere("s1") is not None)
    posted = a.post(encoded(DARK), "30", "s1")
    assert b.client.get(f"/v1/inspections/{posted.json()['result_id']}").content == posted.content
    assert b.client.get("/v1/inspections/019abc000000-0011223344556677").status_code == 404


def test_what_was_passed_on_once_is_not_passed_on_again(pair: tuple[Line, Line]) -> None:
    _, b = pair
    response = b.client.post(
        "/v1/inspections?station=s1&trigger_id=40",
        content=encoded(DARK),
        headers={"content-type": "image/png", FORWARDED: "c"},
    )
    assert (response.status_code, response.json()["result_code"]) == (503, 907)
    assert response.json()["disposition"] == "recheck"


def test_key_travels_and_is_checked_where_it_arrives(settings: Settings, stores: Stores, champion: None) -> None:
    with stores.database.write() as connection:
        keys.add(connection, Key("k1", "s1", secret_hash("right"), MADE_AT, None))
    with hosted(settings, "a") as a, hosted(settings, "b") as b:
        for line in (a, b):
            line.client.headers["authorization"] = "Bearer right"
        assert a.post(encoded(DARK, 1), "1", "s1").status_code == 200
        assert b.post(encoded(DARK, 2), "2", "s1").status_code == 200
        b.client.headers["authorization"] = "Bearer wrong"
        assert b.post(encoded(DARK, 3), "3", "s1").status_code == 401
        assert b.forwarded() == {"answered": 1}


def test_owner_that_is_gone_is_907_and_its_released_station_is_served_here(settings: Settings, champion: None) -> None:
    with ExitStack() as first, hosted(settings, "b") as b:
        a = first.enter_context(hosted(settings, "a"))
        image = encoded(DARK, 1)
        answer = a.post(image, "1", "s1").content
        assert b.post(encoded(DARK, 2), "2", "s1").status_code == 200
        first.close()
        responses = [b.post(image, "1", "s1") for _ in range(2)]
        refused = [r.json()["result_code"] for r in responses if r.status_code == 503]
        assert refused in ([], [907])
        assert responses[-1].content == answer, "what the one before answered stands"
        assert b.post(image, "3", "s1").status_code == 200


def test_owner_that_hangs_costs_no_deadline(pair: tuple[Line, Line]) -> None:
    """The owner's port takes connections and says nothing."""
    _, b = pair
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with b.server.database.write() as connection:
            seen = leases.listing(connection)["s1"]
            assert leases.take(connection, "s1", "silent", address, seen)
        wait_until(lambda: b.server.ownership.known_elsewhere("s1") == address)
        began = time.perf_counter()
        response = b.post(encoded(DARK, 2), "50", "s1", deadline_ms=300)
        took_ms = 1000 * (time.perf_counter() - began)
    assert (response.status_code, response.json()["result_code"]) == (503, 907)
    assert "does not answer" in response.json()["reasons"][0]
    assert took_ms < 300 + 60
    assert b.forwarded() == {"failed": 1}


def test_deadline_counts_from_the_first_byte_at_the_first_server(
    settings: Settings, stores: Stores, tmp_path: Path
) -> None:
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", 400)))
    change_recipe(stores, deadline_ms=250.0)
    with hosted(settings, "a") as a, hosted(settings, "b") as b:
        a.post(encoded(DARK, 1), "1", "s1")
        b.post(encoded(DARK, 2), "2", "s1")
        began = time.perf_counter()
        response = b.post(encoded(DARK, 3), "3", "s1")
        took_ms = 1000 * (time.perf_counter() - began)
        assert response.json()["result_code"] in (901, 902)
        assert took_ms < 250 + 60


def test_slow_sender_does_not_hold_the_owner(pair: tuple[Line, Line]) -> None:
    a, b = pair
    wait_until(lambda: b.server.ownership.known_elsewhere("s1") is not None)
    with socket.create_connection(("127.0.0.1", b.server.settings.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/inspections?station=s1&trigger_id=60&deadline_ms=400 HTTP/1.1\r\nhost: x\r\n"
            b"content-type: image/png\r\ncontent-length: 100000\r\n\r\nabc"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
    wait_until(lambda: a.server.admission.total == 0)
    assert b.post(encoded(DARK, 3), "61", "s1").status_code == 200


def test_two_under_one_address_are_told_apart(settings: Settings, champion: None) -> None:
    same = {"line_url": "http://127.0.0.1:9"}
    with hosted(settings, "a", **same) as a, hosted(settings, "b", **same) as b:
        assert a.post(encoded(DARK, 1), "1", "s1").status_code == 200
        response = b.post(encoded(DARK, 2), "2", "s1")
        assert (response.status_code, response.json()["result_code"]) == (503, 907)
        assert "LOUPE_LINE_URL" in response.json()["remedy"]


@pytest.mark.parametrize("text", ["", "abc", "nan", "inf", "-5", "1e30"])
def test_wait_that_is_no_number_counts_as_none(text: str) -> None:
    assert waited_s({WAITED_MS: text}) == 0.0


def test_intended_change_reaches_the_owner(pair: tuple[Line, Line]) -> None:
    _, b = pair
    wait_until(lambda: b.server.ownership.known_elsewhere("s1") is not None)
    response = b.client.post("/v1/stations/s1/cameras/0/intended-change")
    assert response.status_code == 200, response.text


def test_many_at_once_for_a_new_station_agree(settings: Settings, champion: None) -> None:
    with hosted(settings, "a") as a, hosted(settings, "b") as b:

        async def post(line: Line, n: int) -> httpx.Response:
            query = {"station": "new", "trigger_id": str(n)}
            async with httpx.AsyncClient(base_url=line.client.base_url, timeout=20, trust_env=False) as client:
                headers = {"content-type": "image/png"}
                return await client.post("/v1/inspections", params=query, content=encoded(DARK, n), headers=headers)

        async def all_at_once() -> list[httpx.Response]:
            return await asyncio.gather(*(post((a, b)[n % 2], n) for n in range(16)))

        assert {r.status_code for r in asyncio.run(all_at_once())} == {200}
        owners = [line.server.ownership.is_ours("new") for line in (a, b)]
        assert sorted(owners) == [False, True]
