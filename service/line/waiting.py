"""Who waits for the verdict on a part that somebody else posts: the long poll."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WAITER_LIMIT = 256


class TooManyWait(RuntimeError):
    """No more long polls are taken."""

    def __init__(self) -> None:
        super().__init__(f"{WAITER_LIMIT} requests wait for a verdict already")
        self.remedy = "ask again later, or with wait_ms=0"


class Waiters:
    """Futures of event loops by part key; told from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[bytes]]] = {}
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, key: str) -> Iterator["asyncio.Future[bytes]"]:
        """A future for the part's body; to be used on an event loop.

        Raises TooManyWait.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._count >= WAITER_LIMIT:
                raise TooManyWait
            self._count += 1
            self._waiting.setdefault(key, []).append(future)
        try:
            yield future
        finally:
            with self._lock:
                self._count -= 1
                left = [other for other in self._waiting.pop(key, []) if other is not future]
                if left:
                    self._waiting[key] = left

    def tell(self, key: str, body: bytes) -> None:
        """The part is decided."""
        if not self._waiting:
            return
        with self._lock:
            futures = list(self._waiting.get(key, ()))
        for future in futures:
            future.get_loop().call_soon_threadsafe(_tell, future, body)


def _tell(future: "asyncio.Future[bytes]", body: bytes) -> None:
    if not future.done():
        future.set_result(body)
