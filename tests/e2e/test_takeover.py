"""Two line servers with one database: every station is served by one of them, and by the other when that one dies."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from storage import happenings, inspections
from storage.records import Inspection
from tests.e2e.processes import LineProcess, environment, opened, part
from tests.service.line.stocked import add_champion, wait_until

TAKEN_WITHIN_S = 10.0
PARTS = 60


@dataclass(slots=True)
class NamedLine(LineProcess):
    """A line server that shares its data folder with others."""

    name: str = ""

    def start(self, *, ready: bool = True) -> None:
        own = {
            "LOUPE_PORT": str(self.port),
            "LOUPE_DATABASE_URL": self.database_url,
            "LOUPE_LINE_NAME": self.name,
            "LOUPE_JOURNAL_RESERVE_MB": "16",
        }
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve"],
                cwd=self.folder,
                env=environment(self.folder, **own),
                stdout=log,
                stderr=log,
            )
        if ready:
            self.wait_ready()


@contextmanager
def lines(folder: Path, database_url: str, *names: str) -> Iterator[list[NamedLine]]:
    """Line servers that are ready, and gone at the end whatever happens."""
    with ExitStack() as ending:
        found = [NamedLine(folder, database_url, name=name) for name in names]
        with opened(found[0]) as stores:
            add_champion(stores, folder)
        for line in found:
            ending.callback(_end, line)
            line.start(ready=False)
        for line in found:
            line.wait_ready()
        yield found


def _end(line: NamedLine) -> None:
    if line.process is not None and line.process.poll() is None:
        line.process.kill()
        line.process.wait()


def post(line: NamedLine, station: str, n: int) -> httpx.Response:
    query = {"station": station, "trigger_id": str(n)}
    headers = {"content-type": "image/png"}
    return httpx.post(f"{line.url}/v1/inspections", params=query, content=part(n), headers=headers, timeout=20)


def post_until_answered(line: NamedLine, station: str, n: int) -> bytes:
    """As a PLC does it: again and again while the answer is 503 907."""
    give_up = time.monotonic() + 2 * TAKEN_WITHIN_S
    while True:
        response = post(line, station, n)
        if response.status_code == 200:
            return response.content
        assert (response.status_code, response.json()["result_code"]) == (503, 907), response.text
        assert time.monotonic() < give_up
        time.sleep(0.1)


def all_of(line: NamedLine) -> list[Inspection]:
    with opened(line) as stores, stores.database.read() as connection:
        return inspections.latest(connection, 10_000)


def metric(line: NamedLine, name: str) -> float:
    text = httpx.get(f"{line.url}/metrics").text
    return float(next(row for row in text.splitlines() if row.startswith(f"{name} ")).split()[-1])


def test_stations_of_a_killed_line_server_are_served_by_the_other(tmp_path: Path, database_url: str) -> None:
    with lines(tmp_path, database_url, "a", "b") as (a, b):
        bodies = {("s1", 0): post(a, "s1", 0).content, ("s2", 0): post(b, "s2", 0).content}

        def post_one(n: int) -> None:
            # Every station to both, so that half of the parts is passed on.
            for station in ("s1", "s2"):
                response = post((a, b)[n % 2], station, n)
                assert response.status_code == 200, response.text
                bodies[station, n] = response.content

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(post_one, range(1, PARTS)))
        assert metric(a, "loupe_stations_owned") == metric(b, "loupe_stations_owned") == 1

        # The last parts are answered at the very moment of the kill: they are in the journal, not in the database.
        for n in range(PARTS, PARTS + 5):
            bodies["s1", n] = post(a, "s1", n).content
        a.stop(signal.SIGKILL)
        killed_at = time.monotonic()
        again = post_until_answered(b, "s1", PARTS + 4)
        assert time.monotonic() - killed_at < TAKEN_WITHIN_S
        assert again == bodies["s1", PARTS + 4]
        for (station, n), body in bodies.items():
            if n % 7 == 0 or n >= PARTS:
                assert post(b, station, n).content == body
        assert post(b, "s1", 1000).status_code == 200
        conflict = httpx.post(
            f"{b.url}/v1/inspections?station=s1&trigger_id=3", content=part(4), headers={"content-type": "image/png"}
        )
        assert conflict.status_code == 409
        assert metric(b, "loupe_stations_owned") == 2

        # The dead one comes back: its stations stay where they are, its answers are the same.
        a.start()
        assert post(a, "s1", PARTS).content == bodies["s1", PARTS]
        assert post(a, "s1", 1001).status_code == 200
        assert (a.stop(), b.stop()) == (0, 0), (tmp_path / "serve.log").read_text()

        found = all_of(a)
        assert Counter((i.station, i.trigger_id) for i in found) == {
            **{(station, str(n)): 1 for station, n in bodies},
            ("s1", "1000"): 1,
            ("s1", "1001"): 1,
        }
        by_id = {i.result_id: i for i in found}
        with opened(a) as stores:
            for (_, n), body in bodies.items():
                record = by_id[json.loads(body)["result_id"]]
                assert record.answer.encode() == body
                (view,) = record.views
                assert view.image_sha256 == hashlib.sha256(part(n)).hexdigest()
                if view.image_kept:
                    assert stores.images.get(view.image_sha256) == part(n)
            with stores.database.read() as connection:
                (taken,) = happenings.latest_events(connection, 10, "station_taken")
        assert (taken.subject, taken.detail["token"]) == ("s1", 2)
        assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_clean_stop_hands_its_stations_over_at_once(tmp_path: Path) -> None:
    with lines(tmp_path, "", "a", "b") as (a, b):
        body = post(a, "s1", 1).content
        assert post(b, "s1", 2).status_code == 200
        assert a.stop() == 0
        stopped_at = time.monotonic()
        assert post_until_answered(b, "s1", 1) == body
        assert time.monotonic() - stopped_at < 2
        assert b.stop() == 0
        assert Counter(i.trigger_id for i in all_of(b)) == {"1": 1, "2": 1}


def test_frozen_line_server_gives_way_when_it_wakes(tmp_path: Path) -> None:
    with lines(tmp_path, "", "a", "b") as (a, b):
        assert post(a, "s1", 1).status_code == 200
        assert a.process is not None
        a.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(1)
            body = post_until_answered(b, "s1", 2)
        finally:
            a.process.send_signal(signal.SIGCONT)
        assert post(a, "s1", 2).content == body
        assert post(a, "s1", 3).status_code == 200
        wait_until(lambda: metric(a, "loupe_stations_owned") == 0)
        assert metric(b, "loupe_stations_owned") == 1
        assert (a.stop(), b.stop()) == (0, 0)
        assert Counter(i.trigger_id for i in all_of(b)) == {"1": 1, "2": 1, "3": 1}


@pytest.mark.parametrize("name", ["", "b"])
def test_what_a_dead_line_server_left_arrives_without_it(tmp_path: Path, name: str) -> None:
    """Killed before it drained; only another one is started, under another name."""
    with lines(tmp_path, "", name) as (dead,):
        bodies = [post(dead, "s1", n).content for n in range(20)]
        dead.stop(signal.SIGKILL)
        other = NamedLine(tmp_path, name="c")
        try:
            other.start()
            wait_until(lambda: len(all_of(other)) == len(bodies))
            assert other.stop() == 0
        finally:
            _end(other)
        assert {i.answer.encode() for i in all_of(other)} == set(bodies)
