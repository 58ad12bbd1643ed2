"""The charts of one camera: sudden change, slow change, lasting change against commissioning, and flicker."""

from collections.abc import Mapping
from copy import copy
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.baseline import Baseline
from monitoring.features import Floats, Layout
from monitoring.saved import StateDamaged, count, packed, unpacked

NOTICED: Final = 0.5
"""A chart above this share of its limit took part in what another chart alarmed on."""

_WIDTH = 5.0
_MOVING_WIDTH = 6.5
_DRIFT_WIDTH = 4.3
_SUDDEN_WIDTH = 6.5
_DECISION = 10.0
_FLICKER = 6.0
_MOST_SQUARE = 25.0
_MOST_MOVING_SQUARE = 16.0
_JUMP_SHARE = 0.6
"""Averages find the smallest sudden change that is worth an alarm before they have reached all of it."""
_CAP = 0.48
_SUM_CAP = 2.5
_LASTING = 1.25
"""Of a cell's limit of drift: how much wider it is against commissioning."""
_BEYOND = 1e9
"""Logarithms of counts, and sums of them within any life, are far smaller; wider limits would be blind."""


def calibrated_charts(layout: Layout) -> int:
    """How many of a layout's charts have limits of their own for a camera: all but the bands."""
    return 2 * len(layout.charted) + 1


class Charts:
    """All charts over one baseline, fed one measurement an image.

    `limits`, float64 (`calibrated_charts`,) of at least 1, widens the charts of jumps, of drifts and of flicker, in the
    order of the layout. `own`, float64 (2, n) of at least 1, widens those of jumps and of drifts and bands for every
    number by itself: a cell at the edge of a part is no measure for one in its middle.
    """

    def __init__(self, baseline: Baseline, limits: Floats, own: Floats | None = None) -> None:
        self.baseline = baseline
        self.limits = limits
        self.own = np.ones((2, baseline.layout.size)) if own is None else own
        self.layout = layout = baseline.layout
        self._places = places = layout.places
        charted = len(layout.charted)
        spread, least = baseline.spread, layout.widths("least_jump")
        jumps, drifts = limits[:charted][places], limits[charted : 2 * charted][places]
        jumps, drifts = jumps * self.own[0], drifts * self.own[1]
        still = np.array([of.still for of in layout.charted])[places]
        settings = np.ones((steps.FLICKER + 1, layout.size))
        settings[steps.CENTRE], settings[steps.SPREAD], settings[steps.BAND] = baseline.centre, spread, baseline.band
        settings[steps.SUDDEN] = np.where(still, np.maximum(_SUDDEN_WIDTH * spread, least) * jumps, np.inf)
        # What moves is never quite normally distributed.
        widths = np.where(still, _WIDTH, _MOVING_WIDTH)
        settings[steps.JUMP] = (
            np.maximum(widths * _deviation(steps.RECENT_WEIGHT) * spread, _JUMP_SHARE * least) * jumps
        )
        settings[steps.CAP] = np.where(still, np.inf, _CAP * settings[steps.JUMP] / steps.RECENT_WEIGHT)
        settings[steps.SUM_CAP] = np.where(still, _DECISION, _SUM_CAP)
        weights = np.full(layout.size, steps.LONG_WEIGHT)
        weights[len(layout.features) :] = steps.CELL_WEIGHT
        slowly = layout.widths("least_drift")
        widths = np.where(still, _DRIFT_WIDTH, _MOVING_WIDTH)
        settings[steps.DRIFT] = np.maximum(widths * _deviation(weights) * spread, slowly) * drifts
        settings[steps.LONG_CAP] = np.where(still, np.inf, steps.MOST_LONG * settings[steps.DRIFT] / weights)
        # A cell whose own reach is known need not take over its map's: against commissioning it lies where it lies.
        shared = limits[charted : 2 * charted][places]
        settings[steps.LASTING] = _LASTING * settings[steps.DRIFT] / np.where(self.own[1].max() > 1, shared, 1.0)
        settings[steps.DECISION] = _DECISION
        settings[steps.FLICKER, 0] = _FLICKER * limits[-1]
        # One odd image makes two steps: where it is no proof they must not be enough.
        settings[steps.FLICKER, 1] = _MOST_SQUARE if still[0] else _MOST_MOVING_SQUARE
        self._settings = settings
        self._memory = np.zeros((steps.PREVIOUS + 1, layout.size))
        self.worst = 0.0
        """The largest of the last ratios."""
        self.relearn()

    def relearn(self) -> None:
        """Forget the local baselines and every memory: after a gap in time, light may be anywhere in its band."""
        self._memory[steps.QUICK] = self._memory[steps.SLOW] = self.baseline.centre
        self._seen = 0
        self.reset()

    def reset(self) -> None:
        """Forget what the charts have added up and keep the local baselines."""
        self._memory[steps.RECENT : steps.PREVIOUS] = 0.0

    def update(self, measurement: Floats, last_quiet: NDArray[np.int64], image: int) -> Floats:
        """Take the measurement, (n,), of the next image, whose number is `image`.

        Returns every chart over its limit as it is and to four digits, float64 (2, charts). Writes the image's number
        into `last_quiet`, int64 (charts,), where a chart says nothing about a change, while none is above its limit.
        """
        self._seen += 1
        ratios = np.empty((2, len(self.layout.charts)))
        self.worst = steps.step(
            measurement,
            self._settings,
            self._memory,
            self._places,
            len(self.layout.features),
            self._seen,
            ratios,
            last_quiet,
            image,
        )
        return ratios

    def levels(self, measurement: Floats, patience: float) -> Floats:
        """Where the light is now, without the charts' long memory and without learning: (2, charts) as of `update`.

        `patience` of at least 1 widens the jump limits, infinity lifts them: a local baseline that stands still grows
        stale, and one that followed a fading lamp was never right.
        """
        ratios = np.empty((2, len(self.layout.charts)))
        self.worst = steps.stand(
            measurement, self._settings, self._memory, self._places, len(self.layout.features), patience, ratios
        )
        return ratios

    @property
    def local(self) -> Floats:
        """The slow local baseline, (n,): where every measurement lay of late."""
        local: Floats = self._memory[steps.SLOW].copy()
        return local

    @property
    def reached(self) -> Floats:
        """How much of its own limit every number's averages of jump, and of drift or band, stand at, (2, n)."""
        recent, long, above = (np.abs(self._memory[row]) for row in (steps.RECENT, steps.LONG, steps.ABOVE))
        cells = np.arange(self.layout.size) >= len(self.layout.features)
        jump, drift = recent / self._settings[steps.JUMP], long / self._settings[steps.DRIFT]
        return np.stack([jump, np.maximum(drift, np.where(cells, above, 0.0))])

    def copy(self) -> Self:
        """These charts as they are now, which go their own way from here on."""
        twin = copy(self)
        twin._memory = self._memory.copy()
        return twin

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {
            "baseline": self.baseline.state(),
            "limits": packed(self.limits),
            "own": packed(self.own),
            "memory": packed(self._memory),
            "seen": self._seen,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The charts that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        baseline = Baseline.from_state(state["baseline"])
        limits = unpacked("limits", state["limits"], np.float64, calibrated_charts(baseline.layout))
        own = unpacked("own", state["own"], np.float64, 2, baseline.layout.size)
        if min(limits.min(), own.min()) < 1:
            raise StateDamaged("limits below any that calibration gives")
        charts = cls(baseline, limits, own)
        charts._memory = unpacked("memory", state["memory"], np.float64, *charts._memory.shape)
        charts._seen = count("seen", state["seen"])
        numbers = (charts._memory, baseline.centre, baseline.spread, baseline.band, limits)
        if not max(np.abs(of).max() for of in numbers) < _BEYOND:
            raise StateDamaged("numbers beyond any that light gives")
        return charts


def _deviation(weight: Any) -> Any:
    """Deviation of an exponentially weighted average of unit scatter (Roberts 1959)."""
    return (weight / (2 - weight)) ** 0.5
