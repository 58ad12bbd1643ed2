"""The end of a line server, as the line sees it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.line.protocol import STOP_S
from storage import inspections
from tests.e2e.processes import LineProcess, environment, line_process, opened, part
from tests.service.line.stocked import add_champion, wait_until

IMAGES = [part(n) for n in range(60)]
POSTERS = 6
STOP_WITHIN_S = 10.0


class Poster:
    """One camera PC on one connection: posts until nothing listens any more, and notes what became of every part.

    A server that ends waits `STOP_S` for the next part on a connection. On a busy machine the poster may not get a
    processor for so long: then it was slow, and the part was not dropped.
    """

    def __init__(self, line: LineProcess, first: int) -> None:
        self.line, self.first = line, first
        self.answers: list[tuple[int, int]] = []
        self.results: list[str] = []
        self.dropped: list[str] = []
        self.slow = 0

    def run(self) -> None:
        since = time.monotonic()
        connection = self._connect()
        n = self.first
        while connection is not None:
            try:
                try:
                    self._post(connection, n)
                finally:
                    is_slow = time.monotonic() - since > STOP_S
                status, body, closes = read_answer(connection)
            except (OSError, AssertionError) as error:
                if is_slow:
                    self.slow += 1
                else:
                    self.dropped.append(repr(error))
                connection.close()
                return
            since = time.monotonic()
            self.answers.append((status, body["result_code"]))
            if status == 200:
                self.results.append(str(body["result_id"]))
            if closes:
                connection.close()
                connection = self._connect()
            n += POSTERS

    def _connect(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self.line.port), timeout=20)
        except ConnectionRefusedError:
            return None

    def _post(self, connection: socket.socket, n: int) -> None:
        image = IMAGES[n % len(IMAGES)]
        head = (
            f"POST /v1/inspections?station=s1&trigger_id={n} HTTP/1.1\r\nhost: x\r\n"
            f"content-type: image/png\r\ncontent-length: {len(image)}\r\n\r\n"
        )
        connection.sendall(head.encode() + image)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, Any], bool]:
    """Status, body, and whether the server closes the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        assert received, f"closed after {data!r}"
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(body) < int(headers["content-length"]):
        received = connection.recv(65536)
        assert received, "closed in the middle of an answer"
        body += received
    return int(head.split()[1]), json.loads(body), headers.get("connection") == "close"


def test_every_part_is_answered_when_the_server_ends_under_load(tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
        line.start()
        posters = [Poster(line, n) for n in range(POSTERS)]
        with ThreadPoolExecutor(POSTERS) as pool:
            running = [pool.submit(poster.run) for poster in posters]
            wait_until(lambda: sum(len(poster.answers) for poster in posters) > 60)
            assert line.process is not None
            line.process.send_signal(signal.SIGTERM)
            for one in running:
                one.result()
        assert line.process.wait(STOP_WITHIN_S) == 0, (tmp_path / "serve.log").read_text()
        assert [poster.dropped for poster in posters] == [[]] * POSTERS
        told = Counter(answer for poster in posters for answer in poster.answers)
        assert set(told) <= {(200, 0), (200, 7), (503, 907)}
        assert told[503, 907] >= POSTERS - sum(poster.slow for poster in posters), "everyone who posted heard of it"
        with opened(line) as stores, stores.database.read() as connection:
            recorded = Counter(i.result_id for i in inspections.latest(connection, 100_000))
        answered = Counter(result_id for poster in posters for result_id in poster.results)
        assert recorded == answered
        assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_stalled_upload_is_cut_short_with_907(tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
        line.start()
        with socket.create_connection(("127.0.0.1", line.port), timeout=20) as connection:
            connection.sendall(
                b"POST /v1/inspections?station=s1&trigger_id=1 HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
                b"content-length: 100000\r\n\r\nabc"
            )
            wait_until(lambda: "in_work 1.0" in httpx.get(f"{line.url}/metrics").text)
            assert line.process is not None
            began = time.monotonic()
            line.process.send_signal(signal.SIGTERM)
            status, body, closes = read_answer(connection)
            assert (status, body["result_code"], body["disposition"], closes) == (503, 907, "recheck", True)
        assert line.process.wait(STOP_WITHIN_S) == 0
        assert time.monotonic() - began < STOP_WITHIN_S


def test_long_poll_ends_with_the_server(tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
        line.start()
        found: list[httpx.Response] = []
        url = f"{line.url}/v1/inspections?station=s1&trigger_id=1&wait_ms=60000"
        waiting = threading.Thread(target=lambda: found.append(httpx.get(url, timeout=70)))
        waiting.start()
        time.sleep(0.5)
        began = time.monotonic()
        assert line.stop() == 0
        waiting.join(10)
        assert found[0].status_code == 404
        assert time.monotonic() - began < STOP_WITHIN_S
        assert (tmp_path / "serve.log").read_text().count("Cancel") == 0


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
        line.start()
        assert line.process is not None
        with socket.create_connection(("127.0.0.1", line.port), timeout=20) as connection:
            connection.sendall(b"GET /v1/inspections?station=s1&trigger_id=1&wait_ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n")
            time.sleep(0.3)
            line.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            line.process.send_signal(signal.SIGTERM)
            assert line.process.wait(STOP_WITHIN_S) == 0


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_hears_that_it_is_ready_alive_and_stopping(tmp_path: Path, is_abstract: bool) -> None:
    address = f"@loupe-{os.getpid()}-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{address[1:]}" if is_abstract else address)
        systemd.settimeout(30)
        line = LineProcess(tmp_path)
        own = {"LOUPE_PORT": str(line.port), "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
        process = subprocess.Popen([sys.executable, "-m", "service.cli", "serve"], env=environment(tmp_path, **own))
        try:
            heard = [systemd.recv(4096).decode()]
            while "READY=1" not in heard[-1]:
                assert "EXTEND_TIMEOUT_USEC=" in heard[-1]
                heard.append(systemd.recv(4096).decode())
            assert httpx.get(f"{line.url}/health/live").status_code == 200
            for _ in range(2):
                assert systemd.recv(4096) == b"WATCHDOG=1"
            process.terminate()
            said = systemd.recv(4096).decode()
            while said == "WATCHDOG=1":
                said = systemd.recv(4096).decode()
            assert said.startswith("STOPPING=1")
            assert process.wait(STOP_WITHIN_S) == 0
        finally:
            process.kill()
            process.wait()


def test_without_systemd_nobody_is_told(tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        line.start(ready=False)
        wait_until(lambda: _is_live(line))
        assert line.stop() == 0


def _is_live(line: LineProcess) -> bool:
    try:
        return httpx.get(f"{line.url}/health/live").status_code == 200
    except httpx.TransportError:
        return False
