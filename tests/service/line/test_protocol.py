"""Connections as cameras, PLCs and strangers make them: raw sockets against the line's HTTP."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.line.protocol import HEADER_BYTES, KEEP_ALIVE_S, LineHost, LineProtocol, line_config
from service.line.stopping import Stopping
from tests.service.line.stocked import wait_until

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Hasty(LineProtocol):
    header_wait_s = 0.3
    request_wait_s = 0.5
    connection_limit = 3


class Echo:
    """Answers with the body's length, after a while where the path says so; counts what is in work."""

    def __init__(self) -> None:
        self.in_work = 0
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/refused":
            headers = [(b"content-length", b"2"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"no"})
            return
        self.in_work += 1
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.in_work -= 1
                return
            size, more = size + len(message["body"]), message["more_body"]
        if scope["path"] == "/slow":
            await self.release.wait()
        body = str(size).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
        )
        await send({"type": "http.response.body", "body": body})
        self.in_work -= 1


class Hosted:
    """A server on a thread of its own."""

    def __init__(self, http: type[LineProtocol]) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.app = Echo()
        self.pulses: list[bool] = []
        config = uvicorn.Config(
            self.app, loop="uvloop", http=http, ws="none", log_level="critical", lifespan="off", timeout_keep_alive=1
        )
        self.host = LineHost(config, Stopping(), lambda: self.app.in_work, self.pulses.append)
        self.thread = threading.Thread(target=self.host.run, kwargs={"sockets": [self.listening]})
        self.port: int = self.listening.getsockname()[1]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def on_loop(self, call: Callable[[], Any]) -> None:
        assert self.host._loop is not None
        self.host._loop.call_soon_threadsafe(call)


@contextmanager
def hosted(http: type[LineProtocol] = Hasty) -> Iterator[Hosted]:
    found = Hosted(http)
    found.thread.start()
    wait_until(lambda: found.host.started and found.host._loop is not None)
    try:
        yield found
    finally:
        if found.thread.is_alive():
            found.on_loop(found.app.release.set)
        found.host.should_exit = True
        found.thread.join(10)


@pytest.fixture
def server() -> Iterator[Hosted]:
    with hosted() as found:
        yield found


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer with its content-length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        assert part, f"closed after {data!r}"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        part = connection.recv(65536)
        assert part, "closed in the middle of an answer"
        body += part
    return int(first.split()[1]), headers, body


def refused(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str, int]:
    found = json.loads(answer[2])
    assert answer[1]["connection"] == "close"
    return answer[0], found["disposition"], found["result_code"]


@pytest.mark.parametrize("sent", [b"", b"POST /v1/insp", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-"])
def test_connection_without_whole_headers_is_closed(server: Hosted, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_second_request_must_bring_its_headers_in_time_too(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(GET)
        assert read_answer(connection)[0] == 200
        connection.sendall(b"GET / HT")
        assert read_all(connection) == b""


def test_blank_lines_do_not_hold_a_connection(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(GET)
        assert read_answer(connection)[0] == 200
        connection.sendall(b"\r\n")
        assert read_all(connection) == b""


def test_body_that_never_ends_is_not_awaited_for_ever(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
        assert read_all(connection) == b""
        wait_until(lambda: server.app.in_work == 0)


def test_long_answer_is_awaited(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(2 * Hasty.request_wait_s + 1)  # longer than any wait, and a sweep
        server.on_loop(server.app.release.set)
        assert read_answer(connection)[0] == 200


def test_idle_connection_is_kept_and_used_again(server: Hosted) -> None:
    with server.connect() as connection:
        for body in (b"", b"abc"):
            connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            assert read_answer(connection)[2] == str(len(body)).encode()
            time.sleep(0.5)  # longer than headers may take


def test_plcs_may_pause_between_parts() -> None:
    assert line_config(None, "127.0.0.1", 8080).timeout_keep_alive == KEEP_ALIVE_S == 75


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"HELLO LOUPE\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_words_of_the_line(server: Hosted, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        assert refused(read_answer(connection)) == (400, "recheck", 900)
        assert read_all(connection) == b""


def test_who_sends_nonsense_and_nothing_more_is_told(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(b"HELLO LOUPE\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert refused(read_answer(connection)) == (400, "recheck", 900)


def test_nonsense_behind_a_request_does_not_cost_its_answer(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n\x00\x01 nonsense\r\n\r\n")
        wait_until(lambda: server.app.in_work == 1)
        server.on_loop(server.app.release.set)
        status, headers, body = read_answer(connection)
        assert (status, headers["connection"], body) == (200, "close", b"0")
        assert read_all(connection) == b""


def test_endless_headers_are_refused(server: Hosted) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(HEADER_BYTES // 8)))
        assert refused(read_answer(connection)) == (400, "recheck", 900)


def test_large_body_is_no_long_header(server: Hosted) -> None:
    body = bytes(4 * HEADER_BYTES)
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        assert read_answer(connection)[2] == str(len(body)).encode()


def test_refusal_of_a_large_body_arrives_though_the_connection_ends(server: Hosted) -> None:
    body = bytes(3 << 20)
    for _ in range(5):
        with server.connect() as connection:
            connection.sendall(b"POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
            with suppress(ConnectionError):  # it may be told before it has sent everything
                connection.sendall(body)
            assert read_answer(connection)[0] == 503
            assert read_all(connection) == b""


def test_connections_above_the_limit_are_refused_and_those_before_are_served() -> None:
    class Narrow(LineProtocol):
        connection_limit = 3

    with hosted(Narrow) as server:
        held = [server.connect() for _ in range(Narrow.connection_limit)]
        for connection in held:
            connection.sendall(GET)
            assert read_answer(connection)[0] == 200
        with server.connect() as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + bytes(200_000))
            assert refused(read_answer(connection)) == (503, "recheck", 902)
            assert read_all(connection) == b""
        held[0].sendall(GET)
        assert read_answer(held[0])[0] == 200
        for connection in held:
            connection.close()

        def is_served() -> bool:
            with server.connect() as connection:
                connection.sendall(GET)
                return read_answer(connection)[0] == 200

        wait_until(is_served)


def test_end_answers_what_is_in_work_then_closes(server: Hosted) -> None:
    with server.connect() as busy, server.connect() as idle:
        idle.sendall(GET)
        assert "connection" not in read_answer(idle)[1]
        busy.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_until(lambda: server.app.in_work == 1)
        server.on_loop(server.host.end)
        wait_until(lambda: server.host._stopping.begun)
        idle.sendall(GET)
        assert read_answer(idle)[1]["connection"] == "close"
        with server.connect() as late:  # the port stays open as long as something is in work
            late.sendall(GET)
            assert read_answer(late)[1]["connection"] == "close"
        server.on_loop(server.app.release.set)
        status, headers, _ = read_answer(busy)
        assert (status, headers["connection"]) == (200, "close")
    server.thread.join(10)
    assert not server.thread.is_alive()
    assert server.pulses[-1]


def test_pulse_comes_from_the_event_loop(server: Hosted) -> None:
    wait_until(lambda: len(server.pulses) >= 2)
    assert not any(server.pulses)
