"""From the journal to the database and the image store, exactly once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from storage import happenings, inspections
from storage.database import Database
from storage.images.content import ContentStore
from storage.journal import Journal, Waiting
from storage.records import Alarm, Event, Inspection

BATCH = 200

log = structlog.get_logger("drain")


@dataclass(frozen=True, slots=True)
class _Kind:
    adapter: TypeAdapter[Any]
    store: Callable[[Connection, Sequence[Any]], int]


# pydantic's TypeAdapter turns a record into JSON and back (times, tuples, nested views) at C speed.
KINDS = {
    "inspection": _Kind(TypeAdapter(Inspection), inspections.store),
    "alarm": _Kind(TypeAdapter(Alarm), happenings.store_alarms),
    "event": _Kind(TypeAdapter(Event), happenings.store_events),
}


def encode(kind: str, record: Inspection | Alarm | Event) -> bytes:
    """The bytes under which a record waits in the journal."""
    return KINDS[kind].adapter.dump_json(record)


def drain_once(journal: Journal, database: Database, images: ContentStore) -> int:
    """Move the oldest waiting entries; returns how many were moved.

    The order makes it exactly once whatever dies: images first and durable, then one transaction that skips what
    is there already (unique ids), only then is the journal told to let go.

    Raises DatabaseUnavailable, OSError.
    """
    batch = journal.waiting(BATCH)
    if not batch:
        return 0
    records, unreadable = _decoded(batch)
    images.put_all(data for entry_id, _, _ in records for data in _whole_images(journal, entry_id))
    with database.write() as connection:
        for name, kind in KINDS.items():
            kind.store(connection, [record for _, found, record in records if found == name])
    journal.mark_drained([entry_id for entry_id, _, _ in records])
    if unreadable:
        journal.set_aside(unreadable)
    return len(batch)


def _decoded(batch: list[Waiting]) -> tuple[list[tuple[str, str, Any]], list[str]]:
    """(id, kind, record) of each entry, and the ids of those that nobody can read: one must not hold up the rest."""
    records, unreadable = [], []
    for entry in batch:
        try:
            records.append((entry.id, entry.kind, KINDS[entry.kind].adapter.validate_json(entry.record)))
        except (KeyError, ValidationError) as error:
            log.error("journal_entry_unreadable", id=entry.id, kind=entry.kind, reason=str(error))
            unreadable.append(entry.id)
    return records, unreadable


def _whole_images(journal: Journal, entry_id: str) -> Iterator[bytes]:
    """The entry's images; one that the disk has damaged is reported, and the record goes on without it."""
    try:
        for sha256, data in journal.blobs(entry_id):
            if hashlib.sha256(data).hexdigest() == sha256:
                yield data
            else:
                log.error("journal_image_damaged", id=entry_id, sha256=sha256)
    except FileNotFoundError as error:
        log.error("journal_image_missing", id=entry_id, reason=str(error))
