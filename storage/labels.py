"""Labels (append-only) and label books."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select

from storage.database import from_row, insert_new, to_row
from storage.records import Label, LabelBook
from storage.tables import label_books, labels


def store(connection: Connection, new: Sequence[Label]) -> int:
    """Append the labels whose id is not there yet; returns how many were new."""
    return insert_new(connection, labels, [to_row(label) for label in new])


def of_product(connection: Connection, product: str) -> list[Label]:
    """All labels of a product in a stable order."""
    query = select(labels).where(labels.c.product == product).order_by(labels.c.image_sha256, labels.c.id)
    return [from_row(Label, row) for row in connection.execute(query).mappings()]


def count(connection: Connection, product: str, image_sha256: str, inspector: str) -> int:
    """How often an inspector has judged an image."""
    query = (
        select(func.count())
        .select_from(labels)
        .where(labels.c.product == product, labels.c.image_sha256 == image_sha256, labels.c.inspector == inspector)
    )
    return int(connection.execute(query).scalar_one())


def count_by(connection: Connection, product: str, inspector: str) -> int:
    """How many labels of a product an inspector has given."""
    query = select(func.count()).where(labels.c.product == product, labels.c.inspector == inspector)
    return int(connection.execute(query).scalar_one())


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


def add_book(connection: Connection, new: LabelBook) -> None:
    """Add a version."""
    connection.execute(insert(label_books).values(to_row(new)))
