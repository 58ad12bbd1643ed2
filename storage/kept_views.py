"""Images that a camera took in production and that were kept."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from storage.inspections import JUDGEABLE, in_production
from storage.tables import inspections, views


@dataclass(frozen=True, slots=True)
class KeptView:
    """A kept image, by its SHA-256, with its media type and the product that it shows."""

    image_sha256: str
    media_type: str
    product: str


def normal(
    connection: Connection, station: str, camera: str, limit: int, product: str | None = None, lamp: str | None = None
) -> list[KeptView]:
    """The newest images of good parts that a camera took while no alarm stood for it, in the order they came in.

    Of one product only, and under one lamp only, where these are given.
    """
    query = (
        select(views.c.image_sha256, views.c.media_type, inspections.c.product)
        .join(inspections, inspections.c.result_id == views.c.result_id)
        .where(
            inspections.c.station == station,
            views.c.camera == camera,
            inspections.c.evaluation == "ok",
            inspections.c.drift_state != "alarm",
            JUDGEABLE,
            in_production(),
        )
        .order_by(inspections.c.received_at.desc(), views.c.image_sha256)
        .limit(limit)
    )
    if product is not None:
        query = query.where(inspections.c.product == product)
    if lamp is not None:
        query = query.where(views.c.lamp == lamp)
    return [KeptView(*row) for row in connection.execute(query)][::-1]
