"""Which images could show in the label book where one class ends and another begins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labeling.disagreement.causes import CLEAR, SLIP, Causes, PairBorder
from labeling.votes import Ints, Votes

BORDERLINE, FIRST, SECOND = "borderline", "first", "second"
"""What a sample shows: the border itself, or the nearest image that is still certainly of the first or second class."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that is worth a place in the book, for the border between two classes."""

    item: int
    first: int
    second: int
    role: str
    """BORDERLINE, FIRST or SECOND."""
    reason: str


def candidates(votes: Votes, causes: Causes, classes: Sequence[str], count: int = 3) -> tuple[Candidate, ...]:
    """At most `count` images of each role for each pair of classes; pairs with most images for the book come first.

    BORDERLINE are images of which the book is to blame that inspectors disagree, the most evenly split first. Without
    one, a pair has no candidates. FIRST and SECOND are images that all inspectors judge alike but for a slip, seen by
    as many inspectors as is usual, those nearest to the border first.

    >>> from labeling.consensus import aggregate
    >>> from labeling.disagreement.causes import causes
    >>> item = np.tile(np.arange(20), 4)  # Ann and Bo saw 20 images twice; Bo alone calls 8..11 dents
    >>> inspector, occasion = np.repeat([0, 0, 1, 1], 20), np.repeat([0, 1, 0, 1], 20)
    >>> votes = Votes(item, inspector, (item >= 12 - 4 * inspector).astype(np.int64), occasion)
    >>> found = causes(votes, aggregate(votes, 2, method="majority"), np.random.default_rng(0))
    >>> for one in candidates(votes, found, ["ok", "dent"], 1):
    ...     print(one.item, one.role, "-", one.reason)
    8 borderline - 1 of 2 inspectors call it ok, 1 call it dent; nobody changed their mind in 2 second looks
    0 first - all 2 inspectors call it ok, every time
    12 second - all 2 inspectors call it dent, every time
    """
    sizes = [int((_of_pair(causes, one) & causes.is_book_at_fault).sum()) for one in causes.borders]
    found: list[Candidate] = []
    for place in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
        one = causes.borders[place]
        if not sizes[place]:
            continue
        views = _Views.of(votes, len(causes.kind), one)
        borderline = np.flatnonzero(_of_pair(causes, one) & causes.is_book_at_fault)
        order = np.lexsort((borderline, -causes.score[borderline].round(2), np.abs(views.share[borderline] - 0.5)))
        roles = {BORDERLINE: borderline[order], **_clear(causes, one, views)}
        found += [
            Candidate(int(item), one.first, one.second, role, views.in_words(int(item), classes, one))
            for role, items in roles.items()
            for item in items[:count]
        ]
    return tuple(found)


def _of_pair(causes: Causes, one: PairBorder) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray((causes.pair == (one.first, one.second)).all(axis=1), bool)


@dataclass(frozen=True, slots=True)
class _Views:
    """By item: how many inspectors call it the one or the other class, the rest of the labels left out."""

    first: Ints
    second: Ints
    again: Ints
    """Second and further looks."""
    changed: Ints
    """Inspectors who said both."""
    slips: Ints
    """Looks against the most frequent class."""

    @classmethod
    def of(cls, votes: Votes, items: int, one: PairBorder) -> "_Views":
        said = np.zeros((items, 1 + int(votes.inspector.max()), 2), np.int64)
        for column, label in enumerate((one.first, one.second)):
            chosen = votes.label == label
            np.add.at(said, (votes.item[chosen], votes.inspector[chosen], column), 1)
        looks = said.sum(axis=2)
        return cls(
            (said[:, :, 0] > said[:, :, 1]).sum(axis=1),
            (said[:, :, 1] > said[:, :, 0]).sum(axis=1),
            np.maximum(looks - 1, 0).sum(axis=1),
            (said > 0).all(axis=2).sum(axis=1),
            said.sum(axis=1).min(axis=1),
        )

    @property
    def inspectors(self) -> Ints:
        """(items,)"""
        return np.asarray(np.maximum(self.first + self.second, 1), np.int64)

    @property
    def share(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(items,) of the inspectors, how many call it the second class."""
        return np.asarray(self.second / self.inspectors, np.float64)

    def in_words(self, item: int, classes: Sequence[str], one: PairBorder) -> str:
        """Who says what of the item."""
        first, second, names = int(self.first[item]), int(self.second[item]), (classes[one.first], classes[one.second])
        if min(first, second) == 0:
            name, slips = names[first == 0], int(self.slips[item])
            return f"all {first + second} inspectors call it {name}, {'every time' if not slips else 'but for a slip'}"
        again, changed = int(self.again[item]), int(self.changed[item])
        words = f"{first} of {first + second} inspectors call it {names[0]}, {second} call it {names[1]}"
        if not again:
            return f"{words}; what they say of other images says that they would do so again"
        who = "nobody" if not changed else f"{changed}"
        return f"{words}; {who} changed their mind in {again} second look{'s' if again > 1 else ''}"


def _clear(causes: Causes, one: PairBorder, views: _Views) -> dict[str, Ints]:
    """Images that are certainly of one class, by role, those nearest to the border first."""
    inspectors = views.inspectors[one.item]
    usual = max(2, int(np.median(inspectors)))
    certain = np.isin(causes.kind[one.item], (CLEAR, SLIP)) & (inspectors >= usual)
    certain &= np.minimum(views.first, views.second)[one.item] == 0
    found = {}
    for role, side in ((FIRST, -1), (SECOND, 1)):
        chosen = np.flatnonzero(certain & (side * one.place > 0))
        order = np.lexsort((one.item[chosen], np.round(np.abs(one.place[chosen]), 2)))
        found[role] = one.item[chosen[order]]
    return found
