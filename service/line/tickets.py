"""One ticket an idempotency key: who judges a part, what its answer is, and whether the deadline won."""

import json
import threading
import time
from collections.abc import Callable

from service.line.answers import Reply
from service.line.requests import OtherImage


class Ticket:
    """The way of one part from admission to answer; the deadline and the judging thread race for it."""

    def __init__(self, fail_safe: Callable[[], Reply], deadline: float | None = None) -> None:
        self._fail_safe = fail_safe
        """Makes the answer that leaves when the deadline comes first."""
        self._deadline = deadline
        """time.perf_counter() from which on a decision is too late; None: never."""
        self.digest = ""
        """SHA-256 of the image; filled in by the judging thread before it takes the key."""
        self._lock = threading.Lock()
        self._is_settled = self._is_finished = False
        self._settled: threading.Event | None = None
        self._finished: threading.Event | None = None
        """Made by who waits for them: hardly anybody does, and making them costs every part."""
        self._decided: Reply | None = None
        self._late: Reply | None = None

    @property
    def late(self) -> Reply | None:
        """The fail-safe answer, if the deadline came first."""
        return self._late

    def decide(self, reply: Reply) -> Reply | None:
        """The judging thread has its answer on disk; returns the fail-safe one if that has left already."""
        with self._lock:
            # The process may have been paused: then this thread runs again before the event loop sees the time.
            if self._late is None and self._deadline is not None and time.perf_counter() > self._deadline:
                self._late = self._fail_safe()
            if self._late is None:
                self._decided = reply
            self._settle()
        return self._late

    def expire(self) -> Reply:
        """The deadline has come; returns what the line gets, which is the decided answer if it just made it."""
        with self._lock:
            if self._decided is None and self._late is None:
                self._late = self._fail_safe()
            self._settle()
        return self.reply()

    def finish(self) -> None:
        """The judging thread is done and has let the key go; without an answer, whoever waits shall judge anew."""
        with self._lock:
            self._settle()
            self._is_finished = True
            if self._finished is not None:
                self._finished.set()

    def wait(self) -> Reply | None:
        """What the part was answered, once it is known; None when judging ended without an answer."""
        with self._lock:
            settled = None
            if not self._is_settled:
                settled = self._settled = self._settled or threading.Event()
        if settled is not None:
            settled.wait()
        return self._late or self._decided

    def wait_finished(self) -> None:
        """Return when the key is free again: what stands under it is in the journal."""
        with self._lock:
            finished = None
            if not self._is_finished:
                finished = self._finished = self._finished or threading.Event()
        if finished is not None:
            finished.wait()

    def reply(self) -> Reply:
        """The answer that holds."""
        held = self._late or self._decided
        assert held is not None, "asked for before it was settled"
        return held

    def _settle(self) -> None:
        """It is known what holds. For the holder of the lock."""
        self._is_settled = True
        if self._settled is not None:
            self._settled.set()


class Tickets:
    """The tickets of the parts in work, by idempotency key."""

    def __init__(self) -> None:
        self._open: dict[str, Ticket] = {}
        self._lock = threading.Lock()

    def enter(self, key: str, ticket: Ticket) -> Ticket | None:
        """Take the key; returns the ticket of whoever holds it already."""
        with self._lock:
            held = self._open.get(key)
            if held is None:
                self._open[key] = ticket
            return held

    def leave(self, key: str, ticket: Ticket) -> None:
        """Let the key go: the journal answers for it from now on."""
        with self._lock:
            if self._open.get(key) is ticket:
                del self._open[key]


def other_mode(key: str, mode: str) -> OtherImage:
    """The refusal for a trigger that was answered in another mode."""
    return OtherImage(
        f"{_named(key)} was already answered in another mode than {mode}",
        "give shadow parts and challenges triggers of their own",
    )


def other_image(key: str) -> OtherImage:
    """The refusal for a trigger that was answered for another image."""
    return OtherImage(
        f"{_named(key)} was already answered for another image",
        "count trigger_id up for every part, or send a trigger_epoch that changes when the PLC restarts",
    )


def _named(key: str) -> str:
    """A key in words.

    >>> _named('["s1", "", "2", "0"]')
    "trigger '2' of station 's1' (view '0')"
    """
    station, epoch, trigger, *view = json.loads(key)
    details = [f"epoch {epoch!r}"] * bool(epoch) + [f"view {name!r}" for name in view]
    return f"trigger {trigger!r} of station {station!r}" + (f" ({', '.join(details)})" if details else "")
