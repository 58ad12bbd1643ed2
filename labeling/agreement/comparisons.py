"""The figures of one inspector, and of two, from their looks."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from labeling.agreement.coefficients import coefficients, fleiss_kappa, gwet_ac, krippendorff_alpha, pabak
from labeling.agreement.decisions import GOOD, NOT_GOOD
from labeling.agreement.kappa import Coefficient, coefficient, cohen_kappa
from labeling.agreement.results import DECIDED, InspectorAgreement, PairAgreement
from labeling.agreement.shares import Bools, Share, partly, repeatability, wholly
from labeling.agreement.weights import METRIC_OF
from labeling.others import UNKNOWN
from labeling.votes import Floats, Ints


@dataclass(frozen=True, slots=True)
class Level:
    """What is compared: so many classes, and how near they are."""

    name: str
    classes: int
    weights: str

    @property
    def knows_good(self) -> bool:
        """Whether 0 is good and 1 is not."""
        return self.name == DECIDED


@dataclass(frozen=True, slots=True)
class Looks:
    """Equal-length arrays, one entry a look, and the part of every item."""

    item: Ints
    inspector: Ints
    occasion: Ints
    said: Ints
    true: Ints
    """What should be said, UNKNOWN where nobody knows."""
    part_of: Ints

    @property
    def group(self) -> Ints:
        """The part of every look."""
        return np.asarray(self.part_of[self.item], np.int64)

    def of(self, chosen: Bools | Ints) -> "Looks":
        """Some of the looks."""
        return Looks(
            self.item[chosen],
            self.inspector[chosen],
            self.occasion[chosen],
            self.said[chosen],
            self.true[chosen],
            self.part_of,
        )


def of_inspector(inspector: int, looks: Looks, undecided: tuple[int, ...], level: Level) -> InspectorAgreement:
    """One inspector's looks; undecided: what decides nothing."""
    group = looks.group
    known = looks.of(looks.true != UNKNOWN)
    true = known.true
    is_right = known.said == true
    bad, good = true == NOT_GOOD, true == GOOD
    passed = known.said == GOOD
    told = level.knows_good and len(true) > 0
    columns = _columns(known.said, true, level.classes)
    return InspectorAgreement(
        inspector=inspector,
        looks=len(looks.said),
        parts=len(np.unique(group)),
        unreferenced=len(np.setdiff1d(group, known.group)),
        repeatability=repeatability(group, looks.item, looks.said),
        effectiveness=right(known),
        miss=partly(known.group[bad], passed[bad]) if told else None,
        false_alarm=partly(known.group[good], ~passed[good]) if told else None,
        mixed=_mixed(known.group, is_right),
        undecided=partly(group, np.isin(looks.said, undecided)),
        bias=_mean_difference(~passed, bad, known.group) if told else None,
        within=coefficients(counts(looks, level.classes), level.weights, looks.part_of),
        agreement=partly(known.group, is_right),
        kappa=_cohen(known.said, true, known.group, level),
        fleiss=fleiss_kappa(columns, level.weights, known.group),
        ac=gwet_ac(columns, level.weights, known.group),
        pabak=pabak(columns, level.weights, known.group),
        confusion=_confusion(known.said, true, level.classes) if len(true) else None,
    )


def of_pair(first: int, second: int, looks: Looks, level: Level) -> PairAgreement:
    """Two inspectors, of all looks."""
    one, other = (looks.of(looks.inspector == who) for who in (first, second))
    places = [np.stack([side.item, side.occasion], axis=1) for side in (one, other)]
    every = np.unique(np.concatenate(places), axis=0, return_inverse=True)[1].reshape(-1)
    _, mine, theirs = np.intersect1d(every[: len(one.item)], every[len(one.item) :], return_indices=True)
    one, other = one.of(mine), other.of(theirs)
    columns = _columns(one.said, other.said, level.classes)
    return PairAgreement(
        first=first,
        second=second,
        agreement=partly(one.group, one.said == other.said),
        kappa=_cohen(one.said, other.said, one.group, level),
        ac=gwet_ac(columns, level.weights, one.group),
        pabak=pabak(columns, level.weights, one.group),
        alpha=krippendorff_alpha(columns, METRIC_OF[level.weights], group=one.group),
        bias=_mean_difference(one.said != GOOD, other.said != GOOD, one.group) if level.knows_good else None,
    )


def right(looks: Looks) -> Share | None:
    """The parts that are judged as they are at every look; looks of which nobody knows that don't count."""
    known = looks.of(looks.true != UNKNOWN)
    return wholly(known.group, known.said == known.true)


def counts(looks: Looks, classes: int) -> Floats:
    """(items, classes): how often each item was judged how."""
    counts = np.zeros((len(looks.part_of), classes))
    np.add.at(counts, (looks.item, looks.said), 1.0)
    return counts


def _mixed(group: Ints, right: Bools) -> Share | None:
    """Of the groups with several looks, those with right and with wrong ones."""
    _, number, looks = np.unique(group, return_inverse=True, return_counts=True)
    hits = np.bincount(number, weights=right, minlength=len(looks))
    both = (hits > 0) & (hits < looks)
    again = looks > 1
    return wholly(np.flatnonzero(again), both[again])


def _mean_difference(first: Bools, second: Bools, group: Ints) -> Coefficient | None:
    """The mean over parts of how much oftener the first is true, with Student's interval."""
    names, number, looks = np.unique(group, return_inverse=True, return_counts=True)
    n = len(names)
    if n == 0:
        return None
    by_part = np.bincount(number, weights=first.astype(np.float64) - second, minlength=n) / looks
    mean = float(by_part.mean())
    if n == 1:
        return Coefficient(mean, -1.0, 1.0, 1)
    return coefficient(mean, float(by_part.std(ddof=1)) / n**0.5, float(stdtrit(n - 1, 0.975)), n)


def _cohen(said: Ints, other: Ints, group: Ints, level: Level) -> Coefficient | None:
    """Cohen's kappa in which every part weighs one, however often it was looked at."""
    names, number, looks = np.unique(group, return_inverse=True, return_counts=True)
    table = np.zeros((level.classes, level.classes))
    np.add.at(table, (said, other), 1.0 / looks[number])
    return cohen_kappa(table, len(names), weights=level.weights)


def _columns(said: Ints, other: Ints, classes: int) -> Floats:
    """(looks, classes): the counts of two columns of labels, a row a look."""
    kinds = np.eye(classes)
    return np.asarray(kinds[said] + kinds[other], np.float64)


def _confusion(said: Ints, true: Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (true, said), 1)
    return tuple(tuple(row) for row in table.tolist())
