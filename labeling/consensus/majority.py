"""Weighted majority vote, smoothed by the mix of classes so that two votes are not taken for certainty."""

import numpy as np

from labeling.votes import Floats, Votes

SMOOTHING = 0.6
"""Pseudo-votes an item spread by the class mix: 0.3 a class for two classes."""


def majority(votes: Votes, item_count: int, class_count: int, class_prior: Floats | None) -> tuple[Floats, Floats]:
    """Share of the votes for each class; shapes as in `CONSENSUS`.

    Without a prior the mix is taken from the votes themselves, so that a rare defect needs more than one doubtful vote.
    """
    assert votes.weight is not None, "the caller fills the weights in"
    counts = np.zeros((item_count, class_count))
    np.add.at(counts, (votes.item, votes.label), votes.weight)
    prior = _mix(counts) if class_prior is None else np.asarray(class_prior, dtype=np.float64)
    probability: Floats = counts + SMOOTHING * prior / prior.sum()
    return probability / probability.sum(axis=1, keepdims=True), counts.sum(axis=1)


def _mix(counts: Floats) -> Floats:
    """The share of each class among all votes, pulled half-way to equal shares because the sets are small."""
    class_count = counts.shape[1]
    total = counts.sum()
    share = counts.sum(axis=0) / total if total else np.full(class_count, 1.0 / class_count)
    mix: Floats = 0.5 * share + 0.5 / class_count
    return mix
