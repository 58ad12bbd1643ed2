"""Dawid and Skene's model with priors that a hundred items can carry, made to know how little it knows.

The confusion matrix of an inspector (Dawid and Skene 1979) has K (K - 1) numbers, more than small sets can tell. Here
each borrows: an inspector's skill from the team's, the team's confusions from one number for all classes, and how much
an inspector may differ is learned from the labels. Four things keep the posterior honest:

- a vote is weighed by a confusion matrix that was estimated without it (leave-one-out, as in collapsed variational
  Bayes: Teh, Newman and Welling 2006), so that inspectors do not prove themselves right;
- only items that several inspectors judged, or whose class is known, say anything about skill;
- evidence is tempered once the confusions are known: items are hard for all inspectors together, so that votes on one
  item are no independent witnesses. Tempering while learning would let skill and certainty fade away together;
- a small share stays with the mix of classes, for items that mislead everybody.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, gammaln, logit

from labeling.consensus.ballots import Ballots, Bools, Fit, design_effect, normalised, softmax
from labeling.consensus.class_mix import TEAM_SKILL, TEAM_SKILL_VOTES, estimated, mix_of
from labeling.votes import Floats, Ints

SKILL_VOTES: Final = 8.0
"""Votes that an inspector's likeness to the team is worth."""
CONFUSION_VOTES: Final = 300.0
"""Votes a class that 'errors spread evenly' is worth in the team's confusion matrix."""
OWN_WAY: Final = np.array([5.0, 10.0, 20.0, 40.0, 80.0, 160.0])
"""Votes a class that the expected confusion matrix is worth for one inspector; the labels choose among these."""
MISLEADING: Final = 0.03
"""Share of items that mislead everybody."""
TELLING_JUDGES: Final = 500
"""So many say how far inspectors differ; more would take long and say the same."""
NEGLIGIBLE: Final = 0.02
"""Of a probability that it is not worth settling twice for."""
LEAVE_ONE_OUT_VOTES: Final = 5_000
"""Above, one vote is a small part of what is known, and whole tables of votes are taken at once."""
ITERATIONS: Final = 40
CONVERGED: Final = 1e-4
CERTAIN: Final = 1e-3


def hierarchical(found: Ballots) -> Fit:
    """Hierarchical Bayes over inspectors; as in CONSENSUS."""
    return fit(found, found.inspector, np.arange(found.inspector_count))


def fit(found: Ballots, judge: Ints, person: Ints) -> Fit:
    """Settle with one confusion matrix a judge: an inspector, or an inspector in one of several states.

    judge: (L,) who gave each vote. person: (judges,) the inspector that each judge is. A judge borrows from the person
    as the person borrows from the team. Where the votes leave open whether classes are rare, both are settled and
    averaged.
    """
    is_rare = 0.0 if found.known_mix is not None else mix_of(found).is_rare
    if is_rare < NEGLIGIBLE:
        return _settled(_State(found, judge, person, is_mix_estimated=False))
    rare = _settled(_State(found, judge, person, is_mix_estimated=True))
    if is_rare > 1 - NEGLIGIBLE:
        return rare
    even = _settled(_State(found, judge, person, is_mix_estimated=False))
    return Fit(
        is_rare * rare.probability + (1 - is_rare) * even.probability,
        is_rare * rare.confusion + (1 - is_rare) * even.confusion,
        rare.effective_votes,
    )


def _settled(state: "_State") -> Fit:
    found, probability = state.found, state.first_guess()
    for _ in range(ITERATIONS):
        step = state.posterior(probability, state.weight)
        moved = float(np.abs(step - probability).max(initial=0.0))
        probability = step
        if moved < CONVERGED:
            break
    summed = np.bincount(found.item, state.weight, found.item_count).astype(np.float64)
    effect = design_effect(summed)
    tempered = state.posterior(probability, state.weight * effect[found.item])
    mix = state.mix(probability)
    shared = (1 - MISLEADING) * tempered + MISLEADING * normalised(mix * np.exp(state.lean))
    return Fit(normalised(shared), state.confusion(probability), summed * effect)


@dataclass(frozen=True, slots=True)
class _Expected:
    """Each judge's confusion matrix as the others' labels lead to expect it."""

    mean: Floats
    """(judges, K, K)"""
    votes: float
    """What it is worth in votes of a class."""
    borrowed: Floats
    """(judges,) the share of right votes that a judge borrows: the person's, or the team's."""
    team_skill: float
    team: Floats
    """(K, K) the team's confusion matrix."""


class _State:
    """The votes as tables, and what holds through all iterations."""

    def __init__(self, found: Ballots, judge: Ints, person: Ints, *, is_mix_estimated: bool) -> None:
        self.found, self.judge, self.person = found, judge, person
        self.is_mix_estimated = is_mix_estimated
        self.weight = found.independent
        self.lean = np.zeros((1, found.class_count)) if found.lean is None else found.lean
        self.is_shared = _tells_skill(found)[:, None]
        self.has_votes = np.bincount(found.item, minlength=found.item_count) > 0
        self.leaves_one_out = len(judge) <= LEAVE_ONE_OUT_VOTES
        cells = len(person) * found.class_count
        self.cell = judge * found.class_count + found.label
        rows = sp.csr_array((self.weight, (found.item, self.cell)), shape=(found.item_count, cells))
        self.votes_by_cell = rows.T.tocsr()

    def first_guess(self) -> Floats:
        """Votes smoothed by their own mix."""
        classes = self.found.class_count
        counts = self.found.counts(self.weight)
        share = counts.sum(axis=0) / max(counts.sum(), 1e-12)
        guess = counts + 0.3 * classes * (0.5 * share + 0.5 / classes)
        return normalised(guess * np.exp(self.lean))

    def mix(self, probability: Floats) -> Floats:
        """(K,) the shares of the classes."""
        classes = self.found.class_count
        if self.found.known_mix is not None:
            return np.maximum(self.found.known_mix, 1e-6)
        if not self.is_mix_estimated:
            return np.full(classes, 1.0 / classes)
        return estimated(probability[self.has_votes])

    def posterior(self, probability: Floats, weight: Floats) -> Floats:
        """(n, K): what the votes of this weight (L,) say, with confusions as the probability (n, K) has them."""
        found, counts = self.found, self._counts(probability)
        expected = self._expected(counts)
        prior = np.log(self.mix(probability)) + self.lean
        if self.leaves_one_out:
            seen = np.log(self._without_own(probability, counts, expected))
            summed = [np.bincount(found.item, weight * column, found.item_count) for column in seen.T]
            return softmax(np.stack(summed, axis=1) + prior)
        table = np.log(_shrunk(counts, expected)).transpose(0, 2, 1).reshape(-1, found.class_count)
        rows = sp.csr_array((weight, (found.item, self.cell)), shape=(found.item_count, len(table)))
        return softmax(rows @ table + prior)

    def confusion(self, probability: Floats) -> Floats:
        """(inspectors, K, K): of each inspector, over all states."""
        counts = self._counts(probability)
        tables = _shrunk(counts, self._expected(counts))
        votes = 1e-9 + np.bincount(self.judge, self.weight, len(self.person))
        total = np.bincount(self.person, votes, self.found.inspector_count)
        summed = np.zeros((self.found.inspector_count, *tables.shape[1:]))
        np.add.at(summed, self.person, tables * votes[:, None, None])
        team = tables.mean(axis=0) if len(tables) else np.zeros(tables.shape[1:])
        return normalised(np.where(total[:, None, None] > 0, summed / np.maximum(total, 1e-9)[:, None, None], team))

    def _counts(self, probability: Floats) -> Floats:
        """(judges, K, K): expected votes by true class and label, from the items that tell skill."""
        classes = self.found.class_count
        summed = np.asarray(self.votes_by_cell @ (probability * self.is_shared), np.float64)
        return summed.reshape(len(self.person), classes, classes).transpose(0, 2, 1)

    def _expected(self, counts: Floats) -> "_Expected":
        classes = self.found.class_count
        team = counts.sum(axis=0)
        skill = (np.trace(team) + TEAM_SKILL * TEAM_SKILL_VOTES) / (team.sum() + TEAM_SKILL_VOTES)
        even = np.where(np.eye(classes, dtype=bool), skill, (1 - skill) / max(classes - 1, 1))
        matrix = even
        if len(np.unique(self.person)) > 2:  # two can't tell a class that is overlooked from one that is rare
            matrix = (team + CONFUSION_VOTES * even) / (team.sum(axis=1, keepdims=True) + CONFUSION_VOTES)
        hits, votes = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
        borrowed = np.full(len(self.person), skill)
        if len(self.person) != self.found.inspector_count:
            people = self.found.inspector_count
            own_hits, own_votes = (np.bincount(self.person, what, people) for what in (hits, votes))
            borrowed = ((own_hits + SKILL_VOTES * skill) / (own_votes + SKILL_VOTES))[self.person]
        own = (hits + SKILL_VOTES * borrowed) / (votes + SKILL_VOTES)
        right = _right(own, matrix, skill)
        mean = np.where(np.eye(classes, dtype=bool), right[:, :, None], (1 - right)[:, :, None] * _errors(matrix))
        return _Expected(mean, _own_way(counts, mean), borrowed, float(skill), matrix)

    def _without_own(self, probability: Floats, counts: Floats, expected: "_Expected") -> Floats:
        """(L, K): how probable each vote is by true class, for a judge as known from all other votes."""
        found, judge = self.found, self.judge
        own = probability[found.item] * (self.weight[:, None] * self.is_shared[found.item])
        hits, votes = np.trace(counts, axis1=1, axis2=2)[judge], counts.sum(axis=(1, 2))[judge]
        hits = hits - own[np.arange(len(judge)), found.label]
        skill = (hits + SKILL_VOTES * expected.borrowed[judge]) / (votes - own.sum(axis=1) + SKILL_VOTES)
        right = _right(skill, expected.team, expected.team_skill)
        is_hit = np.arange(found.class_count) == found.label[:, None]
        mean = np.where(is_hit, right, (1 - right) * _errors(expected.team)[:, found.label].T)
        seen = np.maximum(counts[judge, :, found.label] - own, 0.0)
        rows = np.maximum(counts.sum(axis=2)[judge] - own, 0.0)
        return np.asarray(np.maximum((seen + expected.votes * mean) / (rows + expected.votes), 1e-6), np.float64)


def _tells_skill(found: Ballots) -> Bools:
    """(n,): whether different inspectors judged the item, or its class is known; others say nothing about skill."""
    lowest = np.full(found.item_count, np.iinfo(np.int64).max)
    highest = np.full(found.item_count, -1)
    np.minimum.at(lowest, found.item, found.inspector)
    np.maximum.at(highest, found.item, found.inspector)
    tells = highest > lowest
    return np.asarray(tells if found.is_known is None else tells | found.is_known, np.bool_)


def _right(skill: Floats, matrix: Floats, team_skill: float) -> Floats:
    """(…, K): a skill as a share of right votes by class: classes are as hard for one as they are for the team."""
    bounded = np.clip(skill, CERTAIN, 1 - CERTAIN)
    by_class = np.clip(np.diag(matrix), CERTAIN, 1 - CERTAIN)
    return np.asarray(
        expit(logit(bounded)[:, None] + logit(by_class) - logit(np.clip(team_skill, CERTAIN, 1 - CERTAIN)))
    )


def _errors(matrix: Floats) -> Floats:
    """(K, K): of a class's wrong votes, the share that goes to each other class."""
    wrong = np.maximum(1 - np.diag(matrix), 1e-9)[:, None]
    return np.asarray(np.where(np.eye(len(matrix), dtype=bool), 0.0, matrix / wrong), np.float64)


def _shrunk(counts: Floats, expected: _Expected) -> Floats:
    """Expected rows, moved by the votes seen."""
    rows = (counts + expected.votes * expected.mean) / (counts.sum(axis=2, keepdims=True) + expected.votes)
    return np.asarray(np.maximum(rows, 1e-6), np.float64)


def _own_way(counts: Floats, mean: Floats) -> float:
    """How many votes the expected matrix is worth: the mean of OWN_WAY, weighted by how well each explains the votes.

    The likelihood is the Dirichlet-multinomial one; the mean is geometric.
    """
    if counts.size == 0:
        return float(OWN_WAY[-1])
    every = -(-len(counts) // TELLING_JUDGES)
    counts, mean = counts[::every], mean[::every]
    grid = OWN_WAY[:, None, None, None]
    expected = grid * np.maximum(mean, 1e-4)
    rows = gammaln(OWN_WAY)[:, None, None] - gammaln(OWN_WAY[:, None, None] + counts.sum(axis=2))
    cells = gammaln(expected + counts) - gammaln(expected)
    evidence = rows.sum(axis=(1, 2)) + cells.sum(axis=(1, 2, 3))
    weight = np.exp(evidence - evidence.max())
    return float(np.exp(weight @ np.log(OWN_WAY) / weight.sum()))
