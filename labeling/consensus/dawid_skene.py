"""Dawid and Skene's model by expectation maximisation: Applied Statistics 28 (1979), 20-28.

The textbook: no priors, every vote a full one, repeats too. With few inspectors it is far too sure of itself; it
stands here to be compared with, and for large sets.
"""

from typing import Final

import numpy as np
import scipy.sparse as sp

from labeling.consensus.ballots import Ballots, Fit, confusion_of, effective_votes, normalised, softmax

ITERATIONS: Final = 100
CONVERGED: Final = 1e-6
FLOOR: Final = 1e-10
"""Kept in every cell, so that what was never seen stays possible and no logarithm is infinite."""


def dawid_skene(found: Ballots) -> Fit:
    """Maximum likelihood of the class mix and a confusion matrix an inspector; as in CONSENSUS."""
    classes, cells = found.class_count, found.inspector_count * found.class_count
    cell = found.inspector * classes + found.label
    votes = sp.csr_array((found.weight, (found.item, cell)), shape=(found.item_count, cells))
    by_cell = votes.T.tocsr()
    has_votes = np.bincount(found.item, minlength=found.item_count) > 0
    lean = 0.0 if found.lean is None else found.lean
    probability = softmax(np.log(normalised(found.counts(found.weight) + FLOOR)) + lean)
    for _ in range(ITERATIONS):
        confusion = (by_cell @ probability + FLOOR).reshape(-1, classes, classes)
        confusion /= confusion.sum(axis=1, keepdims=True)
        mix = normalised(probability[has_votes].sum(axis=0) + FLOOR) if found.known_mix is None else found.known_mix
        step = softmax(votes @ np.log(confusion.reshape(cells, classes)) + np.log(np.maximum(mix, FLOOR)) + lean)
        moved = float(np.abs(step - probability).max(initial=0.0))
        probability = step
        if moved < CONVERGED:
            break
    return Fit(
        probability,
        confusion_of(found, found.weight, probability, np.full((classes, classes), FLOOR)),
        effective_votes(found),
    )
