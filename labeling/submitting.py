"""One judgement from a person, stored once, and taken back where it was a mistake."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from labeling.book_changes import JUDGE_AGAIN
from labeling.formats import INSPECTOR
from labeling.label_book import in_use, most_severe_first
from storage import inspections, labels, pictures, tasks
from storage.database import Connection
from storage.records import Image, Label, LabelBook, Task, Withdrawal


class UnknownClass(ValueError):
    """The class can't be given: it is not in the product's label book, or retired."""

    def __init__(self, product: str, class_name: str, known: Collection[str]) -> None:
        super().__init__(f"{class_name!r} is no class of product {product!r}")
        self.remedy = (
            f"use one of {', '.join(known)}" if known else "import labelled images first: that makes the label book"
        )


class Contradiction(ValueError):
    """The judgement says that a part is good and has a defect."""

    def __init__(self, good: str) -> None:
        super().__init__(f"{good!r} is a good class, and the judgement names others too")
        self.remedy = "name the good class alone, or the defects alone"


class UnknownImage(LookupError):
    """The product has no such image."""

    def __init__(self, product: str, sha256: str) -> None:
        super().__init__(f"product {product!r} has no image {sha256}")
        self.remedy = "label images that were imported, or inspected and kept"


class UnknownLabel(LookupError):
    """There is no such label."""

    def __init__(self, label_id: str) -> None:
        super().__init__(f"there is no label {label_id!r}")
        self.remedy = "give the id under which the judgement was submitted; it may not have been stored yet"


class IdTaken(ValueError):
    """Something else is stored under the id."""

    def __init__(self, what: str, taken: str) -> None:
        super().__init__(f"another {what} is stored under the id {taken!r}")
        self.remedy = f"nothing was stored: submit this {what} under an id of its own"


class NotYourLabel(PermissionError):
    """Somebody else gave the label."""

    def __init__(self, label_id: str, inspector: str) -> None:
        super().__init__(f"label {label_id!r} was not given by {inspector!r}")
        self.remedy = "only who gave a label takes it back; a lead settles the image by adjudication"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person submits; `id` is made where they sit, so that sending twice stores once."""

    id: str
    product: str
    image_sha256: str
    inspector: str
    class_name: str
    also: tuple[str, ...] = ()
    severity: int | None = None
    unsure: bool = False
    comment: str = ""
    seconds: float | None = None
    region: tuple[float, ...] | None = None
    judged_at: datetime | None = None
    shift: str = ""


def submit(connection: Connection, judgement: Judgement, source: str, now: datetime) -> bool:
    """Append the judgement as a label; returns False where it is stored already.

    Of several classes the most severe one becomes the label's. An image that is known only from the line becomes an
    image of the product, so that settling sees it. What the inspector was asked about this image counts as done; where
    that was to judge again, the labels given under the older definition no longer count.

    Raises UnknownClass, Contradiction, UnknownImage, IdTaken.
    """
    # Two submissions at once would count the same looks: from here on there is one at a time.
    labels.hold(connection, judgement.product)
    former = labels.find(connection, judgement.id)
    if former is not None:
        if not _says(former, judgement):
            raise IdTaken("judgement", judgement.id)
        return False
    book = labels.newest_book(connection, judgement.product)
    if book is None:
        raise UnknownClass(judgement.product, judgement.class_name, ())
    names = _classes(book, judgement)
    ensure_image(connection, judgement.product, judgement.image_sha256, now)
    asked = tasks.done(connection, judgement.product, judgement.image_sha256, judgement.inspector, judgement.id)
    _withdraw_outdated(connection, asked, judgement, now)
    looks = labels.occasions(connection, judgement.product, judgement.image_sha256, judgement.inspector)
    label = Label(
        id=judgement.id,
        product=judgement.product,
        image_sha256=judgement.image_sha256,
        inspector=judgement.inspector,
        class_name=names[0],
        also=tuple(sorted(names[1:])),
        severity=judgement.severity,
        unsure=judgement.unsure,
        region=judgement.region,
        comment=judgement.comment,
        seconds=judgement.seconds,
        # A correction takes the place of the look that was withdrawn.
        occasion=next(number for number in count() if number not in looks),
        book_version=book.version,
        source=source,
        judged_at=judgement.judged_at or now,
        stored_at=now,
        shift=judgement.shift,
    )
    # At this moment another product alone can take the id: the lock lets nobody else label this one.
    if not labels.store(connection, [label]):
        raise IdTaken("judgement", judgement.id)
    return True


def take_back(connection: Connection, label_id: str, inspector: str, reason: str, now: datetime) -> bool:
    """Withdraw an inspector's own label, so that it no longer counts; returns False where it was withdrawn before.

    Raises UnknownLabel, NotYourLabel.
    """
    label = labels.find(connection, label_id)
    if label is None:
        raise UnknownLabel(label_id)
    if label.inspector != inspector:
        raise NotYourLabel(label_id, inspector)
    labels.hold(connection, label.product)
    tasks.reopen(connection, label_id)
    return labels.withdraw(connection, _withdrawal(label, inspector, reason, now))


def ensure_image(connection: Connection, product: str, sha256: str, now: datetime) -> None:
    """Make an image that is known only from the line one of the product's.

    Raises UnknownImage.
    """
    if not pictures.has(connection, product, sha256):
        pictures.store(connection, [_from_line(connection, product, sha256, now)])


def _says(label: Label, judgement: Judgement) -> bool:
    """Whether the label is what the judgement became, or would have."""
    same = ("product", "image_sha256", "inspector", "severity", "unsure", "comment", "seconds", "region", "shift")
    return (
        all(getattr(label, name) == getattr(judgement, name) for name in same)
        and {label.class_name, *label.also} == {judgement.class_name, *judgement.also}
        and judgement.judged_at in (None, label.judged_at)
    )


def _classes(book: LabelBook, judgement: Judgement) -> tuple[str, ...]:
    """The classes named, the most severe first."""
    known = {entry.name: entry for entry in in_use(book)}
    named = (judgement.class_name, *judgement.also)
    if unknown := [name for name in named if name not in known]:
        raise UnknownClass(judgement.product, unknown[0], known)
    names = most_severe_first(book, named)
    if len(names) > 1 and (good := [name for name in names if known[name].ok]):
        raise Contradiction(good[0])
    return names


def _withdraw_outdated(connection: Connection, asked: list[Task], judgement: Judgement, now: datetime) -> None:
    for task in asked:
        if task.kind != JUDGE_AGAIN:
            continue
        former = task.inspector or INSPECTOR
        found = labels.occasions(connection, task.product, task.image_sha256, former).values()
        for label in found:
            if label.book_version < task.book_version:
                reason = f"judged again under version {task.book_version} of the label book"
                labels.withdraw(connection, _withdrawal(label, judgement.inspector, reason, now))


def _withdrawal(label: Label, by: str, reason: str, now: datetime) -> Withdrawal:
    return Withdrawal(label.id, label.product, label.image_sha256, by, reason, now)


def _from_line(connection: Connection, product: str, sha256: str, now: datetime) -> Image:
    """The image record of a kept view; all views of one part are one group."""
    found = inspections.kept_view(connection, product, sha256)
    if found is None:
        raise UnknownImage(product, sha256)
    inspection, view = found
    return Image(
        product=product,
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
