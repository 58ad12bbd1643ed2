"""From disagreeing judgements to a posterior; a new model is a file and a line here."""

from collections.abc import Callable

import numpy as np

from labeling.consensus.majority import majority
from labeling.votes import Consensus, Floats, Votes, WrongVotes

ConsensusModel = Callable[[Votes, int, int, Floats | None], tuple[Floats, Floats]]
"""(votes, item count, class count, class prior or None) -> probability (n, K), effective votes (n,)"""

CONSENSUS: dict[str, ConsensusModel] = {"majority": majority}

REPEAT_WEIGHT = 0.5
"""A second look by the same inspector is not a second opinion."""


def aggregate(
    votes: Votes,
    class_count: int,
    *,
    class_prior: Floats | None = None,
    model_probability: Floats | None = None,
    method: str = "auto",
) -> Consensus:
    """Settle the votes.

    class_prior (K,) is the known mix of classes; model_probability (n, K) are out-of-fold probabilities of a model,
    which enter as a prior of half a vote, never as an inspector. Items without votes get the prior.

    Raises WrongVotes, for a prior or model probabilities that are none too.

    >>> votes = Votes(item=np.array([0, 0, 0, 1]), inspector=np.array([0, 1, 2, 0]), label=np.array([1, 1, 0, 0]),
    ...               occasion=np.zeros(4, dtype=np.int64))
    >>> aggregate(votes, 2).probability.round(3).tolist()
    [[0.361, 0.639], [0.812, 0.187]]
    """
    if class_count < 1:
        raise WrongVotes(f"class_count is {class_count}", "pass the number of classes, at least 1")
    if method != "auto" and method not in CONSENSUS:
        raise WrongVotes(f"'{method}' is not a consensus model", f"use auto or one of {', '.join(sorted(CONSENSUS))}")
    checked = votes.checked(class_count)
    if class_prior is not None and not _are_shares(class_prior, (class_count,)):
        raise WrongVotes("class_prior is no mix of the classes", f"pass {class_count} shares, none negative, not all 0")
    count = _item_count(checked, model_probability)
    if model_probability is not None and not _are_shares(model_probability, (count, class_count)):
        raise WrongVotes(
            "model_probability does not hold probabilities", f"pass {class_count} a row, none negative, not all 0"
        )
    chosen = "majority" if method == "auto" else method
    probability, effective = CONSENSUS[chosen](_discount_repeats(checked), count, class_count, class_prior)
    if model_probability is not None:
        probability = _with_model(probability, model_probability)
    label = probability.argmax(axis=1).astype(np.int64)
    reason = "asked for" if method != "auto" else "majority is the one model that is safe for every shape of data"
    return Consensus(probability, label, _confusion(checked, probability), effective, chosen, reason)


def _are_shares(values: Floats, shape: tuple[int, ...]) -> bool:
    """Of this shape, finite, none negative, and something to divide by in every row."""
    if np.shape(values) != shape or not bool(np.all(np.isfinite(values) & (values >= 0))):
        return False
    return bool(np.all(values.sum(axis=-1) > 0))


def _item_count(votes: Votes, model_probability: Floats | None) -> int:
    seen = int(votes.item.max()) + 1 if len(votes.item) else 0
    if model_probability is None:
        return seen
    if len(model_probability) < seen:
        raise WrongVotes(
            f"model_probability has {len(model_probability)} rows for {seen} items", "pass one row an item"
        )
    return len(model_probability)


def _discount_repeats(votes: Votes) -> Votes:
    assert votes.weight is not None, "checked votes carry weights"
    weight = np.where(votes.occasion > 0, REPEAT_WEIGHT * votes.weight, votes.weight)
    return Votes(votes.item, votes.inspector, votes.label, votes.occasion, weight, votes.time)


def _with_model(probability: Floats, model_probability: Floats, weight: float = 0.5) -> Floats:
    # The floor keeps an overconfident model from vetoing what people saw.
    mixed: Floats = probability * np.maximum(model_probability, 1e-3) ** weight
    normalised: Floats = mixed / mixed.sum(axis=1, keepdims=True)
    return normalised


def _confusion(votes: Votes, probability: Floats) -> Floats:
    """Add-half smoothing on the diagonal's side: an inspector of whom little is known is taken to agree."""
    class_count = probability.shape[1]
    inspectors = int(votes.inspector.max()) + 1 if len(votes.inspector) else 0
    counts = np.zeros((inspectors, class_count, class_count))
    for true_class in range(class_count):
        np.add.at(counts[:, true_class, :], (votes.inspector, votes.label), probability[votes.item, true_class])
    counts += 0.5 * np.eye(class_count)
    confusion: Floats = counts / counts.sum(axis=2, keepdims=True)
    return confusion
