"""The threads that inspect, and which part they take next: every station gets its share of the device."""

import asyncio
import heapq
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from service.priority import INSPECTING, step_back

log = structlog.get_logger("line")

_WEIGHT = 0.1
MARGIN_S = 0.002
"""An answer leaves at least this much before its deadline, so that it arrives in time."""
MARGIN_MAX_S = 0.02
"""No more than this, or a lag that has passed would keep every part out."""
DEVIATIONS = 2.0
"""How many mean deviations above its mean the lag is taken to be."""


class Pace:
    """A running mean of how long a model takes for a view, waiting excluded (ms).

    >>> pace = Pace(4.0)
    >>> pace.took(14.0)
    >>> pace.mean_ms
    5.0
    """

    def __init__(self, first_ms: float) -> None:
        self.mean_ms = first_ms

    def took(self, ms: float) -> None:
        """A view took so long."""
        self.mean_ms += _WEIGHT * (ms - self.mean_ms)

    def skipped(self) -> None:
        """A part was not begun because it would have taken too long: the estimate must not keep every part out."""
        self.mean_ms *= 1 - _WEIGHT


class Lag:
    """How late the event loop does what is due: a running mean with its mean deviation (ms)."""

    def __init__(self) -> None:
        self._mean_ms = self._deviation_ms = 0.0

    def was(self, ms: float) -> None:
        """Something was so late."""
        error = ms - self._mean_ms
        self._mean_ms += _WEIGHT * error
        self._deviation_ms += _WEIGHT * (abs(error) - self._deviation_ms)

    @property
    def margin_s(self) -> float:
        """How much before its deadline an answer has to be ready.

        >>> lag = Lag()
        >>> lag.margin_s
        0.002
        >>> for ms in (1.0, 3.0) * 100: lag.was(ms)
        >>> 0.004 < lag.margin_s < 0.008
        True
        """
        return min(MARGIN_S + (self._mean_ms + DEVIATIONS * self._deviation_ms) / 1000, MARGIN_MAX_S)


@dataclass(order=True, slots=True)
class _Job:
    start: float
    """Virtual time; the smallest is next."""
    seq: int
    station: str = field(compare=False)
    cost_ms: float = field(compare=False)
    work: Callable[[], None] = field(compare=False)


class Dispatcher:
    """Threads that work off jobs by start-time fair queueing: Goyal, Vin and Cheng (1997), with equal weights.

    A station's jobs stay in their order. Between stations the one that has had the least of the device is next, counted
    in estimated service time, so that a burst of one station makes only that station wait.
    """

    def __init__(self, threads: int) -> None:
        self._threads_count = threads
        self._waiting: list[_Job] = []
        self._finish: dict[str, float] = {}
        self._queued_ms: defaultdict[str, float] = defaultdict(float)
        self._running: dict[int, tuple[float, float]] = {}
        """By thread: when its job began (time.perf_counter) and what it should take (ms)."""
        self.lag = Lag()
        self._now = 0.0
        self._seq = 0
        self._lock = threading.Lock()
        self._resting: list[threading.Lock] = []
        """What each thread that has nothing to do waits on, locked; who rested last stands last."""
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._run, args=(n,), name=f"inspect-{n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def queue(self, station: str, cost_ms: float, work: Callable[[], None]) -> None:
        """Queue work that takes care of its own errors. Nothing that comes after `close` is worked off."""
        with self._lock:
            start = max(self._now, self._finish.get(station, 0.0))
            self._finish[station] = start + cost_ms
            self._seq += 1
            self._queued_ms[station] += cost_ms
            heapq.heappush(self._waiting, _Job(start, self._seq, station, cost_ms, work))
            # Who rested last has most of what it needs in its processor's caches.
            wake = self._resting.pop() if self._resting else None
        if wake is not None:
            wake.release()

    def submit(self, station: str, cost_ms: float, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Queue the work; to be called on an event loop, whose future it returns."""
        settle, future = promised()

        def settled() -> None:
            try:
                settle(work())
            except Exception as error:  # noqa: BLE001 - the edge of a thread: it is raised where the job is awaited
                settle(error)

        self.queue(station, cost_ms, settled)
        return future

    def wait_ms(self, station: str, cost_ms: float) -> float:
        """How long a part of this station would wait for a thread, were it queued now."""
        now = time.perf_counter()
        with self._lock:
            own, total = self._queued_ms.get(station, 0.0), sum(self._queued_ms.values())
            others = len(self._queued_ms) - (station in self._queued_ms)
            left = [max(0.0, cost - 1000 * (now - began)) for began, cost in list(self._running.values())]
        # No other station gets more ahead of this part than this station gets up to and with it.
        queued = min(total, own + others * (own + cost_ms))
        if len(left) < self._threads_count and not queued:
            return 0.0
        return (queued + sum(left)) / self._threads_count

    def close(self) -> None:
        """Work off what is queued, then end the threads."""
        with self._lock:
            self._is_closing = True
            resting, self._resting = self._resting, []
        for wake in resting:
            wake.release()
        for thread in self._threads:
            thread.join()

    def _run(self, n: int) -> None:
        step_back(INSPECTING)
        wake = threading.Lock()
        wake.acquire()
        while True:
            with self._lock:
                self._running.pop(n, None)
                job = self._next(n)
                if job is None and self._is_closing:
                    return
                if job is None:
                    self._resting.append(wake)
            if job is None:
                wake.acquire()
                continue
            try:
                job.work()
            except Exception as error:  # the edge of a thread: it must outlive whatever a job does
                log.error("job_broke", exc_info=error)

    def _next(self, n: int) -> _Job | None:
        """The job that is next, taken by a thread. For the holder of the lock."""
        if not self._waiting:
            return None
        job = heapq.heappop(self._waiting)
        self._now = job.start
        self._queued_ms[job.station] -= job.cost_ms
        if self._queued_ms[job.station] <= 1e-6:
            del self._queued_ms[job.station]
        if not self._waiting:
            self._finish = {s: t for s, t in self._finish.items() if t > self._now}
        self._running[n] = (time.perf_counter(), job.cost_ms)
        return job


def promised() -> tuple[Callable[[Any], None], asyncio.Future[Any]]:
    """A future of the running event loop, and what settles it from any thread, with a result or an exception."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(outcome: Any) -> None:
        if future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def settle_soon(outcome: Any) -> None:
        with suppress(RuntimeError):  # a loop that is closed awaits nothing any more
            loop.call_soon_threadsafe(settle, outcome)

    return settle_soon, future
