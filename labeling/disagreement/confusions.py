"""Who calls what what: which inspector says one class where the others say another, more often than the team does."""

from dataclasses import dataclass

import numpy as np

from labeling.agreement import Share, share
from labeling.disagreement.significance import more_often, q_values
from labeling.others import Others
from labeling.votes import Ints, Votes


@dataclass(frozen=True, slots=True)
class Confusion:
    """One inspector who says `said` where the others say `others`."""

    inspector: int
    others: int
    said: int
    rate: Share
    """Of the inspector's looks at images that the others call `others`."""
    team: Share | None
    """The same of all other inspectors; None where they have no such look."""
    p: float
    """Fisher's exact test against all other inspectors, one-sided."""
    q: float
    """The least share of false discoveries at which this one would be reported, among all pairs and inspectors."""


def confusions(votes: Votes, others: Others) -> tuple[Confusion, ...]:
    """Every confusion that happened, the surest first. Looks at images of which the others are undecided say nothing.

    >>> from labeling.others import others
    >>> item, inspector = np.tile(np.arange(60), 3), np.repeat(np.arange(3), 60)
    >>> label = np.where((inspector == 2) & (item < 20), 1, 0)  # the third calls every third good part a defect
    >>> votes = Votes(item, inspector, label, 0 * item)
    >>> first = confusions(votes, others(votes, 2))[0]
    >>> (first.inspector, first.others, first.said, first.rate.hits, first.rate.n, first.q < 0.001)
    (2, 0, 1, 20, 60, True)
    """
    chosen = others.decided
    who, said, truth = votes.inspector[chosen], votes.label[chosen], others.label[chosen]
    counts = _counts(who, truth, said)
    total, looks = counts.sum(axis=0), counts.sum(axis=2)
    found = []
    for inspector, theirs, own in np.argwhere(counts > 0).tolist():
        if theirs == own:
            continue
        hits, n = int(counts[inspector, theirs, own]), int(looks[inspector, theirs])
        rest_hits, rest_n = int(total[theirs, own]) - hits, int(looks[:, theirs].sum()) - n
        team = share(rest_hits, rest_n) if rest_n else None
        p = more_often(hits, n, rest_hits, rest_n)
        found.append((inspector, theirs, own, share(hits, n), team, p))
    q = q_values([one[-1] for one in found])
    made = [Confusion(*one, q=float(value)) for one, value in zip(found, q, strict=True)]
    return tuple(sorted(made, key=lambda one: (one.q, one.p, -one.rate.hits)))


def _counts(who: Ints, truth: Ints, said: Ints) -> Ints:
    inspectors, classes = 1 + int(who.max(initial=-1)), 1 + int(max(truth.max(initial=-1), said.max(initial=-1)))
    counts = np.zeros((inspectors, classes, classes), np.int64)
    np.add.at(counts, (who, truth, said), 1)
    return counts
