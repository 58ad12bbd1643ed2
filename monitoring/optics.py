"""The optics monitor: decides, calibrated, that one camera's light or optics are no longer normal."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.baseline import CELLS, Baseline, Block, Floats, measure
from monitoring.calibration import Calibration, calibrate
from monitoring.charts import CHARTS, JUMPS, NOTICED, Charts
from monitoring.diagnosis import Side, diagnose
from monitoring.signals import MAP_SIZE, Signature, signature

Phase = Literal["commissioning", "provisional", "calibrated"]

SMALLEST_COMMISSION: Final = 100
"""Fewer images say nothing about what is normal."""

_PROVISIONAL_IMAGES = 200
_LEARNING_SHARE = 0.6
_NATURAL_CYCLE_IMAGES = 8000
_ALWAYS_UNSEEN = 0.25
_QUIET = 0.35
_CLEAR = 0.8
_PATIENCE_IMAGES = 300


class CommissionTooShort(ValueError):
    """A monitor was asked to learn what is normal from too few images."""

    remedy = f"Commission on at least {SMALLEST_COMMISSION} images, better on a full day of the line."

    def __init__(self, commission: int) -> None:
        super().__init__(f"commission is {commission} images, at least {SMALLEST_COMMISSION} are needed")
        self.commission = commission


@dataclass(frozen=True, slots=True, eq=False)
class Alarm:
    """A decision that light or optics changed.

    cause     one of `monitoring.diagnosis.CAUSES`
    side      the side short of light when the cause is `lamp_side`
    onset     index of the image the change is dated to; the first image ever updated is 0
    at_image  index of the image that raised the alarm
    chart     name of the chart that raised it, one of `monitoring.charts.CHARTS`
    ratio     that chart over its limit, above 1
    heat_map  float32 (8, 8), change of the log luminance of each cell: -0.1 is about 10 % darker
    """

    cause: str
    side: Side | None
    onset: int
    at_image: int
    chart: str
    ratio: float
    heat_map: NDArray[np.float32]

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {**asdict(self), "heat_map": self.heat_map.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The alarm that `state` was taken from, exactly."""
        return cls(**{**state, "heat_map": np.array(state["heat_map"], np.float32)})


class OpticsMonitor:
    """Watches one camera; one `update` an image.

    commission             images that teach what is normal; less than a natural cycle of the light (8000 images, a day)
                           makes the monitor less sure and its bands wider
    false_alarms_per_10k   wanted rate of false alarms, per 10 000 images
    clear_after            images in a row that must be normal again before a standing alarm clears

    Life: nothing is known at first; after 200 images (a quarter of a short commission) gross changes alarm; after
    `commission` images the charts are calibrated. Images under a standing alarm teach nothing. Raises
    `CommissionTooShort`.
    """

    def __init__(self, commission: int = 8000, false_alarms_per_10k: float = 1.0, *, clear_after: int = 20) -> None:
        if commission < SMALLEST_COMMISSION:
            raise CommissionTooShort(commission)
        self.commission = commission
        self.false_alarms_per_10k = false_alarms_per_10k
        self.clear_after = clear_after
        self.images = 0
        self._restart()

    def _restart(self) -> None:
        self.standing: Alarm | None = None
        self.calibration: Calibration | None = None
        self._learnt = 0
        self._blocks: list[Block] = []
        self._pending: list[Floats] = []
        self._charts: Charts | None = None
        self._rehearsal: Charts | None = None
        self._peaks: list[Floats] = []
        self._peak = np.zeros(len(JUMPS))
        self._ratios = np.zeros(len(CHARTS))
        self._last_quiet = np.full(len(CHARTS), self.images - 1)
        self._left_band = False
        self._stood = 0
        self._normal_again = 0

    @property
    def phase(self) -> Phase:
        """How much the monitor knows: nothing yet, enough for gross changes, or all that commissioning taught."""
        if self._charts is None:
            return "commissioning"
        return "provisional" if self.calibration is None else "calibrated"

    @property
    def ratios(self) -> dict[str, float]:
        """Every chart over its limit at the last image, 1.0 = at the limit; all 0 while commissioning."""
        return dict(zip(CHARTS, self._ratios.tolist(), strict=True))

    @property
    def ratio(self) -> float:
        """The worst of `ratios`."""
        return float(self._ratios.max())

    def update(self, image: NDArray[np.uint8] | Signature) -> Alarm | None:
        """Take the next image, uint8 (H, W, 3) RGB of the whole frame, or its signature.

        Returns an alarm on the image that raises it, once an episode; `standing` holds it until it clears.
        """
        measurement = measure(image if isinstance(image, Signature) else signature(image))
        index = self.images
        self.images += 1
        if self._charts is None:
            self._learn(measurement)
            return None
        if self.standing is not None:
            self._stand(self._charts, measurement)
            return None
        self._ratios = self._charts.update(measurement)
        if self._ratios.max() > 1.0:
            return self._raise(self._charts, index)
        self._last_quiet[self._ratios < _QUIET] = index
        if self.calibration is None:
            self._learn(measurement)
        return None

    def resume(self) -> None:
        """Go on after a gap in time: the local baseline is learnt anew, commissioning's knowledge and alarms stay."""
        for charts in (self._charts, self._rehearsal):
            if charts is not None:
                charts.relearn()
        self._last_quiet[:] = self.images - 1

    def intended_change(self) -> None:
        """Somebody changed light, optics or product on purpose: forget what was normal and commission again."""
        self._restart()

    def _raise(self, charts: Charts, index: int) -> Alarm:
        worst = int(self._ratios.argmax())
        shift = charts.shift(self._ratios)
        cause, side = diagnose(shift, charts.baseline.spread)
        heat_map = shift[CELLS].reshape(MAP_SIZE, MAP_SIZE).astype(np.float32)
        onset = int(self._last_quiet[worst]) + 1
        self.standing = Alarm(cause, side, onset, index, CHARTS[worst], float(self._ratios[worst]), heat_map)
        self._left_band = bool(self._ratios[len(JUMPS) :].max() > NOTICED)
        self._stood = self._normal_again = 0
        charts.reset()
        return self.standing

    def _stand(self, charts: Charts, measurement: Floats) -> None:
        self._stood += 1
        # What stays within commissioning's band for long enough is the new local normal; what is outside stands.
        patience = math.inf if self._left_band else 1 + self._stood / _PATIENCE_IMAGES
        self._ratios = charts.levels(measurement, patience)
        self._normal_again = self._normal_again + 1 if self._ratios.max() < _CLEAR else 0
        if self._normal_again >= self.clear_after:
            self.standing = None
            self.resume()

    def _learn(self, measurement: Floats) -> None:
        self._learnt += 1
        self._pending.append(measurement)
        self._rehearse(measurement)
        if len(self._pending) == self._block_images:
            self._blocks.append(Block.of(np.stack(self._pending)))
            self._pending.clear()
            if self._rehearsal is not None:
                self._peaks.append(self._peak)
                self._peak = np.zeros(len(JUMPS))
        self._advance()

    @property
    def _block_images(self) -> int:
        return min(40, max(8, self.commission // 200))

    def _rehearse(self, measurement: Floats) -> None:
        if self._rehearsal is not None:
            ratios = self._rehearsal.update(measurement)
            self._peak = np.maximum(self._peak, ratios[: len(JUMPS)])

    def _advance(self) -> None:
        """Move on in life where enough has been learnt."""
        unseen = max(_ALWAYS_UNSEEN, 1 - self.commission / _NATURAL_CYCLE_IMAGES)
        ones = np.ones(len(JUMPS))
        if self._charts is None and self._learnt >= min(_PROVISIONAL_IMAGES, self.commission // 4):
            self._charts = Charts(Baseline.provisional(self._blocks), ones)
        if self._rehearsal is None and self._learnt >= _LEARNING_SHARE * self.commission and not self._pending:
            self._rehearsal = Charts(Baseline.learnt(self._blocks, unseen), ones)
        if self._learnt >= self.commission and self._peaks:
            self.calibration = calibrate(np.stack(self._peaks), self._block_images, self.false_alarms_per_10k)
            limits = np.array(self.calibration.limits)
            self._charts = Charts(Baseline.learnt(self._blocks, unseen), limits)
            self._rehearsal = None
            self._blocks, self._pending, self._peaks = [], [], []

    def state(self) -> dict[str, Any]:
        """All settings and memory, JSON-serialisable, exact."""
        return {
            "commission": self.commission,
            "false_alarms_per_10k": self.false_alarms_per_10k,
            "clear_after": self.clear_after,
            "images": self.images,
            "standing": self.standing and self.standing.state(),
            "calibration": self.calibration and asdict(self.calibration),
            "learnt": self._learnt,
            "blocks": [[block.centre.tolist(), block.spread.tolist()] for block in self._blocks],
            "pending": [measurement.tolist() for measurement in self._pending],
            "charts": self._charts and self._charts.state(),
            "rehearsal": self._rehearsal and self._rehearsal.state(),
            "peaks": [peak.tolist() for peak in self._peaks],
            "peak": self._peak.tolist(),
            "ratios": self._ratios.tolist(),
            "last_quiet": self._last_quiet.tolist(),
            "left_band": self._left_band,
            "stood": self._stood,
            "normal_again": self._normal_again,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The monitor that `state` was taken from: it goes on exactly as that one would have."""
        monitor = cls(state["commission"], state["false_alarms_per_10k"], clear_after=state["clear_after"])
        monitor.images = state["images"]
        monitor.standing = Alarm.from_state(state["standing"]) if state["standing"] else None
        monitor.calibration = Calibration.from_state(state["calibration"]) if state["calibration"] else None
        monitor._learnt = state["learnt"]
        monitor._blocks = [Block(np.array(centre), np.array(spread)) for centre, spread in state["blocks"]]
        monitor._pending = [np.array(measurement) for measurement in state["pending"]]
        monitor._charts = Charts.from_state(state["charts"]) if state["charts"] else None
        monitor._rehearsal = Charts.from_state(state["rehearsal"]) if state["rehearsal"] else None
        monitor._peaks = [np.array(peak) for peak in state["peaks"]]
        monitor._peak = np.array(state["peak"])
        monitor._ratios = np.array(state["ratios"])
        monitor._last_quiet = np.array(state["last_quiet"])
        monitor._left_band = state["left_band"]
        monitor._stood = state["stood"]
        monitor._normal_again = state["normal_again"]
        return monitor
