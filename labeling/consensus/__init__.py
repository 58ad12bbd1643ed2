"""From disagreeing judgements to a posterior; a new model is a file and a line here."""

from collections.abc import Callable

import numpy as np

from labeling.consensus.ballots import Ballots, Fit, ballots, softmax
from labeling.consensus.choice import Choice, choose
from labeling.consensus.dawid_skene import dawid_skene
from labeling.consensus.glad import glad
from labeling.consensus.hierarchical import hierarchical
from labeling.consensus.majority import majority
from labeling.consensus.one_coin import one_coin
from labeling.consensus.ordinal import ordinal
from labeling.consensus.within_inspector import within_inspector
from labeling.votes import Consensus, Floats, Ints, Votes, WrongVotes

CONSENSUS: dict[str, Callable[[Ballots], Fit]] = {
    "majority": majority,
    "dawid_skene": dawid_skene,
    "one_coin": one_coin,
    "hierarchical": hierarchical,
    "within_inspector": within_inspector,
    "ordinal": ordinal,
    "glad": glad,
}

MODEL_WEIGHT = 0.5
"""What a classifier's word counts beside a vote: it errs where people do, and is surer than it should be."""
CERTAIN = 0.999
"""Probability of a class that was settled otherwise: people err there too, and a logarithm wants no zero."""
MODEL_FLOOR = 0.01
"""Of a classifier's probability, so that an overconfident one can't veto what people saw."""


def aggregate(
    votes: Votes,
    class_count: int,
    *,
    class_prior: Floats | None = None,
    model_probability: Floats | None = None,
    known: Ints | None = None,
    method: str = "auto",
) -> Consensus:
    """Settle the votes.

    class_prior (K,) is the known mix of classes, and is never overruled by an estimated one. model_probability (n, K)
    are probabilities of a classifier that was not trained on the items' own labels (out of fold); they enter as a
    tempered prior, never as one more inspector; a row of equal numbers says nothing. Items without votes get the prior.
    known (n,) are classes that were settled otherwise, -1 where not: they are final, and tell how good inspectors are.
    method: a model of CONSENSUS, or `auto`, which picks one by the shape of the data and says why in the result.

    Raises WrongVotes, for a prior or model probabilities that are none too.

    >>> votes = Votes(item=np.array([0, 0, 0, 1]), inspector=np.array([0, 1, 2, 0]), label=np.array([1, 1, 0, 0]),
    ...               occasion=np.zeros(4, dtype=np.int64))
    >>> aggregate(votes, 2, method="majority").probability.round(3).tolist()
    [[0.361, 0.639], [0.812, 0.187]]
    """
    if class_count < 1:
        raise WrongVotes(f"class_count is {class_count}", "pass the number of classes, at least 1")
    if method != "auto" and method not in CONSENSUS:
        raise WrongVotes(f"'{method}' is not a consensus model", f"use auto or one of {', '.join(sorted(CONSENSUS))}")
    checked = votes.checked(class_count)
    known = None if known is None else np.asarray(known)
    if class_prior is not None and not _are_shares(class_prior, (class_count,)):
        raise WrongVotes("class_prior is no mix of the classes", f"pass {class_count} shares, none negative, not all 0")
    count = _item_count(checked, model_probability, known)
    if model_probability is not None and not _are_shares(model_probability, (count, class_count)):
        raise WrongVotes(
            "model_probability does not hold probabilities", f"pass {class_count} a row, none negative, not all 0"
        )
    if known is not None and not _are_classes(known, class_count):
        raise WrongVotes("known holds a class that is none", f"pass classes 0..{class_count - 1}, or -1")
    prior = None if class_prior is None else np.asarray(class_prior, np.float64) / np.max(class_prior)
    answers = None if known is None else _answers(known, class_count)
    lean = None if model_probability is None else _lean(np.asarray(model_probability, np.float64))
    if answers is not None:
        lean = np.log(answers) + (0.0 if lean is None else lean)
    is_known = None if known is None else known >= 0
    found = ballots(checked, count, class_count, prior, lean, is_known)
    chosen = choose(found) if method == "auto" else Choice(method, "asked for")
    fit = CONSENSUS[chosen.method](found)
    probability = fit.probability
    if answers is not None and is_known is not None:
        probability = np.where(is_known[:, None], answers, probability)
    label = probability.argmax(axis=1).astype(np.int64)
    return Consensus(probability, label, fit.confusion, fit.effective_votes, chosen.method, chosen.reason)


def _are_shares(values: Floats, shape: tuple[int, ...]) -> bool:
    """Of this shape, finite, none negative, and something to divide by in every row."""
    if np.shape(values) != shape or not bool(np.all(np.isfinite(values) & (np.asarray(values) >= 0))):
        return False
    total = np.sum(np.asarray(values, np.float64) / max(1.0, float(np.max(values, initial=0.0))), axis=-1)
    return bool(np.all(total > 0))


def _are_classes(known: Ints, class_count: int) -> bool:
    """A list of whole numbers from -1 on, below class_count."""
    return known.ndim == 1 and known.dtype.kind in "iu" and bool(np.all((known >= -1) & (known < class_count)))


def _item_count(votes: Votes, model_probability: Floats | None, known: Ints | None) -> int:
    seen = int(votes.item.max()) + 1 if len(votes.item) else 0
    given = {"model_probability": model_probability, "known": known}
    rows = {name: len(one) for name, one in given.items() if one is not None}
    for name, count in rows.items():
        if count < seen or count != max(rows.values()):
            raise WrongVotes(f"{name} has {count} rows for {max(seen, *rows.values())} items", "pass one row an item")
    return max(rows.values(), default=seen)


def _answers(known: Ints, class_count: int) -> Floats:
    """(n, K): all but certainty for the known class; equal shares elsewhere."""
    other = (1 - CERTAIN) / max(class_count - 1, 1)
    found = np.where(np.arange(class_count) == known[:, None], CERTAIN if class_count > 1 else 1.0, other)
    return np.asarray(np.where(known[:, None] >= 0, found, 1.0 / class_count), np.float64)


def _lean(model_probability: Floats) -> Floats:
    """(n, K): what the classifier says, as a logarithm, tempered."""
    shares = model_probability / model_probability.max(axis=1, keepdims=True)
    shares = shares / shares.sum(axis=1, keepdims=True)
    return np.log(softmax(MODEL_WEIGHT * np.log(np.maximum(shares, MODEL_FLOOR))))
