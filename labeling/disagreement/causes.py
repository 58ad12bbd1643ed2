"""Why inspectors disagree about an image: a slip, looks that differ by chance, or a label book without a border there.

Where the book is at fault no further look helps: each inspector would say the same again.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeling.disagreement.border import Looks, border
from labeling.votes import Consensus, Floats, Ints, Votes

Bools = npt.NDArray[np.bool_]

CLEAR, SLIP, NOISY, BOOK, UNKNOWN = range(5)
"""What the disagreement about an image is: none, a single error, looks that differ by chance, the label book, or
nobody can say from so few looks."""
KINDS = ("clear", "slip", "noisy", "book", "unknown")

MOST = 0.6
"""How probable a cause is that is named."""


@dataclass(frozen=True, slots=True)
class PairBorder:
    """The border between two classes, first < second, as far as m images tell."""

    first: int
    second: int
    item: Ints
    """(m,) the images of which nothing else was said, or which are mostly called one of the two; ascending."""
    place: Floats
    """(m,) where each lies, -2..2; below 0 towards the first class, above 0 towards the second."""
    point: Floats
    """(inspectors,) where each changes over; the lower, the more images they call the second class."""
    point_spread: Floats
    """(inspectors,) standard deviation of that belief."""


@dataclass(frozen=True, slots=True)
class Causes:
    """Why inspectors disagree, image by image."""

    kind: Ints
    """(n,) CLEAR, SLIP, NOISY, BOOK or UNKNOWN."""
    score: Floats
    """(n,) probability that two who disagreed about the image would do so again; 0 where nobody disagrees."""
    noisy: Floats
    """(n,) probability that one of the two would say otherwise another time."""
    pair: Ints
    """(n, 2) the two classes most said, first < second; (-1, -1) where fewer than two were said."""
    borders: tuple[PairBorder, ...]
    """One a pair of classes that anybody disagrees about."""

    @property
    def is_book_at_fault(self) -> Bools:
        """(n,) whether asking further inspectors is no use: the book must say what such an image is."""
        return np.asarray(self.kind == BOOK, bool)


def causes(votes: Votes, consensus: Consensus, rng: np.random.Generator) -> Causes:
    """Why inspectors disagree about each of the consensus' n images.

    Raises WrongVotes.

    >>> item = np.tile(np.arange(20), 4)  # Ann and Bo saw 20 images twice; Bo alone calls 8..11 defects
    >>> inspector, occasion = np.repeat([0, 0, 1, 1], 20), np.repeat([0, 1, 0, 1], 20)
    >>> votes = Votes(item, inspector, (item >= 12 - 4 * inspector).astype(np.int64), occasion)
    >>> from labeling.consensus import aggregate
    >>> np.flatnonzero(causes(votes, aggregate(votes, 2), np.random.default_rng(0)).is_book_at_fault).tolist()
    [8, 9, 10, 11]
    """
    n, class_count = consensus.probability.shape
    votes = votes.checked(class_count)
    counts = np.zeros((n, class_count))
    np.add.at(counts, (votes.item, votes.label), 1.0)
    pair = _pairs(counts, consensus.probability)
    score, noisy, borders = np.zeros(n), np.zeros(n), []
    for first, second in np.unique(pair[pair[:, 0] >= 0], axis=0).tolist():
        contested = (pair == (first, second)).all(axis=1)
        # Of an image on which a third class was said too, only the looks that said one of the two are read.
        unanimous = (counts[:, [first, second]].sum(axis=1) == counts.sum(axis=1)) & (counts.sum(axis=1) > 0)
        item = np.flatnonzero(contested | unanimous)
        found = border(Looks(_said(votes, n, (first, second))[item]), rng)
        theirs = contested[item]
        score[item[theirs]], noisy[item[theirs]] = found.book[theirs], found.noisy[theirs]
        borders.append(PairBorder(first, second, item, found.place, found.point, found.point_spread))
    kind = np.full(n, UNKNOWN)
    kind[1 - score - noisy > MOST] = SLIP
    kind[noisy > MOST] = NOISY
    kind[score > MOST] = BOOK
    kind[pair[:, 0] < 0] = CLEAR
    return Causes(kind.astype(np.int64), score, noisy, pair, tuple(borders))


def _pairs(counts: Floats, probability: Floats) -> Ints:
    """(n, 2): the two classes most said of each image, the likelier first among equals; ascending."""
    if counts.shape[1] < 2:
        return np.full((len(counts), 2), -1, np.int64)
    # The posterior is below 1, so half of it only breaks ties between whole numbers of votes.
    rank = np.argsort(-(counts + 0.5 * probability), axis=1, kind="stable")[:, :2]
    contested = np.take_along_axis(counts, rank, axis=1)[:, 1] > 0
    return np.asarray(np.where(contested[:, None], np.sort(rank, axis=1), -1), np.int64)


def _said(votes: Votes, items: int, pair: tuple[int, int]) -> Ints:
    """(items, inspectors, 2): how often each inspector said either class of each image."""
    said = np.zeros((items, int(votes.inspector.max()) + 1, 2), np.int64)
    for column, label in enumerate(pair):
        chosen = votes.label == label
        np.add.at(said, (votes.item[chosen], votes.inspector[chosen], column), 1)
    return said
