"""What models say of images that they were not trained on."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from storage.database import from_row, insert_new, to_row
from storage.records import Opinion
from storage.tables import models, opinions


def store(connection: Connection, new: Sequence[Opinion]) -> int:
    """Store the opinions that are not there yet; returns how many were new."""
    return insert_new(connection, opinions, [to_row(one) for one in new])


def newest(connection: Connection, product: str) -> dict[str, Opinion]:
    """By image, the opinions of the product's newest model that has any."""
    model = (
        select(models.c.id)
        .where(models.c.product == product, models.c.id.in_(select(opinions.c.model_id)))
        .order_by(models.c.created_at.desc(), models.c.id)
        .limit(1)
        .scalar_subquery()
    )
    query = select(opinions).where(opinions.c.model_id == model).order_by(opinions.c.image_sha256)
    return {row["image_sha256"]: from_row(Opinion, row) for row in connection.execute(query).mappings()}
