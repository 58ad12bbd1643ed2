"""What is measured: the line server as `loupe serve` starts it, and other servers around the same model."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.bench.load import Target, closed_loop
from service.bench.model import PRODUCT
from service.bench.parts import Part
from service.bench.resources import family
from service.settings import Settings, environment_of

START_WAIT_S = 120.0
STOP_WAIT_S = 20.0
DRAIN_WAIT_S = 60.0
DRAIN_LOOK_S = 0.5
LOG_TAIL = 1500
STATION = "bench"

_WAITING = re.compile(r"^loupe_journal_waiting(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class ContenderBroken(RuntimeError):
    """A server under test did not do its work, so there is nothing to report."""

    def __init__(self, name: str, what: str, log: Path | None = None) -> None:
        tail = log.read_text(errors="replace")[-LOG_TAIL:].strip() if log is not None and log.exists() else ""
        super().__init__(f"{name} {what}" + (f"; the end of its log:\n{tail}" if tail else ""))
        self.remedy = f"start {name} by hand and look at its log"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs.

    settle: waits until everything that it put off is done. idle_cpu_ms_per_s: what it uses with nothing to do; 0 until
    it has been measured.
    """

    name: str
    pid: int
    target: Target
    settle: Callable[[], None]
    idle_cpu_ms_per_s: float = 0.0


@contextmanager
def line_server(
    settings: Settings, log: Path, name: str = "loupe serve", module: Sequence[str] = ("service.cli", "serve")
) -> Iterator[Contender]:
    """`loupe serve` under these settings, ready; ended with the block. module: another way to start one.

    Raises ContenderBroken.
    """
    command = [sys.executable, "-m", *module]
    url = f"http://127.0.0.1:{settings.port}"
    query = f"station={STATION}&product={PRODUCT}&trigger_id={{n}}"
    with _started(name, command, log, environment_of(settings)) as process:
        _wait_until(lambda: _is_ready(url), name, process, log)
        target = Target(settings.port, f"/v1/inspections?{query}")
        yield Contender(name, process.pid, target, lambda: _wait_drained(name, url, log))


@contextmanager
def peer_server(
    name: str, command: Sequence[str], target: Target, part: Part, log: Path, environment: dict[str, str]
) -> Iterator[Contender]:
    """Any other server, ready when it answers a part with 200; ended with the block.

    Raises ContenderBroken.
    """
    with _started(name, command, log, environment) as process:
        _wait_until(lambda: _answers(target, part), name, process, log)
        yield Contender(name, process.pid, target, lambda: None)


@contextmanager
def _started(
    name: str, command: Sequence[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        # In the log's folder, where no loupe.toml of a plant lies.
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=file, stderr=file, stdin=subprocess.DEVNULL
        )
    try:
        yield process
        if (code := process.poll()) is not None:
            raise ContenderBroken(name, f"ended by itself with exit code {code}", log)
    finally:
        started = family(process.pid)[1:]
        process.terminate()
        try:
            process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Not every server ends its workers.
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _wait_until(ready: Callable[[], bool], name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_WAIT_S
    while not ready():
        if process.poll() is not None:
            raise ContenderBroken(name, f"ended with exit code {process.returncode}", log)
        if time.monotonic() > give_up:
            raise ContenderBroken(name, f"was not ready after {START_WAIT_S:g} s", log)
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _answers(target: Target, part: Part) -> bool:
    try:
        return closed_loop(target, [part], concurrency=1, requests=1, run="ready").statuses == [200]
    except OSError:
        return False


def _wait_drained(name: str, url: str, log: Path) -> None:
    """Until the journal has given everything to the database, which the server pays for and so is counted."""
    give_up = time.monotonic() + DRAIN_WAIT_S
    # The gauge follows the drainer: right after a load it may still say what was true before.
    time.sleep(2 * DRAIN_LOOK_S)
    while journal_waiting(url) > 0:
        if time.monotonic() > give_up:
            raise ContenderBroken(name, f"had not drained its journal after {DRAIN_WAIT_S:g} s", log)
        time.sleep(DRAIN_LOOK_S)


def journal_waiting(url: str) -> float:
    """How many entries have not reached the database, as the server's metrics say."""
    found = _WAITING.search(httpx.get(f"{url}/metrics", timeout=10.0, trust_env=False).text)
    return float(found[1]) if found else 0.0
