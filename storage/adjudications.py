"""Decisions of leads about single images; append-only."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, select

from storage.database import from_row, insert_new, to_row
from storage.labels import names_today
from storage.records import Adjudication
from storage.tables import adjudications


def store(connection: Connection, new: Sequence[Adjudication]) -> int:
    """Append the decisions whose id is not there yet; returns how many were new."""
    return insert_new(connection, adjudications, [to_row(one, without=["seq"]) for one in new])


def find(connection: Connection, decision_id: str) -> Adjudication | None:
    """One decision as it was stored, whether it holds or not."""
    row = connection.execute(select(adjudications).where(adjudications.c.id == decision_id)).mappings().first()
    return None if row is None else from_row(Adjudication, row)


def history(connection: Connection, product: str, image_sha256: str | None = None) -> list[Adjudication]:
    """All decisions about a product (or one image of it), newest first, with the names of classes as they were."""
    query = select(adjudications).where(adjudications.c.product == product).order_by(adjudications.c.seq.desc())
    if image_sha256 is not None:
        query = query.where(adjudications.c.image_sha256 == image_sha256)
    return [from_row(Adjudication, row) for row in connection.execute(query).mappings()]


def holding(connection: Connection, product: str) -> dict[str, Adjudication]:
    """The decision that holds by image, with the name that its class has today; none for those taken back."""
    newest = (
        select(func.max(adjudications.c.seq))
        .where(adjudications.c.product == product)
        .group_by(adjudications.c.image_sha256)
    )
    query = (
        select(adjudications)
        .where(adjudications.c.seq.in_(newest), adjudications.c.class_name.is_not(None))
        .order_by(adjudications.c.image_sha256)
    )
    found = [from_row(Adjudication, row) for row in connection.execute(query).mappings()]
    names = names_today(connection, product)
    return {
        one.image_sha256: replace(one, class_name=names.get((one.book_version, str(one.class_name)), one.class_name))
        for one in found
    }
