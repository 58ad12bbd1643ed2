"""Large smooth change over a map: the lamp dims, moves, fades to one side or from the middle."""

from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.compiled import compiled
from monitoring.detectors.ewma import CAP
from monitoring.detectors.ranges import (
    TooFewSamples,
    at_least,
    between,
    fitted,
    saved_settings,
    saved_sides,
    share,
    sides,
)
from monitoring.detectors.tails import chi_square_limit, fisher_limit, two_sided
from monitoring.saved import StateDamaged, count, floats, number

Floats = NDArray[np.float64]

TERMS: Final = ("constant", "x", "y", "x2", "xy", "y2")
"""The polynomial's terms; x and y go from -1 to 1, from the left and from the top."""
FEWEST: Final = 60
"""Fewer maps say nothing about how the terms wander together."""

_ORDERS = len(TERMS)
# Clipped here, a cell full of defect or of glare is no smooth change, and a dim lamp still is one: every cell tells.
_CELL_CAP = 8.0
_SEEN_ENOUGH = 1e-3
_BEYOND = 1e9


class LightMap:
    """EWMA chart of the smooth part of maps (h, w) of standardised values: a parabola over the map, least squares.

    shape    rows and columns, h and w, at least 3 each
    weight   share of the newest map, in (0, 1]
    width    limit: as rare at one map as a normal value this many deviations off, on either side
    wander   covariance (6, 6) of the coefficients of `TERMS` from map to map, beyond what independent cells of unit
             deviation give them; None: nothing beyond. `LightMap.fit` learns it
    samples  maps that `wander` was learnt from: the fewer, the wider the limit. 0 where it is known

    The six coefficients are one vector, charted by its squared distance from 0 in its own covariance (multivariate
    EWMA, Lowry et al. 1992): coefficients that go together by nature count once. The chart is the excess of that
    chi-square over its mean, as a share of the excess at the limit. Masked cells, NaN, take no part: each map brings
    the weight that its other cells have, so a map that shows half of the picture says half as much.

    A cell counts up to 8 deviations and a map up to `CAP` of the limit at rest, so neither one part nor one image
    alarms. `coefficients` are those of the average, as far as its maps counted. Raises
    `monitoring.detectors.ranges.SettingOutOfRange`; `update` raises `monitoring.detectors.ranges.ShapeMismatch`.

    >>> chart = LightMap((8, 8), weight=0.2, width=5.0)
    >>> dark_left = np.tile(np.linspace(-0.5, 0.0, 8), (8, 1))
    >>> stream = [np.zeros((8, 8))] * 100 + [dark_left] * 20
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    109
    >>> {term: round(value, 2) + 0.0 for term, value in chart.coefficients.items()}
    {'constant': -0.22, 'x': 0.22, 'y': 0.0, 'x2': 0.0, 'xy': 0.0, 'y2': 0.0}
    """

    __slots__ = (
        "_average",
        "_basis",
        "_cap",
        "_information",
        "_limit",
        "_rest",
        "_scatter",
        "_terms",
        "_wander",
        "samples",
        "shape",
        "wander",
        "weight",
        "width",
    )

    def __init__(
        self,
        shape: tuple[int, int] = (32, 32),
        weight: float = 0.2,
        width: float = 5.0,
        wander: Floats | None = None,
        samples: int = 0,
    ) -> None:
        self.shape = height, columns = sides(shape, 3)
        self.weight = share("weight", weight)
        self.width = between("width", width, 0, 30)
        self._basis, self._terms = _orthonormal(height, columns)
        self.wander: Floats = np.zeros((_ORDERS, _ORDERS)) if wander is None else wander
        spread = self._terms @ self.wander @ self._terms.T
        self._wander: Floats = (spread + spread.T) / 2
        self._rest: Floats = (np.eye(_ORDERS) + self._wander) * weight / (2 - weight)
        self.samples = at_least("samples", samples, FEWEST) if samples else 0
        self._limit = _limit(two_sided(width), samples)
        self._cap = _ORDERS * weight * (2 - weight) + CAP**2 * (self._limit - _ORDERS)
        self.reset()

    def reset(self) -> None:
        """Forget every map."""
        # In coordinates where whole maps of independent cells have the identity for information and for covariance.
        self._average: Floats = np.zeros(_ORDERS)
        self._information: Floats = np.eye(_ORDERS)
        self._scatter: Floats = self._rest.copy()

    @classmethod
    def fit(cls, maps: ArrayLike, weight: float = 0.2, width: float = 5.0) -> Self:
        """Learn from maps (n, h, w), standardised, NaN where masked, how the coefficients wander while all is well.

        Raises `monitoring.detectors.ranges.TooFewSamples` below 60 maps that show anything,
        `monitoring.detectors.ranges.SettingOutOfRange`.
        """
        found = np.asarray(maps, np.float64)
        blank = cls((found.shape[1], found.shape[2]), weight, width)
        basis = blank._basis
        coefficients, noise = [], np.zeros((_ORDERS, _ORDERS))
        for cells in found.reshape(len(found), -1).clip(-_CELL_CAP, _CELL_CAP):
            seen = ~np.isnan(cells)
            information = basis[seen].T @ basis[seen]
            if np.linalg.eigvalsh(information)[0] > _SEEN_ENOUGH:
                coefficients.append(np.linalg.solve(information, basis[seen].T @ cells[seen]))
                noise += np.linalg.inv(information)
        if len(coefficients) < FEWEST:
            raise TooFewSamples(len(coefficients), FEWEST)
        size, side = np.linalg.eigh(np.cov(np.array(coefficients), rowvar=False) - noise / len(coefficients))
        back = np.linalg.inv(blank._terms)
        return cls(blank.shape, weight, width, back @ (side * size.clip(0)) @ side.T @ back.T, len(coefficients))

    def update(self, value: NDArray[np.floating[Any]]) -> float:
        """Take one map (h, w) of standardised values, NaN where masked; return chart over limit, 1.0 = at the limit."""
        distance = _step(
            fitted(value, self.shape).reshape(-1),
            self._basis,
            self._wander,
            self._average,
            self._information,
            self._scatter,
            self.weight,
            self._cap,
            _CELL_CAP,
        )
        return max(distance - _ORDERS, 0.0) / (self._limit - _ORDERS)

    @property
    def coefficients(self) -> dict[str, float]:
        """What the average is made of, by term, in standard deviations of a cell; of the least parabola if masked."""
        found = np.linalg.lstsq(self._information, self._average, rcond=1e-6)[0]
        return dict(zip(TERMS, np.linalg.solve(self._terms, found).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Settings and memory, JSON-serialisable."""
        return {
            "shape": list(self.shape),
            "weight": self.weight,
            "width": self.width,
            "wander": self.wander.tolist(),
            "samples": self.samples,
            "average": self._average.tolist(),
            "information": self._information.tolist(),
            "scatter": self._scatter.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        shape = saved_sides(state["shape"])
        wander = _covariance("wander", state["wander"])
        information, scatter = (_covariance(name, state[name]) for name in ("information", "scatter"))
        average = floats("average", state["average"], _ORDERS)
        if np.abs(average).max() > _BEYOND:
            raise StateDamaged("an average that no maps lead to")
        with saved_settings():
            weight, width = number("weight", state["weight"]), number("width", state["width"])
            detector = cls(shape, weight, width, wander, count("samples", state["samples"]))
        detector._average, detector._information, detector._scatter = average, information, scatter
        return detector


def _limit(tail: float, samples: int) -> float:
    """Limit of a squared distance in a covariance that is known, or was learnt from so many samples."""
    if not samples:
        return chi_square_limit(tail, _ORDERS)
    return _ORDERS * (samples - 1) / (samples - _ORDERS) * fisher_limit(tail, _ORDERS, samples - _ORDERS)


def _covariance(name: str, saved: Any) -> Floats:
    found = floats(name, saved, _ORDERS, _ORDERS)
    if np.abs(found).max() > _BEYOND or not np.allclose(found, found.T, 1e-9, 1e-9):
        raise StateDamaged(f"{name} is no covariance")
    if np.linalg.eigvalsh(found)[0] < -1e-6 * (1 + np.abs(found).max()):
        raise StateDamaged(f"{name} is no covariance")
    return found


def _orthonormal(height: int, columns: int) -> tuple[Floats, Floats]:
    """A basis (h * w, 6) of the terms whose columns are orthonormal, and what makes its coefficients of theirs."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, columns), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, _ORDERS)
    basis, coefficients = np.linalg.qr(terms)
    return np.ascontiguousarray(basis), coefficients


@compiled()
def _step(
    value: Floats,
    basis: Floats,
    wander: Floats,
    average: Floats,
    information: Floats,
    scatter: Floats,
    weight: float,
    cap: float,
    cell_cap: float,
) -> float:
    """Take a map into the average, its information and its covariance; give the average's squared distance from 0."""
    orders = average.size
    score, seen = np.zeros(orders), np.eye(orders)
    masked = 0
    for cell in range(value.size):
        found = value[cell]
        if found == found:
            found = min(max(found, -cell_cap), cell_cap)
            for term in range(orders):
                score[term] += basis[cell, term] * found
        else:
            masked += 1
            for row in range(orders):
                for term in range(orders):
                    seen[row, term] -= basis[cell, row] * basis[cell, term]
    if masked < value.size:
        kept = 1 - weight
        spread = _spread(seen, wander) if masked else wander + np.eye(orders)
        for row in range(orders):
            for term in range(orders):
                information[row, term] = kept * information[row, term] + weight * seen[row, term]
                scatter[row, term] = kept * kept * scatter[row, term] + weight * weight * spread[row, term]
        alone = weight * weight * _distance(score, scatter)
        counted = weight * (1.0 if alone < cap else np.sqrt(cap / alone))
        for term in range(orders):
            average[term] = kept * average[term] + counted * score[term]
    return _distance(average, scatter)


@compiled(inner=True)
def _spread(seen: Floats, wander: Floats) -> Floats:
    """Covariance of a map's scores, of whose cells so much is seen: of independent cells and of what wanders."""
    orders = seen.shape[0]
    spread = seen.copy()
    for row in range(orders):
        for left in range(orders):
            for right in range(orders):
                for term in range(orders):
                    spread[row, term] += seen[row, left] * wander[left, right] * seen[right, term]
    return spread


@compiled(inner=True)
def _distance(vector: Floats, covariance: Floats) -> float:
    """The vector's squared distance from 0, in units of the covariance, by its Cholesky factor."""
    orders = vector.size
    factor, whitened = np.zeros((orders, orders)), np.zeros(orders)
    # What the masks left almost nothing of has almost no scatter either, and no say.
    least = 1e-9 * np.trace(covariance)
    distance = 0.0
    for row in range(orders):
        for column in range(row):
            found = covariance[row, column]
            for term in range(column):
                found -= factor[row, term] * factor[column, term]
            factor[row, column] = found / factor[column, column]
        square, rest = covariance[row, row], vector[row]
        for term in range(row):
            square -= factor[row, term] * factor[row, term]
            rest -= factor[row, term] * whitened[term]
        factor[row, row] = np.sqrt(max(square, least))
        whitened[row] = rest / factor[row, row]
        distance += whitened[row] * whitened[row]
    return distance
