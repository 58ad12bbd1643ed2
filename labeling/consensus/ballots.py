"""What a consensus model reads and what it returns: votes with everything counted, and a fit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeling.votes import Floats, Ints, Votes, WrongVotes

Bools = npt.NDArray[np.bool_]

REPEAT_WEIGHT = 0.5
"""A second look by the same inspector is not a second opinion: it shares the first one's habits, and its memory."""
SHARED_DIFFICULTY = 0.3
"""How far votes on one item go together because the item is hard (or misleading) for everybody: the intra-class
correlation of the design effect, Kish (1965)."""


@dataclass(frozen=True, slots=True)
class Ballots:
    """Votes ready to be settled, one entry a vote in item, inspector, label, weight and repeat."""

    item: Ints
    inspector: Ints
    label: Ints
    weight: Floats
    """In (0, 1]: how sure the inspector was."""
    repeat: Bools
    """The inspector had judged the item before."""
    item_count: int
    inspector_count: int
    class_count: int
    known_mix: Floats | None = None
    """(K,) shares of the classes, where they are known."""
    lean: Floats | None = None
    """(n, K) what speaks for each class before any vote, as a logarithm."""
    is_known: Bools | None = None
    """(n,) whether an item's class is known for certain, so that `lean` leaves no other."""

    @property
    def independent(self) -> Floats:
        """(L,) the weight of each vote, with repeats counted for less."""
        return np.where(self.repeat, REPEAT_WEIGHT * self.weight, self.weight)

    def counts(self, weight: Floats | None = None) -> Floats:
        """(n, K): the votes of each item for each class, weighted where a weight (L,) is given."""
        cell = self.item * self.class_count + self.label
        found = np.bincount(cell, weight, self.item_count * self.class_count)
        return np.asarray(found, np.float64).reshape(self.item_count, self.class_count)


@dataclass(frozen=True, slots=True)
class Fit:
    """What a consensus model found."""

    probability: Floats
    """(n, K), rows sum to 1."""
    confusion: Floats
    """(inspectors, K, K): how often an inspector says column where the truth is row; rows sum to 1."""
    effective_votes: Floats
    """(n,): how many sure, independent votes the item's votes are worth."""


def ballots(
    votes: Votes,
    item_count: int,
    class_count: int,
    known_mix: Floats | None = None,
    lean: Floats | None = None,
    is_known: Bools | None = None,
) -> Ballots:
    """The ballots of checked votes.

    Raises WrongVotes where items or inspectors are numbered so sparsely that counting them would fill the memory.
    """
    assert votes.weight is not None, "checked votes carry weights"
    inspectors = int(votes.inspector.max(initial=-1)) + 1
    seen = int(votes.item.max(initial=-1)) + 1
    for name, count in (("items", seen), ("inspectors", inspectors)):
        if count > 10_000 + 100 * len(votes.item):
            raise WrongVotes(
                f"{name} are numbered up to {count - 1} by {len(votes.item)} votes", f"number the {name} 0, 1, 2, …"
            )
    item, inspector, label = (np.asarray(a, np.int64) for a in (votes.item, votes.inspector, votes.label))
    return Ballots(
        item,
        inspector,
        label,
        votes.weight,
        _repeats(votes),
        item_count,
        inspectors,
        class_count,
        None if known_mix is None else known_mix / known_mix.sum(),
        lean,
        is_known,
    )


def design_effect(votes: Floats) -> Floats:
    """By what factor each of so many votes on one item is worth less than an independent one.

    >>> design_effect(np.array([1.0, 2.0, 5.0])).round(2).tolist()
    [1.0, 0.77, 0.45]
    """
    effect: Floats = 1.0 / (1.0 + SHARED_DIFFICULTY * np.maximum(votes - 1.0, 0.0))
    return effect


def effective_votes(found: Ballots) -> Floats:
    """(n,): the sum of an item's votes after repeats and shared difficulty."""
    summed = np.bincount(found.item, found.independent, found.item_count).astype(np.float64)
    return summed * design_effect(summed)


def normalised(rows: Floats) -> Floats:
    """Rows that sum to 1."""
    # A product with ones sums short rows several times as fast as sum(axis=-1).
    return np.asarray(rows / (rows @ np.ones(rows.shape[-1]))[..., None], np.float64)


def softmax(logits: Floats) -> Floats:
    """Probabilities (n, K) from their logarithms up to a constant a row."""
    top = logits[:, 0].copy()
    for column in logits.T[1:]:  # short rows: faster than max(axis=1)
        np.maximum(top, column, out=top)
    return normalised(np.exp(logits - top[:, None]))


def confusion_of(found: Ballots, weight: Floats, probability: Floats, smoothing: Floats) -> Floats:
    """(inspectors, K, K) expected counts of label by true class, plus smoothing (K, K), as shares of each row."""
    classes, inspectors = found.class_count, found.inspector_count
    cell = found.inspector * classes + found.label
    said = [
        np.bincount(cell, weight * probability[found.item, true], inspectors * classes).reshape(inspectors, classes)
        for true in range(classes)
    ]
    return normalised(np.stack(said, axis=1) + smoothing)


def _repeats(votes: Votes) -> Bools:
    """Whether the inspector has an earlier vote on the item.

    By occasion, then by weight and label: which of two votes at one time comes first must not hang on their order.
    """
    again = np.asarray(votes.occasion > 0, np.bool_)
    pair = np.asarray(votes.item, np.int64) * (int(votes.inspector.max(initial=0)) + 1) + votes.inspector
    order = np.argsort(pair, kind="stable")
    same = np.zeros(len(pair) + 1, np.bool_)
    same[1:-1] = pair[order[1:]] == pair[order[:-1]]
    twice = order[same[1:] | same[:-1]]
    assert votes.weight is not None, "checked votes carry weights"
    sorted_twice = twice[np.lexsort((votes.label[twice], votes.weight[twice], votes.occasion[twice], pair[twice]))]
    again[sorted_twice[1:]] |= pair[sorted_twice[1:]] == pair[sorted_twice[:-1]]
    return again
