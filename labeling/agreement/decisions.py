"""What a label comes to: the part is good, it is not, or nothing is decided."""

from collections.abc import Collection

import numpy as np

from labeling.votes import Ints

GOOD, NOT_GOOD, UNDECIDED = 0, 1, 2
"""What a label comes to."""


def decisions(label: Ints, ok: Collection[int], undecided: Collection[int] = ()) -> Ints:
    """GOOD, NOT_GOOD or UNDECIDED by label; negative labels, which stand for `not known`, stay as they are.

    >>> decisions(np.array([0, 3, 7, -1]), ok=[0], undecided=[7]).tolist()
    [0, 1, 2, -1]
    """
    found = np.where(np.isin(label, list(ok)), GOOD, NOT_GOOD)
    found = np.where(np.isin(label, list(undecided)), UNDECIDED, found)
    return np.asarray(np.where(label < 0, label, found), np.int64)
