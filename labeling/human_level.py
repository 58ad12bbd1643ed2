"""How often one inspector is wrong: what a model trained on inspectors' labels is measured against.

Nobody knows what the images are, so an inspector is held against what most of the others say. They err too, which makes
the inspector look worse. The corrected figure needs no reference: two inspectors who err independently of each other,
each in a share e of their looks, differ in 2e(1 - e) of their pairs, as long as wrong looks agree (between two classes
they do; of more, e is taken a little too high). Errors that inspectors share are in neither figure: neither is a bound.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeling.agreement import Share, share
from labeling.others import Others, others
from labeling.votes import Consensus, Floats, Ints, Votes

Bools = npt.NDArray[np.bool_]

FOLDS = 50
"""Groups of images that are left out in turn to see how much the choice of images matters."""
FEWEST = 10
"""Looks at images that others judged too, below which there is no figure."""
MOST_PAIRS = 0.48
"""Share of pairs of looks that differ, from which on inspectors are no better than a coin and nothing is corrected."""
SETTLING = 30
"""Rounds until an inspector's error and that of the others fit; each halves what is wrong, or better."""


@dataclass(frozen=True, slots=True)
class Error:
    """How often an inspector errs, averaged over the inspectors, on looks whose image somebody else judged too.

    hits and n of the shares are those of a plain count of looks that would be known as well (Korn and Graubard 1998).
    Images are what was drawn: the interval is for these inspectors on further images.
    """

    raw: Share
    """Looks that differ from what the others say."""
    corrected: Share | None
    """Without what is the others' own error; None where looks differ so often that no error explains it."""
    looks: int
    items: int


@dataclass(frozen=True, slots=True)
class HumanLevel:
    """One inspector's error; None where nothing can be said."""

    overall: Error | None
    by_class: tuple[Error | None, ...]
    """(K,) the share of the images of a class that an inspector calls something else."""
    by_inspector: tuple[Error | None, ...]
    """(J,)"""
    reason: str
    """Why there is no figure, or what the figures can't say."""


def human_level(votes: Votes, consensus: Consensus, ok: Collection[int] | None = None) -> HumanLevel:
    """The error of one inspector; with `ok`, the good classes, of decisions: by_class holds false alarms and misses.

    Raises WrongVotes.

    >>> truth = np.repeat(np.arange(100) % 2, 3)  # three inspectors judge 100 images; the third errs in every tenth
    >>> item, inspector = np.repeat(np.arange(100), 3), np.tile(np.arange(3), 100)
    >>> label = truth ^ ((inspector == 2) & (item % 10 == 0))
    >>> votes = Votes(item, inspector, label, 0 * item)
    >>> from labeling.consensus import aggregate
    >>> found = human_level(votes, aggregate(votes, 2, method="majority"))
    >>> [round(float(one.raw.value), 3) for one in (found.overall, *found.by_inspector)]
    [0.067, 0.05, 0.05, 0.1]
    """
    class_count = consensus.probability.shape[1]
    votes = votes.checked(class_count)
    inspectors = int(votes.inspector.max(initial=-1)) + 1
    said = others(votes, class_count)
    label, posterior, classes = votes.label, consensus.probability, class_count
    if ok is not None:
        good = np.isin(np.arange(class_count), list(ok))
        posterior = _decided(posterior, good)
        said = Others(_decided(said.voices, good), said.inspectors)
        label, classes = (~good[label]).astype(np.int64), 2
    if reason := _nothing(votes, said):
        return HumanLevel(None, (None,) * classes, (None,) * inspectors, reason)
    known = said.known
    item, inspector, label = votes.item[known], votes.inspector[known], label[known]
    voices, most = said.voices[known], said.most[known]
    looks = np.arange(len(label))
    differs = 1 - most[looks, label]
    alike = 1 / np.bincount(inspector, minlength=inspectors)[inspector]  # every inspector counts the same
    differ = 1 - voices[looks, label] / voices.sum(axis=1)
    often = float((alike * differ).sum() / alike.sum())
    mean = _of_pairs(np.array(often)) if often < MOST_PAIRS else None

    def error(weight: Floats, of: Callable[[Floats], Floats]) -> Error | None:
        corrected = None if mean is None else _share(item, differ, weight, of)
        return _error(item, differs, weight, corrected)

    judging = len(np.unique(inspector))

    def of_one(pairs: Floats) -> Floats:
        """The error of an inspector who differs that often from others, whose mean error is what is left for them."""
        assert mean is not None, "asked only where there is one"
        found = np.zeros_like(pairs) + mean
        for _ in range(SETTLING):
            rest = np.clip((judging * mean - found) / max(judging - 1, 1), 0.0, MOST_PAIRS)
            found = (pairs - rest) / (1 - 2 * rest)
        return found

    claimed = float((alike * (1 - posterior[item, label])).sum() / alike.sum())

    def error_of_class(k: int) -> Error | None:
        # Which class an error belongs to is the consensus' guess; how many errors there are is not.
        scale = 0.0 if mean is None or claimed == 0 else float(mean) / claimed
        missed = (label != k).astype(np.float64)
        corrected = None if mean is None else _share(item, missed, posterior[item, k], lambda rate: rate * scale)
        return _error(item, missed, most[:, k], corrected)

    return HumanLevel(
        error(alike, _of_pairs),
        tuple(error_of_class(k) for k in range(classes)),
        tuple(error((inspector == who).astype(np.float64), of_one) for who in range(inspectors)),
        _caution(votes),
    )


def _of_pairs(differ: Floats) -> Floats:
    """The e of 2e(1 - e)."""
    return np.asarray((1 - np.sqrt(np.maximum(1 - 2 * differ, 0.0))) / 2)


def _decided(by_class: Floats, good: Bools) -> Floats:
    """(n, 2) of (n, K): what is good and what is not."""
    return np.stack([by_class[:, good].sum(axis=1), by_class[:, ~good].sum(axis=1)], axis=1)


def _nothing(votes: Votes, said: Others) -> str:
    if len(np.unique(votes.inspector)) < 2:
        return "one inspector alone can't be held against anybody: have a second one judge the same images"
    if int(said.known.sum()) < FEWEST:
        return f"fewer than {FEWEST} looks are at images that two inspectors judged: have more images judged twice"
    return ""


def _caution(votes: Votes) -> str:
    shared = "errors that all inspectors share are in no figure; parts with a known answer would show them"
    if len(np.unique(votes.inspector)) > 2:
        return shared
    return f"of two inspectors nobody can tell which one errs, so each is given half of what differs; {shared}"


def _error(item: Ints, differs: Floats, weight: Floats, corrected: Share | None) -> Error | None:
    raw = _share(item, differs, weight, np.asarray)
    if raw is None:
        return None
    judged = weight > 0
    return Error(raw, corrected, int(judged.sum()), len(np.unique(item[judged])))


def _share(item: Ints, hit: Floats, weight: Floats, of: Callable[[Floats], Floats]) -> Share | None:
    """What the weighted share of looks that hit comes to; its interval knows that looks at one image are alike.

    Its variance is the jackknife's over FOLDS groups of images; the interval is that of a plain count with as much
    variance, which holds near 0 too. None where nothing weighs.
    """
    looks = weight > 0
    if not bool(looks.any()):
        return None
    items, number = np.unique(item[looks], return_inverse=True)
    hits, all_ = (np.bincount(number % FOLDS, part[looks]) for part in (hit * weight, weight))
    value = float(np.clip(of(hits.sum() / all_.sum()), 0.0, 1.0))
    left = all_.sum() - all_
    n = float(len(items))
    if len(all_) > 1 and bool((left > 0).all()):
        without = of((hits.sum() - hits) / left)
        variance = (len(all_) - 1) / len(all_) * float(((without - without.mean()) ** 2).sum())
        n = value * (1 - value) / variance if variance > 1e-12 and 0 < value < 1 else n
    whole = max(1, round(min(n, int(looks.sum()))))
    return share(value * whole, whole)
