import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import simplejpeg

from simulation.line import LineSimulator, SentPart, Shot, present, summarise
from simulation.parts import Light, PartRenderer, draw_schedule

Answer = tuple[int, object]


@dataclass
class Received:
    at: float
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Server:
    url: str = ""
    received: list[Received] = field(default_factory=list)

    def of(self, trigger_id: str) -> list[Received]:
        return [one for one in self.received if one.query["trigger_id"] == trigger_id]


def verdict(disposition: str = "pass", code: int = 0) -> dict[str, object]:
    return {
        "result_id": "r1",
        "evaluation": "ok" if code == 0 else "not_ok",
        "disposition": disposition,
        "result_code": code,
        "views": [{"view_id": "v1", "p_defect": 0.25}],
        "provenance": {"drift_state": "normal"},
    }


@contextmanager
def line_server(answer: Callable[[str, int], Answer | None]) -> Iterator[Server]:
    """Serve `answer(trigger_id, attempt)` on a free port; None closes the connection without an answer."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            assert parts.path == "/v1/inspections"
            server.received.append(
                Received(time.perf_counter(), query, dict(self.headers), body, self.client_address[1])
            )
            trigger = query["trigger_id"]
            said = answer(trigger, len(server.of(trigger)))
            if said is None:
                self.close_connection = True
                return
            payload = said[1] if isinstance(said[1], bytes) else json.dumps(said[1]).encode()
            self.send_response(said[0])
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def shots(count: int) -> list[Shot]:
    return [Shot(f"t{number}", f"p{number}", b"\xff\xd8jpeg", "ok", 0.0) for number in range(count)]


def simulator(url: str, takt_ms: float = 20, patience_ms: float = 1000, key: str | None = None) -> LineSimulator:
    return LineSimulator(url, "s1", "housing", "top", takt_ms, patience_ms=patience_ms, key=key)


def test_every_part_is_posted_once_with_its_metadata_and_answer() -> None:
    with line_server(lambda trigger, attempt: (200, verdict())) as server:
        sent = simulator(server.url, key="secret").run(shots(6))
    assert [part.trigger_id for part in sent] == [f"t{number}" for number in range(6)]
    first = server.of("t0")[0]
    assert first.query == {
        "station": "s1",
        "trigger_id": "t0",
        "product": "housing",
        "camera": "top",
        "part_id": "p0",
    }
    assert first.body == b"\xff\xd8jpeg"
    assert first.headers["Content-Type"] == "image/jpeg"
    assert first.headers["Authorization"] == "Bearer secret"
    assert len(server.received) == 6
    part = sent[0]
    assert (part.status, part.disposition, part.evaluation, part.result_code) == (200, "pass", "ok", 0)
    assert (part.result_id, part.p_defect, part.drift_state) == ("r1", 0.25, "normal")
    assert part.latency_ms > 0


def test_connections_are_kept_alive() -> None:
    with line_server(lambda trigger, attempt: (200, verdict())) as server:
        simulator(server.url).run(shots(10))
    assert len({one.connection for one in server.received}) < 10


def test_slow_answer_does_not_shift_the_schedule() -> None:
    def answer(trigger: str, attempt: int) -> Answer:
        if trigger == "t1":
            time.sleep(0.8)
        return 200, verdict()

    with line_server(answer) as server:
        sent = simulator(server.url, takt_ms=30).run(shots(8))
    assert sent[1].latency_ms > 800
    gaps = np.diff([server.of(f"t{number}")[0].at for number in range(8)]) * 1000
    assert gaps.max() < 500  # a closed loop would wait 800 ms after the second part
    assert (server.of("t7")[0].at - server.of("t0")[0].at) * 1000 == pytest.approx(7 * 30, abs=300)


def test_refused_part_is_sent_again_with_the_same_trigger() -> None:
    def answer(trigger: str, attempt: int) -> Answer:
        busy = {"disposition": "recheck", "result_code": 902}
        return (503, busy) if attempt < 3 else (200, verdict())

    with line_server(answer) as server:
        (part,) = simulator(server.url, takt_ms=400).run(shots(1))
    assert (part.status, part.disposition) == (200, "pass")
    assert len(server.of("t0")) == 3


def test_refusals_beyond_the_takt_are_reported_as_refused() -> None:
    busy = {"disposition": "recheck", "result_code": 902, "views": []}
    with line_server(lambda trigger, attempt: (503, busy)) as server:
        (part,) = simulator(server.url, takt_ms=60).run(shots(1))
    assert (part.status, part.disposition, part.result_code, part.p_defect) == (503, "recheck", 902, None)
    assert len(server.received) > 1
    assert summarise([part]).refused == 1


def test_unreachable_server_means_lost_answers_not_exceptions() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can answer there
        sent = simulator(f"http://127.0.0.1:{taken.getsockname()[1]}").run(shots(3))
    assert [part.status for part in sent] == [None, None, None]
    assert summarise(sent).lost == 3


def test_dropped_connection_loses_only_its_own_part() -> None:
    with line_server(lambda trigger, attempt: None if trigger == "t1" else (200, verdict())) as server:
        sent = simulator(server.url).run(shots(3))
    assert [part.status for part in sent] == [200, None, 200]


def test_silent_server_counts_as_lost_once_patience_ends() -> None:
    def answer(trigger: str, attempt: int) -> Answer:
        time.sleep(0.8)
        return 200, verdict()

    with line_server(answer) as server:
        (part,) = simulator(server.url, patience_ms=80).run(shots(1))
    assert part.status is None
    assert 80 <= part.latency_ms < 700


@pytest.mark.parametrize("body", [b"not json", b"[1]", {"views": [], "provenance": None, "result_code": "7"}])
def test_strange_answer_leaves_fields_empty(body: object) -> None:
    with line_server(lambda trigger, attempt: (200, body)) as server:
        (part,) = simulator(server.url).run(shots(1))
    assert part.status == 200
    assert (part.disposition, part.result_code, part.p_defect, part.drift_state) == (None, None, None, None)


def test_each_answer_is_told_as_it_arrives() -> None:
    told: list[SentPart] = []
    with line_server(lambda trigger, attempt: (200, verdict())) as server:
        sent = simulator(server.url, takt_ms=5).run(shots(5), on_answer=told.append)
    assert sorted(told, key=lambda part: part.trigger_id) == sent


def test_presented_parts_carry_unique_triggers_and_their_truth() -> None:
    schedule = list(draw_schedule(np.random.default_rng(0), 12, 0.5))
    renderer = PartRenderer(0, 160, 120)
    dark = list(present(renderer, schedule, "run7", lambda index: Light(level=1.0 if index < 6 else 0.5)))
    assert [shot.trigger_id for shot in dark] == [f"run7-{index:06d}" for index in range(12)]
    assert [shot.truth for shot in dark] == [part.truth for part in schedule]
    level = [simplejpeg.decode_jpeg(shot.jpeg).mean() for shot in dark]
    assert max(level[6:]) < min(level[:6])


def test_report_counts_escapes_overkill_and_rechecks() -> None:
    def part(truth: str, disposition: str | None, status: int | None = 200, latency_ms: float = 10) -> SentPart:
        return SentPart("t", truth, 0.0, latency_ms, 0.0, status=status, disposition=disposition)

    report = summarise(
        [
            part("ok", "pass"),
            part("ok", "reject"),
            part("ok", "rework"),
            part("ok", "recheck"),
            part("dent", "pass", latency_ms=30),
            part("dent", "reject"),
            part("dent", "recheck", status=503),
            part("dent", None, status=None, latency_ms=2000),
        ]
    )
    assert (report.parts, report.good, report.defective) == (8, 4, 4)
    assert (report.answered, report.lost, report.refused) == (6, 1, 1)
    assert (report.escapes, report.overkill, report.rechecks) == (1, 2, 1)
    assert report.p50_ms == 10
    assert 10 < report.p99_ms <= 30


def test_report_of_nothing_answered_has_no_percentiles() -> None:
    report = summarise([])
    assert np.isnan([report.p50_ms, report.p99_ms]).all()
    assert report.parts == 0
