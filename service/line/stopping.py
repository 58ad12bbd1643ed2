"""The end of a line server: nothing new is taken on, what is in work is answered, slow bodies are not awaited."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LAST_BODY_S = 1.0
"""How long a body may still take once the server is stopping."""


class Stopping:
    """Whether the server is stopping, and the reads that this must cut short; used from the event loop only."""

    def __init__(self) -> None:
        self.begun = False
        self._reading: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def limited(self, wait_s: float) -> AsyncIterator[None]:
        """A block that may last so long, and less when the server is stopping; raises TimeoutError."""
        async with asyncio.timeout(min(wait_s, LAST_BODY_S) if self.begun else wait_s) as limit:
            self._reading.add(limit)
            try:
                yield
            finally:
                self._reading.discard(limit)

    def begin(self) -> None:
        """From now on the answer is 907."""
        self.begun = True
        latest = asyncio.get_running_loop().time() + LAST_BODY_S
        for limit in self._reading:
            if limit.expired():  # its task has not had its turn yet
                continue
            due = limit.when()
            limit.reschedule(latest if due is None else min(due, latest))
