"""How HTTP reaches the line server: connections that are never good for anything are closed, and the end is orderly."""

import asyncio
import math
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Protocol

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.line.corking import CorkedTransport
from service.line.exchange import Exchange, Headers, Wire
from service.line.posting import BEGUN
from service.line.refusals import worded
from service.line.shutting import HANDSHAKE_S, keep_out
from service.line.stopping import LAST_BODY_S, Stopping
from service.line.verdicts import NOT_INSPECTED, OVERLOAD

HOT_PATH = b"/v1/inspections"
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
TICK_S = 0.1
"""uvicorn ticks so often."""
TICKS_A_SWEEP = 10
STOP_S = 0.3
"""While it stops, a server stays open for new connections at least this long, so that whoever posts hears of it; and
after these for as long again for requests on the connections that there are."""
STOP_LIMIT_S = 10.0
"""After this the parts that are still in work are given up."""
_IN_WORK_LOOK_S = 0.02


class Hot(Protocol):
    """How requests to `HOT_PATH` are taken past ASGI: see `service.line.exchange.open_exchange`."""

    def __call__(
        self,
        connection: "LineProtocol",
        query: bytes,
        headers: Mapping[str, str],
        client_host: str | None,
        begun: float,
        *,
        keep_alive: bool,
    ) -> Exchange | None:
        """What takes the request; None for one that has to go the general way."""


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
    cycle: RequestResponseCycle | Exchange  # type: ignore[assignment]  # both do what uvicorn asks of one

    def __init__(self, *args: Any, hot: Hot | None = None, **named: Any) -> None:
        super().__init__(*args, **named)
        self._hot = hot
        """Takes parts past ASGI, where there is something that judges them."""
        self._rest_is_due = False
        """What a socket did not take is on its way to the event loop."""
        self._body_left = 0
        """Bytes of the exchange's image that are still to come, where that is known."""
        self.due: float | None = None
        self._header_bytes = 0
        self._is_reading_headers = True
        self._has_ended = False
        """What has just come held the end of a request: not all of it is headers of the next one."""
        self._is_deaf = False
        """What comes is thrown away."""
        self._is_lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A caller connected."""
        lasting = _LingeringTransport(transport, self)
        self._end = lasting.end
        self._sending = lasting
        try:
            self.wire = Wire(transport.get_extra_info("socket").fileno())
        except OSError:  # the process has no descriptor left
            self._is_deaf = True
            transport.abort()
            return
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
        if self._body_left:
            data = self._taken(data)
            if not data:
                return
        self._has_ended = False
        super().data_received(data)
        if isinstance(self.cycle, Exchange):
            self._body_left = self.cycle.left
            self.cycle.await_body()
        if self._is_reading_headers and not self._has_ended:
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
        """The request is passed on, its body follows."""
        self._is_reading_headers = False
        self.due = self.loop.time() + self.request_wait_s
        if self.parser.should_upgrade() and self.parser.get_method() == b"POST":
            # The parser takes what follows for another protocol: the image would be judged as an empty one.
            remedy = "send it without Upgrade (Java: HttpClient.Version.HTTP_1_1)"
            self.refuse(400, NOT_INSPECTED, "the request asks for another protocol than HTTP/1.1", remedy)
            return
        before = self.cycle
        is_answered = self._is_answered()
        if isinstance(before, Exchange) and is_answered:
            self._follow(before)
        exchange = self._opened() if is_answered else None
        if exchange is not None:
            self.cycle = exchange
            return
        super().on_headers_complete()
        if self.server_state.ending and self.cycle is not None:
            self.cycle.keep_alive = False
        if isinstance(before, Exchange) and before.response_complete:  # its thread may not have seen this one queued
            if self.pipeline:
                self.go_on(before, b"")
            else:
                self._follow(before)

    def _follow(self, before: Exchange) -> None:
        """A request has its turn behind this one: its answer leaves before anything of that request does."""
        before.forget()
        with self.wire.lock:
            pass

    def on_body(self, body: bytes) -> None:
        """More of a request's body."""
        if self._is_deaf:
            return
        if isinstance(self.cycle, Exchange):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        self._has_ended = True
        if self._is_deaf:
            return
        if not isinstance(self.cycle, Exchange):
            self.due = None
            super().on_message_complete()
            return
        if not self.cycle.response_complete:
            self.due = None
        self.cycle.complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self.transport is None:  # it never began
            return  # type: ignore[unreachable]  # uvicorn sets it in connection_made
        super().connection_lost(exc)
        if isinstance(self.cycle, Exchange):
            self.cycle.lost()
        self.wire.close()

    def pause_writing(self) -> None:
        """The caller does not read its answers: nothing more is read from it until it does."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """The caller reads again."""
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def answer_headers(self) -> Headers:
        """What every answer carries."""
        return self.server_state.default_headers

    def may_send(self) -> bool:
        """Whether nothing older waits to be sent. For the holder of the wire's lock."""
        return not self._rest_is_due and not self._sending.is_behind

    def is_queued(self) -> bool:
        """Whether the next request is here already."""
        return bool(self.pipeline)

    def rest_now(self) -> None:
        """From now on the connection waits for the next request."""
        self.due = time.monotonic() + self.timeout_keep_alive

    def go_on(self, exchange: Exchange, rest: bytes) -> None:
        """From any thread: what is left to do after an answer, on the event loop."""
        if rest:
            self._rest_is_due = True
        with suppress(RuntimeError):  # a loop that is closed has closed its connections
            self.loop.call_soon_threadsafe(self._go_on, exchange, rest)

    def _go_on(self, exchange: Exchange, rest: bytes) -> None:
        if rest:
            with self.wire.lock:  # a thread that leaves more to send meanwhile must not be forgotten
                self.transport.write(rest)
                self._rest_is_due = False
        if not exchange.keep_alive:
            self.transport.close()
        elif self.pipeline and not exchange.has_gone_on:
            exchange.has_gone_on = True
            self.on_response_complete()

    def _taken(self, data: bytes) -> bytes:
        """Give the exchange what is its image's past the parser, which would copy it; returns what is left of it."""
        assert isinstance(self.cycle, Exchange), "only its body is counted"
        image, rest = (data, b"") if len(data) < self._body_left else (data[: self._body_left], data[self._body_left :])
        self._body_left -= len(image)
        self.cycle.feed(image)
        if not self._body_left:
            self.parser = _new_parser(self)  # the old one waits for a body that it will never see
            self.on_message_complete()
        return rest

    def _opened(self) -> Exchange | None:
        """What takes this request past ASGI."""
        if self._hot is None or self.parser.get_method() != b"POST":
            return None
        url = httptools.parse_url(self.url)
        if url.path != HOT_PATH:
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        is_lasting = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        return self._hot(
            self,
            url.query or b"",
            headers,
            self.client[0] if self.client else None,
            self.scope[BEGUN],  # type: ignore[literal-required]  # the line's own key
            keep_alive=is_lasting and not self.server_state.ending,
        )

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self.refuse(400, NOT_INSPECTED, f"this is no HTTP request: {msg.lower()}", "send HTTP/1.1, see /docs")

    def refuse(self, status: int, result_code: int, reason: str, remedy: str) -> None:
        """Answer what never became a request, and close the connection; an answer that is on its way leaves alone."""
        if not self._is_answered() and not self.cycle.more_body:
            self.cycle.keep_alive, self._is_deaf = False, True
            if self.cycle.response_complete:  # just now, by a thread that did not know it was the last one
                self._end()
            return
        if isinstance(self.cycle, Exchange):
            self.cycle.lost()
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
        if self.cycle.response_complete:  # just now, by a thread that did not know it was the last one
            self._end()
        return True

    def end(self) -> None:
        """The answer that is on its way is the last one on this connection."""
        if not self._is_answered():
            self.cycle.keep_alive = False
        if isinstance(self.cycle, Exchange):
            self.cycle.hurry(LAST_BODY_S)

    def sweep(self, now: float) -> None:
        """Close the connection where nothing arrived in time; answers that are on their way leave first."""
        if self.due is not None and self.due < now:
            self.due = None
            self.transport.close()
            self.loop.call_later(LINGER_S, self.transport.abort)  # a caller that does not read would keep it for ever

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


def _new_parser(protocol: LineProtocol) -> httptools.HttpRequestParser:
    """A parser as uvicorn has one."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


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
    with whether the end has begun; `late` ten times a second with how late the event loop is (ms).
    """

    def __init__(
        self,
        config: uvicorn.Config,
        stopping: Stopping,
        in_work: Callable[[], int],
        pulse: Callable[[bool], None] = lambda ending: None,
        late: Callable[[float], None] = lambda ms: None,
    ) -> None:
        super().__init__(config)
        self.server_state: LineState = LineState()
        self._stopping, self._in_work, self._pulse, self._late = stopping, in_work, pulse, late
        self._next_tick = math.inf
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
        self._late(1000 * max(0.0, time.monotonic() - self._next_tick))
        if counter % TICKS_A_SWEEP == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LineProtocol):
                    connection.sweep(now)
            self._pulse(self._is_asked)
        is_over = await super().on_tick(counter)
        self._next_tick = time.monotonic() + TICK_S
        return is_over

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
        for listening in self._listening:
            keep_out(listening)
        await asyncio.sleep(HANDSHAKE_S)
        accepting = self._accept_rest()
        for listener in self.servers:
            listener.close()
        for listening in self._listening:  # as long as one of the two is open, callers connect to nobody
            listening.close()
        await asyncio.gather(*accepting, return_exceptions=True)
        await asyncio.sleep(STOP_S)
        for _ in range(2):  # an event loop that is late runs its timers first: it has to read what has come meanwhile
            await asyncio.sleep(0)
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


def line_config(app: Any, host: str, port: int, hot: Hot | None = None) -> uvicorn.Config:
    """How uvicorn serves the line; without `hot` everything goes through the application."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=partial(LineProtocol, hot=hot),  # type: ignore[arg-type]  # it is called and nothing else
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        # Who may post depends on the caller's address: a header must not be able to change it.
        proxy_headers=False,
        # Of the parts all have their answer by then.
        timeout_graceful_shutdown=3,
    )
