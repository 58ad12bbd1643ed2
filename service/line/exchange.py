"""A part that is posted as a bare image, past ASGI: its connection collects it, and its own thread sends the answer.

What is decided in time would else wait for an event loop that may not get a processor in time.
"""

import math
import os
import threading
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.line.admission import Place
from service.line.answers import Reply, told_as
from service.line.forwarding import waited_s
from service.line.judging import BODY_WAIT_S, Judging, presented
from service.line.refusals import refusal
from service.line.requests import (
    MULTIPART,
    BodyTooSlow,
    NotReady,
    Refusal,
    media_type_of,
    read_query,
    read_request,
    stopping,
    too_large,
)
from service.line.server import LineServer

Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger("line")


class Wire:
    """The socket of a connection, for threads to answer on.

    Under a descriptor of its own: a thread that is late must not meet another connection that got the number since.
    """

    def __init__(self, descriptor: int) -> None:
        self.lock = threading.Lock()
        """Who holds it answers: answers of one connection leave in the order of its requests."""
        self._descriptor: int | None = os.dup(descriptor)

    def send(self, data: bytes) -> bytes:
        """Send without waiting; returns what the socket did not take. For the holder of the lock."""
        if self._descriptor is None:
            return b""
        try:
            return data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            return data
        except OSError:  # the caller is gone
            return b""

    def close(self) -> None:
        """The connection has ended."""
        with self.lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


class Connection(Protocol):
    """What an exchange needs of its connection."""

    loop: AbstractEventLoop
    wire: Wire

    def answer_headers(self) -> Headers:
        """What every answer carries."""

    def may_send(self) -> bool:
        """Whether nothing older waits to be sent. For the holder of the wire's lock."""

    def rest_now(self) -> None:
        """The answer is about to leave: from now on the connection waits for the next request."""

    def go_on(self, exchange: "Exchange", rest: bytes) -> None:
        """What is left to do on the event loop: to send the rest, close, or turn to the next request."""

    def is_queued(self) -> bool:
        """Whether the next request is here already."""


class _Nobody:
    def set(self) -> None:
        """Nobody waits for the body."""


class Exchange:
    """One request on its connection; stands where uvicorn has its RequestResponseCycle.

    `answer` is called once from any thread, everything else on the event loop.
    """

    message_event = _Nobody()

    def __init__(
        self, line: LineServer, connection: Connection, accept: str, announced: int, *, keep_alive: bool
    ) -> None:
        self._line, self._connection, self._accept = line, connection, accept
        self._announced = announced
        """Bytes that the image should have; 0 where nobody said."""
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = self.has_gone_on = False
        self.more_body = True
        self._chunks: list[bytes] = []
        self._size = 0
        self._limit = int(line.settings.max_image_mb * 1e6)
        self._timer: TimerHandle | None = None
        self._due = 0.0
        """time.monotonic() at which the timer should go off."""
        self._judging: Judging | None = None
        self._place: Place | None = None

    @property
    def left(self) -> int:
        """Bytes of the image that are still to come; 0 where it is here, or nobody said how many there are."""
        return max(0, self._announced - self._size) if self.more_body else 0

    def admit(self, judging: Judging) -> None:
        """The part has a place from now on, so that slow uploads count too.

        Raises Overloaded.
        """
        self._place = self._line.admission.enter(judging.part.station)
        self._judging = judging

    def feed(self, data: bytes) -> None:
        """More of the image."""
        self._size += len(data)
        if self.response_complete:
            return
        if self._size > self._limit:
            self.refuse(too_large(self._limit))
        else:
            self._chunks.append(data)

    def await_body(self) -> None:
        """What is here has been fed; if it is not the whole image, the rest has its time."""
        if self.more_body and self._timer is None and not self.response_complete:
            self._wait(self._body_is_late)

    def hurry(self, wait_s: float) -> None:
        """The server is stopping: the rest of the image has no longer than this."""
        if self.more_body and not self.response_complete:
            self._stop_timer()
            self._wait(self._body_is_late, wait_s)

    def complete(self) -> None:
        """The image is here as a whole."""
        self.more_body = False
        self._stop_timer()
        judging, place = self._judging, self._place
        if self.response_complete or judging is None or place is None:
            return
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        try:
            judging.begin({judging.part.views[0].view_id: body}, place, self.answer)
        except Refusal as error:
            self.refuse(error)
            return
        self._place = None
        if judging.deadline is not None:
            self._wait(self._expire)

    def forget(self) -> None:
        """The next request has its turn."""
        self.has_gone_on = True
        self._stop_timer()

    def lost(self) -> None:
        """The caller is gone. What is judged already goes on record all the same."""
        self.disconnected = True
        self._stop_timer()
        if self._place is not None:
            self._line.metrics.refused("ClientGone")
            self._let_go()

    def answer(self, outcome: Reply | Exception) -> None:
        """Send the reply, or what kept it from coming."""
        if isinstance(outcome, Reply):
            status, (body, content_type) = 200, told_as(self._accept, outcome, outcome.body)
            timing = b"server-timing: %s\r\n" % outcome.timing if outcome.timing_ms else b""
        else:
            if isinstance(outcome, Refusal):
                self._line.metrics.refused(type(outcome).__name__)
            else:
                log.error("request_broke", exc_info=outcome)
            status, body, content_type = refusal(outcome, self._accept)
            timing = b""
            if self._line.draining and isinstance(outcome, Refusal):
                self.keep_alive = False
        connection, wire = self._connection, self._connection.wire
        with wire.lock:
            if self.disconnected:
                return
            lines = [b"%s: %s\r\n" % header for header in connection.answer_headers()]
            head = b"content-type: %s\r\ncontent-length: %d\r\n" % (content_type.encode(), len(body))
            end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
            whole = b"".join([STATUS_LINE[status], *lines, head, timing, end, body])
            connection.rest_now()
            self.response_complete = True
            rest = wire.send(whole) if connection.may_send() else whole
            if rest or not self.keep_alive or connection.is_queued():
                connection.go_on(self, rest)

    def refuse(self, error: Refusal) -> None:
        """Answer before anything is judged."""
        self._stop_timer()
        self._let_go()
        self._chunks = []
        if not self.response_complete:
            self.answer(error)

    def _body_is_late(self) -> None:
        judging = self._judging
        if self._line.draining:
            self.refuse(stopping())
        elif judging is None or judging.deadline is None:
            self.refuse(BodyTooSlow(f"the body did not arrive within {BODY_WAIT_S:g} s", "send it at once and whole"))
        else:
            self._let_go()
            self._chunks = []
            self.answer(judging.without_body())

    def _expire(self) -> None:
        self._line.dispatcher.lag.was(1000 * max(0.0, time.monotonic() - self._due))
        if self._judging is not None:
            self._judging.expire()

    def _wait(self, then: Callable[[], None], longest_s: float = math.inf) -> None:
        wait_s = min(longest_s, BODY_WAIT_S if self._judging is None else self._judging.left_s)
        self._due = time.monotonic() + wait_s
        self._timer = self._connection.loop.call_later(wait_s, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()


def open_exchange(
    line: LineServer,
    connection: Connection,
    query: bytes,
    headers: Mapping[str, str],
    client_host: str | None,
    begun: float,
    *,
    keep_alive: bool,
) -> Exchange | None:
    """What takes the image whose head this is; None for what has to go the general way.

    That is what comes in several parts or to a station that is not this server's, and what can't be judged now but may
    have been before. begun: time.perf_counter() at the first byte.
    """
    if media_type_of(headers) == MULTIPART or "expect" in headers:
        return None
    announced = int(length) if (length := headers.get("content-length", "")).isdigit() else 0
    exchange = Exchange(line, connection, headers.get("accept", ""), announced, keep_alive=keep_alive)
    try:
        if line.draining:
            raise stopping()
        fields = read_query(query)
        part = read_request(fields, headers)
        line.access.check(headers.get("authorization"), client_host, part.station)
        if not line.ownership.is_ours(part.station):
            return None
        if announced > (limit := int(line.settings.max_image_mb * 1e6)):
            raise too_large(limit)
        try:
            judging = Judging(line, part, fields.get("expected"), begun - waited_s(headers))
        except NotReady:
            return None
        presented(line, part)
        exchange.admit(judging)
    except Refusal as error:
        exchange.refuse(error)
    return exchange
