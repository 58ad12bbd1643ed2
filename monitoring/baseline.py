"""What is normal for one camera: where its signals lie, how they scatter and how far they wander."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.saved import StateDamaged, floats
from monitoring.signals import MAP_SIZE, SCALARS, Signature

Floats = NDArray[np.float64]

FEATURES: Final = (*SCALARS, "left_right", "top_bottom")
"""What has a chart of its own; the last two are the light map's lean: right over left, bottom over top."""

CELLS: Final = slice(len(FEATURES), len(FEATURES) + MAP_SIZE**2)
"""Where the cells of the light map lie in a measurement."""

_MIDDLE = MAP_SIZE**2 // 2

# Per feature, then one for every cell. All in the signals' own units: 0.01 is about 1 %.
_SMALLEST_SPREAD = (0.001, 0.0004, 0.0004, 0.002, 0.003, 0.005, 0.001, 0.001, 0.002)
_LEAST_JUMP = (0.014, 0.003, 0.003, 0.03, 0.02, 0.04, 0.008, 0.008, 0.01)
_UNSEEN_WANDER = (0.02, 0.006, 0.006, 0.02, 0.02, 0.03, 0.01, 0.01, 0.02)
_GROSS_CHANGE = (0.06, 0.04, 0.04, 0.2, 0.2, 0.4, 0.1, 0.1, 0.25)

_NORMAL_QUANTILES = np.array([[0.6745], [1.6449]])  # of |N(0, 1)|, at 0.5 and 0.9


def per_measurement(per_chart: Sequence[float] | Floats) -> Floats:
    """One value for every measurement (72,) from one a feature and a last one for all cells (9,)."""
    return np.concatenate([per_chart[:-1], np.full(MAP_SIZE**2, per_chart[-1])])


def least_jump() -> Floats:
    """The smallest sudden change worth an alarm, float64 (72,): material lots and warming lamps make smaller ones."""
    return per_measurement(_LEAST_JUMP)


def measure(signature: Signature) -> Floats:
    """The features, then the cells of the light map: float64 (8 + 64,)."""
    measurement = np.empty(CELLS.stop)
    steps.fill(measurement, signature.light_map, *signature.vector)
    return measurement


def relative(deviation: Floats) -> Floats:
    """Deviations (..., 72) with the common part of the cells taken out: that is the level's matter."""
    found = deviation.copy()
    cells = found[..., CELLS]
    # The median of 64; np.median takes several times as long to say the same.
    ordered = np.sort(cells, axis=-1)
    cells -= (ordered[..., _MIDDLE - 1 : _MIDDLE] + ordered[..., _MIDDLE : _MIDDLE + 1]) / 2
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A few consecutive images: median and robust image-to-image deviation of every measurement, float64 (72,)."""

    centre: Floats
    spread: Floats

    @classmethod
    def of(cls, measurements: Floats) -> Self:
        """Summarise measurements (n, 72)."""
        centre = np.median(measurements, axis=0)
        residual = np.abs(relative(measurements - centre))
        # Half of the images may agree exactly while the rest jumps between positions: one quantile would miss that.
        scatter = np.quantile(residual, (0.5, 0.9), axis=0) / _NORMAL_QUANTILES
        return cls(centre, scatter.max(axis=0))

    def state(self) -> list[list[float]]:
        """JSON-serialisable, exact."""
        return [self.centre.tolist(), self.spread.tolist()]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Self:
        """The block that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        return cls(*floats("a block", state, 2, CELLS.stop))


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Centre, image-to-image deviation and half-width of normal wandering of every measurement, float64 (72,)."""

    centre: Floats
    spread: Floats
    band: Floats

    @classmethod
    def learnt(cls, blocks: Sequence[Block], unseen: float) -> Self:
        """What the blocks saw; `unseen` in [0, 1] is the share of a natural cycle of the light that they did not."""
        centres = np.stack([block.centre for block in blocks])
        centre = (centres.min(axis=0) + centres.max(axis=0)) / 2
        wander = relative(centres - centre)
        spread = np.median(np.stack([block.spread for block in blocks]), axis=0)
        # A still picture scatters less than the least that ever matters, and limits must not be zero.
        spread = np.maximum(spread, per_measurement(_SMALLEST_SPREAD))
        return cls(centre, spread, np.abs(wander).max(axis=0) + unseen * per_measurement(_UNSEEN_WANDER))

    @classmethod
    def provisional(cls, blocks: Sequence[Block]) -> Self:
        """Centred on the first blocks, as wide as what nobody would call normal."""
        gross = per_measurement(_GROSS_CHANGE)
        return cls(np.median(np.stack([block.centre for block in blocks]), axis=0), gross / 4, gross)

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {"centre": self.centre.tolist(), "spread": self.spread.tolist(), "band": self.band.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The baseline that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        centre, spread, band = (floats(name, state[name], CELLS.stop) for name in ("centre", "spread", "band"))
        if spread.min() <= 0 or band.min() < 0:
            raise StateDamaged("a baseline without width")
        return cls(centre, spread, band)
