"""One person's occasions differ: a first look and a later one are judges of their own, who borrow from the person.

For inspectors who tire, or who judge otherwise on another shift: a habit of one occasion then does not colour the
other, and the first look's good name does not cover for the second.
"""

import numpy as np

from labeling.consensus.ballots import Ballots, Fit
from labeling.consensus.hierarchical import fit


def within_inspector(found: Ballots) -> Fit:
    """The hierarchical model with two judges an inspector: first looks and repeats; as in CONSENSUS."""
    pair = 2 * found.inspector + found.repeat
    seen, judge = np.unique(pair, return_inverse=True)
    return fit(found, judge, seen // 2)
