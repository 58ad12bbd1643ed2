"""How many parts may be in work at once; what can't be taken is said at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from monitoring.metrics import LineMetrics
from service.line.requests import Overloaded


class Admission:
    """Counts the parts in work; used from the event loop only."""

    def __init__(self, limit: int, metrics: LineMetrics) -> None:
        self._limit, self._metrics = limit, metrics
        self._in_work = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place while the part is in work.

        Raises Overloaded.
        """
        if self._in_work >= self._limit:
            raise Overloaded(
                f"{self._limit} parts are in work already",
                "send the trigger again, or raise LOUPE_THREADS on a larger machine",
            )
        self._in_work += 1
        self._metrics.in_work.set(self._in_work)
        try:
            yield
        finally:
            self._in_work -= 1
            self._metrics.in_work.set(self._in_work)
