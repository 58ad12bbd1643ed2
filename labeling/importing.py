"""From a folder somebody else made to stored images and labels."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from labeling import label_book
from labeling.formats import FoundImage, FoundLabel, Listing, Problem
from storage import labels, pictures
from storage.database import Connection, Database
from storage.images.content import ContentStore
from storage.records import Image, Label

BATCH = 64

Probe = Callable[[bytes], tuple[str, int, int]]
"""Image bytes -> media type, width, height in pixels; raises ValueError for what can't be decoded in full."""


class NothingFound(ValueError):
    """There is no readable image under the path."""

    def __init__(self, listing: Listing, problems: int) -> None:
        super().__init__(f"no readable image was found under {listing.root} (read as {listing.format})")
        self.remedy = (
            f"look at the {problems} problems listed" if problems else "name a folder or file that holds images"
        )


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    product: str
    format: str
    images: int
    """Readable images under the path, each counted once."""
    new_images: int
    new_labels: int
    classes: dict[str, int]
    """Labels by class, as found under the path."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    found: FoundImage
    image: Image
    data: bytes


def import_listing(
    listing: Listing,
    product: str,
    ok: Collection[str],
    database: Database,
    store: ContentStore,
    probe: Probe,
    now: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Store the images and labels of a listing. Unreadable and duplicate images are listed and skipped.

    Importing the same again changes nothing. Images are stored before the one transaction that names them, so an
    interruption leaves no half import.

    Raises NothingFound, WrongLabelBook.
    """
    problems = list(listing.problems)
    seen: dict[str, str] = {}
    images: list[Image] = []
    found_labels: list[tuple[str, FoundLabel]] = []
    batch: list[bytes] = []
    for done, read in enumerate(_read_all(listing, product, probe, now, problems), start=1):
        progress(done, len(listing.images))
        if read is None:
            continue
        if read.image.sha256 in seen:
            problems.append(_duplicate(read.found, seen[read.image.sha256]))
            continue
        seen[read.image.sha256] = read.found.name
        images.append(read.image)
        found_labels.extend((read.image.sha256, label) for label in read.found.labels)
        batch.append(read.data)
        if len(batch) == BATCH:
            store.put_all(batch)
            batch.clear()
    if not images:
        raise NothingFound(listing, len(problems))
    store.put_all(batch)
    classes = Counter(label.label for _, label in found_labels)
    also = {name for _, label in found_labels for name in label.also}
    with database.write() as connection:
        today = _names_today(connection, product)
        book = label_book.grow(connection, product, {today.get(name, name) for name in (*classes, *also)}, ok, now)
        problems += _regrouped(images, {image.sha256: image for image in pictures.of_product(connection, product)})
        new_images = pictures.store(connection, images)
        new = [_label(product, sha256, label, today, book.version, now) for sha256, label in found_labels]
        known = labels.of_product(connection, product)
        settled, changed = _second_looks(new, known, labels.ids(connection, product), seen)
        problems += changed
        new_labels = labels.store(connection, settled)
    if any(found.split for found in listing.images):
        remedy = "nothing to do: Loupe freezes test parts of its own, which keep their split for ever"
        problems.append(Problem(str(listing.root), "the source's own train and test split is not used", remedy))
    return ImportReport(
        product, listing.format, len(images), new_images, new_labels, dict(sorted(classes.items())), tuple(problems)
    )


def _read_all(
    listing: Listing, product: str, probe: Probe, now: datetime, problems: list[Problem]
) -> Iterator[_Read | None]:
    """Each image in turn; None for one that was put among the problems."""
    for found in listing.images:
        try:
            data = found.path.read_bytes()
            media_type, width, height = probe(data)
        except (OSError, ValueError) as error:
            problems.append(Problem(found.name, f"skipped: {error}", "repair or remove the file"))
            yield None
            continue
        sha256 = hashlib.sha256(data).hexdigest()
        image = Image(
            product=product,
            sha256=sha256,
            name=found.name,
            media_type=media_type,
            byte_size=len(data),
            width=width,
            height=height,
            part_group=found.group or found.part_id or sha256[:16],
            lot=found.lot,
            source="import",
            captured_at=found.captured_at,
            added_at=now,
        )
        yield _Read(found, image, data)


def _duplicate(found: FoundImage, first: str) -> Problem:
    labels_lost = f" (its {len(found.labels)} labels are not stored)" if found.labels else ""
    return Problem(
        found.name,
        f"skipped: the same bytes as {first}{labels_lost}",
        "keep one of the two; label the one that is kept",
    )


def _regrouped(images: list[Image], known: dict[str, Image]) -> list[Problem]:
    """Images that are known already, as part of another group."""
    remedy = "import under another --product where the new groups shall hold: a part keeps its split for ever"
    return [
        Problem(image.name, f"stays in group {known[image.sha256].part_group}, not {image.part_group}", remedy)
        for image in images
        if image.sha256 in known and known[image.sha256].part_group != image.part_group
    ]


def _names_today(connection: Connection, product: str) -> dict[str, str]:
    """What classes are called that had another name in a former version: their old files are still read."""
    book = labels.newest_book(connection, product)
    present = {entry.name for entry in book.classes} if book else set()
    former = sorted(labels.names_today(connection, product).items())
    return {name: today for (_, name), today in former if name not in present}


def _second_looks(
    new: list[Label], known: list[Label], ids: set[str], names: dict[str, str]
) -> tuple[list[Label], list[Problem]]:
    """The labels to store, out of the new ones.

    One that differs from a stored one of the same look becomes a second look: labels are never changed. One that says
    the same at the same time is that label, as when an export is imported where it came from.
    """
    taken = {(label.image_sha256, label.inspector, label.occasion): label for label in known}
    result, problems = [], []
    for label in new:
        before = taken.get((label.image_sha256, label.inspector, label.occasion))
        if before is not None and label.id not in ids:
            if (before.class_name, before.judged_at) == (label.class_name, label.judged_at):
                continue
            looks = [o for image, who, o in taken if (image, who) == (label.image_sha256, label.inspector)]
            label = replace(label, occasion=max(looks) + 1)
            what = f"{label.inspector} said {before.class_name} before, now {label.class_name}: stored as a second look"
            problems.append(Problem(names[label.image_sha256], what, "have it judged again in the console if in doubt"))
        taken.setdefault((label.image_sha256, label.inspector, label.occasion), label)
        result.append(label)
    return result, problems


def _label(
    product: str, sha256: str, label: FoundLabel, today: dict[str, str], book_version: int, now: datetime
) -> Label:
    content = [
        product,
        sha256,
        label.inspector,
        label.label,
        label.occasion,
        label.at.isoformat() if label.at else None,
    ]
    return Label(
        id="import-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32],
        product=product,
        image_sha256=sha256,
        inspector=label.inspector,
        class_name=today.get(label.label, label.label),
        also=tuple(today.get(name, name) for name in label.also),
        severity=label.severity,
        unsure=label.unsure,
        region=label.region,
        comment=label.comment,
        seconds=label.seconds,
        occasion=label.occasion,
        book_version=book_version,
        source="import",
        judged_at=label.at,
        stored_at=now,
        shift=label.shift,
    )
