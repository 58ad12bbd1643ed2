"""A load generator that tells the server's time from its own: `python -m tests.soak.punctual < plan`.

Open loop over a fixed number of connections. An answer's way counts from just before the last bytes of the request are
handed to the kernel to the kernel's own time of receipt of the answer (SO_TIMESTAMPING), so that it does not matter
when this process gets to run. How late it was itself is told apart.
"""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.bench.parts import Part, numbered

ROOT = Path(__file__).parents[2]
SO_TIMESTAMPING = 37
RX_SOFTWARE = 1 << 3 | 1 << 4
"""SOF_TIMESTAMPING_RX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE."""
STAMP = struct.Struct("qq")
MS = 1e6
END_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` requests a second for some seconds; part n % len(files) is sent as request n."""

    port: int
    path: str
    files: list[str]
    media_type: str
    rate: float
    seconds: float
    connections: int
    run: str


@dataclass(frozen=True, slots=True)
class Exchanges:
    """What became of each request, in the order of their numbers; times in ms since the start. status 0: no answer.

    sent: when the last bytes were handed to the kernel; heard: when the kernel had the answer; read: when this process
    had it; waited: whether no connection was free when it was due.
    """

    due: NDArray[np.float64]
    sent: NDArray[np.float64]
    heard: NDArray[np.float64]
    read: NDArray[np.float64]
    waited: NDArray[np.bool_]
    status: NDArray[np.int64]
    code: NDArray[np.int64]
    disposition: list[str]
    client_cpu_s: float

    @property
    def took(self) -> NDArray[np.float64]:
        """From the request in the kernel to its answer in the kernel (ms)."""
        return self.heard - self.sent


def exchange(plan: Plan) -> Exchanges:
    """Run the plan in a process of its own."""
    command = [sys.executable, "-m", "tests.soak.punctual"]
    fields = {name: getattr(plan, name) for name in Plan.__slots__}
    done = subprocess.run(command, input=json.dumps(fields), cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout)
    numbers = {name: np.array(found[name]) for name in ("due", "sent", "heard", "read", "waited", "status", "code")}
    return Exchanges(**numbers, disposition=found["disposition"], client_cpu_s=found["client_cpu_s"])


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE)
        self.socket.setblocking(False)
        self.number = -1
        self.sent = 0
        self._pending: list[memoryview] = []
        self._answer = bytearray()

    def start(self, number: int, chunks: Sequence[bytes | memoryview]) -> bool:
        self.number = number
        self._pending = [memoryview(chunk) for chunk in chunks]
        self._answer.clear()
        return self.push()

    def push(self) -> bool:
        """Whether all of the request is with the kernel."""
        while self._pending:
            self.sent = time.time_ns()
            try:
                count = self.socket.sendmsg(self._pending)
            except BlockingIOError:
                return False
            while count:
                if count < len(self._pending[0]):
                    self._pending[0] = self._pending[0][count:]
                    break
                count -= len(self._pending.pop(0))
        return True

    def pull(self) -> tuple[int, bytes, bytes] | None:
        """When the kernel had the answer's first bytes (ns), its head and body; None while they are not whole."""
        data, ancillary, _, _ = self.socket.recvmsg(1 << 16, 256)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        if not self._answer:
            self._heard = time.time_ns()
            for level, kind, stamp in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING):
                    seconds, ns = STAMP.unpack_from(stamp)
                    self._heard = seconds * 1_000_000_000 + ns
        self._answer += data
        head, separator, body = bytes(self._answer).partition(b"\r\n\r\n")
        if not separator:
            return None
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return (self._heard, head, body) if len(body) >= length else None


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._parts = [Part(Path(file).read_bytes(), plan.media_type) for file in plan.files]
        count = round(plan.rate * plan.seconds)
        self._count = count
        self._times = np.zeros((4, count))
        """due, sent, heard, read"""
        self._waited = [False] * count
        self._status, self._code, self._disposition = [0] * count, [-1] * count, [""] * count
        self._free = [_Connection(plan.port) for _ in range(plan.connections)]
        self._busy: dict[int, _Connection] = {}
        self._poll = select.epoll()
        self._serial = time.time_ns()

    def drive(self) -> dict[str, object]:
        cpu, start = time.process_time(), time.time_ns() + 50_000_000
        self._start = start
        due = start + (np.arange(self._count) * (1e9 / self._plan.rate)).astype(np.int64)
        self._times[0] = (due - start) / MS
        sent, blocked, times = 0, False, due.tolist()
        while sent < self._count or self._busy:
            now = time.time_ns()
            if now > start + (self._plan.seconds + END_WAIT_S) * 1e9:
                break
            while sent < self._count and times[sent] <= now and self._free:
                self._send(sent, blocked)
                sent, blocked = sent + 1, False
                now = time.time_ns()
            if sent < self._count and times[sent] <= now:
                blocked = True
            for fd, event in self._poll.poll(self._pause_s(sent, times, now)):
                self._ready(self._busy[fd], event)
        names = ("due", "sent", "heard", "read")
        return {
            **{name: row.round(4).tolist() for name, row in zip(names, self._times, strict=True)},
            "waited": self._waited,
            "status": self._status,
            "code": self._code,
            "disposition": self._disposition,
            "client_cpu_s": time.process_time() - cpu,
        }

    def _pause_s(self, sent: int, times: list[int], now: int) -> float:
        if sent >= self._count or not self._free:
            return 0.5
        # epoll waits whole milliseconds: the last one is spent looking again and again.
        left_s = (times[sent] - now) / 1e9
        return left_s - 0.001 if left_s > 0.001 else 0.0

    def _send(self, number: int, waited: bool) -> None:
        plan = self._plan
        connection = self._free.pop()
        self._waited[number] = waited
        chunks = list(numbered(self._parts[number % len(self._parts)], self._serial + number))
        head = (
            f"POST {plan.path.replace('{n}', f'{plan.run}-{number}')} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Type: {plan.media_type}\r\nContent-Length: {sum(len(c) for c in chunks)}\r\n\r\n"
        )
        self._busy[connection.socket.fileno()] = connection
        is_out = connection.start(number, [head.encode(), *chunks])
        self._times[1, number] = (connection.sent - self._start) / MS
        self._poll.register(connection.socket, select.EPOLLIN if is_out else select.EPOLLIN | select.EPOLLOUT)

    def _ready(self, connection: _Connection, event: int) -> None:
        number = connection.number
        try:
            if event & select.EPOLLOUT and connection.push():
                self._poll.modify(connection.socket, select.EPOLLIN)
            self._times[1, number] = (connection.sent - self._start) / MS
            if not event & (select.EPOLLIN | select.EPOLLHUP):
                return
            answer = connection.pull()
        except OSError:
            self._replace(connection)
            return
        if answer is None:
            return
        heard, head, body = answer
        self._times[2, number] = (heard - self._start) / MS
        self._times[3, number] = (time.time_ns() - self._start) / MS
        found = json.loads(body)
        self._status[number] = int(head[9:12])
        self._code[number], self._disposition[number] = found["result_code"], found["disposition"]
        self._poll.unregister(connection.socket)
        del self._busy[connection.socket.fileno()]
        if b"connection: close" in head.lower():
            connection.socket.close()
            self._free.insert(0, _Connection(self._plan.port))
        else:
            # The one that rested longest is next: all connections take part.
            self._free.insert(0, connection)

    def _replace(self, connection: _Connection) -> None:
        """The server hung up: its request got no answer."""
        self._poll.unregister(connection.socket)
        del self._busy[connection.socket.fileno()]
        connection.socket.close()
        self._free.insert(0, _Connection(self._plan.port))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_Run(Plan(**json.load(sys.stdin))).drive()))
