"""How one camera's images teach what is normal: what keeps still, soon gross changes, in the end calibrated limits."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.baseline import Baseline, Block
from monitoring.calibration import Calibration, calibrate
from monitoring.charts import Charts, calibrated_charts
from monitoring.features import Floats, Layout
from monitoring.saved import StateDamaged, count, floats, packed, unpacked

Pixels = NDArray[np.uint8]

_SCENE_IMAGES = 64
_PROVISIONAL_IMAGES = 200
_PROVISIONAL_STILL = (1.25, 2.5)
_PROVISIONAL_MOVING = (2.2, 3.0)
_PROVISIONAL_FLICKER = 1.5
# Above the highest peak of commissioning: what moves has its rare sights still to come.
_STILL_MARGIN = 1.0
_MOVING_MARGIN = 1.25
_MAP_MARGIN = 1.25
_LEARNING_SHARE = 0.6
_OWN_SHARE = 0.7
"""From `_LEARNING_SHARE` to here of a commission is learnt what every cell reaches by itself, then what all reach."""
_OWN_MARGIN = 1.2
_FEWEST_FOR_OWN = 1000
_NATURAL_CYCLE_IMAGES = 8000
_ALWAYS_UNSEEN = 0.25


_ODD_SIZES = 3


class FirstImages:
    """A camera's first overviews, kept until they are enough (64, a third of a short commission) to see what keeps
    still in them; those of an odd size are passed over while they are few.
    """

    def __init__(self, commission: int) -> None:
        self._enough = min(_SCENE_IMAGES, commission // 3)
        self.overviews: list[Pixels] = []
        """uint8 (h, w, 3), all of one size, for none to change."""
        self._odd = 0

    @property
    def are_enough(self) -> bool:
        """Whether more of them would not help."""
        return len(self.overviews) >= self._enough

    def take(self, overview: Pixels) -> bool:
        """Keep a copy of one more while that helps; False where images are of one size no more."""
        if any(kept.shape != overview.shape for kept in self.overviews[:1]):
            self._odd += 1
            return self._odd <= _ODD_SIZES
        if not self.are_enough:
            self.overviews.append(overview.copy())
        return True

    def copy(self) -> Self:
        """These images as they are now, to which others may be added."""
        twin = copy(self)
        twin.overviews = list(self.overviews)
        return twin

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact; `commission` is saved by who has it."""
        return {
            "shape": list(self.overviews[0].shape) if self.overviews else None,
            "images": [packed(overview) for overview in self.overviews],
            "odd": self._odd,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], commission: int) -> Self:
        """The images that `state` was taken from. Raises `monitoring.saved.StateDamaged`."""
        first = cls(commission)
        first._odd = count("odd", state["odd"])
        if state["shape"] is not None:
            height, width = (count("shape", side) for side in state["shape"][:2])
            first.overviews = [unpacked("looking", text, np.uint8, height, width, 3) for text in state["images"]]
        return first


class Commissioning:
    """Learns what is normal for one camera; takes one measurement an image.

    layout                what is measured
    commission            how many images teach, at least 50
    false_alarms_per_10k  wanted rate of false alarms, per 10 000 images

    The images are summarised in blocks. After 60 % of them charts over what was learnt are rehearsed on those that
    follow, and the highest peaks of every block set the limits: images that made a baseline are no measure for it. A
    long commission (1000 images) rehearses twice: up to 70 % to learn what every cell reaches by itself, and from there
    on with charts that allow for it.
    """

    def __init__(self, layout: Layout, commission: int, false_alarms_per_10k: float) -> None:
        self.layout = layout
        self.commission = commission
        self.false_alarms_per_10k = false_alarms_per_10k
        self._block_images = min(40, max(8, commission // 200))
        self._unseen = max(_ALWAYS_UNSEEN, 1 - commission / _NATURAL_CYCLE_IMAGES)
        """The share of a natural cycle of the light that is not seen."""
        self._blocks: list[Block] = []
        self._pending: list[Floats] = []
        self._rehearsal: Charts | None = None
        self._reached: Floats | None = None
        """The most that every number has reached of its own limits, while that is learnt."""
        self._peaks: list[Floats] = []
        self._peak = np.zeros(calibrated_charts(layout))

    @property
    def learnt(self) -> int:
        """How many images it has learnt from."""
        return len(self._blocks) * self._block_images + len(self._pending)

    def take(self, measurement: Floats) -> None:
        """Learn from the measurement, float64 (n,), of one more image."""
        self._pending.append(measurement)
        if self._rehearsal is not None:
            self._rehearse(self._rehearsal, measurement)
        if len(self._pending) == self._block_images:
            self._end_block()

    def provisional(self) -> Charts | None:
        """Charts that notice gross changes; None before 200 images, a quarter of a short commission."""
        if self.learnt < min(_PROVISIONAL_IMAGES, self.commission // 4) or not self._blocks:
            return None
        return Charts(Baseline.provisional(self.layout, self._blocks), _provisional_limits(self.layout))

    def calibrated(self) -> tuple[Charts, Calibration] | None:
        """Charts with limits of this camera, and how rarely those were seen to alarm; None before all is learnt."""
        if self.learnt < self.commission or not self._peaks or self._rehearsal is None:
            return None
        calibration = calibrate(
            np.stack(self._peaks), self._block_images, self.false_alarms_per_10k, _margins(self.layout)
        )
        limits = np.array(calibration.limits)
        # What was not seen of a cycle may have steeper slopes than what was.
        charted = len(self.layout.charted)
        limits[charted : 2 * charted] *= 1 + max(0.0, self._unseen - _ALWAYS_UNSEEN)
        return Charts(self._baseline(), limits, self._rehearsal.own), calibration

    def _rehearse(self, rehearsal: Charts, measurement: Floats) -> None:
        """Take what the rehearsed charts make of an image."""
        unread = np.zeros(len(self.layout.charts), np.int64)
        ratios = rehearsal.update(measurement, unread, 0)[steps.EXACT]
        self._peak = np.maximum(self._peak, _limited(ratios))
        if self._reached is not None:
            self._reached = np.maximum(self._reached, rehearsal.reached)

    def _end_block(self) -> None:
        """Summarise a block; begin to rehearse, or anew with what the rehearsal taught, where enough is learnt."""
        self._blocks.append(Block.of(np.stack(self._pending)))
        self._pending.clear()
        if self._rehearsal is not None:
            self._keep_peak()
        if self._rehearsal is None and self.learnt >= _LEARNING_SHARE * self.commission:
            self._begin_rehearsal()
            if self.commission >= _FEWEST_FOR_OWN:
                self._reached = np.zeros((2, self.layout.size))
        if self._reached is not None and self.learnt >= _OWN_SHARE * self.commission:
            own = np.maximum(_OWN_MARGIN * self._reached, 1.0)
            own[:, : len(self.layout.features)] = 1.0
            self._begin_rehearsal(own)
            self._reached = None

    def _keep_peak(self) -> None:
        """Keep a block's peaks; those of maps are no measure while it is learnt what every cell reaches by itself."""
        maps = len(self.layout.maps)
        self._peaks.append(self._peak if self._reached is None else _without_maps(self._peak, maps))
        self._peak = np.zeros_like(self._peak)

    def _begin_rehearsal(self, own: Floats | None = None) -> None:
        """Rehearse charts over what was learnt so far, with nominal limits but for those of every number's own."""
        self._rehearsal = Charts(self._baseline(), np.ones(calibrated_charts(self.layout)), own)

    def _baseline(self) -> Baseline:
        return Baseline.learnt(self.layout, self._blocks, self._block_images, self._unseen)

    def copy(self) -> Self:
        """All that was learnt as it is now, which goes its own way from here on; quick, however much it is."""
        twin = copy(self)
        # Measurements, blocks and peaks are never changed, so that a list of its own is enough.
        twin._blocks, twin._pending, twin._peaks = list(self._blocks), list(self._pending), list(self._peaks)
        twin._rehearsal = self._rehearsal and self._rehearsal.copy()
        return twin

    def relearn(self) -> None:
        """Go on after a gap in time: the rehearsed charts' local baselines are learnt anew."""
        if self._rehearsal is not None:
            self._rehearsal.relearn()

    def state(self) -> dict[str, Any]:
        """All memory, JSON-serialisable, exact; the settings are saved by who has them."""
        return {
            "blocks": [block.state() for block in self._blocks],
            "pending": [packed(measurement) for measurement in self._pending],
            "rehearsal": self._rehearsal and self._rehearsal.state(),
            "reached": None if self._reached is None else packed(self._reached),
            "peaks": [_numbers(peak) for peak in self._peaks],
            "peak": self._peak.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], layout: Layout, commission: int, false_alarms_per_10k: float) -> Self:
        """What `state` was taken from, with these settings: it goes on exactly as that would have.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        learning = cls(layout, commission, false_alarms_per_10k)
        learning._blocks = [Block.from_state(block, layout.size) for block in state["blocks"]]
        learning._pending = [unpacked("pending", text, np.float64, layout.size) for text in state["pending"]]
        if len(learning._pending) >= learning._block_images:
            raise StateDamaged("a block was never ended")
        if state["rehearsal"]:
            learning._rehearsal = Charts.from_state(state["rehearsal"])
            if learning._rehearsal.layout is not layout:
                raise StateDamaged("the rehearsed charts are of other measurements")
        if state["reached"] is not None:
            learning._reached = unpacked("reached", state["reached"], np.float64, 2, layout.size)
        charts = calibrated_charts(layout)
        learning._peaks = [_peaks(peak, charts) for peak in state["peaks"]]
        learning._peak = floats("peak", state["peak"], charts)
        return learning


def _margins(layout: Layout) -> Floats:
    """What limits are multiplied by: of jumps, then of drifts, then of flicker."""
    margins = [_STILL_MARGIN if feature.still else _MOVING_MARGIN for feature in layout.features]
    margins += [_MAP_MARGIN] * len(layout.maps)
    return np.array([*margins, *margins, _STILL_MARGIN])


def _provisional_limits(layout: Layout) -> Floats:
    """How much wider charts are before they have been calibrated: jumps, then drifts, then flicker."""
    widths = [
        _PROVISIONAL_STILL if is_still else _PROVISIONAL_MOVING for is_still in (of.still for of in layout.charted)
    ]
    return np.array([*(jump for jump, _ in widths), *(drift for _, drift in widths), _PROVISIONAL_FLICKER])


def _limited(ratios: Floats) -> Floats:
    """The ratios of the charts that have limits of their own: all but the bands."""
    kinds = len(ratios) // 3
    return np.concatenate([ratios[: 2 * kinds], ratios[3 * kinds :]])


def _without_maps(peak: Floats, maps: int) -> Floats:
    """The peaks of charts that have limits of their own, those of so many maps not measured."""
    charted = len(peak) // 2
    found = peak.copy()
    for end in (charted, 2 * charted):
        found[end - maps : end] = np.nan
    return found


def _numbers(peak: Floats) -> list[float | None]:
    """Peaks as JSON has them: None for what was not measured."""
    return [None if np.isnan(value) else float(value) for value in peak]


def _peaks(state: Sequence[Any], count: int) -> Floats:
    """The reverse of `_numbers`."""
    known = floats("peaks", [-1.0 if value is None else value for value in state], count)
    return np.where(known < 0, np.nan, known)
