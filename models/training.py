"""A linear head on frozen features: soft-label multinomial logistic regression, chosen by grouped cross-validation.

Frozen ImageNet features with a linear head train in seconds on a CPU, give the same model for the same data, and need
no epoch to be picked. Soft targets carry what inspectors disagreed about. Where a view has several tiles, its defect
is on one of them: the head is fitted to the tile that looks worst, and that choice is repeated with the fitted head
(Andrews et al., "Support vector machines for multiple-instance learning", 2003).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

from models.calibration import fit_temperature, p_defect_of, worst_tile_logits

Floats = NDArray[np.float64]

WITNESS_ROUNDS = 3
SCALE_FLOOR = 1e-3  # keeps features that never vary from being blown up by rounding noise
BIAS_PENALTY = (
    0.1  # keeps a class that a fold's training rows lack at a small probability instead of driving it to zero
)
MIN_PARTS = 2


class CannotTrain(ValueError):
    """The data set cannot give a model."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a model is trained.

    sides_px: input sizes to choose from. penalties: strengths of the squared penalty (see fit_head) to choose from.
    folds: of the grouped cross-validation. balanced: weigh every class alike instead of by its frequency. iterations:
    upper limit of one fit.
    """

    architecture: str = "efficientnet_lite0"
    sides_px: tuple[int, ...] = (224,)
    penalties: tuple[float, ...] = (0.03, 0.1, 0.3)
    folds: int = 5
    balanced: bool = False
    iterations: int = 150
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields, with tuples as lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier on standardised features: logits = ((x - mean) / scale) @ weight + bias.

    mean, scale: float64 (D,). weight: (D, K). bias: (K,).
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def logits(self, features: NDArray[np.floating[Any]]) -> Floats:
        """(…, D) -> (…, K)."""
        return np.asarray(((features - self.mean) / self.scale) @ self.weight + self.bias, np.float64)


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of a cross-validation and the final fit.

    head: fitted on all rows. logits: float64 (n, T, K), out of fold. fold: int (n,). side_px, penalty: what was
    chosen. losses: (side_px, penalty) -> out-of-fold cross-entropy.
    """

    head: Head
    logits: Floats
    fold: NDArray[np.int64]
    side_px: int
    penalty: float
    losses: Mapping[tuple[int, float], float]


def train(
    features: Mapping[int, NDArray[np.float32]],
    target: Floats,
    group: ArrayLike,
    ok: Sequence[bool],
    settings: TrainingSettings,
    *,
    weight: ArrayLike | None = None,
) -> Trained:
    """Choose input size and penalty by grouped cross-validation, then fit on everything.

    features: side in px -> float32 (n, T, D). target: soft labels (n, K), rows summing to 1. group: (n,), what must
    not be split. ok: K flags. weight: (n,) row weights, 1 by default. The winner is compared on the very folds that
    its out-of-fold logits come from; with a handful of candidates the optimism of that is far below the interval of
    any metric.

    Raises:
        CannotTrain: fewer than two classes present, no ok or no defect class, or fewer than two groups.
    """
    flags = np.asarray(ok, bool)
    _check_trainable(target, flags, group)
    rows = np.ones(len(target)) if weight is None else np.asarray(weight, np.float64)
    rows = rows * _class_balance(target, rows) if settings.balanced else rows
    fold = grouped_folds(target.argmax(axis=1), group, settings.folds, np.random.default_rng(settings.seed))
    logits: dict[tuple[int, float], Floats] = {}
    # One BLAS thread: the matrices are small, and several threads that wait for each other by spinning take ten times
    # as long when anything else runs on the machine.
    with threadpool_limits(1, user_api="blas"):
        for side, values in features.items():
            for penalty, found in _out_of_fold(values, target, rows, flags, fold, settings).items():
                logits[side, penalty] = found
        losses = {key: _view_loss(found, target, flags) for key, found in logits.items()}
        side_px, penalty = min(losses, key=lambda key: (losses[key], key))
        head = _fit_views(features[side_px], target, rows, flags, (penalty,), settings.iterations)[penalty]
    return Trained(head, logits[side_px, penalty], fold, side_px, penalty, losses)


def grouped_folds(label: ArrayLike, group: ArrayLike, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold number for each row, int (n,): groups stay whole, classes are spread as evenly as that allows.

    Groups with the rarest classes are dealt first, each to the fold that holds the least of its classes; there are
    never more folds than groups. The same generator state gives the same folds.
    """
    labels, (names, number) = np.asarray(label), np.unique(np.asarray(group), return_inverse=True)
    classes, column = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (number, column), 1.0)
    share = counts / counts.sum(axis=0)  # a group's share of each class: rare classes weigh most
    folds = min(folds, len(names))
    shuffled = rng.permutation(len(names))
    order = shuffled[np.argsort(-share[shuffled].max(axis=1), kind="stable")]
    held = np.zeros((folds, len(classes)))
    chosen = np.zeros(len(names), np.int64)
    for one in order:
        crowding = (held * (share[one] > 0)).sum(axis=1) + 1e-6 * held.sum(axis=1)
        chosen[one] = int(np.argmin(crowding))
        held[chosen[one]] += share[one]
    return chosen[number]


def fit_heads(
    features: NDArray[np.floating[Any]],
    target: Floats,
    penalties: Sequence[float],
    *,
    weight: NDArray[np.floating[Any]] | None = None,
    iterations: int = 150,
) -> dict[float, Head]:
    """Fit rows (n, D) to soft targets (n, K), once for each penalty.

    Minimises the weighted sum of cross-entropies + penalty × D / 2 × the sum of squared weights; with D in it, one
    penalty suits backbones of any width.
    """
    rows = np.ones(len(target)) if weight is None else np.asarray(weight, np.float64)
    basis = _Basis.of(features)
    parameters = np.zeros((basis.reduced.shape[1] + 1, target.shape[1]))
    heads = {}
    for penalty in sorted(penalties, reverse=True):  # from the stiffest on, each fit starts where the last one ended
        parameters = _minimise(basis.reduced, target, rows, penalty * features.shape[1], parameters, iterations)
        heads[penalty] = basis.head(parameters)
    return heads


def _check_trainable(target: Floats, ok: NDArray[np.bool_], group: ArrayLike) -> None:
    groups, p_ok = np.asarray(group), target[:, ok].sum(axis=1)
    for kind, rows in (("good", p_ok > 0.5), ("defective", p_ok <= 0.5)):
        parts = len(np.unique(groups[rows]))
        if parts < MIN_PARTS:
            raise CannotTrain(
                f"the data set shows {parts} {kind} part{'' if parts == 1 else 's'}",
                f"label at least {MIN_PARTS} good and {MIN_PARTS} defective parts, and mark which classes are ok",
            )


def _class_balance(target: Floats, weight: Floats) -> Floats:
    """A factor for each row that gives all present classes the same total weight and keeps the sum of weights."""
    mass = weight @ target
    factor = np.divide(weight.sum() / np.count_nonzero(mass), mass, out=np.zeros_like(mass), where=mass > 0)
    return np.asarray(target @ factor, np.float64)


def _out_of_fold(
    features: NDArray[np.float32],
    target: Floats,
    weight: Floats,
    ok: NDArray[np.bool_],
    fold: NDArray[np.int64],
    settings: TrainingSettings,
) -> dict[float, Floats]:
    """penalty -> logits (n, T, K) of rows by heads that saw none of their fold."""
    logits = {penalty: np.empty((*features.shape[:2], target.shape[1])) for penalty in settings.penalties}
    for one in np.unique(fold):
        seen, held = fold != one, fold == one
        heads = _fit_views(features[seen], target[seen], weight[seen], ok, settings.penalties, settings.iterations)
        for penalty, head in heads.items():
            logits[penalty][held] = head.logits(features[held])
    return logits


def _view_loss(logits: Floats, target: Floats, ok: NDArray[np.bool_]) -> float:
    """Cross-entropy of views after the best temperature, which the exported model will have too."""
    views = worst_tile_logits(logits, ok)
    log_probability = log_softmax(views / fit_temperature(views, target), axis=1)
    return float(-(target * log_probability).sum(axis=1).mean())


def _fit_views(
    features: NDArray[np.float32],
    target: Floats,
    weight: Floats,
    ok: NDArray[np.bool_],
    penalties: Sequence[float],
    iterations: int,
) -> dict[float, Head]:
    """Heads for views (n, T, D), one for each penalty."""
    if features.shape[1] == 1:
        return fit_heads(features[:, 0], target, penalties, weight=weight, iterations=iterations)
    return {penalty: _fit_tiles(features, target, weight, ok, penalty, iterations) for penalty in penalties}


def _fit_tiles(
    features: NDArray[np.float32],
    target: Floats,
    weight: Floats,
    ok: NDArray[np.bool_],
    penalty: float,
    iterations: int,
) -> Head:
    """Every tile of a good view is good; of a defective view only the tile that looks worst is taken as defective."""
    views, tiles = features.shape[:2]
    defective = target[:, ok].sum(axis=1) <= 0.5
    view, tile = np.repeat(np.arange(views), tiles), np.tile(np.arange(tiles), views)
    share = np.where(defective, weight / tiles, weight)[view]
    head = None
    for _ in range(1 + WITNESS_ROUNDS):
        if head is not None:
            witness = p_defect_of(head.logits(features), ok).argmax(axis=1)
            share = np.where(defective[view], weight[view] * (tile == witness[view]), weight[view])
        used = share > 0
        heads = fit_heads(
            features[view[used], tile[used]], target[view[used]], (penalty,), weight=share[used], iterations=iterations
        )
        head = heads[penalty]
    assert head is not None
    return head


@dataclass(frozen=True, slots=True)
class _Basis:
    """Standardised rows in an orthonormal basis of their span.

    A penalised linear fit never leaves the span of its rows, so n coordinates a row say all that D > n features do:
    exact, and several times faster.
    """

    mean: Floats
    scale: Floats
    directions: Floats | None
    reduced: Floats

    @classmethod
    def of(cls, features: NDArray[np.floating[Any]]) -> "_Basis":
        values = np.asarray(features, np.float64)
        mean, scale = values.mean(axis=0), values.std(axis=0) + SCALE_FLOOR
        standard = (values - mean) / scale
        if standard.shape[0] >= standard.shape[1]:
            return cls(mean, scale, None, standard)
        power, vectors = np.linalg.eigh(standard @ standard.T)
        kept = power > power[-1] * 1e-9  # directions below rounding noise would be amplified by 1 / sqrt(power)
        directions = standard.T @ (vectors[:, kept] / np.sqrt(power[kept]))
        return cls(mean, scale, directions, standard @ directions)

    def head(self, parameters: Floats) -> Head:
        weight = parameters[:-1] if self.directions is None else self.directions @ parameters[:-1]
        return Head(self.mean, self.scale, weight, parameters[-1])


def _minimise(rows: Floats, target: Floats, weight: Floats, ridge: float, start: Floats, iterations: int) -> Floats:
    """Parameters (D + 1, K) with the bias in the last row."""
    stiffness = np.full((len(start), 1), ridge)
    stiffness[-1] = BIAS_PENALTY

    def objective(flat: Floats) -> tuple[float, Floats]:
        parameters = flat.reshape(start.shape)
        log_probability = log_softmax(rows @ parameters[:-1] + parameters[-1], axis=1)
        loss = -(weight * (target * log_probability).sum(axis=1)).sum() + (stiffness * parameters**2).sum() / 2
        residual = weight[:, None] * (np.exp(log_probability) * target.sum(axis=1, keepdims=True) - target)
        gradient = np.vstack((rows.T @ residual, residual.sum(axis=0))) + stiffness * parameters
        # Divided by the number of rows: L-BFGS stops on absolute sizes.
        return float(loss / len(rows)), gradient.ravel() / len(rows)

    found = minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "gtol": 1e-5}
    )
    return np.asarray(found.x, np.float64).reshape(start.shape)
