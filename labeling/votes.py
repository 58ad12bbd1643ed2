"""What goes into a consensus and what comes out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class WrongVotes(ValueError):
    """The votes can't be settled."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Votes:
    """Judgements as equal-length arrays, one entry a judgement.

    item, inspector and label count from 0; occasion is 0 for a first look and 1.. for repeats by the same inspector;
    weight in (0, 1] is less than 1 where the inspector was unsure; time in seconds.
    """

    item: Ints
    inspector: Ints
    label: Ints
    occasion: Ints
    weight: Floats | None = None
    time: Floats | None = None

    def checked(self, class_count: int) -> "Votes":
        """The votes with every weight filled in.

        Raises WrongVotes for unequal lengths, negative numbers, unknown classes or weights outside (0, 1].
        """
        arrays = (self.item, self.inspector, self.label, self.occasion, self.time)
        lengths = {len(a) for a in arrays if a is not None}
        weight = np.ones(len(self.item)) if self.weight is None else np.asarray(self.weight, dtype=np.float64)
        if len(lengths | {len(weight)}) != 1:
            raise WrongVotes("the arrays of the votes differ in length", "pass one entry a judgement in each array")
        if len(self.item) and min(self.item.min(), self.inspector.min(), self.label.min(), self.occasion.min()) < 0:
            raise WrongVotes("a vote holds a negative number", "count items, inspectors, labels and occasions from 0")
        if len(self.label) and self.label.max() >= class_count:
            raise WrongVotes(
                f"label {self.label.max()} is not one of {class_count} classes",
                f"use labels 0..{class_count - 1}, or pass a larger class_count",
            )
        if not bool(np.all((weight > 0) & (weight <= 1))):
            raise WrongVotes("a weight lies outside (0, 1]", "use 1 for a sure judgement and less for an unsure one")
        return Votes(self.item, self.inspector, self.label, self.occasion, weight, self.time)


@dataclass(frozen=True, slots=True)
class Consensus:
    """The posterior over classes of each item, and how each inspector judges."""

    probability: Floats
    """(n, K), rows sum to 1."""
    label: Ints
    """(n,), the most probable class."""
    confusion: Floats
    """(inspectors, K, K): how often an inspector says column where the consensus says row; rows sum to 1."""
    effective_votes: Floats
    """(n,): how many sure, independent judgements the item's labels are worth."""
    method: str
    reason: str
    """Why this method, in a sentence."""
