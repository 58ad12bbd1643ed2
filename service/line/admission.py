"""Which parts are taken on: what can't be taken, or can't be in time, is said at once."""

import asyncio
from collections import defaultdict
from typing import Any

from monitoring.metrics import LineMetrics
from service.line.requests import Overloaded

TOTAL_FACTOR = 4
"""All stations together may have so many times the places of one."""


class Place:
    """A part's place: held until its answer has left and its thread, if it got one, is done with it."""

    def __init__(self, admission: "Admission", station: str) -> None:
        self._admission, self._station = admission, station
        self.work: asyncio.Future[Any] | None = None

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        if self.work is None:
            self._admission.leave(self._station)
        else:
            self.work.add_done_callback(lambda _: self._admission.leave(self._station))


class Admission:
    """Counts the places that are taken, by station; used from the event loop only."""

    def __init__(self, limit: int, metrics: LineMetrics) -> None:
        self._limit, self._metrics = limit, metrics
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._total = 0

    def enter(self, station: str) -> Place:
        """A place from the first byte on, so that slow uploads count too; one station can't take those of the others.

        Raises Overloaded.
        """
        if self._taken[station] >= self._limit or self._total >= TOTAL_FACTOR * self._limit:
            held = self._taken[station]
            if not held:
                del self._taken[station]
            raise Overloaded(
                f"{held} parts of this station and {self._total} in all are in work already",
                "send the trigger again later, or raise LOUPE_QUEUE_LIMIT",
            )
        self._taken[station] += 1
        self._total += 1
        self._metrics.in_work.set(self._total)
        return Place(self, station)

    def leave(self, station: str) -> None:
        """A place is free again."""
        self._taken[station] -= 1
        self._total -= 1
        if not self._taken[station]:
            del self._taken[station]
        self._metrics.in_work.set(self._total)

    @property
    def total(self) -> int:
        """Places that are taken."""
        return self._total
