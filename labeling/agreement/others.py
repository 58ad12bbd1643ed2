"""What the other inspectors say of an item: the reference for an inspector where nobody knows what the parts are."""

from collections.abc import Collection

import numpy as np

from labeling.agreement.shares import Bools
from labeling.consensus import aggregate
from labeling.votes import Floats, Ints, Votes

UNKNOWN = -1


def said_by_others(votes: Votes, item_count: int, class_count: int, silent: Collection[int] = ()) -> dict[int, Ints]:
    """By inspector, the class (item_count,) that the consensus of all others gives an item; UNKNOWN where it is unsure.

    It is sure where more than half of the others' voices bear it: every other inspector has one voice, divided among
    what she said of the item. An inspector's own labels have no say in the reference that they are held against: with
    them in it, two inspectors who always contradict each other would each be right half of the time. silent: labels
    that decide nothing and are no vote. The others may be wrong together: what is right by them is agreement, not
    truth.

    Raises WrongVotes.

    >>> votes = Votes(item=np.array([0, 0, 0, 1, 1]), inspector=np.array([0, 1, 2, 1, 2]),
    ...               label=np.array([0, 1, 1, 0, 1]), occasion=np.zeros(5, dtype=np.int64))
    >>> {who: said.tolist() for who, said in said_by_others(votes, 2, 2).items()}
    {0: [1, -1], 1: [-1, 1], 2: [-1, 0]}
    """
    checked = votes.checked(class_count)
    heard = ~np.isin(checked.label, list(silent))
    return {
        inspector: _consensus(_of(checked, heard & (checked.inspector != inspector)), item_count, class_count)
        for inspector in np.unique(checked.inspector).tolist()
    }


def _of(votes: Votes, kept: Bools) -> Votes:
    assert votes.weight is not None, "checked votes carry weights"
    time = None if votes.time is None else votes.time[kept]
    inspector = np.unique(votes.inspector[kept], return_inverse=True)[1]
    return Votes(votes.item[kept], inspector, votes.label[kept], votes.occasion[kept], votes.weight[kept], time)


def _consensus(votes: Votes, item_count: int, class_count: int) -> Ints:
    said = np.full(item_count, UNKNOWN, dtype=np.int64)
    if len(votes.item) == 0:
        return said
    # Models that learn who is reliable decide ties too; a reference for people has to be what most people say.
    label = aggregate(votes, class_count, method="majority").label
    voice = _voice(votes)
    heard = np.bincount(votes.item, weights=voice, minlength=len(label))
    bearing = np.bincount(votes.item, weights=voice * (votes.label == label[votes.item]), minlength=len(label))
    # Thirds of voices add up to a half but for the last bit.
    sure = np.flatnonzero(bearing > heard / 2 + 1e-9)
    said[sure] = label[sure]
    return said


def _voice(votes: Votes) -> Floats:
    """(m,): what a look counts, so that an inspector's looks at an item count one, or less where she was unsure."""
    assert votes.weight is not None, "checked votes carry weights"
    pairs = np.stack([votes.item, votes.inspector], axis=1)
    _, number, looks = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(votes.weight / looks[number.reshape(-1)], np.float64)
