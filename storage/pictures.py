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


def has(connection: Connection, product: str, sha256: str) -> bool:
    """Whether the product knows the image."""
    query = select(images.c.sha256).where(images.c.product == product, images.c.sha256 == sha256)
    return connection.execute(query).first() is not None


def media_type(connection: Connection, sha256: str) -> str | None:
    """The media type of an image that any product knows."""
    query = select(images.c.media_type).where(images.c.sha256 == sha256).limit(1)
    return connection.execute(query).scalar_one_or_none()


def media_types(connection: Connection, product: str, hashes: Sequence[str]) -> dict[str, str]:
    """Media type by SHA-256, of those images that the product knows."""
    query = select(images.c.sha256, images.c.media_type).where(images.c.product == product, images.c.sha256.in_(hashes))
    return {sha256: kind for sha256, kind in connection.execute(query)}  # noqa: C416 - a Row is no plain pair for mypy
