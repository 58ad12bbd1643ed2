"""The journal: what the line was answered is on this machine's disk before the answer leaves.

An append is one frame in a segment file that is already written with zeros, and one fdatasync; threads that come at the
same time share it. An index in SQLite follows behind, in batches.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from storage.journal.aside import keep_aside
from storage.journal.backlog import Backlog, waiting_of
from storage.journal.entries import (
    Answered,
    Entry,
    JournalBroken,
    JournalLocked,
    JournalUnusable,
    ReserveSpent,
    Waiting,
)
from storage.journal.frames import Draft, Frame, Place, draft
from storage.journal.index import Index, State, identity_of
from storage.journal.opening import lock_folder, open_index, refuse_older_format, take_up
from storage.journal.recent import Recent
from storage.journal.segments import Segments

MEMORY_BYTES = 32 << 20
"""Entries that wait are kept in memory up to this size."""
INDEX_MAX = 2000
"""Frames that are indexed in one transaction."""
LEARN_MAX = 5000
"""Keys of the index that one `tidy` reads into memory."""
PRUNE_MAX = 2000
"""Answers that one `tidy` forgets."""
SPARES_AT_START = 2
SEGMENT_MIN = 16 << 10
CLOSED = "it is closed"

log = structlog.get_logger("journal")


@dataclass(slots=True)
class _Ticket:
    """An append on its way to the disk."""

    draft: Draft
    is_done: bool = False
    failure: JournalBroken | None = None

    def fail(self, failure: JournalBroken) -> None:
        self.is_done, self.failure = True, failure


class Journal:
    """Appends that return when they are durable, and what is waiting for the database.

    `reserve_bytes` of empty segments are kept ready; a small reserve makes for small segments. Any thread may call
    anything. Raises JournalLocked when another process holds the folder, JournalUnusable.
    """

    def __init__(self, folder: Path, *, reserve_bytes: int = 256 << 20, segment_bytes: int = 16 << 20) -> None:
        self.folder = folder
        self._index_path = folder / "index.sqlite"
        self._mutex = threading.Lock()  # guards the four below; never held while anything is written or read
        self._pending: list[_Ticket] = []
        self._recent = Recent()
        self._open: dict[str, tuple[Place, int]] = {}
        self._closed: str | None = None
        """Why nothing is taken any more."""
        self._writing = threading.Lock()  # who holds it writes frames for all that are pending
        self._upkeep = threading.Lock()  # who holds it writes the index, reads segments or frees them
        self._failure: str | None = None
        with ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = lock_folder(folder)
                opened.callback(os.close, self._lock)
                refuse_older_format(folder / "journal.sqlite")
                # At least two in the reserve: one for entries, one whose room the index may need.
                segment_bytes = min(segment_bytes, max(reserve_bytes // 2, SEGMENT_MIN))
                self._segments = Segments(folder / "segments", folder, segment_bytes, reserve_bytes)
                opened.callback(self._segments.close)
                self._index = open_index(self._index_path)
                opened.callback(self._index.close)
                self._saved = self._index.state()
                self._backlog = self._resume()
            except (OSError, sqlite3.Error) as error:
                raise JournalUnusable(folder, str(error)) from error
            opened.pop_all()

    @property
    def waiting_count(self) -> int:
        """How many entries have not reached the database; provisional ones don't count."""
        return self._backlog.count

    @property
    def failure(self) -> str | None:
        """Why the last write failed; None once one has succeeded again."""
        return self._failure

    @property
    def on_reserve(self) -> bool:
        """Whether there was no room for another segment: what is written now takes of the reserve."""
        return self._segments.is_short

    def append(self, *entries: Entry) -> None:
        """Write the entries, all or none; returns when they are durable.

        Raises JournalBroken; ReserveSpent where the disk is full and the reserve is used up.
        """
        if entries:
            self._commit(draft(entries))

    def probe(self) -> None:
        """Write nothing, durably: after a failure this says whether the disk takes writes again.

        Raises JournalBroken.
        """
        self._commit(draft(()))

    def answered(self, key: str, since: datetime) -> Answered | None:
        """The newest answer under an idempotency key, no older than `since`.

        Raises JournalBroken.
        """
        if (found := self._recent.answered(key, since)) is not None:
            return found
        try:
            return self._index.answered(key, since)
        except sqlite3.Error as error:
            raise JournalBroken(self.folder, str(error)) from error

    def find(self, entry_id: str) -> bytes | None:
        """The answer of an entry, drained or not, while the window lasts.

        Raises JournalBroken.
        """
        if (found := self._recent.find(entry_id)) is not None:
            return found
        try:
            return self._index.find(entry_id)
        except sqlite3.Error as error:
            raise JournalBroken(self.folder, str(error)) from error

    def provisional(self) -> list[Waiting]:
        """The provisional entries that none has closed, oldest first: a server that starts goes on with these.

        Raises OSError.
        """
        with self._mutex:
            spans = dict(self._open)
        found: list[Waiting] = []
        for (place, end), ids in _by_place(spans).items():
            frames: list[Frame] = []
            with self._upkeep, suppress(FileNotFoundError):
                frames = self._segments.read(place, end).frames
            readable = [waiting_of(e, frame) for frame in frames for e in frame.entries if e.id in ids]
            found += readable
            if lost := ids - {entry.id for entry in readable}:
                log.error("journal_provisional_lost", ids=sorted(lost), segment=place.segment, offset=place.offset)
                with self._mutex:
                    for entry_id in lost:  # nobody could ever close it, and it would hold its segment for good
                        self._open.pop(entry_id, None)
        return found

    def waiting(self, limit: int) -> list[Waiting]:
        """The oldest entries that have not reached the database; fewer than `limit` where their images are large.

        Raises OSError.
        """
        with self._upkeep:
            self._backlog.load(limit)
            return self._backlog.waiting(limit)

    def mark_drained(self, ids: Sequence[str]) -> None:
        """The entries are in the database and their images in the store: they wait no more.

        Raises JournalBroken; they may then come again after a restart.
        """
        with self._upkeep:
            self._backlog.done(ids)
            self._save(give_room=True)

    def set_aside(self, ids: Sequence[str]) -> None:
        """The entries can't be moved: keep them in the folder `aside` for a person, and let the others go on.

        Raises JournalBroken.
        """
        wanted = set(ids)
        with self._upkeep:
            try:
                for entry in self._backlog.waiting(self._backlog.count):
                    if entry.id in wanted:
                        keep_aside(self.folder / "aside", entry)
            except OSError as error:
                raise JournalBroken(self.folder, str(error)) from error
            self._backlog.done(ids)
            self._save(give_room=True)

    def tidy(self, now: datetime, window: timedelta) -> None:
        """Index what was appended, forget answers older than the window, free and prepare segments; a little a call.

        To be called several times a second by one thread. Raises JournalBroken where the index can't be written:
        appending goes on without it. Raises JournalLocked where the folder was taken away and another process has it.
        """
        with self._upkeep:
            if self._closed is not None:
                return
            try:
                self._check()
                self._index.prune(now - window, PRUNE_MAX)  # before the rest: it makes room for what comes
                self._save()
                self._index.learn(LEARN_MAX)
            except (OSError, sqlite3.Error) as error:
                raise JournalBroken(self.folder, str(error)) from error
            finally:
                if self._closed is None:
                    self._supply()

    def close(self) -> None:
        """Write what is pending, index it, unlock the folder."""
        with self._mutex:
            if self._closed == CLOSED:
                return
            self._closed = CLOSED
        with self._upkeep, self._writing:
            self._lead()
            # What is not indexed now is found in the segments at the next start.
            with suppress(JournalBroken):
                self._save()
            self._segments.close()
            self._index.close()
            os.close(self._lock)

    def _commit(self, found: Draft) -> None:
        ticket = _Ticket(found)
        with self._mutex:
            if self._closed is not None:
                raise JournalBroken(self.folder, self._closed)
            self._pending.append(ticket)
        with self._writing:
            if not ticket.is_done:  # whoever held the lock may have written it already
                self._lead()
        if ticket.failure is not None:
            raise ticket.failure

    def _lead(self) -> None:
        """Write all that is pending. For the holder of `_writing`."""
        with self._mutex:
            group, self._pending = self._pending, []
        try:
            while group:
                group = self._write_some(group)
        finally:
            # Some are left only after an unforeseen error: nobody may go on as if they were written.
            for ticket in group:
                if not ticket.is_done:
                    ticket.fail(JournalBroken(self.folder, "the write was interrupted"))

    def _write_some(self, group: list[_Ticket]) -> list[_Ticket]:
        """Write as many as fit into one segment, with one fdatasync; returns the others."""
        try:
            if group[0].draft.size > self._segments.room:
                self._segments.roll(group[0].draft.size)
            count = _fitting(group, self._segments.room)
            places = self._segments.write([ticket.draft for ticket in group[:count]])
        except ReserveSpent as error:
            self._failure = error.reason
            group[0].fail(error)
            return group[1:]  # a smaller one may fit
        except OSError as error:
            self._failure = str(error)
            for ticket in group:
                ticket.fail(JournalBroken(self.folder, str(error)))
            return []
        self._failure = None
        written = [
            Frame(place, Place(place.segment, place.offset + ticket.draft.size), ticket.draft.entries)
            for ticket, place in zip(group, places, strict=False)
        ]
        with self._mutex:
            for frame in written:
                self._remember(frame)
            self._backlog.add(written)
        for ticket in group[:count]:
            ticket.is_done = True
        return group[count:]

    def _remember(self, frame: Frame) -> None:
        self._recent.add(frame)
        for entry in frame.entries:
            if entry.provisional:
                self._open[entry.id] = (frame.start, frame.end.offset)
            for entry_id in entry.closes:
                self._open.pop(entry_id, None)

    def _save(self, *, give_room: bool = False) -> None:
        """Bring the index up to date; `give_room`: for the price of a spare where the disk is full.

        Raises JournalBroken.
        """
        is_behind = True
        while is_behind:
            frames, state, is_behind = self._next_state()
            if state == self._saved:
                return
            try:
                self._advance(frames, state, give_room=give_room)
            except sqlite3.Error as error:
                raise JournalBroken(self.folder, str(error)) from error
            self._saved = state
            with self._mutex:
                self._recent.forget(frames)

    def _next_state(self) -> tuple[list[Frame], State, bool]:
        """What to index next, how far the journal is then, and whether there is more."""
        with self._mutex:
            frames, more = self._recent.frames[:INDEX_MAX], self._recent.frames[INDEX_MAX:]
            drained_to, waiting = self._backlog.mark()
            provisional = dict(self._open)
        indexed_to = frames[-1].end if frames else self._saved.indexed_to
        # What is drained, but not indexed, counts as neither.
        waiting = max(0, waiting - sum(frame.waiting_count for frame in more))
        drained_to = min(drained_to, indexed_to)
        return frames, State(indexed_to, drained_to, waiting, self._segments.ends, provisional), bool(more)

    def _advance(self, frames: list[Frame], state: State, *, give_room: bool) -> None:
        try:
            self._index.advance(frames, state)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            # Draining goes on but can't be noted: with the room of one spare for the index, segments become free.
            self._segments.last_is_kept = not (give_room and self._segments.give_up_spare())
            self._index.shrink()
            self._index.advance(frames, state)
        self._segments.last_is_kept = False

    def _supply(self) -> None:
        """Free what is not needed any more and prepare what will be."""
        floor = self._saved.floor
        self._segments.recycle(floor.segment)
        if self._segments.is_short and self._segments.spare_count == 0:
            with self._writing:
                # All that was ever written is drained: even the segment that is written can be used again.
                if floor == self._saved.indexed_to and not self._recent.frames:
                    self._segments.seal()
                    self._segments.recycle(floor.segment + 1)
        try:
            self._segments.top_up()
        except ReserveSpent:
            pass  # `on_reserve` says it
        except OSError as error:
            log.warning("journal_spare_not_made", reason=str(error))

    def _check(self) -> None:
        """Look whether the files are still there; go on in new ones where they are not.

        Raises JournalLocked where another process has taken the folder meanwhile.
        """
        self._check_folder()
        with self._writing:
            try:
                self._segments.check()
            except FileNotFoundError as error:
                log.error("journal_segment_gone", reason=str(error))
                self._failure = str(error)
                self._segments.seal()

    def _check_folder(self) -> None:
        lock = self.folder / "lock"
        held = os.fstat(self._lock)
        if identity_of(lock) != (held.st_dev, held.st_ino):
            self._failure = f"{lock} was deleted or replaced"
            log.error("journal_lock_gone", path=str(lock))
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                taken = lock_folder(self.folder)
            except JournalLocked as error:
                self._closed = str(error)  # two that write to the same segments would destroy each other's entries
                raise
            os.close(self._lock)
            self._lock = taken
        if not self._index.is_there:
            self._failure = f"{self._index_path} was deleted or replaced"
            log.error("journal_index_gone", path=str(self._index_path))
            # What it knew of answers is gone; what is to be known of the segments is written anew.
            gone, self._index = self._index, Index(self._index_path)
            gone.close()
            self._saved = State()

    def _resume(self) -> Backlog:
        """Take up what the process before this one left."""
        state = self._saved
        left = take_up(self._segments, state)
        self._open = dict(state.provisional)
        for frame in left.frames:
            self._remember(frame)
        waiting = state.waiting + sum(frame.waiting_count for frame in left.frames)
        with suppress(ReserveSpent):  # on a full disk it goes on with what the reserve still has
            for _ in range(SPARES_AT_START):
                self._segments.top_up()
        return Backlog(self._segments, MEMORY_BYTES, state.drained_to, left.tail, waiting)


def _fitting(group: Sequence[_Ticket], room: int) -> int:
    """How many of the first frames fit."""
    for count, ticket in enumerate(group):
        room -= ticket.draft.size
        if room < 0:
            return count
    return len(group)


def _by_place(spans: dict[str, tuple[Place, int]]) -> dict[tuple[Place, int], set[str]]:
    found: dict[tuple[Place, int], set[str]] = {}
    for entry_id, span in sorted(spans.items(), key=lambda item: item[1]):
        found.setdefault(span, set()).add(entry_id)
    return found
