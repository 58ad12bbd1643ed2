"""Inspections and their views."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select

from storage.database import from_row, insert_new, to_row
from storage.records import Inspection, View
from storage.tables import inspections, views


def store(connection: Connection, new: Sequence[Inspection]) -> int:
    """Store the inspections that are not there yet, with their views; returns how many were new."""
    added = insert_new(connection, inspections, [to_row(i, without=["views"]) for i in new])
    insert_new(connection, views, [to_row(v) for i in new for v in i.views])
    return added


def find(connection: Connection, result_id: str) -> Inspection | None:
    """One inspection."""
    row = connection.execute(select(inspections).where(inspections.c.result_id == result_id)).mappings().first()
    return _with_views(connection, [row])[0] if row is not None else None


def of_part(connection: Connection, part_id: str) -> list[Inspection]:
    """All inspections of a part, oldest first."""
    query = select(inspections).where(inspections.c.part_id == part_id).order_by(inspections.c.received_at)
    return _with_views(connection, connection.execute(query).mappings().all())


def latest(
    connection: Connection, limit: int, *, station: str | None = None, disposition: str | None = None
) -> list[Inspection]:
    """The newest inspections, newest first."""
    query = select(inspections).order_by(inspections.c.received_at.desc()).limit(limit)
    if station is not None:
        query = query.where(inspections.c.station == station)
    if disposition is not None:
        query = query.where(inspections.c.disposition == disposition)
    return _with_views(connection, connection.execute(query).mappings().all())


def counts(connection: Connection, since: datetime) -> dict[str, dict[str, int]]:
    """Production inspections by station and disposition since a time; superseded records are left out."""
    replaced = select(inspections.c.supersedes).where(inspections.c.supersedes.is_not(None))
    query = (
        select(inspections.c.station, inspections.c.disposition, func.count())
        .where(
            inspections.c.received_at >= since,
            inspections.c.mode == "production",
            inspections.c.result_id.not_in(replaced),
        )
        .group_by(inspections.c.station, inspections.c.disposition)
    )
    result: dict[str, dict[str, int]] = {}
    for station, disposition, count in connection.execute(query):
        result.setdefault(station, {})[disposition] = count
    return result


def _with_views(connection: Connection, rows: Sequence[RowMapping]) -> list[Inspection]:
    by_result: dict[str, list[View]] = {row["result_id"]: [] for row in rows}
    query = select(views).where(views.c.result_id.in_(by_result)).order_by(views.c.result_id, views.c.view_id)
    for row in connection.execute(query).mappings():
        by_result[row["result_id"]].append(from_row(View, row))
    return [Inspection(**row, views=tuple(by_result[row["result_id"]])) for row in rows]
