"""The database is away for a minute: the line does not notice, and everything arrives afterwards."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.bench.load import Load, Target, closed_loop, open_loop, steady_arrivals
from storage import inspections
from tests.e2e.processes import LineProcess, line_process, opened
from tests.service.line.stocked import add_champion, change_recipe, wait_until
from tests.soak.conftest import Figures
from tests.soak.relay import relay_to
from tests.soak.workload import good_and_bad_parts, length, loop_times, metric, posting, rss_mb

POSTGRES_PORT = 5432
WANTED_RATIO = 1.5
MEMORY_MB = 80
"""More than the journal keeps in memory for the database."""
CATCHING_UP_MB = 160
"""The same with what reading and parsing batches of images takes."""
LATE_S = 60.0

Away = Callable[[float], AbstractContextManager[None]]


@contextmanager
def locked(database: Path, seconds: float) -> Iterator[None]:
    """Another process holds SQLite's write lock."""
    program = (
        "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None);"
        "held.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read(); held.rollback()"
    )
    command = [sys.executable, "-c", program, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        time.sleep(seconds)
        yield


def outage(line: LineProcess, away: Away, seconds: float, share: float, figures: Figures) -> None:
    """Load at a share of the peak: a third of the time before, all the time during, a third after the outage."""
    parts, target = good_and_bad_parts(), Target(line.port, posting("s1"))
    peak = closed_loop(target, parts, concurrency=4, seconds=min(4.0, seconds), run="peak").rate
    wait_until(lambda: metric(line, "loupe_journal_waiting") == 0, LATE_S)
    lead_s = seconds / 3
    times = steady_arrivals(share * peak, 2 * lead_s + seconds)
    marks: dict[str, float] = {}
    answered: dict[str, int] = {}
    memory = {"before": rss_mb(line.pid)}
    waited = {"began": loop_times(line.pid)[0]}

    def interrupt() -> None:
        time.sleep(lead_s)
        marks["gone"] = time.perf_counter() - began
        waited["gone"] = loop_times(line.pid)[0]
        with away(seconds):
            marks["back"] = time.perf_counter() - began
            waited["back"] = loop_times(line.pid)[0]
            memory["during"] = rss_mb(line.pid)
            answered["waiting"] = int(metric(line, "loupe_journal_waiting"))

    began = time.perf_counter()
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    load = open_loop(target, parts, times, run="away")
    interrupting.join()
    caught_up = time.perf_counter()
    wait_until(lambda: metric(line, "loupe_journal_waiting") == 0, LATE_S)
    memory["after"] = rss_mb(line.pid)
    before, during, after = (_p99(load, *span) for span in _spans(marks))
    figures(
        peak_rate=round(peak),
        requests=load.requests,
        failures=load.failures,
        waited_for_the_database=answered["waiting"],
        p99_before_ms=before,
        p99_during_ms=during,
        p99_after_ms=after,
        ratio=round(during / before, 2),
        event_loop_waited_for_cpu_share={
            "before": round((waited["gone"] - waited["began"]) / marks["gone"], 3),
            "during": round((waited["back"] - waited["gone"]) / (marks["back"] - marks["gone"]), 3),
        },
        caught_up_after_s=round(time.perf_counter() - caught_up, 1),
        rss_mb={name: round(mb) for name, mb in memory.items()},
    )
    assert load.failures == 0
    assert answered["waiting"] > 0
    assert memory["during"] - memory["before"] < MEMORY_MB
    assert memory["after"] - memory["before"] < CATCHING_UP_MB


def _spans(marks: dict[str, float]) -> list[tuple[float, float]]:
    return [(0.0, marks["gone"]), (marks["gone"], marks["back"]), (marks["back"], np.inf)]


def _p99(load: Load, since: float, until: float) -> float:
    answered = np.array(load.answered_s)
    span = (answered >= since) & (answered < until)
    return round(float(np.quantile(np.array(load.latency_ms)[span], 0.99)), 2)


def prepared(line: LineProcess) -> None:
    with opened(line) as stores:
        add_champion(stores, line.folder)
        change_recipe(stores, on_optics_alarm="continue")
    line.start()


def assert_all_there(line: LineProcess, requests: int) -> None:
    assert line.stop() == 0, line.log
    with opened(line) as stores, stores.database.read() as connection:
        found = inspections.latest(connection, 10_000_000)
    assert len({record.trigger_id for record in found}) == len(found)
    assert sum(record.trigger_id.startswith("away-") for record in found) == requests


def sqlite_outage(folder: Path, seconds: float, share: float, figures: Figures) -> None:
    notes: dict[str, object] = {}

    def note(**found: object) -> None:
        notes.update(found)
        figures(**found)

    with line_process(folder) as line:
        prepared(line)
        outage(line, lambda s: locked(folder / "data" / "loupe.db", s), seconds, share, note)
        assert_all_there(line, int(str(notes["requests"])))
    assert_unnoticed(notes, seconds)


def assert_unnoticed(notes: dict[str, object], seconds: float) -> None:
    # In less time the 99th percentile is a handful of parts.
    if seconds >= 20:
        assert float(str(notes["ratio"])) <= WANTED_RATIO


def test_locked_database_is_waited_for(tmp_path: Path, figures: Figures) -> None:
    sqlite_outage(tmp_path, 3.0, 0.3, figures)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_database_locked_for_a_minute(tmp_path: Path, figures: Figures) -> None:
    sqlite_outage(tmp_path, length("OUTAGE_S", 60), 0.5, figures)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["cut", "frozen"])
def test_served_database_away_for_a_minute(tmp_path: Path, postgres_url: str, how: str, figures: Figures) -> None:
    notes: dict[str, object] = {}

    def note(**found: object) -> None:
        notes.update(found)
        figures(how=how, **found)

    with relay_to(POSTGRES_PORT) as relay:

        @contextmanager
        def away(seconds: float) -> Iterator[None]:
            if how == "frozen":
                relay.freeze()
            else:
                relay.cut()
            time.sleep(seconds)
            yield
            relay.cut()
            relay.start()

        address = postgres_url.replace(f":{POSTGRES_PORT}/", f":{relay.port}/")
        with line_process(tmp_path, address) as line:
            prepared(line)
            seconds = length("OUTAGE_S", 60)
            outage(line, away, seconds, 0.5, note)
            assert_all_there(line, int(str(notes["requests"])))
    assert_unnoticed(notes, seconds)
