"""The load generator as a process of its own: `python -m service.bench.client PARTS_FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from service.bench.children import Child, answer_lines
from service.bench.load import Load, Target, closed_loop, open_loop, random_arrivals, steady_arrivals
from service.bench.parts import Part, folder_parts


class Client(Child):
    """The load generator's handle: `start` gives it a run, `load` waits for what became of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(__name__, str(folder))
        self._runs = count(1)

    def start(self, kind: str, target: Target, run: str, **plan: float) -> None:
        """Begin a run: kind `closed` (concurrency, seconds or requests), `steady` or `random` (rate, seconds).

        Trigger ids are unique among all runs of this client, whatever the run is called.
        """
        self.tell({"kind": kind, "target": asdict(target), "run": f"{next(self._runs)}-{run}", **plan})

    def load(self) -> Load:
        """What became of the run."""
        return Load(**self.answer())

    def run(self, kind: str, target: Target, run: str, **plan: float) -> Load:
        """`start`, then `load`."""
        self.start(kind, target, run, **plan)
        return self.load()


def _answer(parts: Sequence[Part], request: dict[str, Any]) -> dict[str, Any]:
    kind, run = request.pop("kind"), request.pop("run")
    target = Target(**{**request.pop("target")})
    if kind == "closed":
        return asdict(closed_loop(target, parts, run=run, **request))
    if kind == "steady":
        return asdict(open_loop(target, parts, steady_arrivals(**request), run=run))
    # The run's name is the seed: every run has its own arrivals, and the same each time.
    rng = np.random.default_rng(list(run.encode()))
    return asdict(open_loop(target, parts, random_arrivals(**request, rng=rng), run=run))


def main(folder: Path) -> None:
    """Answer requests as `Client.start` makes them."""
    parts = folder_parts(folder)
    answer_lines(lambda request: _answer(parts, request))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
