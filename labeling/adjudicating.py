"""A lead settles single images; such images are the known answers in blind checks of inspectors."""

from dataclasses import dataclass
from datetime import datetime

from labeling.label_book import book_of, in_use
from labeling.submitting import IdTaken, UnknownClass, ensure_image
from storage import adjudications, labels
from storage.database import Connection
from storage.records import Adjudication


class NothingToTakeBack(LookupError):
    """A decision shall be taken back where none holds."""

    def __init__(self, product: str, sha256: str) -> None:
        super().__init__(f"no decision about image {sha256} of product {product!r} holds")
        self.remedy = "name a class to decide on, or look up the image's SHA-256 in /api/disagreements"


class NoReason(ValueError):
    """A decision without a reason."""

    def __init__(self) -> None:
        super().__init__("a decision needs its reason")
        self.remedy = "say in a few words why: it is what inspectors learn from"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a lead submits; `id` is made where they sit. class_name None takes back the decision that holds."""

    id: str
    product: str
    image_sha256: str
    class_name: str | None
    reason: str
    adjudicator: str
    decided_at: datetime | None = None


def adjudicate(connection: Connection, decision: Decision, now: datetime) -> bool:
    """Append the decision; returns False where it is stored already.

    Raises UnknownProduct, UnknownClass, UnknownImage, NoReason, NothingToTakeBack, IdTaken.
    """
    labels.hold(connection, decision.product)
    former = adjudications.find(connection, decision.id)
    if former is not None:
        if not _says(former, decision):
            raise IdTaken("decision", decision.id)
        return False
    history = adjudications.history(connection, decision.product, decision.image_sha256)
    book = book_of(connection, decision.product)
    names = [entry.name for entry in in_use(book)]
    if decision.class_name is not None and decision.class_name not in names:
        raise UnknownClass(decision.product, decision.class_name, names)
    if decision.class_name is None and (not history or history[0].class_name is None):
        raise NothingToTakeBack(decision.product, decision.image_sha256)
    if not decision.reason.strip():
        raise NoReason
    ensure_image(connection, decision.product, decision.image_sha256, now)
    row = Adjudication(
        id=decision.id,
        product=decision.product,
        image_sha256=decision.image_sha256,
        class_name=decision.class_name,
        reason=decision.reason.strip(),
        adjudicator=decision.adjudicator,
        book_version=book.version,
        decided_at=decision.decided_at or now,
        stored_at=now,
    )
    # At this moment another product alone can take the id: the lock lets nobody else decide on this one.
    if not adjudications.store(connection, [row]):
        raise IdTaken("decision", decision.id)
    return True


def _says(former: Adjudication, decision: Decision) -> bool:
    """Whether the stored decision is this one."""
    same = ("product", "image_sha256", "class_name", "adjudicator")
    return (
        all(getattr(former, name) == getattr(decision, name) for name in same)
        and former.reason == decision.reason.strip()
        and decision.decided_at in (None, former.decided_at)
    )
