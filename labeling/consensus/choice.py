"""Which consensus model suits the data at hand, and why."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from labeling.consensus.ballots import Ballots
from labeling.consensus.class_mix import mix_of
from labeling.votes import Floats

MOST_CLASSES = 10
"""A scale has few steps; with more classes than these nothing is taken for one."""
MOST_ORDERS = 6
"""With more classes than these, not all orders are tried: the given one has to be far from chance alone."""
ENOUGH = 5.0
"""Confusions that there must be, of neighbours and of others, were all pairs of classes confused alike."""
NEIGHBOURS = 2.0
"""Neighbouring classes must be confused at least so many times as often as others, at the interval's lower end."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model of CONSENSUS and the reason, in a sentence or two."""

    method: str
    reason: str


def choose(found: Ballots) -> Choice:
    """Pick by the shape of the data: order of the classes, balance, agreement, number of inspectors."""
    if found.class_count == 1:
        return Choice("majority", "there is only one class")
    judges = np.unique(found.inspector)
    if len(judges) < 2:
        who = "one inspector judged" if len(judges) else "nobody judged"
        return Choice("majority", f"{who}: nothing can be learned from agreement")
    order = neighbour_ratio(found)
    if order is not None:
        return Choice(
            "ordinal",
            f"classes that stand beside each other are confused {order:.1f} times as often as others, "
            "so the classes are taken for steps of a scale",
        )
    return Choice("hierarchical", _about_mix(found))


def neighbour_ratio(found: Ballots) -> float | None:
    """How many times as often neighbouring classes are confused as others; None where they are no scale.

    Confusions are counted in pairs of votes on one item, relative to what the classes' frequencies lead to expect. The
    given order must be the best of all orders, and the ratio's 95 % interval must lie above NEIGHBOURS.
    """
    classes = found.class_count
    if not 3 <= classes <= MOST_CLASSES:
        return None
    counts = found.counts()
    together = counts.T @ counts
    votes = counts.sum(axis=0)
    chance = np.outer(votes, votes)
    distance = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes)))
    near, far = distance == 1, distance > 1
    confused = together[near | far].sum() / 2
    if confused * min(chance[near].sum(), chance[far].sum()) < ENOUGH * chance[near | far].sum():
        return None
    observed, log_ratio = _log_ratio(together, chance, distance)
    if np.exp(log_ratio - 1.96 * np.sqrt((1 / observed).sum())) < NEIGHBOURS:
        return None
    if classes <= MOST_ORDERS:
        for order in permutations(range(classes)):
            place = np.argsort(order)
            other = np.abs(np.subtract.outer(place, place))
            if _log_ratio(together, chance, other)[1] > log_ratio + 1e-9:
                return None
    return float(np.exp(log_ratio))


def _log_ratio(together: Floats, chance: Floats, distance: Floats) -> tuple[Floats, float]:
    """The counts of confusions of neighbours and of others (plus a half), and the logarithm of their relative ratio."""
    near, far = distance == 1, distance > 1
    observed = np.array([together[near].sum(), together[far].sum()]) / 2 + 0.5
    expected = np.array([chance[near].sum(), chance[far].sum()]) + 1e-9
    return observed, float(np.log(observed[0] / expected[0]) - np.log(observed[1] / expected[1]))


def _about_mix(found: Ballots) -> str:
    start = f"{len(np.unique(found.inspector))} inspectors are weighed by their agreement"
    if found.known_mix is not None:
        return f"{start}; the mix of classes is the known one"
    mix = mix_of(found)
    held = f"class {mix.top_class} holds {mix.top_share:.0%} of the votes"
    if mix.is_rare > 0.5:
        return (
            f"{start}; {held} and inspectors agree on the others, so these are rare "
            f"(probability {mix.is_rare:.2f}) and the mix is learned from the labels"
        )
    return f"{start}; {held}, which is no sign that other classes are rare: equal shares are expected"
