"""Weighted majority vote, smoothed by the mix of classes so that two votes are not taken for certainty."""

import numpy as np

from labeling.consensus.ballots import Ballots, Fit, confusion_of, effective_votes, normalised
from labeling.votes import Floats

SMOOTHING = 0.6
"""Pseudo-votes an item, spread by the class mix; never more than the item's own votes, so that no item on which all
agree is overruled."""


def majority(found: Ballots) -> Fit:
    """Share of the votes for each class; as in CONSENSUS.

    Without a known mix it is taken from the votes themselves, so that a rare defect needs more than one doubtful vote.
    """
    classes = found.class_count
    counts = found.counts(found.independent)
    mix = _mix(counts) if found.known_mix is None else found.known_mix
    lean = 1.0 if found.lean is None else np.exp(found.lean)
    votes = counts.sum(axis=1, keepdims=True)
    spread = np.where(votes > 0, SMOOTHING * np.minimum(votes, 1.0), 1.0) * mix
    probability = normalised((counts + spread) * lean)
    # An inspector of whom little is known is taken to agree.
    confusion = confusion_of(found, found.independent, probability, 0.5 * np.eye(classes) + 1e-9)
    return Fit(probability, confusion, effective_votes(found))


def _mix(counts: Floats) -> Floats:
    """The share of each class among all votes, pulled half-way to equal shares because the sets are small."""
    total, classes = float(counts.sum()), counts.shape[1]
    share = counts.sum(axis=0) / total if total else np.full(classes, 1.0 / classes)
    return np.asarray(0.5 * share + 0.5 / classes, np.float64)
