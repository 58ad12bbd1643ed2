"""A line server as `loupe serve` runs it, on a thread of the test: real connections, everything of it at hand."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import httpcore2
import httpx2

from service.line.app import LineApp, create_app
from service.line.exchange import open_exchange
from service.line.protocol import LineHost, line_config
from service.line.server import running
from service.settings import Settings

END_WAIT_S = 30.0


class _Whole(httpcore2.NetworkStream):
    """Sends a request in one piece: on a busy machine a short deadline would pass between its head and its image."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream, self._held = stream, b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._held += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        held, self._held = self._held, b""
        if held:
            with suppress(httpcore2.WriteError):  # whoever closed its side may have answered before
                self._stream.write(held, timeout)
        return self._stream.read(max_bytes, timeout)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Direct(httpcore2.SyncBackend):
    def connect_tcp(self, *args: Any, **named: Any) -> httpcore2.NetworkStream:
        return _Whole(super().connect_tcp(*args, **named))


class _WholeTransport(httpx2.HTTPTransport):
    def __init__(self) -> None:
        super().__init__()
        self._pool = httpcore2.ConnectionPool(max_connections=100, network_backend=_Direct())


class LineClient(httpx2.Client):
    """Speaks to the line over connections of its own; `app` is what it speaks to."""

    def __init__(self, app: LineApp, port: int) -> None:
        super().__init__(base_url=f"http://127.0.0.1:{port}", timeout=60.0, transport=_WholeTransport())
        self.app, self.port = app, port


@contextmanager
def hosted(settings: Settings) -> Iterator[LineClient]:
    """A line server under these settings, ended with the block."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, running(settings) as server:
        app = create_app(nullcontext(server))
        config = line_config(app, "127.0.0.1", 0, partial(open_exchange, server))
        host = LineHost(config, server.stopping, lambda: server.admission.total, late=server.dispatcher.lag.was)
        thread = threading.Thread(target=host.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with LineClient(app, listening.getsockname()[1]) as http:
                yield http
        finally:
            host.should_exit = True
            thread.join(END_WAIT_S)
            assert not thread.is_alive(), "the server does not end"
