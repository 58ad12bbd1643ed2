"""GATES: the checks that a candidate must pass before a person may promote it.

A gate is a pure function of what the candidate, and the champion if there is one, say about the same frozen test
images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import ModelCard
from models.evaluation import auroc, auroc_interval, group_resamples

MIN_TEST_PARTS = 5
# How much AUROC a candidate may lose to the champion: about what relabelling a handful of test images changes.
NON_INFERIORITY_MARGIN = 0.02
BOOTSTRAP_SEED = 20250101  # a gate asked twice gives the same answer


@dataclass(frozen=True, slots=True)
class Held:
    """Scores of images by models not trained on them: p_defect float (n,), is_defect bool (n,), group (n,)."""

    p_defect: NDArray[np.float64]
    is_defect: NDArray[np.bool_]
    group: NDArray[Any]


@dataclass(frozen=True, slots=True)
class GateInput:
    """A model on the frozen test images.

    p_defect: float (n,). is_defect: bool (n,). group: (n,), which part an image shows. card: the model's card.
    out_of_fold: the training images, scored by models of the cross-validation that did not see their part.
    """

    p_defect: NDArray[np.float64]
    is_defect: NDArray[np.bool_]
    group: NDArray[Any]
    card: ModelCard
    out_of_fold: Held | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's answer and, in a sentence, why."""

    name: str
    passed: bool
    reason: str


Gate = Callable[[GateInput, GateInput | None], GateResult]


def has_test_parts(candidate: GateInput, champion: GateInput | None) -> GateResult:
    """The test images show at least MIN_TEST_PARTS defective and as many good parts; fewer say nothing."""
    bad, good = _parts(candidate)
    reason = f"parts on the test images: {bad} defective, {good} good; at least {MIN_TEST_PARTS} of each are needed"
    return GateResult("has_test_parts", min(bad, good) >= MIN_TEST_PARTS, reason)


def better_than_chance(candidate: GateInput, champion: GateInput | None) -> GateResult:
    """The whole 95 % interval of the AUROC over all parts it was not trained on lies above 0.5.

    These are the test parts and, scored out of fold, the training parts: with a hundred defects the test parts alone
    are too few to tell a fair model from a guess.
    """
    name = "better_than_chance"
    if 0 in _parts(candidate):
        return GateResult(name, False, "the test images lack defective or good parts, so nothing can be compared")
    held = [Held(candidate.p_defect, candidate.is_defect, candidate.group)]
    held += [candidate.out_of_fold] if candidate.out_of_fold is not None else []
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    found = auroc_interval(
        np.concatenate([one.p_defect for one in held]),
        np.concatenate([one.is_defect for one in held]),
        np.concatenate([one.group for one in held]),
        rng,
    )
    reason = f"AUROC {found.value:.3f} ({found.low:.3f}–{found.high:.3f}) on {found.n} parts not trained on"
    return GateResult(name, found.low > 0.5, f"{reason}; the interval must lie above 0.5")


def not_worse_than_champion(candidate: GateInput, champion: GateInput | None) -> GateResult:
    """Candidate minus champion, paired on the same test images, groups resampled: fails where a loss is established.

    Two ways to fail: the whole 95 % interval of the difference lies below 0 (worse, beyond doubt), or the difference
    itself is a loss of more than NON_INFERIORITY_MARGIN (too much to accept on a test set too small to be sure).
    """
    name = "not_worse_than_champion"
    if champion is None:
        return GateResult(name, True, "there is no champion yet")
    if not _same_images(candidate, champion):
        return GateResult(name, False, "candidate and champion were not scored on the same test images")
    if 0 in _parts(candidate):
        return GateResult(name, False, "the test images lack defective or good parts, so nothing can be compared")
    defect = candidate.is_defect
    change = auroc(candidate.p_defect, defect) - auroc(champion.p_defect, defect)
    low, high = _change_interval(candidate, champion)
    reason = (
        f"AUROC changes by {change:+.3f} ({low:+.3f} to {high:+.3f}) against the champion; "
        f"a loss of up to {NON_INFERIORITY_MARGIN} is accepted"
    )
    return GateResult(name, high >= 0 and change >= -NON_INFERIORITY_MARGIN, reason)


def operating_point_present(candidate: GateInput, champion: GateInput | None) -> GateResult:
    """The card has every operating point of the champion, which recipes may name, and at least one in any case."""
    name, points = "operating_point_present", candidate.card.operating_points
    if not points:
        return GateResult(name, False, "the model card has no operating point, so no part could ever pass")
    missing = [] if champion is None else sorted(set(champion.card.operating_points) - set(points))
    if missing:
        return GateResult(name, False, f"the model card lacks the champion's operating points {', '.join(missing)}")
    promises = "; ".join(
        f"{key}: escape at most {point.escape_bound:.1%} ({point.wanted_escape:.1%} wanted)"
        for key, point in points.items()
    )
    return GateResult(name, True, promises)


def measured_on_test_parts(candidate: GateInput, champion: GateInput | None) -> GateResult:
    """Never passes: it stands for the gates that measure, where a product has no frozen test parts."""
    reason = (
        "the product has no frozen test parts, so nothing says how good this model is; import labelled images "
        "(`loupe import`) and the model again, or promote it with --force --reason"
    )
    return GateResult("measured_on_test_parts", False, reason)


GATES: dict[str, Gate] = {
    "has_test_parts": has_test_parts,
    "better_than_chance": better_than_chance,
    "not_worse_than_champion": not_worse_than_champion,
    "operating_point_present": operating_point_present,
}
UNMEASURED: tuple[Gate, ...] = (measured_on_test_parts, operating_point_present)
"""The gates of a model that came from elsewhere, where its product has no frozen test parts."""


def _parts(model: GateInput) -> tuple[int, int]:
    """The numbers of defective and of good parts among the test images."""
    return len(np.unique(model.group[model.is_defect])), len(np.unique(model.group[~model.is_defect]))


def _same_images(candidate: GateInput, champion: GateInput) -> bool:
    return np.array_equal(candidate.group, champion.group) and np.array_equal(candidate.is_defect, champion.is_defect)


def _change_interval(candidate: GateInput, champion: GateInput) -> tuple[float, float]:
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    defect = candidate.is_defect
    changes = [
        auroc(candidate.p_defect[rows], defect[rows]) - auroc(champion.p_defect[rows], defect[rows])
        for rows in group_resamples(defect, candidate.group, rng, 1000)
    ]
    low, high = np.quantile(changes, (0.025, 0.975))
    return float(low), float(high)
