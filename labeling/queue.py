"""Which judgements to ask for next."""

import numpy as np
import numpy.typing as npt

from labeling.votes import Consensus, Floats, Ints, Votes


def next_requests(
    votes: Votes, consensus: Consensus, n: int, *, inspector_count: int | None = None, importance: Floats | None = None
) -> Ints:
    """At most `n` (item, inspector) pairs, best first, shape (n, 2).

    The images whose consensus is least certain (entropy of the posterior, times `importance` (n,) where given) come
    first, each for the inspector who knows it least: never seen it before seen it once, and among those the one who
    agrees best with the consensus. An image is asked for once a call.
    """
    inspectors = inspector_count or (int(votes.inspector.max()) + 1 if len(votes.inspector) else 0)
    items = len(consensus.probability)
    if n <= 0 or not inspectors or not items:
        return np.zeros((0, 2), dtype=np.int64)
    probability = consensus.probability
    entropy = -(probability * np.log(np.maximum(probability, 1e-12))).sum(axis=1)
    value = entropy if importance is None else entropy * importance
    looks = np.zeros((items, inspectors))
    np.add.at(looks, (votes.item, votes.inspector), 1.0)
    order = np.argsort(-value, kind="stable")[:n]
    # Agreement lies in [0, 1], so it only breaks ties between equal numbers of looks.
    rank = looks[order] - _agreement(consensus, inspectors)[None, :]
    pairs: npt.NDArray[np.int64] = np.column_stack([order, rank.argmin(axis=1)]).astype(np.int64)
    return pairs


def _agreement(consensus: Consensus, inspectors: int) -> Floats:
    """Mean of the confusion's diagonal; an inspector not seen yet counts as a half."""
    known = np.full(inspectors, 0.5)
    diagonal = np.diagonal(consensus.confusion, axis1=1, axis2=2).mean(axis=1)
    known[: len(diagonal)] = diagonal
    return known
