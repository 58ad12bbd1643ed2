"""Which images an inspector is shown next; blind: nothing here says what anybody or any model thinks of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from labeling.consensus import aggregate
from labeling.queue import next_requests
from labeling.settle import to_votes
from storage import inspections, labels, pictures
from storage.database import Database
from storage.records import Label, LabelBook

COUNT_LIMIT = 1000
"""Unlabelled images are counted up to here; a line makes more in a day than anybody labels."""
SECOND_LOOK_AFTER = timedelta(hours=4)
"""An inspector is asked about the same image again only when the first look is forgotten."""
LOOKS = 2
"""A second look measures how steady an inspector is; a third adds little."""


class UnknownProduct(LookupError):
    """No label book belongs to this product."""

    def __init__(self, product: str) -> None:
        super().__init__(f"product {product!r} has no label book")
        self.remedy = f"import labelled images first: loupe import PATH --product {product or 'NAME'}"


@dataclass(frozen=True, slots=True)
class Task:
    """An image to judge."""

    image_sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Worklist:
    """What an inspector does next, and how far the work has come."""

    tasks: tuple[Task, ...]
    unlabelled: int
    """Images of the product without any label, counted up to COUNT_LIMIT."""
    judged: int
    """Labels that this inspector has given."""


def worklist(database: Database, product: str, inspector: str, n: int, now: datetime) -> Worklist:
    """At most `n` images for the inspector: first those that nobody has judged, then where another look helps most.

    Raises UnknownProduct, DatabaseUnavailable.
    """
    with database.read() as connection:
        book = labels.newest_book(connection, product)
        if book is None:
            raise UnknownProduct(product)
        imported = pictures.unlabelled(connection, product, COUNT_LIMIT)
        kept = inspections.unlabelled(connection, product, COUNT_LIMIT)
        # Ordered by hash: imported and kept images mix, so the order gives nothing away.
        fresh = sorted({*imported, *kept})[:COUNT_LIMIT]
        tasks = [Task(*found) for found in fresh[:n]]
        if len(tasks) < n:
            judged = labels.of_product(connection, product)
            again = list(islice(_worth_a_look(judged, book, inspector, now), n - len(tasks)))
            media_types = pictures.media_types(connection, product, again)
            tasks += [Task(sha256, media_types[sha256]) for sha256 in again if sha256 in media_types]
        return Worklist(tuple(tasks), len(fresh), labels.count_by(connection, product, inspector))


def _worth_a_look(judged: Sequence[Label], book: LabelBook, inspector: str, now: datetime) -> Iterator[str]:
    """Hashes of judged images, best first: what the queue wants from this inspector, then what is new to them."""
    if not judged:
        return
    votes, images, inspectors = to_votes(judged, book)
    names = inspectors if inspector in inspectors else (*inspectors, inspector)
    me = names.index(inspector)
    consensus = aggregate(votes, len(book.classes))
    asked = [
        (images[item], who == me)
        for item, who in next_requests(votes, consensus, len(images), inspector_count=len(names)).tolist()
    ]
    looks = _looks_of(judged, inspector)
    for sha256, for_me in sorted(asked, key=lambda pair: not pair[1]):
        seen = looks.get(sha256, [])
        if not seen or (for_me and len(seen) < LOOKS and now - max(seen) >= SECOND_LOOK_AFTER):
            yield sha256


def _looks_of(judged: Sequence[Label], inspector: str) -> dict[str, list[datetime]]:
    looks: dict[str, list[datetime]] = {}
    for label in judged:
        if label.inspector == inspector:
            looks.setdefault(label.image_sha256, []).append(label.judged_at or label.stored_at)
    return looks
