"""From out-of-fold scores to probabilities that mean something and thresholds that promise something.

Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", 2017. Bounds: Clopper and Pearson, 1934.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from models.card import OperatingPoint
from models.evaluation import OneSidedSample, group_weights, grouped_proportion, upper_bound

TEMPERATURE_RANGE = (0.05, 20.0)


def fit_temperature(logits: NDArray[np.floating[Any]], target: NDArray[np.floating[Any]]) -> float:
    """The temperature that gives out-of-fold logits (n, K) the lowest cross-entropy to soft targets (n, K)."""

    def loss(log_temperature: float) -> float:
        return float(-(target * log_softmax(logits / np.exp(log_temperature), axis=-1)).sum(axis=-1).mean())

    low, high = np.log(TEMPERATURE_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def p_defect_of(logits: NDArray[np.floating[Any]], ok: ArrayLike) -> NDArray[np.float64]:
    """Logits (…, K) -> (…,) probability that the class is none of the ok ones."""
    return np.asarray(softmax(np.asarray(logits, np.float64), axis=-1)[..., ~np.asarray(ok, bool)].sum(axis=-1))


def worst_tile_logits(logits: NDArray[np.floating[Any]], ok: ArrayLike) -> NDArray[np.float64]:
    """Tiles (n, T, K) -> views (n, K): the tile with the highest p_defect, as models.classifier.pool takes it."""
    worst = p_defect_of(logits, ok).argmax(axis=1)
    return np.asarray(np.asarray(logits, np.float64)[np.arange(len(logits)), worst])


def calibrated_views(logits: NDArray[np.floating[Any]], temperature: float, ok: ArrayLike) -> NDArray[np.float64]:
    """Tile logits (n, T, K) -> calibrated view probabilities (n, K)."""
    return np.asarray(softmax(worst_tile_logits(np.asarray(logits) / temperature, ok), axis=-1), np.float64)


def operating_point(
    p_defect: ArrayLike, is_defect: ArrayLike, group: ArrayLike, wanted_escape: float, wanted_overkill: float = 0.01
) -> OperatingPoint:
    """Two thresholds from out-of-fold scores of n inspections; evidence is counted in groups.

    p_defect: float (n,), of whole inspections (of several views: the worst one's). group: (n,),
    what is the same part, however often it was imaged.

    The pass threshold is the highest at which the 95 % upper bound on the escape rate stays at or below
    wanted_escape. Where the defective parts are too few for that (0 escapes of n bound it by about 3 / n), it is the
    strictest that the data can place: at it no defect seen so far passes, and escape_bound says what that is worth.
    From the reject threshold on, at most wanted_overkill of the good parts would be rejected without a second look;
    it is never below the pass threshold.

    Raises:
        OneSidedSample: no defect, or nothing else.
    """
    scores, defect, names = np.asarray(p_defect, np.float64), np.asarray(is_defect, bool), np.asarray(group)
    if not defect.any() or defect.all():
        raise OneSidedSample(int(defect.sum()), int((~defect).sum()))
    defect_parts = len(np.unique(names[defect]))
    pass_below, escapes = _pass_below(scores[defect], names[defect], wanted_escape)
    overkill = grouped_proportion(scores[~defect] >= pass_below, names[~defect])
    return OperatingPoint(
        pass_below=pass_below,
        reject_from=max(pass_below, _reject_from(scores[~defect], names[~defect], wanted_overkill)),
        wanted_escape=wanted_escape,
        escape_bound=upper_bound(escapes, defect_parts),
        overkill_expected=overkill.value,
        defect_parts=defect_parts,
        ok_parts=overkill.n,
    )


def balanced_point(
    p_defect: ArrayLike,
    is_defect: ArrayLike,
    group: ArrayLike,
    escape_cost: float = 5.0,
    wanted_overkill: float = 0.01,
) -> OperatingPoint:
    """Two thresholds where a promise about escapes would stop the line: arguments as for operating_point.

    The pass threshold is where escape_cost × the share of escapes + the share of good parts not passed is least: an
    escape costs as much as so many good parts looked at twice. wanted_escape states what is expected there,
    escape_bound what is sure.

    Raises:
        OneSidedSample: no defect, or nothing else.
    """
    scores, defect, names = np.asarray(p_defect, np.float64), np.asarray(is_defect, bool), np.asarray(group)
    if not defect.any() or defect.all():
        raise OneSidedSample(int(defect.sum()), int((~defect).sum()))
    candidates = np.unique(scores)
    weight = group_weights(np.char.add(names.astype(str), np.where(defect, "+", "-")))
    escaped = _share_below(scores[defect], weight[defect], candidates)
    overkill = 1.0 - _share_below(scores[~defect], weight[~defect], candidates)
    best = int(np.argmin(escape_cost * escaped + overkill))
    pass_below = float(candidates[best])
    found = grouped_proportion(scores[defect] < pass_below, names[defect])
    return OperatingPoint(
        pass_below=pass_below,
        reject_from=max(pass_below, _reject_from(scores[~defect], names[~defect], wanted_overkill)),
        wanted_escape=found.value,
        escape_bound=upper_bound(found.value * found.n, found.n),
        overkill_expected=grouped_proportion(scores[~defect] >= pass_below, names[~defect]).value,
        defect_parts=found.n,
        ok_parts=len(np.unique(names[~defect])),
    )


def _share_below(
    scores: NDArray[np.float64], weight: NDArray[np.float64], candidates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weighted share of scores below each candidate."""
    order = np.argsort(scores, kind="stable")
    reached = np.concatenate(([0.0], np.cumsum(weight[order])))
    return np.asarray(reached[np.searchsorted(scores[order], candidates)] / weight.sum(), np.float64)


def _pass_below(defect_scores: NDArray[np.float64], group: NDArray[Any], wanted_escape: float) -> tuple[float, float]:
    """The threshold, and the escapes below it in groups (a group counts with the fraction of its rows that escape)."""
    order = np.argsort(defect_scores, kind="stable")
    ascending = defect_scores[order]
    escaped = np.concatenate(([0.0], np.cumsum(group_weights(group)[order])))
    parts = len(np.unique(group))
    chosen = (float(ascending[0]), 0.0)
    for candidate in np.unique(ascending)[1:]:
        escapes = float(escaped[np.searchsorted(ascending, candidate)])
        if upper_bound(escapes, parts) > wanted_escape:
            break
        chosen = (float(candidate), escapes)
    return chosen


def _reject_from(ok_scores: NDArray[np.float64], group: NDArray[Any], wanted_overkill: float) -> float:
    """The lowest threshold that at most wanted_overkill of the good groups reach."""
    order = np.argsort(-ok_scores, kind="stable")
    descending = ok_scores[order]
    reached = np.cumsum(group_weights(group)[order])
    allowed = wanted_overkill * len(np.unique(group))
    # Rounding: six sixths of a group must count as one whole group.
    kept = np.flatnonzero(reached > allowed + 1e-9)
    return float(np.nextafter(descending[kept[0]], np.inf)) if len(kept) else float(descending[-1])
