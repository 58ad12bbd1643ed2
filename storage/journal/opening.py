"""The start of a journal: its lock, its index, and what the process before left in the segments."""

import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import structlog

from storage.journal.entries import JournalLocked, JournalUnusable
from storage.journal.frames import Frame, Place
from storage.journal.index import Index, State
from storage.journal.segments import Segments

log = structlog.get_logger("journal")


@dataclass(frozen=True, slots=True)
class Left:
    """What the process before left behind."""

    frames: list[Frame]
    """Written, but not in the index."""
    tail: Place
    """Behind the last frame."""


def lock_folder(folder: Path) -> int:
    """Take the folder for this process; returns the descriptor that holds it.

    Raises JournalLocked, OSError.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalLocked(folder) from error
    return descriptor


def open_index(path: Path) -> Index:
    """The index; one that is damaged is moved away and made again from the segments.

    Raises sqlite3.Error, OSError.
    """
    try:
        return Index(path)
    except sqlite3.OperationalError:
        raise  # no room, no permission: the file may be whole
    except sqlite3.DatabaseError as error:
        log.error("journal_index_damaged", path=str(path), reason=str(error))
        path.rename(path.with_suffix(".damaged"))
        for leftover in (f"{path}-wal", f"{path}-shm"):
            Path(leftover).unlink(missing_ok=True)
        return Index(path)


def refuse_older_format(path: Path) -> None:
    """Entries in the format of before are not read: they must have been drained.

    Raises JournalUnusable.
    """
    if not path.exists():
        return
    remedy = "drain it with the version of Loupe that wrote it, then move the file away"
    connection = sqlite3.connect(path)
    try:
        count = connection.execute("SELECT count(*) FROM entries WHERE drained = 0").fetchone()[0]
    except sqlite3.Error as error:
        raise JournalUnusable(path, str(error), remedy) from error
    finally:
        connection.close()
    if count:
        raise JournalUnusable(path, f"{count} entries of an earlier version wait for the database", remedy)


def take_up(segments: Segments, state: State) -> Left:
    """Sort the segments into those that are needed and spares, and read what the index has not seen.

    Raises OSError.
    """
    ends: dict[int, int] = {}
    free: list[int] = []
    frames: list[Frame] = []
    tail = state.indexed_to
    for number in segments.numbers():
        if number < state.indexed_to.segment:
            if number >= state.floor.segment and number in state.ends:
                ends[number] = state.ends[number]
            else:
                free.append(number)
            continue
        start = state.indexed_to.offset if number == state.indexed_to.segment else 0
        found = segments.explore(number, start, state.ends.get(number))
        if found.lost:
            log.error("journal_damaged", segment=number, offsets=found.lost)
        frames += found.frames
        if found.end:
            ends[number] = found.end
            tail = Place(number, found.end)
        else:
            free.append(number)
    segments.take_over(ends, free, max(state.indexed_to.segment, state.drained_to.segment))
    return Left(frames, tail)
