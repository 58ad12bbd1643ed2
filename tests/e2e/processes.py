"""Real processes: `loupe serve` that can be killed, and a line that posts to it until everything is answered."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from service.settings import Settings, load_settings
from service.wiring import Stores, open_stores
from tests.service.line.stocked import DARK, encoded

START_WAIT_S = 60.0
POSTERS = 8


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """The environment of a process that lives in `folder`, without any LOUPE_* of this one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOUPE_")}
    own = {"LOUPE_DATA_DIR": str(folder / "data"), "LOUPE_WATCH_POLL_S": "0.1", "OMP_NUM_THREADS": "1"}
    return {**inherited, **own, **changes}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass(slots=True)
class LineProcess:
    """`loupe serve` on one data folder; may be started, killed and started again."""

    folder: Path
    database_url: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    changes: dict[str, str] = field(default_factory=dict)
    """More of its environment."""
    under: tuple[str, ...] = ()
    """A program that runs it, such as strace."""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        own = Path(self.changes.get("LOUPE_DATA_DIR", self.folder / "data"))
        return load_settings(data_dir=own, database_url=self.database_url)

    def start(self, *, ready: bool = True) -> None:
        changes = {"LOUPE_PORT": str(self.port), "LOUPE_DATABASE_URL": self.database_url, **self.changes}
        log = (self.folder / "serve.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [*self.under, sys.executable, "-m", "service.cli", "serve"],
                cwd=self.folder,
                env=environment(self.folder, **changes),
                stdout=log,
                stderr=log,
            )
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        give_up = time.monotonic() + START_WAIT_S
        while True:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "serve.log").read_text()
            assert time.monotonic() < give_up, (self.folder / "serve.log").read_text()
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def line_process(folder: Path, database_url: str = "", **changes: str) -> Iterator[LineProcess]:
    """A line server that is not started yet, and is gone at the end whatever happens; `changes`: its environment."""
    line = LineProcess(folder, database_url, changes=changes)
    try:
        yield line
    finally:
        if line.process is not None and line.process.poll() is None:
            line.process.kill()
            line.process.wait()


@contextmanager
def opened(line: LineProcess) -> Iterator[Stores]:
    """The stores that the line server writes."""
    with open_stores(line.settings) as stores:
        yield stores


def part(n: int) -> bytes:
    """Part `n`: all look alike and none is the same; every third is a defect."""
    return encoded(DARK if n % 3 else 230, seed=n)


def post_part(client: httpx.Client, line: LineProcess, n: int) -> httpx.Response:
    query = {"station": "s1", "trigger_id": str(n), "part_id": f"P{n}"}
    headers = {"content-type": "image/png"}
    return client.post(f"{line.url}/v1/inspections", params=query, content=part(n), headers=headers)


@dataclass(slots=True)
class Shift:
    """Parts that a line posts, and what it was answered; what got no answer is posted again."""

    line: LineProcess
    bodies: dict[int, bytes] = field(default_factory=dict)

    def post(self, numbers: list[int], kill_after: int | None = None, rng: np.random.Generator | None = None) -> None:
        """Post what is not answered yet; `kill_after` so many more answers the process is killed at a random moment.

        The last parts are posted when it is dead, so that some are left however late the kill comes.
        """
        wanted = [n for n in numbers if n not in self.bodies]
        before = len(self.bodies)
        with httpx.Client(timeout=20) as client, ThreadPoolExecutor(POSTERS) as pool:
            last = [] if kill_after is None else wanted[-POSTERS:]
            posted = [pool.submit(self._post_one, client, n) for n in wanted if n not in last]
            if kill_after is not None and rng is not None:
                while len(self.bodies) < before + kill_after and not all(p.done() for p in posted):
                    time.sleep(0.001)
                time.sleep(float(rng.uniform(0, 0.03)))
                self.line.stop(signal.SIGKILL)
            posted += [pool.submit(self._post_one, client, n) for n in last]
            for one in posted:
                one.result()

    def _post_one(self, client: httpx.Client, n: int) -> None:
        try:
            response = post_part(client, self.line, n)
        except httpx.TransportError:
            return  # the process was killed: nobody knows whether the part was recorded
        if response.status_code == 503 and response.json()["result_code"] == 907:
            return  # the server is stopping, and said so
        assert response.status_code == 200, response.text
        self.bodies[n] = response.content
