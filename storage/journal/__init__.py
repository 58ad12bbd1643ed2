"""The journal: durable appends on the line's way, and what waits for the database."""

from storage.journal.entries import (
    Answered,
    Entry,
    JournalBroken,
    JournalLocked,
    JournalUnusable,
    ReserveSpent,
    Waiting,
)
from storage.journal.journal import Journal

__all__ = [
    "Answered",
    "Entry",
    "Journal",
    "JournalBroken",
    "JournalLocked",
    "JournalUnusable",
    "ReserveSpent",
    "Waiting",
]
