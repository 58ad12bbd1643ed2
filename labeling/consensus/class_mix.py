"""Which mix of classes to expect: a uniform one hides rare defects, an estimated one runs away with poor inspectors.

Where one class holds most of the votes, either the other classes are rare, or inspectors overlook them: the two look
alike, and an estimated mix that is wrong feeds on itself. They are told apart by agreement: rare defects that
inspectors see are seen by several of them. Only likelihoods are compared, for these hold too where images were asked
about again because they were disputed, which turns every plain figure of agreement (kappa among them) on its head.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import logsumexp

from labeling.consensus.ballots import Ballots, softmax
from labeling.votes import Floats

DOMINANT: Final = 0.25
"""Were all classes equally frequent: the share of the others that inspectors would have to call the largest one. Below
this, a uniform mix does little harm."""
PLAUSIBLE: Final = 0.3
ODDS: Final = 10.0
"""A team that overlooks this share is as usual as rare classes; the log odds move by so much for a share of 1."""
ERRORS: Final = 1.5
"""Standard errors over inspectors that the share is taken lower: some lean to one class, and teams are small."""
LEANING: Final = 0.05
"""Usual standard deviation of the largest class's share between inspectors, worth two inspectors."""
SKILLED: Final = 0.5
"""How much of the way from guessing to always right a team must be, for its votes to show the mix."""
PSEUDO_ITEMS: Final = 5.0
"""Items spread evenly over the classes that an estimated mix starts from."""
TEAM_SKILL: Final = 0.8
TEAM_SKILL_VOTES: Final = 8.0
"""What is thought of a team before its labels are seen, and how many votes that thought is worth."""
ITERATIONS: Final = 50


@dataclass(frozen=True, slots=True)
class Mix:
    """What the votes say about the classes' shares."""

    is_rare: float
    """Probability that classes are rare, so that the mix is to be learned from the labels; 0 without one that leads."""
    top_class: int
    top_share: float
    """The largest class's share of the votes, every item counted alike."""


def mix_of(found: Ballots) -> Mix:
    """Read the class mix off first looks, with a model of one skill for the whole team."""
    classes = found.class_count
    counts = found.counts(np.where(found.repeat, 0.0, 1.0))
    counts = counts[counts.any(axis=1)]
    if len(counts) == 0 or classes == 1:
        return Mix(0.0, 0, 1.0 / classes)
    counts, times = _distinct(counts)
    looks = counts.sum(axis=1)
    share = times @ (counts / looks[:, None]) / times.sum()
    top = int(share.argmax())
    dominance = (share[top] - ERRORS * _error_of_share(found, top) - 1 / classes) / (1 - 1 / classes)
    shared = np.where(looks > 1, times, 0.0)
    if dominance <= DOMINANT or shared.sum() < 2:
        return Mix(0.0, top, float(share[top]))
    skill, mix = TEAM_SKILL, share
    probability = counts / looks[:, None]
    for _ in range(ITERATIONS):
        mix = _from_start(times @ probability, float(times.sum()))
        probability = softmax(_log_likelihood(counts, looks, skill) + np.log(mix))
        # Two looks an item, however many it had: what was asked for again is harder than the rest.
        hits = 2 * float(shared @ ((probability * counts).sum(axis=1) / looks))
        skill = (hits + TEAM_SKILL * TEAM_SKILL_VOTES) / (2 * float(shared.sum()) + TEAM_SKILL_VOTES)
    if (skill - 1 / classes) / (1 - 1 / classes) <= SKILLED:
        return Mix(0.0, top, float(share[top]))
    together = shared @ logsumexp(_log_likelihood(counts, looks, skill) + np.log(mix), axis=1)
    said = times @ counts
    apart = shared @ (counts @ np.log((said + 0.5) / (said.sum() + 0.5 * classes)))
    odds = np.clip(ODDS * (dominance - PLAUSIBLE) + together - apart, -30, 30)
    return Mix(float(1 / (1 + np.exp(-odds))), top, float(share[top]))


def _distinct(counts: Floats) -> tuple[Floats, Floats]:
    """The rows of counts (n, K) that differ, and how many items have each; of many items few differ."""
    base = counts.max(axis=0) + 1
    if np.prod(base) >= 2**53:
        return counts, np.ones(len(counts))
    _, first, times = np.unique(
        counts @ np.concatenate([[1], np.cumprod(base[:-1])]), return_index=True, return_counts=True
    )
    return counts[first], times.astype(np.float64)


def _from_start(items: Floats, count: float) -> Floats:
    """(K,) the shares of a class among count items, begun with PSEUDO_ITEMS at equal shares."""
    return np.asarray((items + PSEUDO_ITEMS / len(items)) / (count + PSEUDO_ITEMS), np.float64)


def estimated(probability: Floats) -> Floats:
    """(K,) the mix of the items whose posterior (n, K) is given, from a start at equal shares."""
    return _from_start(probability.sum(axis=0), len(probability))


def _error_of_share(found: Ballots, top: int) -> float:
    """Standard error of the share of a class, as far as it comes from inspectors who name it more or less often."""
    first = ~found.repeat
    looks = np.bincount(found.inspector[first])
    named = np.bincount(found.inspector[first & (found.label == top)], minlength=len(looks))
    share = named[looks > 0] / looks[looks > 0]
    variance = (((share - share.mean()) ** 2).sum() + 2 * LEANING**2) / (len(share) + 1)
    return float(np.sqrt(variance / len(share)))


def _log_likelihood(counts: Floats, looks: Floats, skill: float) -> Floats:
    """(n, K) of votes by a team that is right with one probability and errs evenly."""
    wrong = (1 - skill) / (counts.shape[1] - 1)
    return np.asarray(counts * np.log(skill) + (looks[:, None] - counts) * np.log(wrong), np.float64)
