"""Which judgements to ask for next: the images of which most can be told, by those who tell most for what they cost."""

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt

from labeling.consensus.ballots import REPEAT_WEIGHT, SHARED_DIFFICULTY, design_effect, normalised
from labeling.consensus.class_mix import TEAM_SKILL
from labeling.votes import Consensus, Floats, Ints, Votes

Bools = npt.NDArray[np.bool_]

REPEAT_AFTER_S: Final = 4 * 3600.0
"""An inspector is asked about the same image again only when the first look is forgotten."""
SURE: Final = 0.97
"""An item whose consensus is surer than this is settled."""
LEAST_GAIN: Final = 0.005
"""Nats below which a judgement is not worth asking for."""
TURN: Final = 0.1
"""By what share an inspector's next answer is worth less for every one asked for before it."""


def next_requests(
    votes: Votes,
    consensus: Consensus,
    n: int,
    *,
    inspector_count: int | None = None,
    available: Collection[int] | None = None,
    importance: Floats | None = None,
    cost: Floats | None = None,
    closed: Bools | None = None,
    now_s: float | None = None,
    repeat_after_s: float = REPEAT_AFTER_S,
) -> Ints:
    """At most `n` (item, inspector) pairs, best first, shape (n, 2); an item is asked for once a call.

    Items stand in the order of the information that the best answer is expected to bring about their class (Lindley
    1956), less what votes on one item share, times `importance` (items,). Of each, that inspector is asked whose answer
    brings most over `cost` (inspectors,). Cost does not order the items: it would send cheap inspectors to items that
    are nearly settled rather than a dear one to a disputed item. Fewer pairs than asked for come back where nothing is
    worth asking: items are settled, or `closed` (items,) because they were adjudicated or the label book is at fault,
    which no further vote can mend.

    available: the inspectors who can be asked; default: all. now_s: the time on the clock of `votes.time`, in seconds;
    nobody is asked about an item again before `repeat_after_s`, nor where times are unknown.
    """
    inspectors = inspector_count or (int(votes.inspector.max()) + 1 if len(votes.inspector) else 0)
    items = len(consensus.probability)
    asked = np.arange(inspectors) if available is None else np.array(sorted({*available}), np.int64)
    if n <= 0 or not items or not len(asked):
        return np.zeros((0, 2), dtype=np.int64)
    last_look = _last_look(votes, items, inspectors)[:, asked]
    is_free = np.isneginf(last_look)
    is_forgotten = np.zeros_like(is_free) if now_s is None else last_look <= now_s - repeat_after_s
    gain = expected_gain(consensus, inspectors)[:, asked]
    gain = np.where(is_free, gain, np.where(is_forgotten, REPEAT_WEIGHT * gain, 0.0))
    is_open = consensus.probability.max(axis=1) < SURE
    if closed is not None:
        is_open &= ~closed
    gain[~is_open] = 0.0
    gain[gain < LEAST_GAIN] = 0.0
    best = gain.max(axis=1) if importance is None else gain.max(axis=1) * importance
    order = np.argsort(-best, kind="stable")[: min(n, int((best > 0).sum()))]
    worth = gain[order] if cost is None else gain[order] / cost[asked]
    return np.column_stack([order, asked[_spread(worth)]]).astype(np.int64)


def expected_gain(consensus: Consensus, inspector_count: int) -> Floats:
    """(items, inspectors): nats that one more judgement is expected to tell about the item's class.

    The mutual information of class and answer, for an inspector as the consensus knows them (the team's mean for one
    not seen yet), times the share of a vote that is no echo of those given already.
    """
    probability, known = consensus.probability, consensus.confusion
    classes = probability.shape[1]
    usual = normalised(np.where(np.eye(classes, dtype=bool), TEAM_SKILL, (1 - TEAM_SKILL) / max(classes - 1, 1)))
    team = known.mean(axis=0) if len(known) else usual
    gain = np.zeros((len(probability), inspector_count))
    for one in range(inspector_count):
        confusion = known[one] if one < len(known) else team
        gain[:, one] = _entropy(probability @ confusion) - probability @ _entropy(confusion)
    return np.asarray(np.maximum(gain, 0.0) * _share_of_news(consensus.effective_votes)[:, None], np.float64)


def _spread(value: Floats) -> Ints:
    """(n,) who is asked, by the value (n, inspectors) of asking: the best, but nearly equal ones in turn.

    Were it always the best, nobody would learn how good the others are.
    """
    asked, turns = np.zeros(len(value), np.int64), np.zeros(value.shape[1])
    for place, row in enumerate(value):
        asked[place] = (row / (1 + TURN * turns)).argmax()
        turns[asked[place]] += 1
    return asked


def _share_of_news(effective: Floats) -> Floats:
    """What one more vote on an item counts, beside those that its effective votes stand for: Kish's design effect.

    >>> _share_of_news(np.array([0.0, 1.0, 2.0 / 1.3])).round(3).tolist()
    [1.0, 0.769, 0.625]
    """
    bounded = np.minimum(effective, 0.99 / SHARED_DIFFICULTY)
    cast = np.where(bounded > 1, bounded * (1 - SHARED_DIFFICULTY) / (1 - SHARED_DIFFICULTY * bounded), bounded)
    return design_effect(cast + 1)


def _entropy(rows: Floats) -> Floats:
    return np.asarray(-(rows * np.log(np.maximum(rows, 1e-12))).sum(axis=-1), np.float64)


def _last_look(votes: Votes, items: int, inspectors: int) -> Floats:
    """(items, inspectors): when each looked last; -inf where they never did, +inf where nobody knows when."""
    found = np.full((items, inspectors), -np.inf)
    when = (
        np.full(len(votes.item), np.inf) if votes.time is None else np.where(np.isnan(votes.time), np.inf, votes.time)
    )
    np.maximum.at(found, (votes.item, votes.inspector), when)
    return found
