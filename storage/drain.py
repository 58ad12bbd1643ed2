"""From the journal to the database and the image store, exactly once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import TypeAdapter
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from storage import alarms, challenges, happenings, inspections, outcomes
from storage.database import Database
from storage.images.content import ContentStore
from storage.journal import Journal, Waiting
from storage.records import Alarm, AlarmChange, Challenge, Event, Inspection, Outcome

BATCH = 500
SLICE = 25
"""Entries that are decoded, or stored, in one go."""

log = structlog.get_logger("drain")


@dataclass(frozen=True, slots=True)
class _Kind:
    adapter: TypeAdapter[Any]
    store: Callable[[Connection, Sequence[Any]], int]


# pydantic's TypeAdapter turns a record into JSON and back (times, tuples, nested views) at C speed.
KINDS = {
    "inspection": _Kind(TypeAdapter(Inspection), inspections.store),
    "alarm": _Kind(TypeAdapter(Alarm), happenings.store_alarms),
    "alarm_change": _Kind(TypeAdapter(AlarmChange), alarms.store_changes),
    "event": _Kind(TypeAdapter(Event), happenings.store_events),
    "outcome": _Kind(TypeAdapter(Outcome), outcomes.store),
    "challenge": _Kind(TypeAdapter(Challenge), challenges.store),
}


@dataclass(frozen=True, slots=True)
class _Decoded:
    entry: Waiting
    record: Any


def encode(kind: str, record: Inspection | Alarm | AlarmChange | Event | Outcome | Challenge) -> bytes:
    """The bytes under which a record waits in the journal; an inspection's answer lies beside them, in its entry."""
    without = {"answer"} if kind == "inspection" else None
    return KINDS[kind].adapter.dump_json(record, exclude=without)


def decode(entry: Waiting) -> Any:
    """The record of an entry.

    Raises KeyError where its kind is unknown, ValueError where it can't be read.
    """
    found = entry.record
    if entry.kind == "inspection":
        answer = json.dumps((entry.answer or b"").decode(), ensure_ascii=False)
        found = b'%s,"answer":%s}' % (found[:-1], answer.encode())
    return KINDS[entry.kind].adapter.validate_json(found)


def drain_once(
    journal: Journal, database: Database, images: ContentStore, pause: Callable[[], None] = lambda: None
) -> int:
    """Move the oldest waiting entries; returns how many were moved, BATCH at most, fewer where their images are large.

    `pause` is called after every SLICE of entries: who has other things to do than to drain sleeps there, or a batch
    would keep a processor from them for as long as it takes. The transaction stays open meanwhile.

    The order makes it exactly once whatever dies: images first and durable, then one transaction that skips what
    is there already (unique ids), only then is the journal told to let go. An entry that nobody can read, or that the
    database refuses, is set aside: one must not hold up the rest.

    Raises DatabaseUnavailable, JournalBroken, OSError.
    """
    batch = journal.waiting(BATCH)
    if not batch:
        return 0
    decoded, refused = _decoded(batch, pause)
    images.put_known((sha256, data) for found in decoded for sha256, data in found.entry.blobs.items())
    refused |= _store(database, decoded, pause)
    journal.mark_drained([entry.id for entry in batch if entry.id not in refused])
    if refused:
        journal.set_aside(sorted(refused))
    return len(batch)


def _decoded(batch: list[Waiting], pause: Callable[[], None]) -> tuple[list[_Decoded], set[str]]:
    """The records, and the ids of entries that nobody can read."""
    decoded, unreadable = [], set()
    for number, entry in enumerate(batch, 1):
        if number % SLICE == 0:
            pause()
        try:
            decoded.append(_Decoded(entry, decode(entry)))
        except (KeyError, ValueError) as error:
            log.error("journal_entry_unreadable", id=entry.id, kind=entry.kind, reason=str(error))
            unreadable.add(entry.id)
        if entry.damaged:
            log.error("journal_images_damaged", id=entry.id, sha256=entry.damaged)
    return decoded, unreadable


def _store(database: Database, decoded: list[_Decoded], pause: Callable[[], None]) -> set[str]:
    """Store the records in one transaction; returns the ids of those that the database refuses for what is in them."""
    try:
        with database.write() as connection:
            for name, kind in KINDS.items():
                records = [found.record for found in decoded if found.entry.kind == name]
                for start in range(0, len(records), SLICE):
                    kind.store(connection, records[start : start + SLICE])
                    pause()
    except (StatementError, OverflowError) as error:
        # Such as a NUL in a text for PostgreSQL. Other errors are the database's own: they pass, or a person is needed.
        if isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError):
            raise
        if len(decoded) > 1:
            half = len(decoded) // 2
            return _store(database, decoded[:half], pause) | _store(database, decoded[half:], pause)
        entry = decoded[0].entry
        log.error("journal_entry_refused", id=entry.id, kind=entry.kind, reason=str(error))
        return {entry.id}
    return set()
