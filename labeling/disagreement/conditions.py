"""Does an inspector judge otherwise on some shift, at some time of day, or at a second look?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labeling.agreement import Share, share
from labeling.disagreement.significance import q_values, unevenness
from labeling.others import Others
from labeling.votes import Ints, Votes

STRATA = 4
"""Groups of images as hard as each other; looks are compared within one only."""
FEWEST = 20
"""Looks of an inspector on each of two levels, below which nothing is tested."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One inspector and one kind of circumstance, such as the shift."""

    inspector: int
    kind: str
    levels: tuple[int, ...]
    """The levels that were compared."""
    rates: tuple[Share, ...]
    """By level: looks that differ from what the others say."""
    expected: tuple[float, ...]
    """By level: the rate if the level made no difference, given how hard its images are."""
    p: float
    q: float
    """The least share of false discoveries at which this one would be reported, among all that was tested."""

    @property
    def worst(self) -> int:
        """The place of the level with the highest rate beyond what its images explain."""
        return int(np.argmax([one.value - e for one, e in zip(self.rates, self.expected, strict=True)]))


def conditions(
    votes: Votes, others: Others, levels: Mapping[str, Ints], rng: np.random.Generator
) -> tuple[Condition, ...]:
    """Every inspector under every kind of circumstance that can be tested, the surest first.

    levels: kind -> (L,) level 0.. of every look, -1 where unknown. An inspector is tested where at least two levels
    hold FEWEST looks; smaller ones are left out.

    >>> from labeling.others import others
    >>> item, inspector = np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200)
    >>> late = (item >= 100).astype(np.int64)
    >>> label = ((inspector == 3) & (item >= 160)).astype(np.int64)  # only late
    >>> votes = Votes(item, inspector, label, 0 * item)
    >>> found = conditions(votes, others(votes, 2), {"shift": late}, np.random.default_rng(0))
    >>> [(one.inspector, one.worst, one.q < 0.01) for one in found]
    [(3, 1, True), (0, 0, False), (1, 0, False), (2, 0, False)]
    """
    decided = others.decided
    differs = (others.label != votes.label) & decided
    stratum = others.strata(STRATA)
    found: list[tuple[int, str, tuple[int, ...], tuple[Share, ...], tuple[float, ...], float]] = []
    for kind, level in levels.items():
        for inspector in np.unique(votes.inspector).tolist():
            of = decided & (votes.inspector == inspector) & (level >= 0)
            looks = np.bincount(level[of], minlength=1)
            big = np.flatnonzero(looks >= FEWEST)
            if len(big) < 2:
                continue
            of &= np.isin(level, big)
            place = np.searchsorted(big, level[of])
            tested = unevenness(differs[of], place, stratum[of], rng)
            hits = np.bincount(place[differs[of]], minlength=len(big))
            rates = tuple(share(int(hit), int(n)) for hit, n in zip(hits, looks[big], strict=True))
            expected = tuple((tested.expected / looks[big]).tolist())
            found.append((inspector, kind, tuple(big.tolist()), rates, expected, tested.p))
    q = q_values([one[-1] for one in found])
    made = [Condition(*one, q=float(value)) for one, value in zip(found, q, strict=True)]
    return tuple(sorted(made, key=lambda one: (one.q, one.p)))
