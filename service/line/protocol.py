"""How HTTP reaches the line server: connections that are never good for anything are closed, and the end is orderly."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from service.line.corking import CorkedTransport
from service.line.posting import BEGUN
from service.line.refusals import worded
from service.line.stopping import Stopping
from service.line.verdicts import NOT_INSPECTED, OVERLOAD

HEADER_WAIT_S = 10.0
"""How long a request's headers may take from the connection, or from its own first byte."""
REQUEST_WAIT_S = 60.0
"""How long a whole request may take where nothing else is stricter: parts have their deadline or 10 s."""
HEADER_BYTES = 64 << 10
KEEP_ALIVE_S = 75
"""PLCs post seldom: between two parts their connection stays open this long."""
CONNECTION_LIMIT = 1024
LINGER_S = 1.0
"""A connection whose caller still sends is read this long after the last answer on it."""
LINGER_LIMIT = 256
"""More connections than this above the limit get no refusal, they are closed at once."""
TICKS_A_SWEEP = 10
"""uvicorn ticks ten times a second."""
STOP_S = 0.3
"""While it stops, a server stays open for new connections at least this long, so that whoever posts hears of it; and
after these for as long again for requests on the connections that there are."""
STOP_LIMIT_S = 10.0
"""After this the parts that are still in work are given up."""
_IN_WORK_LOOK_S = 0.02


class LineState(ServerState):
    """What the connections of one server share."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = False
        """Every answer is the last one on its connection."""


class LineProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with refusals in the line's own words and an end to waiting.

    `due` holds the event loop's time until which something has to arrive; the server sweeps what is overdue. A timer a
    request would cost more.
    """

    header_wait_s = HEADER_WAIT_S
    request_wait_s = REQUEST_WAIT_S
    connection_limit = CONNECTION_LIMIT
    server_state: LineState

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.due: float | None = None
        self._header_bytes = 0
        self._is_reading_headers = True
        self._is_deaf = False
        """What comes is thrown away."""
        self._is_lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A caller connected."""
        lasting = _LingeringTransport(transport, self)
        self._end = lasting.end
        super().connection_made(lasting)  # type: ignore[arg-type]  # it does all that one does
        excess = len(self.connections) - self.connection_limit
        self.due = self.loop.time() + self.header_wait_s
        if excess > LINGER_LIMIT:
            transport.abort()
        elif excess > 0:
            remedy = "close connections that are not used; a camera or PLC needs one"
            self.refuse(503, OVERLOAD, f"{self.connection_limit} connections are open already", remedy)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self._is_deaf:
            return
        super().data_received(data)
        if self._is_reading_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES and not self._is_deaf:
                remedy = f"send at most {HEADER_BYTES >> 10} KB of headers"
                self.refuse(400, NOT_INSPECTED, "the request's headers are too long", remedy)
        if self.due is None and self.timeout_keep_alive_task is None and self._is_answered():
            # What came was no new request, but it has ended uvicorn's own wait for one.
            self.due = self.loop.time() + self.header_wait_s

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        # Noted here: the application's turn comes after the bytes of all others that arrived at the same time.
        self.scope[BEGUN] = time.perf_counter()  # type: ignore[literal-required]  # the line's own key
        self._is_reading_headers, self._header_bytes = True, 0
        self.due = self.loop.time() + self.header_wait_s

    def on_headers_complete(self) -> None:
        """The request is passed to the application, its body follows."""
        self._is_reading_headers = False
        self.due = self.loop.time() + self.request_wait_s
        super().on_headers_complete()
        if self.server_state.ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        self.due = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP; an answer that is on its way leaves first."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self._is_deaf = True
            return
        self.refuse(400, NOT_INSPECTED, f"this is no HTTP request: {msg.lower()}", "send HTTP/1.1, see /docs")

    def refuse(self, status: int, result_code: int, reason: str, remedy: str) -> None:
        """Answer what never became a request, and close the connection."""
        _, body, content_type = worded(status, result_code, reason, remedy, "")
        self.transport.write(
            b"%scontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (STATUS_LINE[status], content_type.encode(), len(body), body)
        )
        self.linger()

    def linger(self) -> None:
        """The last word is on its way: end when the caller has heard it.

        Were the connection closed with bytes of the caller unread, the system would throw away the answer with them.
        """
        if self._is_lingering:
            return
        self._is_lingering, self._is_deaf, self.due = True, True, None
        self.flow.resume_reading()
        self.loop.call_soon(self._write_eof)
        self.loop.call_later(LINGER_S, self.transport.abort)

    @property
    def is_cut_short(self) -> bool:
        """Whether the request was answered before all of it had come."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _write_eof(self) -> None:
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for it, uvicorn says nothing
        """The caller sends nothing more; whether it still gets an answer on this connection.

        Some callers close their side when the request is out: what is judged already must not go unheard.
        """
        if self._is_lingering or self._is_answered() or self.cycle.more_body:
            self._end()  # what is written and not sent yet leaves first
            return False
        self.cycle.keep_alive = False
        return True

    def end(self) -> None:
        """The answer that is on its way is the last one on this connection."""
        if not self._is_answered():
            self.cycle.keep_alive = False

    def sweep(self, now: float) -> None:
        """Close the connection where nothing arrived in time; answers that are on their way leave first."""
        if self.due is not None and self.due < now:
            self.due = None
            self.transport.close()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


class _LingeringTransport(CorkedTransport):
    """A transport whose end does not cost the answer to a request that was not read as a whole."""

    def __init__(self, transport: asyncio.Transport, protocol: LineProtocol) -> None:
        super().__init__(transport, protocol.loop)
        self._protocol = protocol

    def close(self) -> None:
        """Close, at once or when the caller has heard the answer."""
        if self._protocol.is_cut_short:
            self._protocol.linger()
        else:
            self.end()

    def end(self) -> None:
        """Close at once."""
        super().close()


class LineHost(uvicorn.Server):
    """uvicorn's server; on a signal it first says to everyone who posts that it is ending, then closes.

    `in_work` counts the parts that have no answer yet; `pulse` is called every second while the event loop is alive,
    with whether the end has begun.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        stopping: Stopping,
        in_work: Callable[[], int],
        pulse: Callable[[bool], None] = lambda ending: None,
    ) -> None:
        super().__init__(config)
        self.server_state: LineState = LineState()
        self._stopping, self._in_work, self._pulse = stopping, in_work, pulse
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None
        self._listening: list[socket.socket] = []
        self._is_asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._listening = sockets or []
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Serve until the end."""
        self._loop = asyncio.get_running_loop()
        await super().main_loop()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if counter % TICKS_A_SWEEP == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LineProtocol):
                    connection.sweep(now)
            self._pulse(self._is_asked)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first one begins the end, a second one makes it short."""
        if self._loop is None or self._is_asked:
            self.force_exit = self._is_asked
            super().handle_exit(sig, frame)
            return
        self._is_asked = True
        self._captured_signals.append(sig)
        self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """Begin the end; from the event loop. New parts are refused, those in work answered, then the server closes."""
        self._is_asked = True
        self._stopping.begin()
        self.server_state.ending = True
        for connection in list(self.server_state.connections):
            if isinstance(connection, LineProtocol):
                connection.end()
        self._pulse(True)
        self._ending = asyncio.get_running_loop().create_task(self._close_when_done())

    async def _close_when_done(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.sleep(STOP_S)
        while self._in_work() and loop.time() - begun < STOP_LIMIT_S:
            await asyncio.sleep(_IN_WORK_LOOK_S)
        # Who has connected already is still answered, so the listeners close first: uvicorn would close both at once.
        accepting = self._accept_rest()
        for listener in self.servers:
            listener.close()
        for listening in self._listening:  # as long as one of the two is open, callers connect to nobody
            listening.close()
        await asyncio.gather(*accepting, return_exceptions=True)
        await asyncio.sleep(STOP_S)
        self.should_exit = True

    def _accept_rest(self) -> list[asyncio.Task[Any]]:
        """Take on the callers that the event loop has not come to yet: closing the listeners would cut them off."""
        loop, tasks = asyncio.get_running_loop(), []

        def protocol() -> asyncio.Protocol:
            http = self.config.http_protocol_class
            state = self.lifespan.state
            return http(config=self.config, server_state=self.server_state, app_state=state, _loop=loop)  # type: ignore[call-arg]  # as uvicorn makes it

        for listening in self._listening:
            listening.setblocking(False)
            with suppress(OSError):  # BlockingIOError behind the last one
                while True:
                    caller, _ = listening.accept()
                    caller.setblocking(False)
                    tasks.append(loop.create_task(loop.connect_accepted_socket(protocol, caller)))
        return tasks


def line_config(app: Any, host: str, port: int) -> uvicorn.Config:
    """How uvicorn serves the line."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=LineProtocol,
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        # Who may post depends on the caller's address: a header must not be able to change it.
        proxy_headers=False,
        # Of the parts all have their answer by then.
        timeout_graceful_shutdown=3,
    )
