"""From stored labels to a stored consensus."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from labeling.consensus import aggregate
from labeling.votes import Consensus, Votes
from storage import datasets, labels
from storage.database import Connection
from storage.records import ConsensusRow, ConsensusRun, Label, LabelBook

UNSURE_WEIGHT = 0.5


class NothingToSettle(ValueError):
    """The product has no labels."""

    def __init__(self, product: str) -> None:
        super().__init__(f"product {product!r} has no labels")
        self.remedy = f"import labelled images first: loupe import PATH --product {product}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """A consensus together with what its numbers stand for."""

    run: ConsensusRun
    consensus: Consensus
    votes: Votes
    images: tuple[str, ...]
    """SHA-256 by item number."""
    inspectors: tuple[str, ...]
    classes: tuple[str, ...]


def settle(connection: Connection, product: str, now: datetime, method: str = "auto") -> Settlement:
    """Settle all labels of a product and store the posterior; the same labels give the same run.

    Raises NothingToSettle, WrongVotes.
    """
    book = labels.newest_book(connection, product)
    judged = labels.of_product(connection, product)
    if book is None or not judged:
        raise NothingToSettle(product)
    votes, images, inspectors = to_votes(judged, book)
    classes = tuple(c.name for c in book.classes)
    consensus = aggregate(votes, len(classes), method=method)
    run = ConsensusRun(
        id=_digest(judged, book, consensus.method),
        product=product,
        method=consensus.method,
        reason=consensus.reason,
        book_version=book.version,
        image_count=len(images),
        label_count=len(judged),
        settled_at=now,
    )
    rows = [
        ConsensusRow(
            run_id=run.id,
            image_sha256=image,
            probability={name: round(float(p), 6) for name, p in zip(classes, row, strict=True)},
            effective_votes=float(effective),
        )
        for image, row, effective in zip(images, consensus.probability, consensus.effective_votes, strict=True)
    ]
    datasets.store_run(connection, run, rows)
    stored = datasets.run(connection, run.id)
    return Settlement(stored or run, consensus, votes, images, inspectors, classes)


def to_votes(judged: Sequence[Label], book: LabelBook) -> tuple[Votes, tuple[str, ...], tuple[str, ...]]:
    """The labels as numbers, with the image and the inspector that each number stands for."""
    images = tuple(sorted({label.image_sha256 for label in judged}))
    inspectors = tuple(sorted({label.inspector for label in judged}))
    item, who = ({name: n for n, name in enumerate(names)} for names in (images, inspectors))
    number = {c.name: n for n, c in enumerate(book.classes)}
    return (
        Votes(
            item=np.array([item[label.image_sha256] for label in judged], dtype=np.int64),
            inspector=np.array([who[label.inspector] for label in judged], dtype=np.int64),
            label=np.array([number[label.class_name] for label in judged], dtype=np.int64),
            occasion=np.array([label.occasion for label in judged], dtype=np.int64),
            weight=np.array([UNSURE_WEIGHT if label.unsure else 1.0 for label in judged]),
        ),
        images,
        inspectors,
    )


def _digest(judged: Sequence[Label], book: LabelBook, method: str) -> str:
    content = json.dumps([method, book.version, sorted(label.id for label in judged)], separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
