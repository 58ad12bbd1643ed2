"""How good scores are, on images that were not trained on, with intervals that respect parts.

Images of one part (or one series of exposures) are not independent; whatever takes `group` resamples or counts whole
groups.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

BOOTSTRAP_ROUNDS = 1000


class OneSidedSample(ValueError):
    """A measure that compares defects with good parts was asked of a sample that lacks one of them."""

    def __init__(self, defects: int, oks: int) -> None:
        self.defects = defects
        self.oks = oks
        self.remedy = "add images of the kind that is missing"
        super().__init__(f"{defects} defective and {oks} good images cannot be compared; {self.remedy}")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval and the number of things that it was counted from."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        """The four fields."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What an operating point does to a sample of inspections.

    escape: defects passed, of all defects. overkill: good parts not passed, of all good. recheck: neither passed nor
    rejected, of all. Each n is a number of groups.
    """

    escape: Interval
    overkill: Interval
    recheck: Interval


def auroc(score: ArrayLike, is_defect: ArrayLike) -> float:
    """The probability that a defect scores higher than a good image; a tie counts one half.

    Raises:
        OneSidedSample: there are no defects, or nothing else.

    >>> auroc([0.1, 0.4, 0.4, 0.8], [False, False, True, True])
    0.875
    """
    defect = np.asarray(is_defect, bool)
    ranks = _ranks(np.asarray(score, np.float64))
    positives = int(defect.sum())
    negatives = len(defect) - positives
    if positives == 0 or negatives == 0:
        raise OneSidedSample(positives, negatives)
    return float((ranks[defect].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; ties share their mean. scipy.stats has this, but importing that takes a second of every command."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean_rank: NDArray[np.float64] = (last - (count - 1) / 2)[place]
    return mean_rank


def auroc_interval(
    score: ArrayLike,
    is_defect: ArrayLike,
    group: ArrayLike,
    rng: np.random.Generator,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> Interval:
    """AUROC with a percentile bootstrap over groups; n is the number of groups.

    Raises:
        OneSidedSample: there are no defects, or nothing else.
    """
    scores, defect = np.asarray(score, np.float64), np.asarray(is_defect, bool)
    value = auroc(scores, defect)
    draws = [auroc(scores[rows], defect[rows]) for rows in group_resamples(defect, group, rng, rounds)]
    low, high = np.quantile(draws, (0.025, 0.975)) if draws else (0.0, 1.0)
    return Interval(value, float(low), float(high), len(np.unique(np.asarray(group))))


def group_resamples(
    is_defect: NDArray[np.bool_], group: ArrayLike, rng: np.random.Generator, rounds: int
) -> list[NDArray[np.intp]]:
    """Row numbers of bootstrap samples that draw whole groups, strata kept: groups with a defect, groups without.

    A sample that still lacks defects or good images (possible where groups are mixed) is left out.
    """
    _, number = np.unique(np.asarray(group), return_inverse=True)
    rows = [np.flatnonzero(number == one) for one in range(number.max() + 1)] if len(number) else []
    strata = [[r for r in rows if is_defect[r].any()], [r for r in rows if not is_defect[r].any()]]
    samples = []
    for _ in range(rounds):
        drawn = [stratum[i] for stratum in strata if stratum for i in rng.integers(len(stratum), size=len(stratum))]
        sample = np.concatenate(drawn)
        if is_defect[sample].any() and not is_defect[sample].all():
            samples.append(sample)
    return samples


def proportion(hits: float, n: int) -> Interval:
    """A proportion with its two-sided 95 % Clopper-Pearson interval; 0..1 where n is 0.

    hits may be fractional, where a group counts with the fraction of its members that are hit.

    >>> interval = proportion(0, 30)
    >>> round(interval.high, 4)
    0.1157
    """
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0)
    low = float(betaincinv(hits, n - hits + 1, 0.025)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 0.975)) if hits < n else 1.0
    return Interval(hits / n, low, high, n)


def upper_bound(hits: float, n: int, confidence: float = 0.95) -> float:
    """The one-sided Clopper-Pearson upper bound on a proportion; 1 where n is 0.

    >>> round(upper_bound(0, 59), 4)
    0.0495
    """
    return 1.0 if hits >= n else float(betaincinv(hits + 1, n - hits, confidence))


def group_weights(group: ArrayLike) -> NDArray[np.float64]:
    """One over the size of each row's group, so that every group weighs 1 in all.

    >>> group_weights(["a", "a", "b"]).tolist()
    [0.5, 0.5, 1.0]
    """
    _, number, size = np.unique(np.asarray(group), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / size[number], np.float64)


def grouped_proportion(hit: ArrayLike, group: ArrayLike) -> Interval:
    """The mean over groups of the fraction of rows that are hit, with an interval for that many groups, not rows.

    Six exposures of one part give a finer estimate of that part, but no more evidence about parts than one.
    """
    weight = group_weights(group)
    return proportion(float(weight[np.asarray(hit, bool)].sum()), len(np.unique(np.asarray(group))))


def outcomes(
    p_defect: ArrayLike, is_defect: ArrayLike, group: ArrayLike, pass_below: float, reject_from: float
) -> Outcomes:
    """What two thresholds do to inspections: p_defect float (n,), is_defect bool (n,), group (n,)."""
    scores, defect, names = np.asarray(p_defect, np.float64), np.asarray(is_defect, bool), np.asarray(group)
    passed = scores < pass_below
    return Outcomes(
        escape=grouped_proportion(passed[defect], names[defect]),
        overkill=grouped_proportion(~passed[~defect], names[~defect]),
        recheck=grouped_proportion(~passed & (scores < reject_from), names),
    )


def accuracy(class_probability: NDArray[np.floating[Any]], label: ArrayLike, group: ArrayLike) -> Interval:
    """The fraction of images whose likeliest class, of (n, K), is their label, int (n,); n counts groups."""
    return grouped_proportion(class_probability.argmax(axis=1) == np.asarray(label), group)
