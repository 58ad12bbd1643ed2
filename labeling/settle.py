"""From stored labels to a stored consensus."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import numpy as np

from labeling.consensus import aggregate
from labeling.label_book import expected_shares
from labeling.votes import Consensus, Floats, Ints, Votes, WrongVotes
from storage import adjudications, datasets, labels
from storage import opinions as model_opinions
from storage.database import Connection
from storage.records import Adjudication, ConsensusRow, ConsensusRun, Label, LabelBook, Opinion

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


def settle(
    connection: Connection,
    product: str,
    now: datetime,
    method: str = "auto",
    *,
    class_prior: Mapping[str, float] | None = None,
    with_model: bool = False,
) -> Settlement:
    """Settle all labels of a product and store the posterior; the same labels give the same run.

    What leads decided is final, and tells how good inspectors are. class_prior: known shares by class name; default:
    those of the label book, where it has them. with_model: take what the newest model says of images that it was not
    trained on (out of fold) as a tempered prior; not by default, for a model overlooks what inspectors overlook, and
    would then settle the labels that the next one learns from.

    Raises NothingToSettle, WrongVotes.
    """
    book = labels.newest_book(connection, product)
    judged = labels.of_product(connection, product)
    decided = adjudications.holding(connection, product)
    if book is None or not (judged or decided):
        raise NothingToSettle(product)
    votes, images, inspectors = to_votes(judged, book, also=decided)
    classes = tuple(c.name for c in book.classes)
    shares = _known_shares(class_prior, classes) if class_prior is not None else expected_shares(book)
    opinions = model_opinions.newest(connection, product) if with_model else {}
    consensus = consensus_of(votes, images, classes, shares, decided, opinions, method)
    run = ConsensusRun(
        id=_digest(judged, book, consensus.method, shares, decided, opinions),
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


def consensus_of(
    votes: Votes,
    images: Sequence[str],
    classes: Sequence[str],
    shares: Sequence[float] | None = None,
    decided: Mapping[str, Adjudication] = MappingProxyType({}),
    opinions: Mapping[str, Opinion] = MappingProxyType({}),
    method: str = "auto",
) -> Consensus:
    """The consensus of votes with all else that is known: the mix, decisions and a model's opinions by image.

    images: SHA-256 by item number. Raises WrongVotes.
    """
    return aggregate(
        votes,
        len(classes),
        class_prior=None if shares is None else np.array(shares),
        model_probability=_opinions(opinions, images, classes),
        known=_known(decided, images, classes),
        method=method,
    )


def to_votes(
    judged: Sequence[Label], book: LabelBook, also: Collection[str] = ()
) -> tuple[Votes, tuple[str, ...], tuple[str, ...]]:
    """The labels as numbers, with the image and the inspector that each number stands for.

    also: images (SHA-256) that get a number even without a label.
    """
    images = tuple(sorted({label.image_sha256 for label in judged} | {*also}))
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
            time=np.array([(label.judged_at or label.stored_at).timestamp() for label in judged]),
        ),
        images,
        inspectors,
    )


def _known_shares(class_prior: Mapping[str, float], classes: Sequence[str]) -> tuple[float, ...]:
    unknown = sorted({*class_prior} - {*classes})
    if unknown:
        raise WrongVotes(f"{unknown[0]!r} is no class of the label book", f"name shares of {', '.join(classes)}")
    return tuple(class_prior.get(name, 0.0) for name in classes)


def _known(decided: Mapping[str, Adjudication], images: Sequence[str], classes: Sequence[str]) -> Ints | None:
    """(n,) the class that a lead decided on, -1 where none did."""
    number = {name: n for n, name in enumerate(classes)}
    found = [number.get(str(decided[image].class_name), -1) if image in decided else -1 for image in images]
    return np.array(found, np.int64) if decided else None


def _opinions(opinions: Mapping[str, Opinion], images: Sequence[str], classes: Sequence[str]) -> Floats | None:
    """(n, K) what the model says; equal shares where it says nothing, or knows another set of classes."""
    known = [opinions[image].probability if image in opinions else {} for image in images]
    rows = [[one.get(name, 0.0) for name in classes] if {*one} == {*classes} else [1.0] * len(classes) for one in known]
    return np.array(rows, np.float64) if any(known) else None


def _digest(
    judged: Sequence[Label],
    book: LabelBook,
    method: str,
    shares: Sequence[float] | None,
    decided: Mapping[str, Adjudication],
    opinions: Mapping[str, Opinion],
) -> str:
    content = [
        method,
        book.version,
        sorted(label.id for label in judged),
        shares,
        sorted(one.id for one in decided.values()),
        sorted({one.model_id for one in opinions.values()}),
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
