"""Which parts are taken on: what can't be taken, or can't be in time, is said at once."""

import threading

from monitoring.metrics import LineMetrics
from service.line.requests import Overloaded

TOTAL_FACTOR = 4
"""All stations together may have so many times the places of one."""


class Place:
    """A part's place: held until its thread is done with it, or it is clear that it gets none.

    A block holds it to its end, unless `handed_on` says that a thread lets it go.
    """

    def __init__(self, admission: "Admission", station: str) -> None:
        self._admission, self._station = admission, station
        self.handed_on = False

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.handed_on:
            self.leave()

    def leave(self) -> None:
        """It is free again."""
        self._admission.leave(self._station)


class Admission:
    """Counts the places that are taken, by station."""

    def __init__(self, limit: int, metrics: LineMetrics) -> None:
        self._limit = limit
        self._lock = threading.Lock()  # guards the two below
        self._taken: dict[str, int] = {}
        self._total = 0
        metrics.in_work.set_function(lambda: self._total)

    def enter(self, station: str) -> Place:
        """A place from the first byte on, so that slow uploads count too; one station can't take those of the others.

        Raises Overloaded.
        """
        with self._lock:
            held = self._taken.get(station, 0)
            is_full = held >= self._limit or self._total >= TOTAL_FACTOR * self._limit
            if not is_full:
                self._taken[station] = held + 1
                self._total += 1
        if is_full:
            raise Overloaded(
                f"{held} parts of this station and {self._total} in all are in work already",
                "send the trigger again later, or raise LOUPE_QUEUE_LIMIT",
            )
        return Place(self, station)

    def leave(self, station: str) -> None:
        """A place is free again."""
        with self._lock:
            self._taken[station] -= 1
            self._total -= 1
            if not self._taken[station]:
                del self._taken[station]

    @property
    def total(self) -> int:
        """Places that are taken."""
        return self._total
