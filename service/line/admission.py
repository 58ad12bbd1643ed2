"""How many parts may be in work at once; what can't be taken is said at once."""

from monitoring.metrics import LineMetrics
from service.line.requests import Overloaded


class Admission:
    """Counts the parts in work; used from the event loop only."""

    def __init__(self, limit: int, metrics: LineMetrics) -> None:
        self._limit, self._metrics = limit, metrics
        self._in_work = 0

    def enter(self) -> None:
        """Take a place; it is held until the thread is done with the part, also when the answer has left before.

        Raises Overloaded.
        """
        if self._in_work >= self._limit:
            raise Overloaded(
                f"{self._limit} parts are in work already",
                "send the trigger again, or raise LOUPE_THREADS on a larger machine",
            )
        self._change(1)

    def leave(self) -> None:
        """Give the place back."""
        self._change(-1)

    def _change(self, by: int) -> None:
        self._in_work += by
        self._metrics.in_work.set(self._in_work)
