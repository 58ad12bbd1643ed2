"""Images known to a product."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from storage.database import from_row, insert_new, to_row
from storage.records import Image
from storage.tables import images


def store(connection: Connection, new: Sequence[Image]) -> int:
    """Store the images that the product does not know yet; returns how many were new."""
    return insert_new(connection, images, [to_row(i) for i in new])


def of_product(connection: Connection, product: str) -> list[Image]:
    """All images of a product, ordered by hash."""
    query = select(images).where(images.c.product == product).order_by(images.c.sha256)
    return [from_row(Image, row) for row in connection.execute(query).mappings()]

