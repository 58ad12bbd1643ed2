"""Hotelling's T2 and the residual of principal components: a picture, or its features, unlike those learnt from."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.compiled import compiled
from monitoring.detectors.ewma import CAP
from monitoring.detectors.ranges import TooFewSamples, at_least, between, fitted, saved_settings, share
from monitoring.detectors.tails import fisher_limit, two_sided, weighted_chi_square_limit
from monitoring.saved import StateDamaged, count, floats, number

Floats = NDArray[np.float64]

FEWEST: Final = 10
"""Fewer samples say nothing about what varies together."""

_FOLDS = 5
_SAMPLES_A_DIRECTION = 4
_MOST_PAIRED = 1000
# Part of each column's variance that is its own, whatever the samples say: no two are the same for ever.
_OWN = 1e-4
_BEYOND = 1e6


class Model(NamedTuple):
    """What vectors (d,) are like while nothing has changed, and how many samples said so.

    centre      (d,) mean of each column
    scale       (d,) standard deviation of each column; one that never changed is given the others' median
    directions  (d, k) principal components of the scaled columns, orthonormal
    variances   (k,) along them, of vectors that they were not learnt from
    residual    (3,) sums of the variances beside them, of their squares and of their cubes
    samples     how many vectors it was learnt from
    """

    centre: Floats
    scale: Floats
    directions: Floats
    variances: Floats
    residual: Floats
    samples: int


class Hotelling:
    """EWMA chart of vectors (d,): inside what varies by nature (T2) and beside it (Q, the residual's square).

    model   what is normal; `Hotelling.fit` learns it and makes the detector
    weight  share of the newest vector, in (0, 1]
    width   limit: as rare at one vector as a normal value this many deviations off, on either side

    T2 is Hotelling's (1947), with the limit of F for a new vector. Q is Jackson & Mudholkar's (1979) with a limit of
    Box's kind (1954): the chi-square of the same mean, variance and skewness. Both are of the moving average
    (multivariate EWMA, Lowry et al. 1992), and their limits are wider the fewer the samples. Each one's chart is its
    excess over its mean as a share of the excess at its limit; `update` returns the worse.

    A vector counts for at most what brings a chart at rest to `CAP` of its limit, so no single image can alarm. Where
    it is NaN, that column's average counts instead; infinity counts as very large. `contributions` tells which columns
    a vector is unlike in. Raises `monitoring.detectors.ranges.SettingOutOfRange`; `update` raises
    `monitoring.detectors.ranges.ShapeMismatch`.

    >>> rng = np.random.default_rng(0)
    >>> normal = rng.standard_normal((600, 1)) * np.ones(6) + 0.3 * rng.standard_normal((600, 6))
    >>> chart = Hotelling.fit(normal[:500])
    >>> broken = normal[:1] * 0 + [0.0, 0.0, 0.0, 1.5, 0.0, 0.0]
    >>> stream = [*normal[500:], *[broken[0]] * 10]
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    102
    >>> int(chart.contributions(broken[0]).argmax())
    3
    """

    __slots__ = ("_average", "_expected", "_gain", "_limits", "_most", "_scores", "model", "shape", "weight", "width")

    def __init__(self, model: Model, weight: float = 0.3, width: float = 5.0) -> None:
        self.model = model
        self.shape = model.centre.shape
        self.weight = share("weight", weight)
        self.width = between("width", width, 0, 30)
        self._gain = (2 - weight) / weight
        # Two charts, and either one alarms.
        tail = two_sided(width) / 2
        kept, samples = model.variances.size, at_least("samples", model.samples, FEWEST)
        # The average over a long run is steadier than the samples' own mean, which it is measured from.
        unsteady = 1 + self._gain / samples
        t2, t2_mean = 1.0, 0.0
        if kept:
            freedom = samples - kept
            t2 = kept * (samples - 1) / freedom * unsteady * fisher_limit(tail, kept, freedom)
            t2_mean = kept * unsteady
        first, second, third = model.residual.tolist()
        q, q_mean = weighted_chi_square_limit(tail, (first, second, third)) * unsteady, first * unsteady
        self._limits = (t2, q)
        self._expected = (t2_mean, q_mean)
        single = weight * (2 - weight)
        most_t2, most_q = (
            mean + CAP**2 * (limit - mean) / single for limit, mean in zip(self._limits, self._expected, strict=True)
        )
        self._most = (most_t2, most_q)
        self.reset()

    def reset(self) -> None:
        """Forget every vector but those it learnt from."""
        self._average: Floats = np.zeros(self.shape)
        self._scores: Floats = np.zeros(self.model.variances.size)

    @classmethod
    def fit(cls, samples: ArrayLike, explained: float = 0.9, weight: float = 0.3, width: float = 5.0) -> Self:
        """Learn from samples (n, d) in the order they came, of parts as the line makes them.

        As many directions are kept as make up `explained` of the variance, at most one for every four samples. How far
        vectors lie from normal is measured on fifths of the samples that the directions were not learnt from, so it
        holds for fewer samples than columns too. Samples that are not finite throughout are left out.

        Raises `monitoring.detectors.ranges.TooFewSamples` below 10, `monitoring.detectors.ranges.SettingOutOfRange`.
        """
        found = np.atleast_2d(np.asarray(samples, np.float64))
        found = found[np.isfinite(found).all(axis=1)]
        if len(found) < FEWEST:
            raise TooFewSamples(len(found), FEWEST)
        return cls(_learn(found, share("explained", explained)), weight, width)

    def update(self, value: NDArray[np.floating[Any]]) -> float:
        """Take one vector (d,); return the worse chart over its limit, 1.0 = at the limit."""
        model = self.model
        t2, q = _step(
            fitted(value, self.shape),
            model.centre,
            model.scale,
            model.directions,
            model.variances,
            self._average,
            self._scores,
            self.weight,
            self._most,
            _BEYOND,
        )
        (t2_limit, q_limit), (t2_mean, q_mean) = self._limits, self._expected
        inside: float = (t2 * self._gain - t2_mean) / (t2_limit - t2_mean)
        beside: float = (q * self._gain - q_mean) / (q_limit - q_mean)
        return max(inside, beside, 0.0)

    def contributions(self, value: NDArray[np.floating[Any]]) -> Floats:
        """What each column of a vector (d,) adds to its T2 and its Q, both over their limits: float64 (d,), at least 0.

        The complete decomposition of the combined index (Alcala & Qin 2009): they add up to both ratios' sum for this
        vector alone. A column that is not finite adds nothing.
        """
        model = self.model
        scaled = np.nan_to_num((fitted(value, self.shape) - model.centre) / model.scale, posinf=0.0, neginf=0.0)
        scores = scaled @ model.directions
        inside = model.directions @ (scores / np.sqrt(model.variances)) / self._limits[0] ** 0.5
        beside = (scaled - model.directions @ scores) / self._limits[1] ** 0.5
        shares: Floats = (inside + beside) ** 2
        return shares

    def state(self) -> dict[str, Any]:
        """Settings, model and memory, JSON-serialisable."""
        *arrays, samples = self.model
        learnt = {name: array.tolist() for name, array in zip(Model._fields, arrays, strict=False)}
        return {
            "model": {**learnt, "samples": samples},
            "weight": self.weight,
            "width": self.width,
            "average": self._average.tolist(),
            "scores": self._scores.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        model = _model(state["model"])
        with saved_settings():
            detector = cls(model, number("weight", state["weight"]), number("width", state["width"]))
        detector._average = floats("average", state["average"], *detector.shape)
        detector._scores = floats("scores", state["scores"], model.variances.size)
        expected = detector._average @ model.directions
        if np.abs(detector._average).max() > _BEYOND or not np.allclose(detector._scores, expected, 1e-6, 1e-6):
            raise StateDamaged("an average that no vectors lead to")
        return detector


def _model(saved: Mapping[str, Any]) -> Model:
    columns, kept = len(saved["centre"]), len(saved["variances"])
    centre, scale = (floats(name, saved[name], columns) for name in ("centre", "scale"))
    directions = floats("directions", saved["directions"], columns, kept)
    variances, residual = floats("variances", saved["variances"], kept), floats("residual", saved["residual"], 3)
    samples = count("samples", saved["samples"])
    if columns == 0 or min(scale.min(), variances.min(initial=1), residual.min()) <= 0 or kept >= samples:
        raise StateDamaged("a model that no samples lead to")
    if np.abs(directions.T @ directions - np.eye(kept)).max(initial=0) > 1e-6:
        raise StateDamaged("directions that are no principal components")
    return Model(centre, scale, directions, variances, residual, samples)


def _learn(samples: Floats, explained: float) -> Model:
    centre, scale = samples.mean(axis=0), samples.std(axis=0)
    # Rounding alone gives a column of one value repeated some scatter.
    constant = scale <= 1e-12 * np.abs(centre)
    scale[constant] = 1.0 if constant.all() else np.median(scale[~constant])
    scaled = (samples - centre) / scale
    sizes = np.sort(_sizes(scaled))[::-1]
    needed = int(np.searchsorted(np.cumsum(sizes), explained * sizes.sum())) + 1 if sizes.sum() > 0 else 0
    kept = min(needed, len(samples) // _SAMPLES_A_DIRECTION, scaled.shape[1])
    variances, beside = _unseen(scaled, kept)
    residual = _possible(_sums(beside) + int(constant.sum()) + scaled.shape[1] * _OWN ** np.arange(1, 4))
    return Model(centre, scale, _principal(scaled, kept), np.maximum(variances, _OWN), residual, len(samples))


def _unseen(scaled: Floats, kept: int) -> tuple[Floats, Floats]:
    """Variances (kept,) along the components of the other samples, and what lies beside those: (n, d)."""
    squares, beside = np.zeros(kept), np.empty_like(scaled)
    for held in np.array_split(np.arange(len(scaled)), _FOLDS):
        others = np.delete(scaled, held, axis=0)
        directions = _principal(others - others.mean(axis=0), kept)
        deviation = scaled[held] - others.mean(axis=0)
        scores = deviation @ directions
        squares += (scores**2).sum(axis=0)
        beside[held] = deviation - scores @ directions.T
    return squares / len(scaled), beside


def _sums(vectors: Floats) -> Floats:
    """Sums (3,) of the principal variances of vectors (n, d), of their squares and of their cubes.

    From products of different vectors alone, so that fewer vectors than columns do not make the sums too large.
    """
    some = vectors[:: -(-len(vectors) // _MOST_PAIRED)]
    paired = some @ some.T
    first = np.trace(paired) / len(some)
    np.fill_diagonal(paired, 0)
    pairs = len(some) * (len(some) - 1)
    second, third = (paired**2).sum() / pairs, ((paired @ paired) * paired).sum() / (pairs * (len(some) - 2))
    return np.array([first, second, third])


def _possible(sums: Floats) -> Floats:
    """The nearest sums that variances can have: chance takes estimates beyond."""
    first, second, third = sums.tolist()
    second = min(second, first**2)
    return np.array([first, second, min(max(third, second**2 / first), second**1.5)])


def _gram(vectors: Floats) -> Floats:
    """The smaller of the two products of vectors (n, d) with themselves: they have the same eigenvalues."""
    gram: Floats = vectors.T @ vectors if vectors.shape[0] >= vectors.shape[1] else vectors @ vectors.T
    return gram


def _sizes(vectors: Floats) -> Floats:
    sizes: Floats = np.linalg.eigvalsh(_gram(vectors)).clip(0)
    return sizes


def _principal(vectors: Floats, kept: int) -> Floats:
    """The first principal components of centred vectors (n, d): (d, kept), orthonormal whatever the vectors' rank."""
    side = np.linalg.eigh(_gram(vectors))[1][:, ::-1][:, :kept]
    if vectors.shape[0] < vectors.shape[1]:
        side = np.linalg.qr(vectors.T @ side)[0]
    return np.ascontiguousarray(side)


@compiled()
def _step(
    value: Floats,
    centre: Floats,
    scale: Floats,
    directions: Floats,
    variances: Floats,
    average: Floats,
    scores: Floats,
    weight: float,
    most: tuple[float, float],
    beyond: float,
) -> tuple[float, float]:
    """Take a vector into the average and its scores; give the average's T2 and Q, both as of a single vector."""
    columns, kept = directions.shape
    scaled, along = np.empty(columns), np.zeros(kept)
    square = 0.0
    for column in range(columns):
        found = (value[column] - centre[column]) / scale[column]
        found = min(max(found, -beyond), beyond) if found == found else average[column]
        scaled[column] = found
        square += found * found
        for direction in range(kept):
            along[direction] += directions[column, direction] * found
    t2 = inside = 0.0
    for direction in range(kept):
        inside += along[direction] ** 2
        t2 += along[direction] ** 2 / variances[direction]
    q = max(square - inside, 0.0)
    counted = 1.0
    if t2 > most[0]:
        counted = np.sqrt(most[0] / t2)
    if q * counted**2 > most[1]:
        counted = np.sqrt(most[1] / q)
    square = 0.0
    for column in range(columns):
        average[column] += weight * (counted * scaled[column] - average[column])
        square += average[column] ** 2
    t2 = inside = 0.0
    for direction in range(kept):
        scores[direction] += weight * (counted * along[direction] - scores[direction])
        inside += scores[direction] ** 2
        t2 += scores[direction] ** 2 / variances[direction]
    return t2, max(square - inside, 0.0)
