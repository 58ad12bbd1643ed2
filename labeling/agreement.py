"""How far inspectors agree: with themselves, with what is known of the parts, and with each other.

The attribute study of measurement system analysis (AIAG, MSA, 4th edition 2010, chapter III C): parts with known
answers are judged several times by every inspector, and each figure is a share of parts.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from labeling.votes import Floats, Ints, Votes, WrongVotes

Bools = npt.NDArray[np.bool_]

GOOD, NOT_GOOD, UNDECIDED = 0, 1, 2
"""What a label comes to."""
DECISIONS = 3

ACCEPTABLE, MARGINAL, UNACCEPTABLE = "acceptable", "marginal", "unacceptable"
BANDS = {"effectiveness": (0.90, 0.80), "miss": (0.02, 0.05), "false_alarm": (0.05, 0.10)}
"""AIAG's limits of acceptable and marginal, by figure; effectiveness is better the higher, the other two the lower."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of n parts with its two-sided 95 % interval; hits is fractional where a part counts in part."""

    hits: float
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance, 1 at most, with its 95 % interval; n parts."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class InspectorAgreement:
    """One inspector's figures; None where no part can tell."""

    inspector: int
    looks: int
    parts: int
    repeatability: Share | None
    """Parts judged the same every time, of those looked at more than once."""
    effectiveness: Share | None
    """Parts judged as they are, every time."""
    miss: Share | None
    """Looks that pass a part which is not good."""
    false_alarm: Share | None
    """Looks that do not pass a good part."""
    undecided: Share | None
    """Looks that decide nothing."""
    kappa: Kappa | None
    """With the reference."""


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two inspectors, first < second, on the looks that both took at the same item on the same occasion."""

    first: int
    second: int
    agreement: Share | None
    kappa: Kappa | None


@dataclass(frozen=True, slots=True)
class AgreementStudy:
    """A study's figures; None where no part can tell."""

    inspectors: tuple[InspectorAgreement, ...]
    pairs: tuple[PairAgreement, ...]
    between: Share | None
    """Parts on which every look of every inspector says the same, of those that all of them judged."""
    effectiveness: Share | None
    """Parts that all inspectors judge as they are, every time, of those that all of them judged."""
    fleiss: float | None
    """Fleiss' kappa over all looks of all inspectors."""


def study(
    votes: Votes,
    reference: Ints | None = None,
    *,
    ok: Collection[int],
    undecided: Collection[int] = (),
    part: Ints | None = None,
) -> AgreementStudy:
    """Every figure, on the level of decisions: labels in `ok` are good, those in `undecided` decide nothing.

    reference: (n,) the label that item 0..n-1 truly has. part: (n,) which part an item shows; default: each its own.
    Evidence is counted in parts: a part is judged right, or the same, when all looks at all its items are; of misses,
    false alarms and undecided looks it brings the fraction of its looks. An undecided look does not pass the part: it
    is no miss, it is a false alarm on a good part, and it is never right.

    Raises WrongVotes.
    """
    items = _item_count(votes, reference, part)
    checked = votes.checked(1 + int(votes.label.max(initial=0)))
    groups = np.arange(items) if part is None else np.unique(part, return_inverse=True)[1]
    said = decisions(checked.label, ok, undecided)
    truth = None if reference is None else decisions(reference, ok, undecided)
    if truth is not None and bool((truth == UNDECIDED).any()):
        raise WrongVotes("the reference leaves an item undecided", "take the item out, or say what it is")
    looks = _Looks(checked.item, checked.inspector, checked.occasion, said, groups)
    inspectors = np.unique(looks.inspector).tolist()
    shared = looks.of(_judged_by_all(looks, len(inspectors))[looks.group])
    return AgreementStudy(
        tuple(_of_inspector(one, looks.of(looks.inspector == one), truth) for one in inspectors),
        tuple(_of_pair(first, second, looks) for first in inspectors for second in inspectors if first < second),
        repeatability(shared.group, shared.group, shared.said) if len(inspectors) > 1 else None,
        wholly(shared.group, shared.said == truth[shared.item]) if truth is not None else None,
        fleiss_kappa(_counts(looks)) if len(looks.said) else None,
    )


def decisions(label: Ints, ok: Collection[int], undecided: Collection[int] = ()) -> Ints:
    """GOOD, NOT_GOOD or UNDECIDED by label."""
    found = np.where(np.isin(label, list(ok)), GOOD, NOT_GOOD)
    return np.asarray(np.where(np.isin(label, list(undecided)), UNDECIDED, found), np.int64)


def repeatability(group: Ints, item: Ints, said: Ints) -> Share | None:
    """Of the groups with an item that was looked at more than once, those whose items were each judged one way.

    All three (m,), one entry a look; an item belongs to one group.
    """
    _, number, looks = np.unique(item, return_inverse=True, return_counts=True)
    lowest, highest = np.full(len(looks), np.iinfo(np.int64).max), np.full(len(looks), -1)
    np.minimum.at(lowest, number, said)
    np.maximum.at(highest, number, said)
    again = (looks > 1)[number]
    return wholly(group[again], (lowest == highest)[number[again]])


def wholly(group: Ints, hit: Bools) -> Share | None:
    """The share of groups whose every look is a hit; group and hit (m,), one entry a look. None without looks."""
    names, number = np.unique(group, return_inverse=True)
    failed = np.bincount(number[~hit], minlength=len(names)) > 0
    return share(int((~failed).sum()), len(names)) if len(names) else None


def partly(group: Ints, hit: Bools) -> Share | None:
    """The mean over groups of the share of looks that hit, with an interval for that many groups, not looks.

    Three looks at one part give a finer estimate of that part, but no more evidence about parts than one.
    """
    names, number, looks = np.unique(group, return_inverse=True, return_counts=True)
    return share(float((hit / looks[number]).sum()), len(names)) if len(names) else None


def share(hits: float, n: int, confidence: float = 0.95) -> Share:
    """A share with its two-sided interval (Clopper and Pearson 1934), straight from scipy's incomplete beta; n >= 1.

    >>> found = share(42, 50)
    >>> round(100 * found.low, 2), round(100 * found.high, 2)
    (70.89, 92.83)
    """
    tail, hits = (1 - confidence) / 2, min(hits, n)  # a sum of fractions may exceed n by its last bit
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Share(hits, n, hits / n, low, high)


def band(figure: str, value: float) -> str:
    """What AIAG calls a value of a figure in BANDS.

    >>> band("effectiveness", 0.84), band("miss", 0.0625), band("false_alarm", 0.049)
    ('marginal', 'unacceptable', 'acceptable')
    """
    acceptable, marginal = BANDS[figure]
    sign = 1.0 if acceptable > marginal else -1.0
    # 45 of 50 parts are 90 %, whatever the last bit of the division says.
    distance = sign * value + 1e-9
    if distance >= sign * acceptable:
        return ACCEPTABLE
    return MARGINAL if distance >= sign * marginal else UNACCEPTABLE


def worst_band(figure: str, found: Share) -> str:
    """The band of the interval's worse end: what the parts that were judged do not rule out."""
    acceptable, marginal = BANDS[figure]
    return band(figure, found.low if acceptable > marginal else found.high)


def cohen_kappa(table: npt.NDArray[np.number], n: int | None = None, confidence: float = 0.95) -> Kappa | None:
    """Cohen's kappa of a (K, K) table of counts, with the large-sample interval of Fleiss, Cohen and Everitt (1969).

    n: how many independent things the table holds; default: its sum. None where chance alone would agree always.

    >>> found = cohen_kappa(np.array([[20, 5], [10, 15]]))
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
    (0.4, 0.1511, 0.6489)
    """
    total = float(table.sum())
    if total == 0:
        return None
    p = np.asarray(table, np.float64) / total
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, chance = float(np.trace(p)), float(rows @ columns)
    if chance >= 1 - 1e-12:
        return None
    kappa = (observed - chance) / (1 - chance)
    on = float((np.diag(p) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum())
    beside = p * (columns[:, None] + rows[None, :]) ** 2
    off = (1 - kappa) ** 2 * float(beside.sum() - np.trace(beside))
    things = round(total) if n is None else n
    variance = (on + off - (kappa - chance * (1 - kappa)) ** 2) / (things * (1 - chance) ** 2)
    reach = float(ndtri((1 + confidence) / 2)) * max(variance, 0.0) ** 0.5
    return Kappa(kappa, max(-1.0, kappa - reach), min(1.0, kappa + reach), things)


def fleiss_kappa(counts: npt.NDArray[np.number]) -> float | None:
    """Fleiss' kappa (1971) of (n, K) counts: how many looks put item i into class k.

    Items may have different numbers of looks; those with one look say nothing. None where nothing is left, or where
    chance alone would agree always.
    """
    looks = counts.sum(axis=1)
    kept = np.asarray(counts[looks > 1], np.float64)
    if len(kept) == 0:
        return None
    m = kept.sum(axis=1)
    observed = float((((kept**2).sum(axis=1) - m) / (m * (m - 1))).mean())
    classes = kept.sum(axis=0) / kept.sum()
    chance = float((classes**2).sum())
    return None if chance >= 1 - 1e-12 else (observed - chance) / (1 - chance)


@dataclass(frozen=True, slots=True)
class _Looks:
    """Equal-length arrays, one entry a look, and the part of every item."""

    item: Ints
    inspector: Ints
    occasion: Ints
    said: Ints
    part_of: Ints

    @property
    def group(self) -> Ints:
        return np.asarray(self.part_of[self.item], np.int64)

    def of(self, chosen: Bools | Ints) -> "_Looks":
        return _Looks(self.item[chosen], self.inspector[chosen], self.occasion[chosen], self.said[chosen], self.part_of)


def _item_count(votes: Votes, reference: Ints | None, part: Ints | None) -> int:
    needed = 1 + int(votes.item.max(initial=-1))
    lengths = {len(given) for given in (reference, part) if given is not None} or {needed}
    if len(lengths) > 1 or min(lengths) < needed:
        raise WrongVotes(
            f"the votes name {needed} items, reference and part name {sorted(lengths)}",
            "pass one entry an item in both",
        )
    return lengths.pop()


def _of_inspector(inspector: int, looks: _Looks, truth: Ints | None) -> InspectorAgreement:
    group, said = looks.group, looks.said
    right = miss = false_alarm = kappa = None
    if truth is not None:
        true = truth[looks.item]
        bad, good = true == NOT_GOOD, true == GOOD
        right = wholly(group, said == true)
        miss = partly(group[bad], said[bad] == GOOD)
        false_alarm = partly(group[good], said[good] != GOOD)
        kappa = _weighted_kappa(said, true, group)
    return InspectorAgreement(
        inspector,
        len(said),
        len(np.unique(group)),
        repeatability(group, looks.item, said),
        right,
        miss,
        false_alarm,
        partly(group, said == UNDECIDED),
        kappa,
    )


def _of_pair(first: int, second: int, looks: _Looks) -> PairAgreement:
    one, other = (looks.of(looks.inspector == who) for who in (first, second))
    places = [np.stack([side.item, side.occasion], axis=1) for side in (one, other)]
    every = np.unique(np.concatenate(places), axis=0, return_inverse=True)[1].reshape(-1)
    _, mine, theirs = np.intersect1d(every[: len(one.item)], every[len(one.item) :], return_indices=True)
    one, other = one.of(mine), other.of(theirs)
    agreement = partly(one.group, one.said == other.said)
    return PairAgreement(first, second, agreement, _weighted_kappa(one.said, other.said, one.group))


def _weighted_kappa(said: Ints, other: Ints, group: Ints) -> Kappa | None:
    """Cohen's kappa in which every part weighs one, however often it was looked at."""
    names, number, looks = np.unique(group, return_inverse=True, return_counts=True)
    table = np.zeros((DECISIONS, DECISIONS))
    np.add.at(table, (said, other), 1.0 / looks[number])
    return cohen_kappa(table, len(names))


def _judged_by_all(looks: _Looks, inspectors: int) -> Bools:
    """(parts,): whether every inspector looked at the part."""
    pairs = np.unique(np.stack([looks.group, looks.inspector], axis=1), axis=0)
    return np.asarray(np.bincount(pairs[:, 0], minlength=1 + int(looks.part_of.max(initial=-1))) == inspectors, bool)


def _counts(looks: _Looks) -> Floats:
    """(items, DECISIONS): how often each item was judged how."""
    counts = np.zeros((len(looks.part_of), DECISIONS))
    np.add.at(counts, (looks.item, looks.said), 1.0)
    return counts
