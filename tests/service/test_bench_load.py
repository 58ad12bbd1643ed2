"""The load generator against a real HTTP server whose moods the test decides."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from numpy.typing import NDArray

from models.preprocess import Frame, Geometry, prepare
from service.bench.load import LOST, Load, Target, closed_loop, open_loop, random_arrivals, steady_arrivals
from service.bench.parts import Part, numbered
from tests.service.painted import painted

Respond = Callable[[BaseHTTPRequestHandler, int], None]


class Listener(ThreadingHTTPServer):
    """Keeps what arrived; `respond(handler, number)` answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.arrived: list[tuple[str, str, bytes]] = []
        self.respond: Respond = decided
        self.counting = threading.Lock()

    @property
    def target(self) -> Target:
        return Target(self.server_port, "/v1/inspections?trigger_id={n}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Listener)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.counting:
            server.arrived.append((self.path, self.headers["Content-Type"], body))
            number = len(server.arrived)
        server.respond(self, number)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def answer(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, *, closing: bool = False) -> None:
    handler.send_response(status)
    if closing:
        handler.send_header("Connection", "close")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def decided(handler: BaseHTTPRequestHandler, number: int) -> None:
    answer(
        handler, b'{"result_code":0,"image_uri":null}' if number % 2 else b'{"result_code":7,"image_uri":"file:///x"}'
    )


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def run(listener: Listener, requests: int, concurrency: int = 4, parts: list[Part] | None = None) -> Load:
    return closed_loop(listener.target, parts or [painted()], concurrency=concurrency, requests=requests, run="t")


def test_every_request_has_its_own_trigger_and_its_own_bytes(listener: Listener) -> None:
    load = run(listener, 50)
    assert load.requests == len(listener.arrived) == 50
    assert {path for path, _, _ in listener.arrived} == {f"/v1/inspections?trigger_id=t-{n}" for n in range(50)}
    assert len({body for _, _, body in listener.arrived}) == 50
    assert load.failures == 0


def test_two_runs_never_send_the_same_bytes(listener: Listener) -> None:
    run(listener, 5)
    run(listener, 5)
    assert len({body for _, _, body in listener.arrived}) == 10


def test_answers_are_read(listener: Listener) -> None:
    load = run(listener, 20)
    assert sorted(load.result_codes) == [0] * 10 + [7] * 10
    assert load.kept == 10
    assert all(ms > 0 for ms in load.latency_ms)
    assert load.seconds >= max(load.answered_s) - 1e-9


def test_a_large_body_arrives_whole(listener: Listener) -> None:
    part = Part(b"BM" + np.random.default_rng(0).bytes(6_000_000), "image/bmp")
    assert run(listener, 3, concurrency=3, parts=[part]).failures == 0
    assert [body[: len(part.data)] == part.data for _, _, body in listener.arrived] == [True] * 3


def test_a_form_holds_the_image(listener: Listener) -> None:
    target = Target(listener.server_port, "/predict", "image")
    closed_loop(target, [painted()], concurrency=1, requests=1, run="t")
    _, media_type, body = listener.arrived[0]
    kind, _, boundary = media_type.partition("; boundary=")
    assert kind == "multipart/form-data"
    head, _, rest = body.partition(b"\r\n\r\n")
    assert b'name="image"; filename="t-0"' in head
    assert rest.endswith(f"\r\n--{boundary}--\r\n".encode())
    assert rest.startswith(b"\xff\xd8")


def test_what_is_refused_or_undecided_is_a_failure(listener: Listener) -> None:
    def moody(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number % 3 == 0:
            answer(handler, b'{"result_code":902}', 503)
        else:
            answer(handler, b'{"result_code":901}' if number % 3 == 1 else b'{"result_code":0}')

    listener.respond = moody
    load = run(listener, 9)
    assert load.failures == 6
    assert load.rate == pytest.approx(3 / load.seconds)


def test_a_server_that_hangs_up_costs_that_request_only(listener: Listener) -> None:
    def moody(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 3:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        else:
            decided(handler, number)

    listener.respond = moody
    load = run(listener, 10, concurrency=2)
    assert sorted(load.statuses) == [LOST] + [200] * 9


def test_a_server_that_goes_away_loses_the_rest(listener: Listener) -> None:
    def last(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 3:
            listener.socket.close()
        answer(handler, b'{"result_code":0}', closing=True)

    listener.respond = last
    load = run(listener, 6, concurrency=1)
    assert load.statuses[:3] == [200] * 3
    assert set(load.statuses[3:]) == {LOST}
    assert load.requests == 6


def test_nobody_listening_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            closed_loop(Target(port, "/"), [painted()], concurrency=1, requests=1, run="t")


def test_a_chunked_answer_is_read_whole(listener: Listener) -> None:
    def chunked(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in (b'{"result', b'_code":5}'):
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            time.sleep(0.01)
        handler.wfile.write(b"0\r\n\r\n")

    listener.respond = chunked
    assert run(listener, 4).statuses == [200] * 4


def test_a_closed_loop_never_has_more_under_way_than_it_may(listener: Listener) -> None:
    under_way, most = [0], [0]

    def slow(handler: BaseHTTPRequestHandler, number: int) -> None:
        with listener.counting:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.01)
        with listener.counting:
            under_way[0] -= 1
        decided(handler, number)

    listener.respond = slow
    run(listener, 30, concurrency=3)
    assert most[0] == 3


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile(listener: Listener) -> None:
    def stalling(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            time.sleep(0.4)
        decided(handler, number)

    listener.respond = stalling
    load = open_loop(listener.target, [painted()], [0.0, 0.1, 0.2], run="t", connections=1)
    first, second, third = load.latency_ms
    assert first >= 400
    assert second >= 300, "it was due 0.1 s after the first and could only be sent after it"
    assert third >= 200


def test_an_open_loop_waits_for_no_answer(listener: Listener) -> None:
    everyone = threading.Barrier(5)

    def together(handler: BaseHTTPRequestHandler, number: int) -> None:
        everyone.wait(20)
        decided(handler, number)

    listener.respond = together
    load = open_loop(listener.target, [painted()], np.arange(5) / 100, run="t")
    assert load.failures == 0


def test_a_loop_without_an_end_is_refused(listener: Listener) -> None:
    with pytest.raises(ValueError, match="needs an end"):
        closed_loop(listener.target, [painted()], concurrency=1, run="t")


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    steady = steady_arrivals(50, 2)
    assert len(steady) == 100
    assert np.diff(steady) == pytest.approx(0.02)
    random = random_arrivals(50, 200, np.random.default_rng(0))
    assert np.all(np.diff(random) > 0)
    # 10,000 expected, standard deviation 100
    assert abs(len(random) - 10_000) < 400
    assert np.array_equal(random, random_arrivals(50, 200, np.random.default_rng(0)))
    # The gaps of a Poisson process are exponential: their standard deviation is their mean.
    assert np.std(np.diff(random)) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
def test_other_bytes_are_the_same_picture(suffix: str) -> None:
    part = painted(suffix)

    def pixels(data: bytes) -> NDArray[np.uint8]:
        return prepare(Frame(data, part.media_type), Geometry(32, 32)).tiles

    one, other = (b"".join(numbered(part, serial)) for serial in (1, 2))
    assert one != other
    assert np.array_equal(pixels(one), pixels(part.data))
    assert np.array_equal(pixels(other), pixels(part.data))
