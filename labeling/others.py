"""What the other inspectors say of an image: what an inspector is held against where nobody knows what it is."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeling.votes import Floats, Ints, Votes

Bools = npt.NDArray[np.bool_]

UNKNOWN = -1
"""In place of a class: nobody knows."""
LAST_BIT = 1e-9
"""Thirds of voices add up to a half but for the last bit."""
DOUBT = 0.5
"""Voices added to every class before shares are compared, so that five who agree are surer than one (Jeffreys)."""


@dataclass(frozen=True, slots=True)
class Others:
    """By look, L of them, what all other inspectors say of its image; the inspector's own looks have no say in it."""

    voices: Floats
    """(L, K). Every other inspector has one voice, divided among what they said; less where they were unsure."""
    inspectors: Ints
    """(L,) how many others judged the image."""

    @property
    def known(self) -> Bools:
        """(L,) whether anybody else judged the image."""
        return np.asarray(self.inspectors > 0, bool)

    @property
    def decided(self) -> Bools:
        """(L,) whether more than half of the others' voices bear one class."""
        half = self.voices.sum(axis=1) / 2
        return np.asarray(self.known & (self.voices.max(axis=1) > half + LAST_BIT), bool)

    @property
    def label(self) -> Ints:
        """(L,) the class that more than half of the others' voices bear; UNKNOWN where none is."""
        return np.where(self.decided, self.voices.argmax(axis=1), UNKNOWN).astype(np.int64)

    @property
    def most(self) -> Floats:
        """(L, K) 1 for the class that most voices bear, in equal parts where several do; 1 / K where nobody spoke."""
        best = self.voices >= self.voices.max(axis=1, keepdims=True) - LAST_BIT
        return np.asarray(best / best.sum(axis=1, keepdims=True), np.float64)

    def strata(self, count: int) -> Ints:
        """(L,) which of `count` groups of images that are about as hard as each other: how unsure the others are."""
        doubtful = self.voices + DOUBT
        unsure = np.round(1.0 - doubtful.max(axis=1) / doubtful.sum(axis=1), 6)
        shares = np.linspace(0, 1, count + 1)[1:-1]
        edges = np.unique(np.quantile(unsure[self.known], shares)) if self.known.any() else np.zeros(0)
        return np.asarray(np.searchsorted(edges, unsure, side="left"), np.int64)


def others(votes: Votes, class_count: int, silent: Collection[int] = ()) -> Others:
    """What the others say of every look's image. silent: labels that decide nothing and are nobody's voice.

    It is a count of voices and no model of inspectors: with one or two others left a model has nothing to tell them
    apart by, and it decides ties too, wrongly often enough to make everybody look worse (docs/agreement.md). The others
    may be wrong together: to be right by them is agreement, not truth.

    Raises WrongVotes.

    >>> votes = Votes(item=np.array([0, 0, 0, 1, 1]), inspector=np.array([0, 1, 2, 1, 2]),
    ...               label=np.array([0, 1, 1, 0, 1]), occasion=np.zeros(5, dtype=np.int64))
    >>> found = others(votes, 2)
    >>> found.label.tolist()
    [1, -1, -1, 1, 0]
    >>> found.most[:2].tolist()
    [[0.0, 1.0], [0.5, 0.5]]
    """
    votes = votes.checked(class_count)
    assert votes.weight is not None, "checked votes carry weights"
    items = 1 + int(votes.item.max(initial=-1))
    key = votes.item * (1 + int(votes.inspector.max(initial=-1))) + votes.inspector
    _, first, pair = np.unique(key, return_index=True, return_inverse=True)
    heard = ~np.isin(votes.label, list(silent))
    looks = np.bincount(pair, heard, len(first))
    own = np.zeros((len(first), class_count))
    np.add.at(own, (pair[heard], votes.label[heard]), votes.weight[heard] / looks[pair[heard]])
    every = np.zeros((items, class_count))
    np.add.at(every, votes.item[first], own)
    speaking = np.bincount(votes.item[first], looks > 0, items).astype(np.int64)
    inspectors = (speaking[votes.item] - (looks > 0)[pair]).astype(np.int64)
    voices = np.where((inspectors > 0)[:, None], np.maximum(every[votes.item] - own[pair], 0.0), 0.0)
    return Others(voices, inspectors)
