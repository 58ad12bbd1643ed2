"""The index of the journal: answers by id and by idempotency key, and how far the segments are indexed and drained.

It is written in batches by one thread and can be made again from the segments, for as long as these are there.
"""

import queue
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from storage.journal.entries import Answered
from storage.journal.frames import Frame, Place
from storage.journal.known import CAPACITY, Known

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    one INTEGER PRIMARY KEY CHECK (one = 1), indexed_segment INTEGER NOT NULL, indexed_offset INTEGER NOT NULL,
    drained_segment INTEGER NOT NULL, drained_offset INTEGER NOT NULL, waiting INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 0, 0, 0, 0, 0);
CREATE TABLE IF NOT EXISTS segments (number INTEGER PRIMARY KEY, end INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS provisional (
    id TEXT PRIMARY KEY, segment INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, written_at REAL NOT NULL, answer BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS answers_id ON answers (id);
CREATE INDEX IF NOT EXISTS answers_written_at ON answers (written_at);
CREATE TABLE IF NOT EXISTS keys (
    key TEXT NOT NULL, seq INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (key, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_seq ON keys (seq);
"""

START = Place(0, 0)
"""Before the first segment."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the journal is; all three places are frame boundaries."""

    indexed_to: Place = START
    drained_to: Place = START
    waiting: int = 0
    """Entries between the two that wait for the database."""
    ends: dict[int, int] = field(default_factory=dict)
    """Segment -> where its frames end, for full segments."""
    provisional: dict[str, tuple[Place, int]] = field(default_factory=dict)
    """Open provisional entries: where the frame of each begins, and the offset where it ends."""

    @property
    def floor(self) -> Place:
        """Nothing before this place is needed any more."""
        return min(self.indexed_to, self.drained_to, *(place for place, _ in self.provisional.values()))


class Index:
    """The SQLite file. Reading is for any thread, the rest for one at a time. Everything raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._writer = self._connect()
        self._identity = identity_of(path)
        self._writer.executescript(SCHEMA)
        row = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'answers'").fetchone()
        self._seq = 0 if row is None else int(row[0])
        self._known = self._learning = Known()
        """Which keys may be here, and what will take its place; the same where there is no need for another."""
        self._is_learned = False
        """Whether `_known` has all of them."""
        self._learned_to = ""
        self._learn_again_at = CAPACITY

    @property
    def is_there(self) -> bool:
        """Whether the file still lies where it was opened."""
        return identity_of(self.path) == self._identity

    def state(self) -> State:
        """What the last batch left."""
        row = self._writer.execute(
            "SELECT indexed_segment, indexed_offset, drained_segment, drained_offset, waiting FROM state"
        ).fetchone()
        ends = dict(self._writer.execute("SELECT number, end FROM segments ORDER BY number"))
        rows = self._writer.execute("SELECT id, segment, start, end FROM provisional ORDER BY segment, start")
        open_ = {entry_id: (Place(segment, start), end) for entry_id, segment, start, end in rows}
        return State(Place(row[0], row[1]), Place(row[2], row[3]), row[4], ends, open_)

    def advance(self, frames: Iterable[Frame], state: State) -> None:
        """Take the frames up and note how far the journal is, in one transaction."""
        answers, keys, seq = [], [], self._seq
        for frame in frames:
            for entry in frame.entries:
                if entry.answer is not None:
                    seq += 1
                    answers.append((seq, entry.id, entry.written_at.timestamp(), entry.answer))
                    keys += [(key, seq, digest) for key, digest in entry.keys.items()]
        for key, _, _ in keys:
            self._know(key)
        with self._transaction():
            self._writer.executemany("INSERT INTO answers VALUES (?, ?, ?, ?)", answers)
            self._writer.executemany("INSERT INTO keys VALUES (?, ?, ?)", keys)
            self._write_state(state)
        self._seq = seq

    def learn(self, limit: int) -> None:
        """Read on, so many keys at most, until all that are here are known; anew when too many are forgotten ones."""
        if self._is_learned and self._learning is self._known:
            if self._known.count < self._learn_again_at:
                return
            self._learning, self._learned_to = Known(), ""
        found = self._writer.execute(
            "SELECT DISTINCT key FROM keys WHERE key > ? ORDER BY key LIMIT ?", (self._learned_to, limit)
        ).fetchall()
        for (key,) in found:
            self._learning.add(key)
        if len(found) == limit:
            self._learned_to = found[-1][0]
            return
        # Whoever asks the old one just now misses nothing: until here it has got every key too.
        self._known, self._is_learned = self._learning, True
        self._learn_again_at = max(CAPACITY, 2 * self._known.count)

    def answered(self, key: str, since: datetime) -> Answered | None:
        """The newest answer under a key, no older than `since`."""
        if self._is_learned and key not in self._known:
            return None
        with self._reading() as reader:
            row = reader.execute(
                "SELECT a.id, k.digest, a.answer FROM keys k JOIN answers a ON a.seq = k.seq"
                " WHERE k.key = ? AND a.written_at >= ? ORDER BY k.seq DESC LIMIT 1",
                (key, since.timestamp()),
            ).fetchone()
        return None if row is None else Answered(*row)

    def find(self, entry_id: str) -> bytes | None:
        """The answer of an entry."""
        with self._reading() as reader:
            row = reader.execute(
                "SELECT answer FROM answers WHERE id = ? ORDER BY seq DESC LIMIT 1", (entry_id,)
            ).fetchone()
        return None if row is None else row[0]

    def prune(self, before: datetime, limit: int) -> int:
        """Forget the oldest answers that were written before this time; returns how many, `limit` at most."""
        rows = self._writer.execute(
            "SELECT seq FROM answers WHERE written_at < ? ORDER BY written_at LIMIT ?", (before.timestamp(), limit)
        ).fetchall()
        if rows:
            with self._transaction():
                self._writer.executemany("DELETE FROM keys WHERE seq = ?", rows)
                self._writer.executemany("DELETE FROM answers WHERE seq = ?", rows)
        return len(rows)

    def shrink(self) -> None:
        """Move what lies in the write-ahead log to its place, as far as there is room, so that the log is used anew."""
        with suppress(sqlite3.OperationalError):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close all connections."""
        while not self._idle.empty():
            self._idle.get().close()
        self._writer.close()

    def _know(self, key: str) -> None:
        self._known.add(key)
        if self._learning is not self._known:
            self._learning.add(key)

    def _write_state(self, state: State) -> None:
        self._writer.execute(
            "UPDATE state SET indexed_segment = ?, indexed_offset = ?, drained_segment = ?, drained_offset = ?,"
            " waiting = ?",
            (*state.indexed_to, *state.drained_to, state.waiting),
        )
        self._replace("segments", "number", list(state.ends.items()))
        self._replace("provisional", "id", [(i, *place, end) for i, (place, end) in state.provisional.items()])

    def _replace(self, table: str, key: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Make a small table hold just these rows, touching only what differs."""
        known = set(self._writer.execute(f"SELECT * FROM {table}"))
        wanted = set(rows)
        if gone := [(row[0],) for row in known - wanted]:
            self._writer.executemany(f"DELETE FROM {table} WHERE {key} = ?", gone)
        if new := list(wanted - known):
            self._writer.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(new[0]))})", new)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A reader for this block; as many are kept as were ever used at once, whatever threads come and go."""
        try:
            reader = self._idle.get_nowait()
        except queue.Empty:
            reader = self._connect()
        try:
            yield reader
        finally:
            self._idle.put(reader)


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one that took its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
