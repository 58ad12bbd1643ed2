"""A lean HTTP/1.1 load generator: one thread, raw keep-alive sockets, closed or open loop.

In the open loop a request's latency counts from the moment it was due, however late it could be sent: a server that
stalls is not given the benefit of a client that waits with it (coordinated omission).
"""

import re
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.bench.parts import Part, numbered

PATIENCE_S = 30.0
"""How long an answer may take before the request counts as lost."""
IDLE_S = 2.0
"""A connection that rested for longer is opened anew: the server may be about to close it."""
REFUSED_PAUSE_S = 0.01
"""After a connection that was refused, so that a server that is down is not asked thousands of times a second."""
LOST = 0
"""The status of a request that got no answer."""
DECIDED_BELOW = 900
"""Result codes from here on say that the system could not decide."""

OnAnswer = Callable[[str, int, bytes], None]
"""Told (trigger id, status, body) of each answer."""

_RESULT_CODE = re.compile(rb'"result_code":\s*(\d+)')
_NO_IMAGE = re.compile(rb'"image_uri":\s*null')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where parts are posted, and in which form.

    path: `{n}` in it becomes the request's trigger id. form_field: None for the bare image as the body, else the name
    of the file in a multipart form.
    """

    port: int
    path: str
    form_field: str | None = None
    host: str = "127.0.0.1"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """What became of a run's requests; the lists are as long as there were requests, in the order of answers.

    latency_ms: from due (open loop) or sent (closed loop) to the whole answer. answered_s: when, since the start.
    lag_ms: how late the client itself sent, where a connection was free. result_codes: -1 where the answer named none.
    seconds: from the first request to the last answer. kept: answers that named the place of a kept image.
    """

    statuses: list[int]
    result_codes: list[int]
    latency_ms: list[float]
    answered_s: list[float]
    lag_ms: list[float]
    seconds: float
    client_cpu_s: float
    kept: int

    @property
    def requests(self) -> int:
        """How many were sent."""
        return len(self.statuses)

    @property
    def failures(self) -> int:
        """Requests without an answer, with another status than 200, or that the system could not decide."""
        return sum(
            status != 200 or code >= DECIDED_BELOW
            for status, code in zip(self.statuses, self.result_codes, strict=True)
        )

    @property
    def rate(self) -> float:
        """Requests a second that were answered and decided."""
        return (self.requests - self.failures) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """A quantile of the latency (ms)."""
        return float(np.quantile(self.latency_ms, q))


@dataclass(slots=True)
class _Tally:
    statuses: list[int] = field(default_factory=list)
    result_codes: list[int] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    kept: int = 0


def closed_loop(
    target: Target,
    parts: Sequence[Part],
    *,
    concurrency: int,
    run: str,
    seconds: float | None = None,
    requests: int | None = None,
    on_answer: OnAnswer | None = None,
) -> Load:
    """As many requests under way as `concurrency`, each followed by the next, for some seconds or some requests.

    `run` makes the trigger ids unique: they are `run-0`, `run-1`, …

    Raises ValueError where neither seconds nor requests is given; OSError where nothing listens at the start.
    """
    if seconds is None and requests is None:
        raise ValueError("a closed loop needs an end: give seconds or requests")
    end = None if seconds is None else time.perf_counter() + seconds

    def due(sent: int, now: float) -> float | None:
        over = (requests is not None and sent >= requests) or (end is not None and now >= end)
        return None if over else now

    return _Run(target, parts, run, concurrency, on_answer).drive(due)


def open_loop(
    target: Target,
    parts: Sequence[Part],
    due_s: Iterable[float],
    *,
    run: str,
    connections: int = 64,
    on_answer: OnAnswer | None = None,
) -> Load:
    """Requests at given times (s, rising, from now), whatever has been answered; at most `connections` at once.

    Raises OSError where nothing listens at the start.
    """
    start = time.perf_counter()
    times = [start + s for s in due_s]

    def due(sent: int, _now: float) -> float | None:
        return times[sent] if sent < len(times) else None

    return _Run(target, parts, run, connections, on_answer).drive(due)


def steady_arrivals(rate: float, seconds: float) -> NDArray[np.float64]:
    """Times (s) at a fixed takt: `rate` a second for some seconds."""
    return np.arange(round(rate * seconds)) / rate


def random_arrivals(rate: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Times (s) of a Poisson process: `rate` a second on average for some seconds."""
    gaps = rng.exponential(1 / rate, max(1, round(rate * seconds * 1.5 + 10)))
    times = np.cumsum(gaps)
    return times[times < seconds]


class _Connection:
    """A keep-alive connection with at most one request under way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.fd = self.socket.fileno()
        self.trigger = ""
        self.due = self.since = self.rested = 0.0
        self._pending: list[memoryview] = []
        self._answer = bytearray()
        self._needed, self._chunked = -1, False

    def start(self, chunks: list[bytes | memoryview]) -> bool:
        """Begin a request; returns whether all of it is out."""
        self._pending = [memoryview(chunk) for chunk in chunks]
        self._answer.clear()
        self._needed = -1
        return self.push()

    def push(self) -> bool:
        """Send what waits; returns whether all of it is out."""
        while self._pending:
            try:
                sent = self.socket.sendmsg(self._pending)
            except BlockingIOError:
                return False
            while sent:
                if sent < len(self._pending[0]):
                    self._pending[0] = self._pending[0][sent:]
                    break
                sent -= len(self._pending.pop(0))
        return True

    def pull(self) -> bytes | None:
        """Receive; returns head and body once the answer is whole.

        Raises ConnectionError where the server hung up.
        """
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._answer += data
        if self._needed < 0:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return None
            found = _LENGTH.search(self._answer, 0, end)
            self._chunked = found is None and _CHUNKED.search(self._answer, 0, end + 2) is not None
            self._needed = end + 4 + (int(found[1]) if found else 0)
        whole = self._answer.endswith(_LAST_CHUNK) if self._chunked else len(self._answer) >= self._needed
        return bytes(self._answer) if whole else None


class _Run:
    """One run of the generator; `drive` does it."""

    def __init__(
        self, target: Target, parts: Sequence[Part], run: str, connections: int, on_answer: OnAnswer | None
    ) -> None:
        self._target, self._parts, self._run, self._on_answer = target, parts, run, on_answer
        # Last used first, so that few rest long. Serials differ between runs, so the same picture never has the same
        # bytes twice.
        self._serial = time.time_ns()
        self._connections = connections
        self._free = [self._open()]
        self._busy: dict[int, _Connection] = {}
        self._blocked: set[int] = set()
        self._tally = _Tally()
        self._start = self._last = 0.0

    def drive(self, due: Callable[[int, float], float | None]) -> Load:
        """Send requests when `due(number sent, now)` says so; None means no more."""
        cpu, sent = time.process_time(), 0
        self._start = self._last = time.perf_counter()
        try:
            while True:
                now = time.perf_counter()
                coming = due(sent, now)
                while coming is not None and coming <= now and len(self._busy) < self._connections:
                    self._send(sent, coming, now)
                    sent += 1
                    now = time.perf_counter()
                    coming = due(sent, now)
                if coming is None and not self._busy:
                    break
                self._wait(self._pause(coming, now))
        finally:
            for connection in (*self._free, *self._busy.values()):
                connection.socket.close()
        tally = self._tally
        return Load(
            tally.statuses,
            tally.result_codes,
            tally.latency_ms,
            tally.answered_s,
            tally.lag_ms,
            max(self._last - self._start, 1e-9),
            time.process_time() - cpu,
            tally.kept,
        )

    def _pause(self, coming: float | None, now: float) -> float:
        if coming is None or len(self._busy) >= self._connections:
            return 1.0
        return min(1.0, max(0.0, coming - now))

    def _open(self) -> _Connection:
        return _Connection(self._target.host, self._target.port)

    def _rested(self, now: float) -> _Connection:
        connection = self._free.pop() if self._free else self._open()
        if not connection.rested or now - connection.rested <= IDLE_S:
            return connection
        connection.socket.close()
        return self._open()

    def _send(self, number: int, due: float, now: float) -> None:
        trigger = f"{self._run}-{number}"
        self._tally.lag_ms.append(1000 * (now - due))
        try:
            connection = self._rested(now)
        except OSError:
            self._note(trigger, due, LOST, b"", time.perf_counter())
            time.sleep(REFUSED_PAUSE_S)
            return
        connection.trigger, connection.due, connection.since = trigger, due, now
        self._busy[connection.fd] = connection
        chunks = self._request(self._parts[number % len(self._parts)], trigger, self._serial + number)
        try:
            if not connection.start(chunks):
                self._blocked.add(connection.fd)
        except OSError:
            self._lose(connection)

    def _request(self, part: Part, trigger: str, serial: int) -> list[bytes | memoryview]:
        chunks: list[bytes | memoryview] = list(numbered(part, serial))
        media_type = part.media_type
        if self._target.form_field is not None:
            boundary = f"part{serial:x}"
            name = f'form-data; name="{self._target.form_field}"; filename="{trigger}"'
            opening = f"--{boundary}\r\nContent-Disposition: {name}\r\nContent-Type: {media_type}\r\n\r\n"
            chunks = [opening.encode(), *chunks, f"\r\n--{boundary}--\r\n".encode()]
            media_type = f"multipart/form-data; boundary={boundary}"
        lines = [
            f"POST {self._target.path.replace('{n}', trigger)} HTTP/1.1",
            f"Host: {self._target.host}:{self._target.port}",
            f"Content-Type: {media_type}",
            f"Content-Length: {sum(len(chunk) for chunk in chunks)}",
            *self._target.headers,
        ]
        return ["\r\n".join([*lines, "", ""]).encode(), *chunks]

    def _wait(self, pause_s: float) -> None:
        # select and not epoll: its time-out has microseconds, which an open loop needs, and the connections are few.
        readable, writable, _ = select.select(list(self._busy), list(self._blocked), [], pause_s)
        for fd in writable:
            self._push(self._busy[fd])
        for fd in readable:
            if fd in self._busy:
                self._pull(self._busy[fd])
        if not readable and not writable:
            now = time.perf_counter()
            for connection in [c for c in self._busy.values() if now - c.since > PATIENCE_S]:
                self._lose(connection)

    def _push(self, connection: _Connection) -> None:
        try:
            if connection.push():
                self._blocked.discard(connection.fd)
        except OSError:
            self._lose(connection)

    def _pull(self, connection: _Connection) -> None:
        try:
            answer = connection.pull()
        except BlockingIOError:
            return
        except OSError:
            self._lose(connection)
            return
        if answer is None:
            return
        now = time.perf_counter()
        head, _, body = answer.partition(b"\r\n\r\n")
        self._note(connection.trigger, connection.due, int(head[9:12]), body, now)
        self._busy.pop(connection.fd)
        self._blocked.discard(connection.fd)
        if b"connection: close" in head.lower():
            connection.socket.close()
        else:
            connection.rested = now
            self._free.append(connection)

    def _lose(self, connection: _Connection) -> None:
        self._busy.pop(connection.fd)
        self._blocked.discard(connection.fd)
        connection.socket.close()
        self._note(connection.trigger, connection.due, LOST, b"", time.perf_counter())

    def _note(self, trigger: str, due: float, status: int, body: bytes, now: float) -> None:
        code = _RESULT_CODE.search(body)
        tally = self._tally
        tally.statuses.append(status)
        tally.result_codes.append(int(code[1]) if code else -1)
        tally.latency_ms.append(1000 * (now - due))
        tally.answered_s.append(now - self._start)
        tally.kept += b'"image_uri"' in body and not _NO_IMAGE.search(body)
        self._last = now
        if self._on_answer is not None:
            self._on_answer(trigger, status, body)
