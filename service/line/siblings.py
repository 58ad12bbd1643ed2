"""The line servers of one machine share a data folder: what a dead one left in its journal is drained for it."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

import structlog

from storage.journal import Journal, JournalLocked, JournalUnusable

SLICE_S = 2.0
"""So long the journal of a dead process is held at a time: it may be started again and want it."""

log = structlog.get_logger("line")


class Siblings:
    """The line servers with which this one shares its data folder: what a dead one left is drained for it."""

    def __init__(self, own: Path, reserve_bytes: int, drain: Callable[[Journal, float], None]) -> None:
        self._own, self._reserve_bytes = own, reserve_bytes
        self._drain = drain
        """Moves what waits in a journal to the database, until time.monotonic() has come."""
        self._empty: dict[Path, int] = {}
        """Journals in which nothing waited, with the time of their last change then."""
        self._failing: set[Path] = set()
        """Journals whose failure has been told."""
        self._lock = threading.Lock()

    def look(self) -> bool:
        """Drain the journals that nobody writes, each for a little while; one that can't be drained stops nothing."""
        with self._lock:
            for folder in [self._own.parent / "line/journal", *sorted(self._own.parent.glob("line-*/journal"))]:
                is_own = folder.parent == self._own
                if not is_own and folder.is_dir():
                    self._drain_if_changed(folder)
        return False

    def _drain_if_changed(self, folder: Path) -> None:
        try:
            if self._empty.get(folder) != _changed_ns(folder):
                self._drain_one(folder)
        except Exception as error:  # noqa: BLE001 - whatever one journal has, the others and a take-over go on
            if folder not in self._failing:
                log.error("journal_of_another_not_drained", path=str(folder), reason=str(error) or type(error).__name__)
            self._failing.add(folder)
        else:
            self._failing.discard(folder)

    def _drain_one(self, folder: Path) -> None:
        try:
            journal = Journal(folder, reserve_bytes=self._reserve_bytes)
        except JournalLocked:
            return  # its process lives
        except JournalUnusable as error:
            log.error("journal_of_another_unusable", path=str(folder), reason=str(error))
            self._empty[folder] = _changed_ns(folder)
            return
        try:
            waited = journal.waiting_count
            self._drain(journal, time.monotonic() + SLICE_S)
            left = journal.waiting_count
        finally:
            journal.close()
        if waited:
            log.info("journal_of_another_drained", path=str(folder), records=waited - left, left=left)
        if not left:
            self._empty[folder] = _changed_ns(folder)


def _changed_ns(folder: Path) -> int:
    """When anything in a journal changed last."""
    newest = 0
    for path in folder.rglob("*"):
        # Its process may live, and renames files meanwhile.
        with suppress(FileNotFoundError):
            found = path.stat()
            if S_ISREG(found.st_mode):
                newest = max(newest, found.st_mtime_ns)
    return newest
