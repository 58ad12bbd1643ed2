"""What the others say of an image: the consensus without the inspector who is held against it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeling.consensus import aggregate
from labeling.votes import Floats, Ints, Votes

Bools = npt.NDArray[np.bool_]

GROUPS = 20
"""How often a consensus is made anew: of more inspectors than that, several are left out at once."""
TIED = 0.1
"""Classes whose probabilities are closer than this are equally probable: one vote each, and a mix to break the tie."""


@dataclass(frozen=True, slots=True)
class Others:
    """By look, L of them, what the others say of its image."""

    probability: Floats
    """(L, K), rows sum to 1; equal shares where nobody else judged the image."""
    known: Bools
    """(L,) whether anybody else judged the image."""

    @property
    def label(self) -> Ints:
        """(L,) the most probable class."""
        return np.asarray(self.probability.argmax(axis=1), np.int64)

    @property
    def decided(self) -> Bools:
        """(L,) whether one class is more probable to the others than every other one."""
        if self.probability.shape[1] < 2:
            return self.known
        best = np.sort(self.probability, axis=1)[:, -2:]
        return np.asarray(self.known & (best[:, 1] > best[:, 0] + TIED), bool)

    def differs(self, label: Ints) -> Floats:
        """(L,) 0 where a look says the others' most probable class, 1 where not; in part where they are tied."""
        tied = self.probability >= self.probability.max(axis=1, keepdims=True) - TIED
        return np.asarray(1.0 - tied[np.arange(len(label)), label] / tied.sum(axis=1))

    def strata(self, count: int) -> Ints:
        """(L,) which of `count` groups of images that are about as hard as each other: how unsure the others are."""
        unsure = np.round(1.0 - self.probability.max(axis=1), 6)
        shares = np.linspace(0, 1, count + 1)[1:-1]
        edges = np.unique(np.quantile(unsure[self.known], shares)) if self.known.any() else np.zeros(0)
        return np.asarray(np.searchsorted(edges, unsure, side="left"), np.int64)


def others(votes: Votes, class_count: int, class_prior: Floats | None = None) -> Others:
    """The posterior of every look's image from what most of the others said.

    A majority it is: with one or two inspectors left, a model of inspectors has nothing to tell them apart by.

    With more than GROUPS inspectors, those of an inspector's group are left out too. Raises WrongVotes.

    >>> votes = Votes(item=np.array([0, 0, 0]), inspector=np.array([0, 1, 2]), label=np.array([0, 1, 1]),
    ...               occasion=np.zeros(3, dtype=np.int64))
    >>> found = others(votes, 2)
    >>> found.label.tolist(), found.differs(votes.label).tolist()
    ([1, 0, 0], [1.0, 0.5, 0.5])
    """
    votes = votes.checked(class_count)
    probability = np.full((len(votes.item), class_count), 1.0 / class_count)
    known = np.zeros(len(votes.item), bool)
    names, number = np.unique(votes.inspector, return_inverse=True)
    group = number % GROUPS
    for left_out in range(min(GROUPS, len(names))):
        theirs = group == left_out
        rest = _of(votes, ~theirs)
        of_theirs = np.flatnonzero(theirs & np.isin(votes.item, rest.item))
        if len(of_theirs) == 0:
            continue
        settled = aggregate(rest, class_count, class_prior=class_prior, method="majority")
        probability[of_theirs] = settled.probability[votes.item[of_theirs]]
        known[of_theirs] = True
    return Others(probability, known)


def counts_of_others(votes: Votes, class_count: int) -> Floats:
    """(L, K) how often the other inspectors call each look's image what.

    >>> votes = Votes(item=np.array([0, 0, 0]), inspector=np.array([0, 0, 1]), label=np.array([0, 1, 1]),
    ...               occasion=np.array([0, 1, 0]))
    >>> counts_of_others(votes, 2).tolist()
    [[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """
    counts = np.zeros((1 + int(votes.item.max(initial=-1)), class_count))
    np.add.at(counts, (votes.item, votes.label), 1.0)
    key = votes.item * (1 + int(votes.inspector.max(initial=0))) + votes.inspector
    cells, number = np.unique(key, return_inverse=True)
    own = np.zeros((len(cells), class_count))
    np.add.at(own, (number, votes.label), 1.0)
    return np.asarray(counts[votes.item] - own[number])


def _of(votes: Votes, kept: Bools) -> Votes:
    assert votes.weight is not None, "checked votes carry weights"
    time = None if votes.time is None else votes.time[kept]
    # A consensus knows inspectors without a look of nothing, so the numbers close up.
    inspector = np.unique(votes.inspector[kept], return_inverse=True)[1].astype(np.int64)
    return Votes(votes.item[kept], inspector, votes.label[kept], votes.occasion[kept], votes.weight[kept], time)
