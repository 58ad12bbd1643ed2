"""What waits for the database: the newest entries in memory, where there are many the rest in the segments."""

import threading
from collections import deque
from collections.abc import Iterable

import structlog

from storage.journal.entries import Entry, Waiting
from storage.journal.frames import Frame, Place
from storage.journal.segments import Segments

log = structlog.get_logger("journal")


class Backlog:
    """Frames from the first one that is not drained, in order. `load` is for one thread, the rest for any."""

    def __init__(self, segments: Segments, memory_bytes: int, drained_to: Place, tail: Place, waiting: int) -> None:
        self._segments, self._memory_bytes = segments, memory_bytes
        self._lock = threading.Lock()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._unread: Place | None = drained_to if drained_to < tail else None
        """From here on frames are on disk only."""
        self._tail = tail
        self._undrained = waiting
        """Entries that wait, in memory and beyond, with the done ones before which another one waits."""
        self._done: set[str] = set()

    @property
    def count(self) -> int:
        """How many entries wait."""
        with self._lock:  # `done` takes an entry off both, one after the other
            return self._undrained - len(self._done)

    def mark(self) -> tuple[Place, int]:
        """The place up to which all is drained, and how many entries there are behind it."""
        with self._lock:
            if self._frames:
                return self._frames[0].start, self._undrained
            return self._unread or self._tail, self._undrained

    def add(self, frames: Iterable[Frame]) -> None:
        """The frames have been written behind all others."""
        with self._lock:
            for frame in frames:
                self._tail = frame.end
                self._undrained += frame.waiting_count
                is_room = not self._frames or self._bytes + frame.size <= self._memory_bytes
                if self._unread is None and is_room:
                    self._keep(frame)
                elif self._unread is None:
                    self._unread = frame.start

    def load(self, limit: int) -> None:
        """Read so many entries from disk as `waiting` is asked for, or as many as memory is there for.

        What is damaged or gone is reported and passed over: it must not hold up the rest.

        Raises OSError where reading failed for another reason; the next call tries again.
        """
        while (span := self._span(limit)) is not None:
            start, end = span
            frames: list[Frame] = []
            try:
                found = self._segments.read(start, end)
                frames = found.frames
                if found.lost:
                    log.error("journal_damaged", segment=start.segment, offsets=found.lost)
            except FileNotFoundError as error:
                log.error("journal_segment_gone", segment=start.segment, reason=str(error))
            with self._lock:
                for frame in frames:
                    self._keep(frame)
                self._unread = Place(start.segment, end)
                if self._unread >= self._tail:
                    self._unread = None
                    self._undrained = sum(frame.waiting_count for frame in self._frames)

    def waiting(self, limit: int) -> list[Waiting]:
        """The oldest entries in memory that wait."""
        found: list[Waiting] = []
        with self._lock:
            for frame in self._frames:
                for entry in frame.waiting:
                    if len(found) == limit:
                        return found
                    if entry.id not in self._done:
                        found.append(waiting_of(entry, frame))
        return found

    def done(self, ids: Iterable[str]) -> None:
        """These entries wait no more."""
        wanted = set(ids)
        with self._lock:
            for frame in self._frames:
                if not wanted:
                    break
                for entry in frame.waiting:
                    if entry.id in wanted:
                        wanted.discard(entry.id)
                        self._done.add(entry.id)
            while self._frames and all(entry.id in self._done for entry in self._frames[0].waiting):
                frame = self._frames.popleft()
                self._bytes -= frame.size
                for entry in frame.waiting:
                    self._undrained -= 1
                    self._done.discard(entry.id)

    def _span(self, limit: int) -> tuple[Place, int] | None:
        """Where to read on and up to which offset; None when enough is in memory, or nothing is left on disk."""
        with self._lock:
            start, tail = self._unread, self._tail
            ready = sum(frame.waiting_count for frame in self._frames) - len(self._done)
            if start is None or (self._frames and (ready >= limit or self._bytes >= self._memory_bytes)):
                return None
        for number, end in self._segments.ends.items():
            # What is behind the tail has been written, but not been told of yet.
            if number < tail.segment and start < Place(number, end):
                return max(start, Place(number, 0)), end
        return max(start, Place(tail.segment, 0)), tail.offset

    def _keep(self, frame: Frame) -> None:
        self._bytes += frame.size
        self._frames.append(frame)


def waiting_of(entry: Entry, frame: Frame) -> Waiting:
    """An entry as the drainer sees it."""
    damaged = frame.damaged.get(entry.id, ())
    return Waiting(entry.id, entry.kind, entry.record, entry.answer, entry.written_at, entry.keys, entry.blobs, damaged)
