"""Alarms and events."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from storage.database import from_row, insert_new, to_row
from storage.records import Alarm, Event
from storage.tables import alarms, events


def store_alarms(connection: Connection, new: Sequence[Alarm]) -> int:
    """Store the alarms that are not there yet; returns how many were new."""
    return insert_new(connection, alarms, [to_row(a) for a in new])


def store_events(connection: Connection, new: Sequence[Event]) -> int:
    """Store the events that are not there yet; returns how many were new."""
    return insert_new(connection, events, [to_row(e) for e in new])


def latest_alarms(connection: Connection, limit: int) -> list[Alarm]:
    """The newest alarms, newest first."""
    query = select(alarms).order_by(alarms.c.raised_at.desc()).limit(limit)
    return [from_row(Alarm, row) for row in connection.execute(query).mappings()]


def latest_events(connection: Connection, limit: int, kind: str | None = None) -> list[Event]:
    """The newest events, newest first."""
    query = select(events).order_by(events.c.happened_at.desc()).limit(limit)
    if kind is not None:
        query = query.where(events.c.kind == kind)
    return [from_row(Event, row) for row in connection.execute(query).mappings()]
