"""One judgement from a person, stored once."""

from dataclasses import dataclass
from datetime import datetime

from storage import inspections, labels, pictures
from storage.database import Connection
from storage.records import Image, Label


class UnknownClass(ValueError):
    """The class is not in the product's label book."""

    def __init__(self, product: str, class_name: str, known: list[str]) -> None:
        super().__init__(f"{class_name!r} is no class of product {product!r}")
        self.remedy = (
            f"use one of {', '.join(known)}" if known else "import labelled images first: that makes the label book"
        )


class UnknownImage(LookupError):
    """The product has no such image."""

    def __init__(self, product: str, sha256: str) -> None:
        super().__init__(f"product {product!r} has no image {sha256}")
        self.remedy = "label images that were imported, or inspected and kept"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person submits; `id` is made where they sit, so that sending twice stores once."""

    id: str
    product: str
    image_sha256: str
    inspector: str
    class_name: str
    unsure: bool = False
    comment: str = ""
    seconds: float | None = None
    region: tuple[float, ...] | None = None
    judged_at: datetime | None = None


def submit(connection: Connection, judgement: Judgement, source: str, now: datetime) -> bool:
    """Append the judgement as a label; returns False where its id is stored already.

    An image that is known only from the line becomes an image of the product, so that settling sees it.

    Raises UnknownClass, UnknownImage.
    """
    book = labels.newest_book(connection, judgement.product)
    names = [c.name for c in book.classes] if book else []
    if book is None or judgement.class_name not in names:
        raise UnknownClass(judgement.product, judgement.class_name, names)
    if not pictures.has(connection, judgement.product, judgement.image_sha256):
        pictures.store(connection, [_from_line(connection, judgement, now)])
    earlier = labels.count(connection, judgement.product, judgement.image_sha256, judgement.inspector)
    label = Label(
        id=judgement.id,
        product=judgement.product,
        image_sha256=judgement.image_sha256,
        inspector=judgement.inspector,
        class_name=judgement.class_name,
        also=(),
        severity=None,
        unsure=judgement.unsure,
        region=judgement.region,
        comment=judgement.comment,
        seconds=judgement.seconds,
        occasion=earlier,
        book_version=book.version,
        source=source,
        judged_at=judgement.judged_at or now,
        stored_at=now,
    )
    return bool(labels.store(connection, [label]))


def _from_line(connection: Connection, judgement: Judgement, now: datetime) -> Image:
    """The image record of a kept view; all views of one part are one group."""
    found = inspections.kept_view(connection, judgement.product, judgement.image_sha256)
    if found is None:
        raise UnknownImage(judgement.product, judgement.image_sha256)
    inspection, view = found
    return Image(
        product=judgement.product,
        sha256=view.image_sha256,
        name=f"{inspection.station}/{inspection.trigger_id}/{view.view_id}",
        media_type=view.media_type,
        byte_size=0,
        width=view.width or 0,
        height=view.height or 0,
        part_group=inspection.part_id or inspection.result_id,
        lot=inspection.lot,
        source="line",
        captured_at=inspection.captured_at or inspection.received_at,
        added_at=now,
    )
