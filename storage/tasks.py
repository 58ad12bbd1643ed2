"""Judgements that were asked for, and the labels that did them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from storage.database import from_row, insert_new, to_row
from storage.records import Task
from storage.tables import tasks

OPTICS = "optics"
"""Kind of the tasks that an optics alarm asks for."""


def ask(connection: Connection, new: Sequence[Task], expires_at: datetime | None) -> None:
    """Store the tasks, all of which are held until `expires_at`; one that is there already is held anew."""
    insert_new(connection, tasks, [to_row(task) for task in new])
    if expires_at is not None:
        query = update(tasks).where(tasks.c.id.in_([task.id for task in new]), tasks.c.expires_at.is_not(None))
        connection.execute(query.values(expires_at=expires_at))


def waiting(connection: Connection, product: str, inspector: str) -> list[Task]:
    """Tasks that wait for this inspector, or for anybody, however long it takes; oldest first."""
    query = (
        select(tasks)
        .where(
            tasks.c.product == product,
            tasks.c.inspector.in_([inspector, ""]),
            tasks.c.expires_at.is_(None),
            tasks.c.label_id.is_(None),
        )
        .order_by(tasks.c.created_at, tasks.c.id)
    )
    return [from_row(Task, row) for row in connection.execute(query).mappings()]


def open_reasons(connection: Connection, product: str) -> dict[str, int]:
    """How many tasks of each reason wait, however long it takes; those without a reason are not counted."""
    query = (
        select(tasks.c.reason, func.count())
        .where(
            tasks.c.product == product,
            tasks.c.reason != "",
            tasks.c.expires_at.is_(None),
            tasks.c.label_id.is_(None),
        )
        .group_by(tasks.c.reason)
    )
    return {reason: count for reason, count in connection.execute(query)}  # noqa: C416 - a Row is no plain pair for mypy


def held_by_others(connection: Connection, product: str, inspector: str, now: datetime) -> set[str]:
    """Images that somebody else is being asked about now."""
    query = select(tasks.c.image_sha256).where(
        tasks.c.product == product,
        tasks.c.expires_at > now,
        tasks.c.inspector != inspector,
        tasks.c.label_id.is_(None),
    )
    return set(connection.execute(query).scalars())


def done(connection: Connection, product: str, image_sha256: str, inspector: str, label_id: str) -> list[Task]:
    """Note the label that does what the inspector was asked about this image; returns the tasks as they were."""
    query = select(tasks).where(
        tasks.c.product == product,
        tasks.c.image_sha256 == image_sha256,
        tasks.c.inspector.in_([inspector, ""]),
        tasks.c.label_id.is_(None),
    )
    found = [from_row(Task, row) for row in connection.execute(query).mappings()]
    connection.execute(update(tasks).where(tasks.c.id.in_([task.id for task in found])).values(label_id=label_id))
    return found


def reopen(connection: Connection, label_id: str) -> None:
    """What a label did that no longer counts is to be done again."""
    connection.execute(update(tasks).where(tasks.c.label_id == label_id).values(label_id=None))
