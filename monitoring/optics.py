"""The optics monitor: decides, calibrated, that one camera's light or optics are no longer normal."""

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.baseline import CELLS, Baseline, Block, Floats, measure
from monitoring.calibration import Calibration, calibrate
from monitoring.charts import CHARTS, JUMPS, NOTICED, Charts
from monitoring.diagnosis import CAUSES, Side, diagnose
from monitoring.saved import StateDamaged, count, floats, integers, number
from monitoring.signals import MAP_SIZE, Signature, signature

Phase = Literal["commissioning", "provisional", "calibrated"]

SMALLEST_COMMISSION: Final = 100
"""Fewer images say nothing about what is normal."""

_PROVISIONAL_IMAGES = 200
_LEARNING_SHARE = 0.6
_NATURAL_CYCLE_IMAGES = 8000
_ALWAYS_UNSEEN = 0.25
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
        """The alarm that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        if state["cause"] not in CAUSES or state["chart"] not in CHARTS:
            raise StateDamaged("an alarm without a known cause and chart")
        heat_map = floats("heat_map", state["heat_map"], MAP_SIZE, MAP_SIZE).astype(np.float32)
        onset, at_image = count("onset", state["onset"]), count("at_image", state["at_image"])
        ratio = number("ratio", state["ratio"])
        return cls(state["cause"], state["side"], onset, at_image, state["chart"], ratio, heat_map)


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
        self._ratios = np.zeros((2, len(CHARTS)))
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
        return dict(zip(CHARTS, self.exact.tolist(), strict=True))

    @property
    def rounded(self) -> dict[str, float]:
        """`ratios` to four digits, without any that is not finite."""
        rounded = self._ratios[steps.ROUNDED].tolist()
        found = dict(zip(CHARTS, rounded, strict=True))
        if math.isfinite(sum(rounded)):
            return found
        return {chart: ratio for chart, ratio in found.items() if math.isfinite(ratio)}

    @property
    def ratio(self) -> float:
        """The worst of `ratios`."""
        return float(self.exact.max())

    @property
    def exact(self) -> Floats:
        """`ratios` as float64 (18,) in the order of `CHARTS`; another one at each image, for none to change."""
        exact: Floats = self._ratios[steps.EXACT]
        return exact

    def update(self, image: NDArray[np.uint8] | Signature) -> Alarm | None:
        """Take the next image, uint8 (H, W, 3) RGB of the whole frame, or its signature.

        Returns an alarm on the image that raises it, once an episode; `standing` holds it until it clears.
        """
        seen = image if isinstance(image, Signature) else signature(image)
        index = self.images
        self.images += 1
        charts = self._charts
        if charts is None:
            self._learn(measure(seen))
            return None
        if self.standing is not None:
            self._stand(charts, measure(seen))
            return None
        measurement = np.empty(CELLS.stop)
        self._ratios = charts.watch(seen, measurement, self._last_quiet, index)
        if charts.worst > 1.0:
            return self._raise(charts, index)
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
        ratios = self.exact
        worst = int(ratios.argmax())
        shift = charts.shift(ratios)
        cause, side = diagnose(shift, charts.baseline.spread)
        heat_map = shift[CELLS].reshape(MAP_SIZE, MAP_SIZE).astype(np.float32)
        onset = int(self._last_quiet[worst]) + 1
        self.standing = Alarm(cause, side, onset, index, CHARTS[worst], float(ratios[worst]), heat_map)
        self._left_band = bool(ratios[len(JUMPS) :].max() > NOTICED)
        self._stood = self._normal_again = 0
        charts.reset()
        return self.standing

    def _stand(self, charts: Charts, measurement: Floats) -> None:
        self._stood += 1
        # What stays within commissioning's band for long enough is the new local normal; what is outside stands.
        patience = math.inf if self._left_band else 1 + self._stood / _PATIENCE_IMAGES
        self._ratios = charts.levels(measurement, patience)
        self._normal_again = self._normal_again + 1 if charts.worst < _CLEAR else 0
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

    def copy(self) -> Self:
        """This monitor as it is now, which goes its own way from here on; quick, whatever it has learnt so far."""
        twin = copy(self)
        # Measurements, blocks and peaks are never changed, so that a list of its own is enough.
        twin._blocks, twin._pending, twin._peaks = list(self._blocks), list(self._pending), list(self._peaks)
        twin._last_quiet = self._last_quiet.copy()
        twin._charts = self._charts and self._charts.copy()
        twin._rehearsal = self._rehearsal and self._rehearsal.copy()
        return twin

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
            "blocks": [block.state() for block in self._blocks],
            "pending": [measurement.tolist() for measurement in self._pending],
            "charts": self._charts and self._charts.state(),
            "rehearsal": self._rehearsal and self._rehearsal.state(),
            "peaks": [peak.tolist() for peak in self._peaks],
            "peak": self._peak.tolist(),
            "ratios": self.exact.tolist(),
            "last_quiet": self._last_quiet.tolist(),
            "left_band": self._left_band,
            "stood": self._stood,
            "normal_again": self._normal_again,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The monitor that `state` was taken from: it goes on exactly as that one would have.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        commission, clear_after = count("commission", state["commission"]), count("clear_after", state["clear_after"])
        rate = number("false_alarms_per_10k", state["false_alarms_per_10k"])
        monitor = cls(commission, rate, clear_after=clear_after)
        monitor.images = count("images", state["images"])
        monitor.standing = Alarm.from_state(state["standing"]) if state["standing"] else None
        monitor.calibration = Calibration.from_state(state["calibration"]) if state["calibration"] else None
        monitor._learnt = count("learnt", state["learnt"])
        monitor._blocks = [Block.from_state(block) for block in state["blocks"]]
        monitor._pending = [floats("pending", measurement, CELLS.stop) for measurement in state["pending"]]
        monitor._charts = Charts.from_state(state["charts"]) if state["charts"] else None
        monitor._rehearsal = Charts.from_state(state["rehearsal"]) if state["rehearsal"] else None
        monitor._peaks = [floats("peaks", peak, len(JUMPS)) for peak in state["peaks"]]
        monitor._peak = floats("peak", state["peak"], len(JUMPS))
        ratios = floats("ratios", state["ratios"], len(CHARTS))
        monitor._ratios = np.stack([ratios, ratios.round(4)])
        monitor._last_quiet = integers("last_quiet", state["last_quiet"], len(CHARTS))
        monitor._left_band = bool(state["left_band"])
        monitor._stood = count("stood", state["stood"])
        monitor._normal_again = count("normal_again", state["normal_again"])
        monitor._check()
        return monitor

    def _check(self) -> None:
        """Refuse a memory that no life leads to: it would break at some later image."""
        if self.false_alarms_per_10k <= 0:
            raise StateDamaged("it wants no false alarm, ever")
        if self._charts is None and (self.calibration is not None or self.standing is not None):
            raise StateDamaged("it is past commissioning and has no charts")
        kept = len(self._blocks) * self._block_images + len(self._pending)
        if kept != (0 if self.calibration else self._learnt) or len(self._pending) >= self._block_images:
            raise StateDamaged(f"it keeps {kept} of the {self._learnt} images that it learnt from")
