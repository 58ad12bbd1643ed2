"""What goes into the journal and comes out of it, and what can go wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


class JournalLocked(RuntimeError):
    """Another process writes this journal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another line server already writes the journal in {folder}")
        self.remedy = "stop it, or give this one its own LOUPE_LINE_NAME or LOUPE_DATA_DIR"


class JournalUnusable(RuntimeError):
    """The journal can't be opened at the start."""

    def __init__(self, path: Path, reason: str, remedy: str | None = None) -> None:
        super().__init__(f"the journal {path} can't be opened: {reason}")
        self.remedy = remedy or (
            "free the disk; if the file is damaged, keep a copy of the folder and move it away, then start again"
        )


class JournalBroken(RuntimeError):
    """The journal can't be written or read: nothing may be answered as decided."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"the journal in {folder} can't be used: {reason}")
        self.reason = reason
        self.remedy = "free or repair the disk; verdicts are recheck until then"


class ReserveSpent(JournalBroken):
    """The disk is full and the journal's reserve is used up."""

    def __init__(self, folder: Path, reason: str = "the disk is full and the reserve is used up") -> None:
        super().__init__(folder, reason)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record on its way to the database."""

    id: str
    kind: str
    record: bytes
    written_at: datetime
    """Aware; the idempotency window is counted from here."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Idempotency key -> SHA-256 of what was posted under it; they count for entries with an answer."""
    answer: bytes | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    """Image bytes by SHA-256."""
    provisional: bool = False
    """Kept for a restart, never drained, until a later entry closes it; that one brings its own record and images."""
    closes: tuple[str, ...] = ()
    """Ids of provisional entries that this one ends."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered under an idempotency key."""

    entry_id: str
    digest: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that has not reached the database, or is provisional."""

    id: str
    kind: str
    record: bytes
    answer: bytes | None
    written_at: datetime
    keys: Mapping[str, str]
    blobs: Mapping[str, bytes]
    """Image bytes by SHA-256, as they were appended; without those that the disk has damaged."""
    damaged: tuple[str, ...] = ()
    """The SHA-256 of those."""
