"""Has an inspector begun to judge otherwise than the others? A chart over time, and since when.

The risk-adjusted CUSUM of Steiner, Cook, Farewell and Treasure (2000): every look adds the logarithm of how much
likelier it is if the odds of differing from the others have risen ODDS-fold. How likely it is otherwise depends on how
sure the others are of the image, and on how much the others disagreed with each other at that time: images get harder,
and that is nobody's fault. The chart never falls below 0. What it reaches by chance is found by dealing the inspector's
differing looks out anew, to looks as likely to differ.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labeling.others import Others, others
from labeling.votes import Floats, Ints, Votes

Bools = npt.NDArray[np.bool_]

FALSE_ALARMS = 0.05
"""The share of studies of a steady team in which anybody is accused."""
ODDS = 2.5
"""The rise of the odds that the chart is quickest to find."""
STRATA = 4
FEWEST = 40
"""Looks of an inspector below which nothing is tested."""
FEWEST_LEFT = 3
"""Inspectors that must be left for another one to be accused."""
WINDOW, WINDOW_LOOKS = 0.2, 30
"""Over which share of an inspector's looks, and over how many at least, it is seen how much the others disagree."""
DRAWS = 1999


@dataclass(frozen=True, slots=True)
class Drift:
    """One inspector's chart over their m looks at images that others judged too, in the order of time."""

    inspector: int
    look: Ints
    """(m,) which of the votes."""
    chart: Floats
    """(m,)"""
    limit: float
    """What the highest point of a steady inspector's chart exceeds with the stated probability, shared among all."""
    p: float
    """The probability that a steady inspector's chart rises as high."""
    onset: int | None
    """The first of the looks, 0..m-1, since which the chart rose to its highest point; None without an alarm."""
    before: float | None
    """The share of looks that differ from the others before the onset; None without an alarm, or without such looks."""
    after: float | None
    """The same from the onset to the highest point."""

    @property
    def is_alarm(self) -> bool:
        """Whether the inspector has drifted, as far as the stated probability allows to say so."""
        return self.onset is not None


def drifts(
    votes: Votes,
    class_count: int,
    rng: np.random.Generator,
    false_alarms: float = FALSE_ALARMS,
) -> tuple[Drift, ...]:
    """The chart of every inspector with FEWEST looks or more, in the order of their numbers; the votes have times.

    Who drifts makes the others look as if they did, because they are held against a consensus with the drifter in it.
    So the surest alarm is raised alone, the drifter is left out, and the others are looked at again, until there is no
    further alarm or only two are left, of whom nobody can tell which one has changed.

    Raises WrongVotes.

    >>> rng = np.random.default_rng(0)
    >>> item, inspector = np.repeat(np.arange(300), 4), np.tile(np.arange(4), 300)
    >>> wrong = rng.random(1200) < np.where((inspector == 2) & (item >= 200), 0.3, 0.04)  # the third, from 200 on
    >>> votes = Votes(item, inspector, (wrong ^ (item % 3 == 0)).astype(np.int64), 0 * item, time=item.astype(float))
    >>> [(one.inspector, one.onset) for one in drifts(votes, 2, rng) if one.is_alarm]
    [(2, 200)]
    """
    votes = votes.checked(class_count)
    if votes.time is None:
        return ()
    heard = np.ones(len(votes.item), bool)
    settled: dict[int, Drift] = {}
    rest: dict[int, Drift] = {}
    while True:
        found = _charts(votes, heard, class_count, rng, false_alarms)
        rest |= {one.inspector: one for one in found}
        alarms = [one for one in found if one.is_alarm]
        if not alarms:
            break
        surest = max(alarms, key=lambda one: float(one.chart.max()) / one.limit)
        settled[surest.inspector] = surest
        heard &= votes.inspector != surest.inspector
        if len(np.unique(votes.inspector[heard])) < FEWEST_LEFT:
            break
    # Where it ended with too few left, alarms of others were raised with a drifter among those they are held against.
    quiet = {who: replace(one, onset=None, before=None, after=None) for who, one in rest.items()}
    return tuple((quiet | settled)[who] for who in sorted(rest))


def _charts(votes: Votes, heard: Bools, class_count: int, rng: np.random.Generator, false_alarms: float) -> list[Drift]:
    """A chart for everybody, from the looks that are heard."""
    place = np.flatnonzero(heard)
    assert votes.time is not None, "the caller has looked"
    assert votes.weight is not None, "checked votes carry weights"
    time = np.asarray(votes.time[place], np.float64)
    kept = Votes(
        votes.item[place],
        votes.inspector[place],
        votes.label[place],
        votes.occasion[place],
        votes.weight[place],
        time,
    )
    said = others(kept, class_count)
    differs, stratum = said.label != kept.label, said.strata(STRATA)
    hard = _disputed(said)
    timed = said.decided & np.isfinite(time)
    mine = [np.flatnonzero(timed & (kept.inspector == who)) for who in np.unique(kept.inspector)]
    mine = [looks[np.argsort(time[looks], kind="stable")] for looks in mine if len(looks) >= FEWEST]
    return [
        _chart(
            int(kept.inspector[looks[0]]),
            place[looks],
            differs[looks],
            _rates(differs[looks], stratum[looks], _smooth(hard[looks])),
            rng,
            false_alarms / len(mine),
        )
        for looks in mine
    ]


def _disputed(said: Others) -> Floats:
    """(L,) the share of pairs of other inspectors who differ about the image; NaN without a pair."""
    pairs = said.inspectors > 1
    several = np.where(pairs, said.inspectors, 2)
    shares = said.voices / np.where(pairs, said.voices.sum(axis=1), 1.0)[:, None]
    disputed = (1 - (shares**2).sum(axis=1)) * several / (several - 1)
    return np.asarray(np.where(pairs, disputed, np.nan))


def _smooth(values: Floats) -> Floats:
    """(m,) how much greater than usual values are around each place, 1 where nothing is known."""
    known = np.isfinite(values)
    if not known.any() or np.nanmean(values) == 0:
        return np.ones(len(values))
    mean = float(np.nanmean(values))
    reach = max(WINDOW_LOOKS, round(WINDOW * len(values))) // 2
    total, count = (np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(known, values, 0.0), known))
    start = np.maximum(np.arange(len(values)) - reach, 0)
    end = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    around = total[end] - total[start] + WINDOW_LOOKS * mean
    return np.asarray(around / (count[end] - count[start] + WINDOW_LOOKS) / mean)


def _rates(differs: Bools, stratum: Ints, hardness: Floats) -> Floats:
    """(m,) the probability that each look of a steady inspector differs."""
    # Half a look each way: a stratum in which nobody ever differed would make a single look prove everything.
    hits = np.bincount(stratum, differs) + 0.5
    rate = (hits / (np.bincount(stratum, hardness) + 1.0))[stratum] * hardness
    return np.clip(rate, 1e-4, 0.95)


def _chart(
    inspector: int, look: Ints, differs: Bools, rate: Floats, rng: np.random.Generator, false_alarms: float
) -> Drift:
    total = 1 - rate + ODDS * rate
    if_differs, if_not = np.log(ODDS / total), np.log(1 / total)
    chart = _cusum(np.where(differs, if_differs, if_not)[None, :])[0]
    highest = np.concatenate(
        [
            _cusum(np.where(_dealt(rate, int(differs.sum()), draws, rng), if_differs, if_not)).max(axis=1)
            for draws in _portions(len(look))
        ]
    )
    limit = float(np.quantile(highest, 1 - false_alarms, method="higher"))
    peak = int(chart.argmax())
    p = (1 + int((highest >= chart[peak] - 1e-9).sum())) / (1 + DRAWS)
    if p > false_alarms:
        return Drift(inspector, look, chart, limit, p, None, None, None)
    low = np.flatnonzero(chart[:peak] == 0)
    onset = int(low[-1]) + 1 if len(low) else 0
    before = float(differs[:onset].mean()) if onset else None
    return Drift(inspector, look, chart, limit, p, onset, before, float(differs[onset : peak + 1].mean()))


def _portions(looks: int) -> list[int]:
    """DRAWS in portions that fit into memory."""
    portion = max(1, min(DRAWS, 2_000_000 // looks))
    return [portion] * (DRAWS // portion) + [DRAWS % portion] * (DRAWS % portion > 0)


def _dealt(rate: Floats, hits: int, draws: int, rng: np.random.Generator) -> Bools:
    """(draws, m) as many differing looks as there are, each dealt by its odds (Efraimidis and Spirakis 2006)."""
    dealt = np.zeros((draws, len(rate)), bool)
    if hits:
        keys = np.log(rate / (1 - rate)) + rng.gumbel(size=dealt.shape)
        np.put_along_axis(dealt, np.argpartition(-keys, hits - 1, axis=1)[:, :hits], True, axis=1)
    return dealt


def _cusum(scores: Floats) -> Floats:
    """(m, n) Page's CUSUM of each row, never below 0."""
    total = np.cumsum(scores, axis=1)
    return np.asarray(total - np.minimum(np.minimum.accumulate(total, axis=1), 0.0))
