"""The journal: what the line was answered is on this machine's disk before the answer leaves.

One writer thread commits groups: image bytes go to segment files and are fdatasynced, then the entries go to an SQLite
database in WAL mode with synchronous=FULL. Entries stay for the idempotency window; their image bytes until drained.
"""

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

GROUP_MAX = 256
SEGMENT_BYTES = 64 << 20

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, key TEXT, digest TEXT,
    record BLOB NOT NULL, answer BLOB, written_at REAL NOT NULL, drained INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS blobs (
    entry_id TEXT NOT NULL, sha256 TEXT NOT NULL, segment INTEGER NOT NULL, start INTEGER NOT NULL,
    size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS health (writes INTEGER NOT NULL);
INSERT INTO health SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM health);
CREATE INDEX IF NOT EXISTS entries_key ON entries (key, seq) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_waiting ON entries (seq) WHERE drained = 0;
CREATE INDEX IF NOT EXISTS blobs_entry ON blobs (entry_id);
CREATE INDEX IF NOT EXISTS blobs_segment ON blobs (segment);
"""


class JournalLocked(RuntimeError):
    """Another process writes this journal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another line server already writes the journal in {folder}")
        self.remedy = "stop it, or give this one its own LOUPE_DATA_DIR"


class JournalUnusable(RuntimeError):
    """The journal can't be opened at the start."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the journal {path} can't be opened: {reason}")
        self.remedy = (
            "free the disk; if the file is damaged, keep a copy of the folder and move it away, then start again"
        )


class JournalBroken(RuntimeError):
    """The journal can't be written or read: nothing may be answered as decided."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"the journal in {folder} can't be used: {reason}")
        self.remedy = "free or repair the disk; verdicts are recheck until then"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record on its way to the database."""

    id: str
    kind: str
    record: bytes
    written_at: datetime
    key: str | None = None
    """Idempotency key, for inspections."""
    digest: str | None = None
    """SHA-256 of what was posted under the key."""
    answer: bytes | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    """Image bytes by SHA-256."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered under an idempotency key."""

    digest: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that has not reached the database yet."""

    id: str
    kind: str
    record: bytes


@dataclass(frozen=True, slots=True)
class _Drained:
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Prune:
    before: datetime


@dataclass(frozen=True, slots=True)
class _Aside:
    ids: tuple[str, ...]


_Command = Entry | _Drained | _Aside | _Prune


class Journal:
    """Appends that return when they are durable, and what is waiting for the database.

    Raises JournalLocked when another process holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._segments = folder / "segments"
        self._segments.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_folder(folder)
        self._path = folder / "journal.sqlite"
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._failure: str | None = None
        try:
            writer = self._connect()
            writer.executescript(SCHEMA)
            self._waiting = int(writer.execute("SELECT count(*) FROM entries WHERE drained = 0").fetchone()[0])
        except sqlite3.Error as error:
            os.close(self._lock)
            raise JournalUnusable(self._path, str(error)) from error
        # A segment is never continued after a restart: its tail may be torn.
        self._segment = 1 + max(self._segment_numbers(), default=0)
        self._file = self._open_segment(self._segment)
        self._written = 0
        self._sweep(writer)
        self._queue: queue.SimpleQueue[tuple[_Command, Future[None]] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=(writer,), name="journal", daemon=True)
        self._thread.start()

    @property
    def waiting_count(self) -> int:
        """How many entries have not reached the database."""
        return self._waiting

    @property
    def failure(self) -> str | None:
        """Why the last write failed; None once one has succeeded again."""
        return self._failure

    def append(self, entry: Entry) -> None:
        """Write the entry; returns when it is durable.

        Raises JournalBroken.
        """
        self._submit(entry).result()

    def answered(self, key: str, since: datetime) -> Answered | None:
        """The last answer under an idempotency key, no older than `since`.

        Raises JournalBroken.
        """
        with self._reading() as reader:
            row = reader.execute(
                "SELECT digest, answer FROM entries WHERE key = ? AND written_at >= ? ORDER BY seq DESC LIMIT 1",
                (key, since.timestamp()),
            ).fetchone()
        return None if row is None else Answered(digest=row[0], answer=row[1])

    def find(self, entry_id: str) -> bytes | None:
        """The answer of an entry, drained or not, while the window lasts.

        Raises JournalBroken.
        """
        with self._reading() as reader:
            row = reader.execute("SELECT answer FROM entries WHERE id = ?", (entry_id,)).fetchone()
        return None if row is None else row[0]

    def waiting(self, limit: int) -> list[Waiting]:
        """The oldest entries that have not reached the database."""
        with self._reading() as reader:
            rows = reader.execute(
                "SELECT id, kind, record FROM entries WHERE drained = 0 ORDER BY seq LIMIT ?", (limit,)
            ).fetchall()
        return [Waiting(*row) for row in rows]

    def blobs(self, entry_id: str) -> Iterator[tuple[str, bytes]]:
        """The image bytes of an entry with the SHA-256 that they must have.

        Raises OSError where a segment is gone or can't be read.
        """
        with self._reading() as reader:
            rows = reader.execute(
                "SELECT sha256, segment, start, size FROM blobs WHERE entry_id = ?", (entry_id,)
            ).fetchall()
        for sha256, segment, start, size in rows:
            with self._segment_path(segment).open("rb") as file:
                file.seek(start)
                yield sha256, file.read(size)

    def mark_drained(self, ids: Sequence[str]) -> None:
        """The entries are in the database and their images in the store: let go of the image bytes."""
        self._submit(_Drained(tuple(ids))).result()

    def probe(self) -> None:
        """Write nothing, durably: after a failure this says whether the disk takes writes again.

        Raises JournalBroken.
        """
        self._submit(_Drained(())).result()

    def set_aside(self, ids: Sequence[str]) -> None:
        """The entries can't be moved: keep them and their image bytes for a person, and let the others go on."""
        self._submit(_Aside(tuple(ids))).result()

    def prune(self, now: datetime, window: timedelta) -> None:
        """Forget drained entries older than the idempotency window."""
        self._submit(_Prune(now - window)).result()

    def close(self) -> None:
        """Commit what is queued, stop the writer, unlock the folder."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        while not self._idle.empty():
            self._idle.get().close()
        os.close(self._file)
        os.close(self._lock)

    def _submit(self, command: _Command) -> Future[None]:
        future: Future[None] = Future()
        with self._closing:
            if self._closed:
                raise JournalBroken(self.folder, "it is closed")
            self._queue.put((command, future))
        return future

    def _run(self, writer: sqlite3.Connection) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < GROUP_MAX and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
            self._commit(writer, group)
        writer.close()

    def _commit(self, writer: sqlite3.Connection, group: list[tuple[_Command, Future[None]]]) -> None:
        entries = [command for command, _ in group if isinstance(command, Entry)]
        drained = [i for command, _ in group if isinstance(command, _Drained) for i in command.ids]
        aside = [i for command, _ in group if isinstance(command, _Aside) for i in command.ids]
        try:
            rows = self._write_blobs(entries)
            with _transaction(writer):
                self._write_entries(writer, entries, rows)
                # The answer stays for the idempotency window; the image bytes are let go of now.
                writer.executemany("UPDATE entries SET drained = 1 WHERE id = ?", [(i,) for i in drained])
                writer.executemany("DELETE FROM blobs WHERE entry_id = ?", [(i,) for i in drained])
                writer.executemany("UPDATE entries SET drained = 2 WHERE id = ?", [(i,) for i in aside])
                if self._failure is not None:
                    writer.execute("UPDATE health SET writes = writes + 1")  # so that a probe, too, has to be written
                for command, _ in group:
                    if isinstance(command, _Prune):
                        writer.execute(
                            "DELETE FROM entries WHERE drained = 1 AND written_at < ?", (command.before.timestamp(),)
                        )
        except (OSError, sqlite3.Error) as error:
            self._failure = str(error)
            failure = JournalBroken(self.folder, str(error))
            for _, future in group:
                future.set_exception(failure)
            return
        self._failure = None
        self._waiting += len(entries) - len(drained) - len(aside)
        if drained:
            # The writer must live: what stops here stops every answer of the line. The next sweep tries again.
            with suppress(OSError, sqlite3.Error):
                self._sweep(writer)
        for _, future in group:
            future.set_result(None)

    def _sweep(self, writer: sqlite3.Connection) -> None:
        """Delete the segments that no entry refers to any more."""
        used = {row[0] for row in writer.execute("SELECT DISTINCT segment FROM blobs")} | {self._segment}
        for number in self._segment_numbers():
            if number not in used:
                self._segment_path(number).unlink(missing_ok=True)

    def _segment_numbers(self) -> list[int]:
        return [int(path.stem) for path in self._segments.glob("*.seg") if path.stem.isascii() and path.stem.isdigit()]

    def _write_blobs(self, entries: list[Entry]) -> list[tuple[str, str, int, int, int]]:
        """Append the image bytes to the segment and make them durable; returns the rows that say where."""
        rows = []
        chunks = []
        if self._written > SEGMENT_BYTES:
            # The old one is let go of only when there is a new one: where none can be made, the next group tries again.
            following = self._open_segment(self._segment + 1)
            os.close(self._file)
            self._file, self._segment, self._written = following, self._segment + 1, 0
        end = os.lseek(self._file, 0, os.SEEK_END)
        for entry in entries:
            for sha256, data in entry.blobs.items():
                rows.append((entry.id, sha256, self._segment, end, len(data)))
                chunks.append(data)
                end += len(data)
        if chunks:
            start = rows[0][3]
            try:
                for data in chunks:
                    _write_all(self._file, data)
                os.fdatasync(self._file)
            except OSError:
                # What was half written must not go on filling a full disk.
                os.ftruncate(self._file, start)
                raise
            self._written = end
        return rows

    def _write_entries(
        self, writer: sqlite3.Connection, entries: list[Entry], blobs: list[tuple[str, str, int, int, int]]
    ) -> None:
        writer.executemany(
            "INSERT INTO entries (id, kind, key, digest, record, answer, written_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(e.id, e.kind, e.key, e.digest, e.record, e.answer, e.written_at.timestamp()) for e in entries],
        )
        writer.executemany("INSERT INTO blobs VALUES (?, ?, ?, ?, ?)", blobs)

    def _segment_path(self, number: int) -> Path:
        return self._segments / f"{number:08d}.seg"

    def _open_segment(self, number: int) -> int:
        descriptor = os.open(self._segment_path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        folder = os.open(self._segments, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return descriptor

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A reader for this block; as many are kept as were ever used at once, whatever threads come and go."""
        try:
            try:
                reader = self._idle.get_nowait()
            except queue.Empty:
                reader = self._connect()
            try:
                yield reader
            finally:
                self._idle.put(reader)
        except sqlite3.Error as error:
            raise JournalBroken(self.folder, str(error)) from error


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalLocked(folder) from error
    return descriptor


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
