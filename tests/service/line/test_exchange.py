"""Parts as cameras and PLCs really send them: byte by byte, one behind the other, broken off; over real connections."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from service.line.exchange import Wire
from service.wiring import Stores
from tests.service.line.breaking import stalled_disk
from tests.service.line.conftest import OpenLine
from tests.service.line.hosted import LineClient
from tests.service.line.posting import drained, post, recorded, server_of, verdict
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    add_champion,
    encoded,
    promote,
    store_model,
    wait_until,
    write_slow_model,
)

IMAGE = encoded(DARK)
DEFECT = encoded(BRIGHT)
Answer = tuple[int, dict[str, str], bytes]


def head(trigger: str, size: int, *lines: str, query: str = "", version: str = "1.1") -> bytes:
    first = f"POST /v1/inspections?station=s1&trigger_id={trigger}{query} HTTP/{version}"
    return "\r\n".join(
        [first, "host: x", "content-type: image/png", f"content-length: {size}", *lines, "", ""]
    ).encode()


def part(trigger: str, *lines: str, image: bytes = IMAGE, query: str = "", version: str = "1.1") -> bytes:
    return head(trigger, len(image), *lines, query=query, version=version) + image


class Caller:
    """A connection of its own to the line."""

    def __init__(self, http: LineClient) -> None:
        self.socket = socket.create_connection(("127.0.0.1", http.port), timeout=20)
        self._come = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """Status, headers and body of the next answer."""
        while (end := self._come.find(b"\r\n\r\n")) < 0:
            self._more()
        first, *lines = self._come[:end].decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = int(headers["content-length"])
        while len(self._come) < end + 4 + size:
            self._more()
        body, self._come = self._come[end + 4 : end + 4 + size], self._come[end + 4 + size :]
        return int(first.split()[1]), headers, body

    def is_closed(self) -> bool:
        return self.socket.recv(1) == b""

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        assert data, f"the server hung up after {self._come!r}"
        self._come += data


@contextmanager
def calling(http: LineClient) -> Iterator[Caller]:
    caller = Caller(http)
    with caller.socket:
        yield caller


def told(answer: Answer) -> tuple[int, str, int]:
    found = json.loads(answer[2])
    return answer[0], found["disposition"], found["result_code"]


def places(http: LineClient) -> int:
    return server_of(http).admission.total


@pytest.fixture
def slow_line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[LineClient]:
    """A net that takes some 100 ms."""
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", 100)))
    with open_line() as http:
        assert isinstance(http, LineClient)
        yield http


def test_image_may_come_in_pieces_and_the_next_part_on_the_same_connection(line: LineClient) -> None:
    with calling(line) as caller:
        whole = part("1")
        for start in range(0, len(whole), 37):
            caller.send(whole[start : start + 37])
            time.sleep(0.001)
        assert told(caller.answer()) == (200, "pass", 0)
        caller.send(part("2", image=DEFECT))
        assert told(caller.answer())[1] == "reject"
        caller.send(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert caller.answer()[0] == 200
        caller.send(part("3"))
        assert told(caller.answer()) == (200, "pass", 0)
    wait_until(lambda: places(line) == 0)


@pytest.mark.parametrize("cut", [-len(IMAGE) - 1, -len(IMAGE), 1 - len(IMAGE), -1, 0, 1, 40])
def test_image_ends_where_it_was_said_wherever_the_bytes_are_cut(line: LineClient, cut: int) -> None:
    """Pieces end around the ends of head and image of the first part: what comes behind is the next request."""
    with calling(line) as caller:
        caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first, whole = len(part("1")), part("1") + part("2", image=DEFECT) + part("3")
        caller.send(whole[: first + cut])
        time.sleep(0.02)
        caller.send(whole[first + cut :])
        answers = [json.loads(caller.answer()[2]) for _ in range(3)]
    assert [(a["trigger_id"], a["views"][0]["p_defect"] > 0.5) for a in answers] == [
        ("1", False), ("2", True), ("3", False)
    ]  # fmt: skip
    wait_until(lambda: places(line) == 0)


def test_requests_sent_one_behind_the_other_are_answered_in_their_order(line: LineClient) -> None:
    get = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    for turn in range(20):
        with calling(line) as caller:
            triggers = [f"{turn}-{n}" for n in range(4)]
            caller.send(part(triggers[0]) + part(triggers[1]) + get + part(triggers[2]) + get + part(triggers[3]))
            bodies = [json.loads(caller.answer()[2]) for _ in range(6)]
            assert [body.get("trigger_id", "live") for body in bodies] == [
                *triggers[:2], "live", triggers[2], "live", triggers[3]
            ]  # fmt: skip


def test_requests_that_have_waited_for_no_part_keep_their_order_too(slow_line: LineClient) -> None:
    meta = b'--x\r\ncontent-disposition: form-data; name="meta"\r\n\r\n{"station": "s1", "trigger_id": "2"}\r\n'
    file = b'--x\r\ncontent-disposition: form-data; name="0"; filename="0"\r\ncontent-type: image/png\r\n\r\n'
    form = meta + file + IMAGE + b"\r\n--x--\r\n"
    start = b"POST /v1/inspections HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\n"
    with calling(slow_line) as caller:
        for trigger in ("0", "1"):  # the first one of a station goes through ASGI
            caller.send(part(trigger))
            assert told(caller.answer()) == (200, "pass", 0)
        views = start + b"content-length: %d\r\n\r\n%s" % (len(form), form)
        caller.send(views + b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert json.loads(caller.answer()[2])["trigger_id"] == "2"
        assert json.loads(caller.answer()[2]) == {"status": "live"}


def test_large_image_and_the_beginning_of_the_next_request_may_come_together(line: LineClient) -> None:
    large = part("1", image=IMAGE + bytes(100_000))  # decoders stop where the image ends
    following = part("2")
    with calling(line) as caller:
        for _ in range(3):
            caller.send(large + following[:40])
            assert caller.answer()[0] == 200
            caller.send(following[40:])
            assert told(caller.answer()) == (200, "pass", 0)


def test_caller_who_reads_no_answers_is_not_read_either(line: LineClient) -> None:
    wrong = part("1", "x-more: " + 2000 * "x", image=b"").replace(b"station=s1&", b"")
    most = 30_000
    with calling(line) as caller:
        caller.socket.settimeout(1.0)
        sent, left = 0, b""
        with suppress(TimeoutError):
            while sent < most * len(wrong):
                left = left or 100 * wrong
                done = caller.socket.send(left)
                sent, left = sent + done, left[done:]
        assert sent < most * len(wrong)
        for _ in range(sent // len(wrong)):  # who reads again is read again
            assert caller.answer()[0] == 422


def test_answer_carries_what_every_answer_carries(line: LineClient) -> None:
    with calling(line) as caller:
        caller.send(part("1"))
        status, headers, body = caller.answer()
        assert status == 200
        assert headers["content-type"] == "application/json"
        stages = re.findall(r"(\w+);dur=[\d.]+", headers["server-timing"])
        assert stages == ["queue", "decode", "infer", "commit", "total"]
        assert "date" in headers
        caller.send(part("1", "accept: text/plain"))
        _, headers, text = caller.answer()
        assert text.decode() == f"0 pass {json.loads(body)['result_id']}\n"
        assert headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(("lines", "version"), [(("connection: close",), "1.1"), ((), "1.0")])
def test_connection_ends_when_the_caller_wants_it_to(line: LineClient, lines: tuple[str, ...], version: str) -> None:
    with calling(line) as caller:
        caller.send(part("1", *lines, version=version))
        answer = caller.answer()
        assert told(answer) == (200, "pass", 0)
        assert answer[1]["connection"] == "close"
        assert caller.is_closed()


def test_caller_who_sends_nothing_more_is_still_answered(slow_line: LineClient) -> None:
    with calling(slow_line) as caller:
        caller.send(part("1"))
        caller.socket.shutdown(socket.SHUT_WR)
        assert told(caller.answer()) == (200, "pass", 0)
        assert caller.is_closed()


def test_body_in_chunks_is_a_body(line: LineClient) -> None:
    with calling(line) as caller:
        lines = "POST /v1/inspections?station=s1&trigger_id=1 HTTP/1.1\r\nhost: x\r\ncontent-type: image/png"
        caller.send(f"{lines}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for chunk in (IMAGE[:100], IMAGE[100:]):
            caller.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            time.sleep(0.01)
        caller.send(b"0\r\n\r\n")
        assert told(caller.answer()) == (200, "pass", 0)


def test_caller_who_asks_first_is_told_to_go_on(line: LineClient) -> None:
    with calling(line) as caller:
        caller.send(head("1", len(IMAGE), "expect: 100-continue"))
        assert caller.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        caller.send(IMAGE)
        assert told(caller.answer()) == (200, "pass", 0)


def test_image_that_does_not_come_is_late_or_refused(line: LineClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with calling(line) as caller:
        began = time.monotonic()
        caller.send(part("1", query="&deadline_ms=200")[:-10])
        assert told(caller.answer()) == (200, "recheck", 901)
        assert 0.1 < time.monotonic() - began < 1.0
        caller.send(IMAGE[-10:] + part("2"))
        assert told(caller.answer()) == (200, "pass", 0)
    monkeypatch.setattr("service.line.judging.BODY_WAIT_S", 0.2)
    with calling(line) as caller:
        caller.send(part("3")[:-10])
        answer = caller.answer()
        assert told(answer) == (422, "recheck", 900)
        assert "did not arrive" in json.loads(answer[2])["reasons"][0]
    wait_until(lambda: places(line) == 0)
    wait_until(lambda: drained(line))
    assert [i.trigger_id for i in recorded(line)] == ["2"]


def test_caller_who_breaks_off_holds_no_place_and_is_counted(line: LineClient) -> None:
    caller = Caller(line)
    caller.send(part("1")[:-10])
    wait_until(lambda: places(line) == 1)
    caller.socket.close()
    wait_until(lambda: places(line) == 0)
    assert 'loupe_refusals_total{reason="ClientGone"} 1.0' in line.get("/metrics").text


def test_caller_who_leaves_while_its_part_is_judged_finds_the_answer_later(slow_line: LineClient) -> None:
    with calling(slow_line) as caller:
        caller.send(part("1"))
        wait_until(lambda: places(slow_line) == 1)
    wait_until(lambda: places(slow_line) == 0)
    wait_until(lambda: [i.trigger_id for i in recorded(slow_line)] == ["1"])
    assert verdict(post(slow_line, IMAGE)) == (200, "pass", 0)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (head("1", 10**9), 413, 900),
        (head("1", 4).replace(b"image/png", b"text/html") + b"body", 415, 900),
        (part("1").replace(b"station=s1&", b""), 422, 900),
        (part("1", query="&deadline_ms=nan"), 422, 900),
        (part("1").replace(b"station=s1", b"station=%ff%zz%00"), 422, 900),
    ],
)
def test_what_can_not_be_judged_is_refused_with_a_reason(
    line: LineClient, request_: bytes, status: int, code: int
) -> None:
    with calling(line) as caller:
        caller.send(request_)
        answer = caller.answer()
        assert told(answer) == (status, "recheck", code)
        assert json.loads(answer[2])["remedy"]
    wait_until(lambda: places(line) == 0)


def test_part_that_asks_for_another_protocol_is_refused_and_may_come_again(line: LineClient) -> None:
    """As Java's HttpClient does unless told not to; the parser would take the image for that protocol."""
    with calling(line) as caller:
        caller.send(part("1", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQ"))
        answer = caller.answer()
        assert told(answer) == (400, "recheck", 900)
        assert "Upgrade" in json.loads(answer[2])["remedy"]
        assert caller.is_closed()
    assert verdict(post(line, IMAGE)) == (200, "pass", 0)


def test_body_that_grows_beyond_the_limit_is_refused_while_it_comes(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(max_image_mb=0.01) as http:
        assert isinstance(http, LineClient)
        with calling(http) as caller:
            lines = "POST /v1/inspections?station=s1&trigger_id=1 HTTP/1.1\r\nhost: x\r\ncontent-type: image/png"
            caller.send(f"{lines}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            for _ in range(6):
                caller.send(b"800\r\n" + bytes(2048) + b"\r\n")
            assert told(caller.answer()) == (413, "recheck", 900)
            caller.send(b"0\r\n\r\n" + part("2", image=IMAGE))
            assert told(caller.answer()) == (200, "pass", 0)
            wait_until(lambda: places(http) == 0)


def test_same_trigger_on_two_connections_is_judged_once(slow_line: LineClient) -> None:
    with calling(slow_line) as one, calling(slow_line) as other:
        one.send(part("1"))
        other.send(part("1"))
        first, second = one.answer(), other.answer()
        assert first[2] == second[2]
        other.send(part("1", image=DEFECT))
        assert told(other.answer())[0] == 409
    wait_until(lambda: drained(slow_line))
    assert len(recorded(slow_line)) == 1


def test_place_is_free_before_the_answer_is_heard(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(queue_limit=1) as http:
        assert isinstance(http, LineClient)
        with calling(http) as caller:
            for n in range(200):
                caller.send(part(str(n)))
                assert told(caller.answer()) == (200, "pass", 0)


def test_fail_safe_leaves_in_time_whatever_the_disk_does(line: LineClient) -> None:
    with calling(line) as caller, stalled_disk(line):
        began = time.monotonic()
        caller.send(part("1", query="&deadline_ms=150"))
        assert told(caller.answer()) == (200, "recheck", 901)
        assert time.monotonic() - began < 1.0
    wait_until(lambda: places(line) == 0)
    assert verdict(post(line, IMAGE)) == (200, "recheck", 901)


def test_many_callers_each_get_their_own_answer(line: LineClient) -> None:
    wrong: list[str] = []

    def call(name: int) -> None:
        with calling(line) as caller:
            for n in range(30):
                caller.send(part(f"{name}-{n}", image=DEFECT if (name + n) % 3 == 0 else IMAGE))
                status, _, body = caller.answer()
                found = json.loads(body)
                is_bright = found["views"][0]["p_defect"] > 0.5  # the verdict itself minds the light that changes
                if (status, found["trigger_id"], is_bright) != (200, f"{name}-{n}", (name + n) % 3 == 0):
                    wrong.append(f"{name}-{n}: {status} {body!r}")

    threads = [threading.Thread(target=call, args=(name,)) for name in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_wire_that_is_closed_or_full_loses_nothing_to_others() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    wire = Wire(here.fileno())
    sent = bytes(10 << 20)
    rest = wire.send(sent)
    assert 0 < len(rest) < len(sent)
    assert wire.send(b"more") == b"more"
    wire.close()
    assert wire.send(b"late") == b""
    wire.close()
    here.close()
    there.close()
