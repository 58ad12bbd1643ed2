"""Inspections and their views."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    exists,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from storage.database import from_row, to_row
from storage.records import Inspection, View
from storage.tables import images, inspections, views

JUDGEABLE = and_(views.c.image_kept, views.c.p_defect.is_not(None))
"""Views that a person can judge and a model can learn from: their image is kept, and could be decoded."""


def store(connection: Connection, new: Sequence[Inspection]) -> int:
    """Store the inspections that are not there yet, with their views; returns how many were new."""
    if not new:
        return 0
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # One statement for all sizes of batches: it is compiled once. Of an insert SQLAlchemy keeps the driver's count only
    # on request; both drivers add up the counts of all rows.
    counted = {"preserve_rowcount": True}
    rows = [to_row(i, without=["views"]) for i in new]
    added = connection.execute(insert(inspections).on_conflict_do_nothing(), rows, execution_options=counted).rowcount
    if seen := [to_row(v) for i in new for v in i.views]:
        connection.execute(insert(views).on_conflict_do_nothing(), seen)
    return added


def find(connection: Connection, result_id: str) -> Inspection | None:
    """One inspection."""
    row = connection.execute(select(inspections).where(inspections.c.result_id == result_id)).mappings().first()
    return _with_views(connection, [row])[0] if row is not None else None


def of_trigger(connection: Connection, station: str, trigger_epoch: str, trigger_id: str) -> Inspection | None:
    """The newest inspection of a trigger that no other has superseded."""
    later = inspections.alias("later")
    query = (
        select(inspections)
        .where(
            inspections.c.station == station,
            inspections.c.trigger_id == trigger_id,
            inspections.c.trigger_epoch == trigger_epoch,
            ~exists().where(later.c.supersedes == inspections.c.result_id),
        )
        .order_by(inspections.c.received_at.desc(), inspections.c.result_id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
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


def kept_view(connection: Connection, product: str, image_sha256: str) -> tuple[Inspection, View] | None:
    """A view of the product whose image was kept and has this hash, with its inspection."""
    query = (
        select(inspections)
        .join(views, views.c.result_id == inspections.c.result_id)
        .where(views.c.image_sha256 == image_sha256, JUDGEABLE, inspections.c.product == product)
        .limit(1)
    )
    found = _with_views(connection, connection.execute(query).mappings().all())
    if not found:
        return None
    return found[0], next(view for view in found[0].views if view.image_sha256 == image_sha256)


def counts(connection: Connection, since: datetime) -> dict[str, dict[str, int]]:
    """Production inspections by station and disposition since a time; superseded records are left out."""
    query = (
        select(inspections.c.station, inspections.c.disposition, func.count())
        .where(inspections.c.received_at >= since, in_production())
        .group_by(inspections.c.station, inspections.c.disposition)
    )
    result: dict[str, dict[str, int]] = {}
    for station, disposition, count in connection.execute(query):
        result.setdefault(station, {})[disposition] = count
    return result


def in_production() -> ColumnElement[bool]:
    """Records of production that no other has superseded."""
    replaced = select(inspections.c.supersedes).where(inspections.c.supersedes.is_not(None))
    return and_(inspections.c.mode == "production", inspections.c.result_id.not_in(replaced))


def since_challenge(
    connection: Connection, station: str, product: str, after: datetime, limit: int
) -> list[Inspection]:
    """Production parts that the station let pass after a time, oldest first: what a failed challenge calls in doubt."""
    query = (
        select(inspections)
        .where(
            inspections.c.station == station,
            inspections.c.product == product,
            inspections.c.received_at > after,
            inspections.c.disposition == "pass",
            in_production(),
        )
        .order_by(inspections.c.received_at, inspections.c.result_id)
        .limit(limit)
    )
    return _with_views(connection, connection.execute(query).mappings().all())


def last_seen(connection: Connection) -> dict[str, datetime]:
    """When the newest part of each station came in, whatever its mode."""
    # Both halves walk the index on (station, received_at) in jumps; a GROUP BY would read every record ever made.
    stations = select(inspections.c.station).distinct().subquery()
    newest = select(func.max(inspections.c.received_at)).where(inspections.c.station == stations.c.station)
    query = select(stations.c.station, newest.scalar_subquery()).order_by(stations.c.station)
    return {station: at for station, at in connection.execute(query)}  # noqa: C416 - a Row is no plain pair for mypy


def superseding(connection: Connection, result_id: str) -> str | None:
    """The record that took the place of this one, if any."""
    query = select(inspections.c.result_id).where(inspections.c.supersedes == result_id).limit(1)
    return connection.execute(query).scalar_one_or_none()


def kept_media_type(connection: Connection, image_sha256: str) -> str | None:
    """The media type of an image that was kept on the line; None where it is unknown or was not kept."""
    query = select(views.c.media_type).where(views.c.image_sha256 == image_sha256, views.c.image_kept).limit(1)
    return connection.execute(query).scalar_one_or_none()


def unlabelled(connection: Connection, product: str, limit: int, start: str = "") -> list[tuple[str, str]]:
    """(SHA-256, media type) of kept production images that are not among the product's images yet.

    Ordered by hash, from `start` on. A label of such an image makes it one of the product's images, so none of these
    has a label.
    """
    known = exists().where(images.c.product == product, images.c.sha256 == views.c.image_sha256)
    query = (
        select(views.c.image_sha256, func.min(views.c.media_type))
        .join(inspections, inspections.c.result_id == views.c.result_id)
        .where(
            inspections.c.product == product,
            inspections.c.mode == "production",
            views.c.image_sha256 >= start,
            JUDGEABLE,
            ~known,
        )
        .group_by(views.c.image_sha256)
        .order_by(views.c.image_sha256)
        .limit(limit)
    )
    return [(sha256, media_type) for sha256, media_type in connection.execute(query)]


def _with_views(connection: Connection, rows: Sequence[RowMapping]) -> list[Inspection]:
    by_result: dict[str, list[View]] = {row["result_id"]: [] for row in rows}
    query = select(views).where(views.c.result_id.in_(by_result)).order_by(views.c.result_id, views.c.view_id)
    for row in connection.execute(query).mappings():
        by_result[row["result_id"]].append(from_row(View, row))
    return [Inspection(**row, views=tuple(by_result[row["result_id"]])) for row in rows]
