"""Sudden death at random moments, again and again, while a line posts."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.bench.load import Target, open_loop, steady_arrivals
from storage import inspections
from storage.records import Inspection
from tests.e2e.processes import LineProcess, environment, free_port, line_process, opened, part, post_part
from tests.service.line.stocked import add_champion, change_recipe
from tests.soak.conftest import Figures
from tests.soak.workload import good_and_bad_parts, length, posting

CONNECTIONS = 4
EVERY_NTH_LIFE = 20
"""Console and worker die with the line server this often."""
AGAIN_SHARE, GIVE_UP_SHARE = 0.1, 0.3
STOP_WITHIN_S = 30.0


@dataclass(slots=True)
class Posters:
    """Camera PCs that go on posting whatever becomes of the server; each has its own part numbers and randomness."""

    line: LineProcess
    seed: int
    bodies: dict[int, str] = field(default_factory=dict)
    """SHA-256 of what was answered, by part."""
    posted: set[int] = field(default_factory=set)
    repeated: int = 0
    cut_off: int = 0
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def posting(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def _run(self, first: int) -> None:
        rng, number, mine = np.random.default_rng([self.seed, first]), first, list[int]()
        with httpx.Client(timeout=20) as client:
            while not self.over.is_set():
                if mine and rng.random() < AGAIN_SHARE:
                    self._again(client, mine[int(rng.integers(len(mine)))])
                    continue
                self.posted.add(number)
                if self._post(client, number):
                    mine.append(number)
                elif rng.random() > GIVE_UP_SHARE:
                    continue  # the same part once more
                number += CONNECTIONS

    def _post(self, client: httpx.Client, number: int) -> bool:
        response = self._answer(client, number)
        if response is None:
            return False
        self.bodies[number] = _digest(response.content)
        return True

    def _again(self, client: httpx.Client, number: int) -> None:
        response = self._answer(client, number)
        if response is not None:
            self.repeated += 1
            if _digest(response.content) != self.bodies[number]:
                self.wrong.append(f"part {number} got another body: {response.text}")

    def _answer(self, client: httpx.Client, number: int) -> httpx.Response | None:
        try:
            response = post_part(client, self.line, number)
        except httpx.TransportError:
            self.cut_off += 1
            time.sleep(0.05)
            return None
        if response.status_code == 200:
            return response
        if (response.status_code, response.json()["result_code"]) != (503, 907):
            self.wrong.append(response.text)
        time.sleep(0.01)
        return None


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass(slots=True)
class Others:
    """The console and the worker on the same data folder."""

    line: LineProcess
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        own = {"LOUPE_DATABASE_URL": self.line.database_url, "LOUPE_CONSOLE_PORT": str(free_port())}
        with (self.line.folder / "others.log").open("ab") as log:
            self.processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "service.cli", name],
                    cwd=self.line.folder,
                    env=environment(self.line.folder, **own),
                    stdout=log,
                    stderr=log,
                )
                for name in ("console", "worker")
            ]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def others_beside(line: LineProcess) -> Iterator[Others]:
    others = Others(line)
    others.start()
    try:
        yield others
    finally:
        others.kill()


def assert_recorded_as_answered(line: LineProcess, posters: Posters) -> Counter[str]:
    """Returns how many records, kept images, and records of parts that were never answered there are."""
    with opened(line) as stores:
        with stores.database.read() as connection:
            found = inspections.latest(connection, 10_000_000)
        times = Counter(record.trigger_id for record in found)
        assert set(times.values()) == {1}
        by_part = {int(record.trigger_id): record for record in found}
        assert by_part.keys() <= posters.posted
        missing = posters.bodies.keys() - by_part.keys()
        assert not missing, f"{len(missing)} answered parts are not in the database, such as {sorted(missing)[:5]}"
        counts = Counter(records=len(found), unanswered=len(by_part.keys() - posters.bodies.keys()))
        for number, record in by_part.items():
            if number in posters.bodies:
                assert _digest(record.answer.encode()) == posters.bodies[number]
            assert json.loads(record.answer)["result_id"] == record.result_id
            (view,) = record.views
            assert record.disposition == ("pass" if number % 3 else "reject")
            assert view.image_kept or record.disposition == "pass"
            if view.image_kept:
                assert stores.images.get(view.image_sha256) == part(number)
                counts["images"] += 1
    return counts


def many_kills(folder: Path, database_url: str, kills: int, figures: Figures, *, beside: bool = True) -> None:
    rng = np.random.default_rng(kills)
    began = time.monotonic()
    with line_process(folder, database_url) as line:
        with opened(line) as stores:
            add_champion(stores, folder)
            # The whole frame of these parts is bright or dark, which the optics monitor rightly doesn't like.
            change_recipe(stores, on_optics_alarm="continue")
        line.start()
        start_s = time.monotonic() - began
        posters = Posters(line, seed=kills)
        before_ready = 0
        others = Others(line)
        try:
            with posters.posting():
                for life in range(kills):
                    if beside and life % EVERY_NTH_LIFE == 0:
                        others.kill()
                        others.start()
                    # Most die under load, some while they start and take up what the one before them left.
                    if rng.random() < 0.15:
                        before_ready += 1
                        time.sleep(float(rng.uniform(0.3, max(start_s, 0.5))))
                    else:
                        line.wait_ready()
                        time.sleep(float(rng.exponential(0.25)))
                    line.stop(signal.SIGKILL)
                    line.start(ready=False)
                line.wait_ready()
                time.sleep(1)
        finally:
            others.kill()
        assert posters.wrong == []
        assert line.stop() == 0, line.log
        assert "Traceback" not in line.log
        counts = assert_recorded_as_answered(line, posters)
        figures(
            kills=kills,
            before_ready=before_ready,
            answered=len(posters.bodies),
            posted=len(posters.posted),
            repeated_after_a_start=posters.repeated,
            cut_off=posters.cut_off,
            minutes=round((time.monotonic() - began) / 60, 1),
            **counts,
        )
        assert len(posters.bodies) > kills
        assert posters.repeated > 0


def test_kills_in_a_row_lose_nothing_and_double_nothing(tmp_path: Path, figures: Figures) -> None:
    many_kills(tmp_path, "", 3, figures, beside=False)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_lose_nothing_and_double_nothing(
    tmp_path: Path, database_url: str, figures: Figures
) -> None:
    many_kills(tmp_path, database_url, int(length("KILLS", 200)) // 2, figures)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_death_of_console_and_worker_goes_unnoticed(tmp_path: Path, figures: Figures) -> None:
    seconds, deaths = length("BESIDE_S", 30), 4
    with line_process(tmp_path) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
            change_recipe(stores, on_optics_alarm="continue")
        line.start()
        killed: list[float] = []
        with others_beside(line) as others:

            def kill_again_and_again() -> None:
                for _ in range(deaths):
                    time.sleep(seconds / (deaths + 1))
                    others.kill()
                    killed.append(time.monotonic())
                    others.start()

            killer = threading.Thread(target=kill_again_and_again)
            killer.start()
            parts, target = good_and_bad_parts(), Target(line.port, posting("s1"))
            load = open_loop(target, parts, steady_arrivals(40, seconds), run="beside")
            killer.join()
        assert load.failures == 0
        assert line.stop() == 0
        found = records_of(line)
        assert len({record.result_id for record in found}) == load.requests
        quantiles = {f"p{q}_ms": round(load.quantile_ms(q / 100), 2) for q in (50, 99)}
        figures(deaths=2 * len(killed), requests=load.requests, failures=load.failures, **quantiles)


def records_of(line: LineProcess) -> list[Inspection]:
    with opened(line) as stores, stores.database.read() as connection:
        return inspections.latest(connection, 10_000_000)
