"""How many parts may be in work at once; what can't be taken is said at once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from monitoring.metrics import LineMetrics
from service.line.requests import Overloaded


class Place:
    """A part's place: held until its answer has left and its thread, if it got one, is done with it."""

    def __init__(self) -> None:
        self.work: asyncio.Future[Any] | None = None


class Admission:
    """Counts the places that are taken; used from the event loop only."""

    def __init__(self, limit: int, metrics: LineMetrics) -> None:
        self._limit, self._metrics = limit, metrics
        self._taken = 0

    @contextmanager
    def admitted(self) -> Iterator[Place]:
        """A place from the first byte on, so that slow uploads count too.

        Raises Overloaded.
        """
        if self._taken >= self._limit:
            raise Overloaded(
                f"{self._limit} parts are in work already", "send the trigger again later, or raise LOUPE_QUEUE_LIMIT"
            )
        self._change(1)
        place = Place()
        try:
            yield place
        finally:
            if place.work is None:
                self._change(-1)
            else:
                place.work.add_done_callback(lambda _: self._change(-1))

    def _change(self, by: int) -> None:
        self._taken += by
        self._metrics.in_work.set(self._taken)
