"""Labels, their withdrawals (both append-only) and label books."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, text

from storage.database import from_row, insert_new, to_row
from storage.records import Label, LabelBook, Withdrawal
from storage.tables import images, label_books, labels, withdrawals

PRODUCT_LOCK = 0x10_0BF
"""First half of PostgreSQL's advisory lock; the second is the product."""


class BookChanged(RuntimeError):
    """Somebody else has changed the label book since it was read."""

    def __init__(self, product: str, made_from: int, newest: int) -> None:
        super().__init__(f"the label book of {product} is at version {newest}, the change was made from {made_from}")
        self.remedy = f"look at version {newest}, then make the change again from there"


@dataclass(frozen=True, slots=True)
class Looks:
    """How often an inspector has judged an image, and when last."""

    count: int
    last: datetime


def hold(connection: Connection, product: str) -> None:
    """Let no other transaction number looks or change the label book of the product until this one ends.

    With SQLite every writing transaction does so from its beginning.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:space, hashtext(:product))"),
            {"space": PRODUCT_LOCK, "product": product},
        )


def store(connection: Connection, new: Sequence[Label]) -> int:
    """Append the labels whose id is not there yet; returns how many were new."""
    return insert_new(connection, labels, [to_row(label) for label in new])


def of_product(connection: Connection, product: str) -> list[Label]:
    """The labels of a product that count, in a stable order, with the names that their classes have today."""
    return _found(connection, product, labels.c.product == product, _counts())


def find(connection: Connection, label_id: str) -> Label | None:
    """One label as it was stored, whether it counts or not."""
    row = connection.execute(select(labels).where(labels.c.id == label_id)).mappings().first()
    return None if row is None else from_row(Label, row)


def ids(connection: Connection, product: str) -> set[str]:
    """The ids of all labels of a product, of withdrawn ones too."""
    return set(connection.execute(select(labels.c.id).where(labels.c.product == product)).scalars())


def occasions(connection: Connection, product: str, image_sha256: str, inspector: str) -> dict[int, Label]:
    """The looks of an inspector at an image that count, by number."""
    found = _found(
        connection,
        product,
        labels.c.product == product,
        labels.c.image_sha256 == image_sha256,
        labels.c.inspector == inspector,
        _counts(),
    )
    return {label.occasion: label for label in found}


def looks_of(connection: Connection, product: str, inspector: str) -> dict[str, Looks]:
    """What an inspector has judged of a product, by image."""
    own = (labels.c.product == product, labels.c.inspector == inspector)
    found = _looks(connection, *own)
    # Few labels are withdrawn: looking only at their images again spares a look-up for every label.
    touched = set(connection.execute(_touched(product)).scalars())
    if touched:
        counting = _looks(connection, *own, labels.c.image_sha256.in_(touched), _counts())
        found = {**{sha256: looks for sha256, looks in found.items() if sha256 not in touched}, **counting}
    return found


def _looks(connection: Connection, *wanted: ColumnElement[bool]) -> dict[str, Looks]:
    query = (
        select(labels.c.image_sha256, func.count(), func.max(func.coalesce(labels.c.judged_at, labels.c.stored_at)))
        .where(*wanted)
        .group_by(labels.c.image_sha256)
    )
    return {sha256: Looks(count, last) for sha256, count, last in connection.execute(query)}


def unlabelled(connection: Connection, product: str, limit: int, start: str = "") -> list[tuple[str, str]]:
    """(SHA-256, media type) of the product's images without a label that counts, ordered by hash, from `start` on."""
    of_image = (labels.c.product == images.c.product, labels.c.image_sha256 == images.c.sha256)
    # Few labels are withdrawn: for all other images one look into the index tells.
    waits = or_(
        ~exists().where(*of_image), and_(images.c.sha256.in_(_touched(product)), ~exists().where(*of_image, _counts()))
    )
    query = (
        select(images.c.sha256, images.c.media_type)
        .where(images.c.product == product, images.c.sha256 >= start, waits)
        .order_by(images.c.sha256)
        .limit(limit)
    )
    return [(sha256, kind) for sha256, kind in connection.execute(query)]


def state(connection: Connection, product: str) -> tuple[int, int, int]:
    """Three numbers of which one moves with every label, withdrawal and change of the label book."""
    given = select(func.count()).select_from(labels).where(labels.c.product == product).scalar_subquery()
    withdrawn = select(func.count()).where(withdrawals.c.product == product).scalar_subquery()
    version = select(func.max(label_books.c.version)).where(label_books.c.product == product).scalar_subquery()
    found = connection.execute(select(given, withdrawn, func.coalesce(version, 0))).one()
    return int(found[0]), int(found[1]), int(found[2])


def withdraw(connection: Connection, withdrawal: Withdrawal) -> bool:
    """Take a label out of what counts; returns False where it was withdrawn before."""
    return bool(insert_new(connection, withdrawals, [to_row(withdrawal)]))


def withdrawn(connection: Connection, product: str) -> list[Withdrawal]:
    """The withdrawals of a product, newest first."""
    query = select(withdrawals).where(withdrawals.c.product == product)
    ordered = query.order_by(withdrawals.c.withdrawn_at.desc(), withdrawals.c.label_id)
    return [from_row(Withdrawal, row) for row in connection.execute(ordered).mappings()]


def newest_books(connection: Connection) -> dict[str, LabelBook]:
    """The label book of every product in its newest version, ordered by product."""
    query = select(label_books).order_by(label_books.c.product, label_books.c.version)
    found = (from_row(LabelBook, row) for row in connection.execute(query).mappings())
    return {book.product: book for book in found}


def newest_book(connection: Connection, product: str) -> LabelBook | None:
    """The product's label book in its newest version."""
    query = select(label_books).where(label_books.c.product == product).order_by(label_books.c.version.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else from_row(LabelBook, row)


def book(connection: Connection, product: str, version: int) -> LabelBook | None:
    """One version of a product's label book."""
    query = select(label_books).where(label_books.c.product == product, label_books.c.version == version)
    row = connection.execute(query).mappings().first()
    return None if row is None else from_row(LabelBook, row)


def book_history(connection: Connection, product: str) -> list[LabelBook]:
    """All versions of a product's label book, newest first."""
    query = select(label_books).where(label_books.c.product == product).order_by(label_books.c.version.desc())
    return [from_row(LabelBook, row) for row in connection.execute(query).mappings()]


def add_book(connection: Connection, new: LabelBook) -> None:
    """Add a version.

    Raises BookChanged where there is one of this number.
    """
    if not insert_new(connection, label_books, [to_row(new)]):
        newest = connection.execute(
            select(func.max(label_books.c.version)).where(label_books.c.product == new.product)
        ).scalar_one()
        raise BookChanged(new.product, new.version - 1, int(newest))


def names_today(connection: Connection, product: str) -> dict[tuple[int, str], str]:
    """What a class is called now, by (version, name in it), for those that are called otherwise than then."""
    history = book_history(connection, product)
    today = {entry.number: entry.name for entry in history[0].classes} if history else {}
    return {
        (former.version, entry.name): today[entry.number]
        for former in history[1:]
        for entry in former.classes
        if today.get(entry.number, entry.name) != entry.name
    }


def _counts() -> ColumnElement[bool]:
    return ~exists().where(withdrawals.c.label_id == labels.c.id)


def _touched(product: str) -> Select[Any]:
    """Images with a withdrawn label."""
    return select(withdrawals.c.image_sha256).where(withdrawals.c.product == product)


def _found(connection: Connection, product: str, *wanted: ColumnElement[bool]) -> list[Label]:
    query = select(labels).where(*wanted).order_by(labels.c.image_sha256, labels.c.id)
    found = [from_row(Label, row) for row in connection.execute(query).mappings()]
    names = names_today(connection, product)
    return [_named(label, names) for label in found] if names else found


def _named(label: Label, names: dict[tuple[int, str], str]) -> Label:
    given = (label.class_name, *label.also)
    today = tuple(names.get((label.book_version, name), name) for name in given)
    return label if today == given else replace(label, class_name=today[0], also=today[1:])
