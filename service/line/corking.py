"""One write a response: uvicorn writes head and body apart, and each write is a system call that wakes the caller."""

import asyncio
from typing import Any


class CorkedTransport:
    """A transport that sends together what is written in one turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send at the end of this turn."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be sent; for any thread."""
        return bool(self._held) or self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            if not self._transport.is_closing():
                self._transport.write(b"".join(self._held))
            self._held.clear()

    def __getattr__(self, name: str) -> Any:
        # Everything else is the transport's own.
        return getattr(self._transport, name)
