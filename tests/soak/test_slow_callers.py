"""Five hundred half-open connections and 64 slow uploads for one station: another station does not feel them."""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.bench.load import Load, Target, closed_loop, open_loop, steady_arrivals
from tests.e2e.processes import LineProcess, line_process, opened
from tests.service.line.stocked import add_champion, change_recipe
from tests.soak.conftest import Figures
from tests.soak.workload import good_and_bad_parts, length, posting

HALF_OPEN, SLOW = 500, 64
WANTED_RATIO = 2.0
DRIP_S = 0.05
SLOW_BODY = 100_000


@contextmanager
def besieged(line: LineProcess, half_open: int, slow: int) -> Iterator[list[int]]:
    """Callers of station `slow` that never finish; yields a list as long as uploads had to begin anew."""
    over, restarts = threading.Event(), list[int]()
    with ExitStack() as held:
        for n in range(half_open):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", line.port), timeout=30))
            # Some say nothing, some begin a request and stop in the middle of its headers.
            if n % 2:
                connection.sendall(b"POST /v1/inspections?station=slow&trigger_id=1 HTTP/1.1\r\nhost: x\r\n")
        thread = threading.Thread(target=_drip, args=(line, slow, over, restarts))
        thread.start()
        try:
            time.sleep(0.5)
            yield restarts
        finally:
            over.set()
            thread.join()


def _drip(line: LineProcess, count: int, over: threading.Event, restarts: list[int]) -> None:
    """Uploads that grow by a few bytes at a time, and begin anew when the server has had enough of them."""
    uploads = [_begin(line, n) for n in range(count)]
    while not over.wait(DRIP_S):
        for n, upload in enumerate(uploads):
            try:
                upload.send(b"0123456789")
            except OSError:
                upload.close()
                restarts.append(n)
                uploads[n] = _begin(line, n)
    for upload in uploads:
        upload.close()


def _begin(line: LineProcess, n: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", line.port), timeout=30)
    head = f"POST /v1/inspections?station=slow&trigger_id={time.time_ns()}-{n} HTTP/1.1\r\nhost: x\r\n"
    connection.sendall(f"{head}content-type: image/jpeg\r\ncontent-length: {SLOW_BODY}\r\n\r\n".encode())
    return connection


def siege(folder: Path, rounds: int, seconds: float, half_open: int, figures: Figures) -> float:
    """Returns how many times longer the 99th percentile of the other station is."""
    wanted = 2 * half_open + 200
    held, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if held < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most), most))
    with line_process(folder) as line:
        with opened(line) as stores:
            add_champion(stores, folder)
            change_recipe(stores, on_optics_alarm="continue")
        line.start()
        parts, target = good_and_bad_parts(), Target(line.port, posting("calm"))
        peak = closed_loop(target, parts, concurrency=4, seconds=2, run="peak").rate
        times = steady_arrivals(0.3 * peak, seconds)
        without: list[Load] = []
        beside: list[Load] = []
        restarts = 0
        for n in range(rounds):
            without.append(open_loop(target, parts, times, run=f"without-{n}"))
            with besieged(line, half_open, SLOW) as again:
                own = httpx.post(
                    f"{line.url}/v1/inspections?station=slow&trigger_id=x{n}",
                    content=parts[0].data,
                    headers={"content-type": "image/jpeg"},
                    timeout=20,
                )
                beside.append(open_loop(target, parts, times, run=f"beside-{n}"))
            restarts += len(again)
        quiet, loud = _p99(without), _p99(beside)
        figures(
            peak_rate=round(peak),
            requests=sum(load.requests for load in (*without, *beside)),
            failures=sum(load.failures for load in (*without, *beside)),
            p99_without_ms=quiet,
            p99_beside_ms=loud,
            p50_without_ms=_median(without),
            p50_beside_ms=_median(beside),
            ratio=round(loud / quiet, 2),
            slow_uploads_cut_short=restarts,
            own_station=(own.status_code, own.json()["result_code"]),
        )
        assert sum(load.failures for load in (*without, *beside)) == 0
        # The station's places are all taken by its own slow uploads: it is told so, and nobody else is.
        assert (own.status_code, own.json()["result_code"]) == (503, 902)
        assert line.stop() == 0, line.log
        assert "Traceback" not in line.log
    return loud / quiet


def _p99(loads: list[Load]) -> float:
    return round(float(np.median([load.quantile_ms(0.99) for load in loads])), 2)


def _median(loads: list[Load]) -> float:
    return round(float(np.median([load.quantile_ms(0.5) for load in loads])), 2)


def test_slow_callers_of_one_station_cost_another_nothing(tmp_path: Path, figures: Figures) -> None:
    siege(tmp_path, 1, 2.0, 100, figures)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_hundreds_of_slow_callers_cost_another_station_little(tmp_path: Path, figures: Figures) -> None:
    assert siege(tmp_path, 5, length("SIEGE_S", 50) / 10, HALF_OPEN, figures) <= WANTED_RATIO
