"""A line server as `loupe serve` runs it, on a thread of the test: real connections, everything of it at hand."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import httpx2

from service.line.app import LineApp, create_app
from service.line.exchange import open_exchange
from service.line.protocol import LineHost, line_config
from service.line.server import running
from service.settings import Settings

END_WAIT_S = 30.0


class LineClient(httpx2.Client):
    """Speaks to the line over connections of its own; `app` is what it speaks to."""

    def __init__(self, app: LineApp, port: int) -> None:
        super().__init__(base_url=f"http://127.0.0.1:{port}", timeout=60.0)
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
