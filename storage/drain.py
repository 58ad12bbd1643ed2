"""From the journal to the database and the image store, exactly once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection

from storage import happenings, inspections
from storage.database import Database
from storage.images.content import ContentStore
from storage.journal import Journal, Waiting
from storage.records import Alarm, Event, Inspection

BATCH = 200


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
    images.put_all(data for entry in batch if entry.blobs for data in journal.blobs(entry.id))
    with database.write() as connection:
        for name, kind in KINDS.items():
            kind.store(connection, [_decode(kind, entry) for entry in batch if entry.kind == name])
    journal.mark_drained([entry.id for entry in batch])
    return len(batch)


def _decode(kind: _Kind, entry: Waiting) -> Any:
    return kind.adapter.validate_json(entry.record)
