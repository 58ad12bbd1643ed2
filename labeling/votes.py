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
        """The votes as int64 and float64 arrays with every weight filled in.

        Raises WrongVotes for what is no list of whole numbers, unequal lengths, negative numbers, unknown classes or
        weights outside (0, 1].
        """
        named = {name: _whole(name, getattr(self, name)) for name in ("item", "inspector", "label", "occasion")}
        time = None if self.time is None else _numbers("time", self.time)
        weight = np.ones(len(named["item"])) if self.weight is None else _numbers("weight", self.weight)
        lengths = {len(a) for a in (*named.values(), weight)} | ({len(time)} if time is not None else set())
        if len(lengths) != 1:
            raise WrongVotes("the arrays of the votes differ in length", "pass one entry a judgement in each array")
        if len(weight) and min(one.min() for one in named.values()) < 0:
            raise WrongVotes("a vote holds a negative number", "count items, inspectors, labels and occasions from 0")
        if len(weight) and named["label"].max() >= class_count:
            raise WrongVotes(
                f"label {named['label'].max()} is not one of {class_count} classes",
                f"use labels 0..{class_count - 1}, or pass a larger class_count",
            )
        if not bool(np.all((weight > 0) & (weight <= 1))):
            raise WrongVotes("a weight lies outside (0, 1]", "use 1 for a sure judgement and less for an unsure one")
        return Votes(**named, weight=weight, time=time)


def _numbers(name: str, values: npt.ArrayLike) -> Floats:
    """Raises WrongVotes for what is no list of numbers."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise WrongVotes(f"{name} holds something that is no number", "pass one number a judgement") from error
    if found.ndim != 1:
        raise WrongVotes(f"{name} has {found.ndim} dimensions", "pass one number a judgement")
    return found


def _whole(name: str, values: npt.ArrayLike) -> Ints:
    """Raises WrongVotes for what is no list of whole numbers below 2**63."""
    given = np.asarray(values)
    if given.dtype == np.int64 and given.ndim == 1:
        return given
    found = _numbers(name, values)
    if not bool(np.all((found == np.floor(found)) & (np.abs(found) < 2**62))):
        raise WrongVotes(f"{name} holds something that is no whole number", "count from 0, one number a judgement")
    return found.astype(np.int64)


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
