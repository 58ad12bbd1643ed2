"""The optics monitor: decides, calibrated, that one camera's light or optics are no longer normal."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.alarm import Alarm, Evidence
from monitoring.baseline import Baseline, Block
from monitoring.calibration import Calibration, calibrate
from monitoring.charts import NOTICED, Charts, calibrated_charts
from monitoring.chores import Chore, FindMotion, LearnScene
from monitoring.correction import Correction, correction
from monitoring.features import FRAME, LAYOUTS, SCENE, Floats, Layout
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, count, floats, integers, number, packed, unpacked
from monitoring.scene import Scene
from monitoring.signals import Signature, as_overview, measure, signature

Phase = Literal["commissioning", "provisional", "calibrated"]
Pixels = NDArray[np.uint8]

SMALLEST_COMMISSION: Final = 50
"""Fewer images say nothing about what is normal."""

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
_CLEAR = 0.8
_CLEAR_PER_ABNORMAL = 3
_PATIENCE_IMAGES = 300


class CommissionTooShort(ValueError):
    """A monitor was asked to learn what is normal from too few images."""

    remedy = f"Commission on at least {SMALLEST_COMMISSION} images, better on a full day of the line."

    def __init__(self, commission: int) -> None:
        super().__init__(f"commission is {commission} images, at least {SMALLEST_COMMISSION} are needed")
        self.commission = commission


class OverviewMissing(ValueError):
    """A monitor that measures against a scene was given a signature without the picture it was measured on."""

    remedy = "Pass the image, or its signature as `monitoring.signals.signature` makes it."

    def __init__(self) -> None:
        super().__init__("the signature has no overview, and this camera's scene is measured on one")


class OpticsMonitor:
    """Watches one camera; one `update` an image.

    commission             images that teach what is normal; less than a natural cycle of the light (8000 images, a day)
                           makes the monitor less sure and its bands wider
    false_alarms_per_10k   wanted rate of false alarms, per 10 000 images
    clear_after            images in a row that must be normal again before a standing alarm clears; fewer where only a
                           few were abnormal
    deferred               whether what takes long is left as a `chore` for somebody to do; otherwise `update` does it

    Life: the first images (64, a third of a short commission) show what keeps still before the camera, if anything
    does. After 200 images changes alarm that no light makes by itself; after `commission` images the charts are
    calibrated. Images under a standing alarm teach nothing. Raises `CommissionTooShort`.
    """

    def __init__(
        self,
        commission: int = 8000,
        false_alarms_per_10k: float = 1.0,
        *,
        clear_after: int = 20,
        deferred: bool = False,
    ) -> None:
        if commission < SMALLEST_COMMISSION:
            raise CommissionTooShort(commission)
        self.commission = commission
        self.false_alarms_per_10k = false_alarms_per_10k
        self.clear_after = clear_after
        self.deferred = deferred
        self.images = 0
        self._restart()

    def _restart(self) -> None:
        self.standing: Alarm | None = None
        self.calibration: Calibration | None = None
        self.scene: Scene | None = None
        """What keeps still before the camera, once that is known and if anything does."""
        self.layout: Layout | None = None
        """What is measured of an image, once that is settled."""
        self.chore: Chore | None = None
        """What takes long and is due; `finish` takes what it found."""
        self._looking: list[Pixels] = []
        self._learnt = 0
        self._blocks: list[Block] = []
        self._pending: list[Floats] = []
        self._charts: Charts | None = None
        self._rehearsal: Charts | None = None
        self._peaks: list[Floats] = []
        self._reached: Floats | None = None
        """The most that every number has reached of its own limits, while that is learnt."""
        self._settle_on(FRAME)
        self.layout = None
        self._evidence: Evidence | None = None
        self._left_band = self._was_sudden = False
        self._stood = 0
        self._normal_again = 0

    def _settle_on(self, layout: Layout) -> None:
        self.layout = layout
        charts = len(layout.charts)
        self._peak = np.zeros(calibrated_charts(layout))
        self._ratios = np.zeros((2, charts))
        self._last_quiet = np.full(charts, self.images - 1)
        self._rehearsed = np.zeros(charts, np.int64)

    @property
    def learnt(self) -> int:
        """How many images it has learnt from since it was last commissioned."""
        return self._learnt

    @property
    def phase(self) -> Phase:
        """How much the monitor knows: nothing yet, enough for gross changes, or all that commissioning taught."""
        if self._charts is None:
            return "commissioning"
        return "provisional" if self.calibration is None else "calibrated"

    @property
    def charts(self) -> tuple[str, ...]:
        """The charts' names, in the order of `exact`; there are others once the scene is known."""
        return (self.layout or FRAME).charts

    @property
    def correction(self) -> Correction | None:
        """What takes the change out of the last image, once its cause is certain and if that is safe."""
        evidence = self._evidence
        if self.standing is None or self.scene is None or evidence is None or not evidence.is_complete:
            return None
        return correction(self.standing.cause, evidence.last)

    @property
    def ratios(self) -> dict[str, float]:
        """Every chart over its limit at the last image, 1.0 = at the limit; all 0 while commissioning."""
        return dict(zip(self.charts, self.exact.tolist(), strict=True))

    @property
    def rounded(self) -> Floats:
        """`exact` to four digits."""
        rounded: Floats = self._ratios[steps.ROUNDED]
        return rounded

    @property
    def ratio(self) -> float:
        """The worst of `ratios`."""
        return float(self.exact.max())

    @property
    def exact(self) -> Floats:
        """`ratios` as float64 (n,) in the order of `charts`; another one at each image, for none to change."""
        exact: Floats = self._ratios[steps.EXACT]
        return exact

    def update(self, image: Pixels | Signature) -> Alarm | None:
        """Take the next image, uint8 (H, W, 3) RGB of the whole frame, or its signature.

        Returns an alarm on the image that raises it, once an episode; `standing` holds it until it clears, and its
        diagnosis is made surer by the images that follow. Raises `OverviewMissing`.
        """
        overview = image.overview if isinstance(image, Signature) else as_overview(image)
        if self.scene is not None:
            if overview is None:
                raise OverviewMissing
            overview = self.scene.fitted(overview)
        index = self.images
        self.images += 1
        if self.layout is None and not self._look(overview):
            return None
        measurement = self._measure(image, overview)
        charts = self._charts
        if charts is None:
            self._learn(measurement)
            return None
        if self.standing is not None:
            self._stand(charts, self.standing, measurement, overview)
            return None
        self._ratios = charts.update(measurement, self._last_quiet, index)
        if charts.worst > 1.0:
            return self._raise(charts, index, measurement, overview)
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

    def finish(self, chore: Chore, found: Scene | Motion | None) -> None:
        """Go on with what a chore found; nothing happens if it has become idle meanwhile."""
        if chore is not self.chore:
            return
        self.chore = None
        if isinstance(chore, LearnScene):
            assert not isinstance(found, Motion)
            self._begin(found)
        elif self.standing is not None and self._evidence is not None:
            assert not isinstance(found, Scene)
            self.standing.diagnosis = self._evidence.take_motion(found)

    def _due(self, chore: Chore) -> None:
        self.chore = chore
        if not self.deferred:
            self.finish(chore, chore.do())

    def _look(self, overview: Pixels | None) -> bool:
        """Look for what keeps still before the camera; whether it is settled what is measured of an image."""
        if overview is None or any(kept.shape != overview.shape for kept in self._looking[:1]):
            self.chore = None
            self._begin(None)
            return True
        enough = min(_SCENE_IMAGES, self.commission // 3)
        if len(self._looking) < enough:
            self._looking.append(overview.copy())
        if len(self._looking) >= enough and self.chore is None:
            self._due(LearnScene(tuple(self._looking)))
        return False

    def _begin(self, scene: Scene | None) -> None:
        """Settle what is measured, and learn from the images that were looked at meanwhile."""
        looked, self._looking = self._looking, []
        self.scene = scene
        self._settle_on(FRAME if scene is None else SCENE)
        for overview in looked:
            self._learn(self._measure(overview, overview))

    def _measure(self, image: Pixels | Signature, overview: Pixels | None) -> Floats:
        if self.scene is not None and overview is not None:
            return self.scene.measure(overview)
        return measure(image if isinstance(image, Signature) else signature(image))

    def _raise(self, charts: Charts, index: int, measurement: Floats, overview: Pixels | None) -> Alarm:
        ratios = self.exact
        worst = int(ratios.argmax())
        chart = self.charts[worst]
        self._evidence = Evidence(charts, chart)
        onset = int(self._last_quiet[worst]) + 1
        self.standing = Alarm(onset, index, chart, float(ratios[worst]), self._evidence.take(measurement))
        kinds = len(charts.layout.charted)
        self._left_band = bool(ratios[2 * kinds : 3 * kinds].max() > NOTICED)
        self._was_sudden = bool(ratios[:kinds].max() > 1)
        self._stood = self._normal_again = 0
        charts.reset()
        self._find_motion(overview)
        return self.standing

    def _find_motion(self, overview: Pixels | None) -> None:
        if self.scene is None or overview is None or self._evidence is None:
            return
        if self._evidence.wants_motion:
            self._due(FindMotion(self.scene, overview))

    def _stand(self, charts: Charts, alarm: Alarm, measurement: Floats, overview: Pixels | None) -> None:
        self._stood += 1
        # What stays within commissioning's band for long enough is the new local normal; what is outside stands.
        patience = math.inf if self._left_band else 1 + self._stood / _PATIENCE_IMAGES
        self._ratios = charts.levels(measurement, patience)
        normal = charts.worst < _CLEAR
        self._normal_again = self._normal_again + 1 if normal else 0
        evidence = self._evidence
        if evidence is not None and not evidence.is_complete:
            alarm.diagnosis = evidence.take(measurement)
            self._find_motion(overview)
        elif evidence is not None:
            evidence.see(measurement)
        needed = self.clear_after
        if self._was_sudden:
            needed = min(needed, _CLEAR_PER_ABNORMAL * (1 + self._stood - self._normal_again))
        if self._normal_again >= needed:
            self.standing = self._evidence = self.chore = None
            self.resume()

    def _learn(self, measurement: Floats) -> None:
        self._learnt += 1
        self._pending.append(measurement)
        if self._rehearsal is not None:
            ratios = self._rehearsal.update(measurement, self._rehearsed, 0)[steps.EXACT]
            self._peak = np.maximum(self._peak, _calibrated(ratios))
            if self._reached is not None:
                self._reached = np.maximum(self._reached, self._rehearsal.reached)
        if len(self._pending) == self._block_images:
            self._blocks.append(Block.of(np.stack(self._pending)))
            self._pending.clear()
            if self._rehearsal is not None:
                maps = len(self._rehearsal.layout.maps)
                self._peaks.append(self._peak if self._reached is None else _without_maps(self._peak, maps))
                self._peak = np.zeros_like(self._peak)
        self._advance()

    @property
    def _block_images(self) -> int:
        return min(40, max(8, self.commission // 200))

    def _advance(self) -> None:
        """Move on in life where enough has been learnt."""
        layout = self.layout
        assert layout is not None
        unseen = max(_ALWAYS_UNSEEN, 1 - self.commission / _NATURAL_CYCLE_IMAGES)
        if self._charts is None and self._learnt >= min(_PROVISIONAL_IMAGES, self.commission // 4) and self._blocks:
            limits = _provisional_limits(layout)
            self._charts = Charts(Baseline.provisional(layout, self._blocks), limits)
        if self._rehearsal is None and self._learnt >= _LEARNING_SHARE * self.commission and not self._pending:
            baseline = Baseline.learnt(layout, self._blocks, self._block_images, unseen)
            self._rehearsal = Charts(baseline, np.ones(calibrated_charts(layout)))
            if self.commission >= _FEWEST_FOR_OWN:
                self._reached = np.zeros((2, layout.size))
        if self._reached is not None and self._learnt >= _OWN_SHARE * self.commission and not self._pending:
            own = np.maximum(_OWN_MARGIN * self._reached, 1.0)
            own[:, : len(layout.features)] = 1.0
            baseline = Baseline.learnt(layout, self._blocks, self._block_images, unseen)
            self._rehearsal, self._reached = Charts(baseline, np.ones(calibrated_charts(layout)), own), None
        if self._learnt >= self.commission and self._peaks and self._rehearsal is not None:
            margins = [_STILL_MARGIN if feature.still else _MOVING_MARGIN for feature in layout.features]
            margins += [_MAP_MARGIN] * len(layout.maps)
            margin = np.array([*margins, *margins, _STILL_MARGIN])
            self.calibration = calibrate(np.stack(self._peaks), self._block_images, self.false_alarms_per_10k, margin)
            limits = np.array(self.calibration.limits)
            # What was not seen of a cycle may have steeper slopes than what was.
            charted = len(layout.charted)
            limits[charted : 2 * charted] *= 1 + max(0.0, unseen - _ALWAYS_UNSEEN)
            baseline = Baseline.learnt(layout, self._blocks, self._block_images, unseen)
            self._charts = Charts(baseline, limits, self._rehearsal.own)
            self._last_quiet[:] = self.images - 1
            self._rehearsal = None
            self._blocks, self._pending, self._peaks = [], [], []

    def copy(self) -> Self:
        """This monitor as it is now, which goes its own way from here on; quick, whatever it has learnt so far."""
        twin = copy(self)
        # Images, measurements, blocks, peaks and a scene are never changed, so that a list of its own is enough.
        twin._looking = list(self._looking)
        twin._blocks, twin._pending, twin._peaks = list(self._blocks), list(self._pending), list(self._peaks)
        twin._last_quiet, twin._rehearsed = self._last_quiet.copy(), self._rehearsed.copy()
        twin._charts = self._charts and self._charts.copy()
        twin._rehearsal = self._rehearsal and self._rehearsal.copy()
        twin._evidence = self._evidence and self._evidence.copy()
        twin.standing = self.standing and copy(self.standing)
        return twin

    def state(self) -> dict[str, Any]:
        """All settings and memory, JSON-serialisable, exact."""
        return {
            "commission": self.commission,
            "false_alarms_per_10k": self.false_alarms_per_10k,
            "clear_after": self.clear_after,
            "images": self.images,
            "layout": self.layout and self.layout.name,
            "scene": self.scene and self.scene.state(),
            "looking": {
                "shape": list(self._looking[0].shape) if self._looking else None,
                "images": [packed(image) for image in self._looking],
            },
            "standing": self.standing and self.standing.state(),
            "evidence": self._evidence and self._evidence.state(),
            "calibration": self.calibration and asdict(self.calibration),
            "learnt": self._learnt,
            "blocks": [block.state() for block in self._blocks],
            "pending": [packed(measurement) for measurement in self._pending],
            "charts": self._charts and self._charts.state(),
            "rehearsal": self._rehearsal and self._rehearsal.state(),
            "peaks": [_numbers(peak) for peak in self._peaks],
            "peak": self._peak.tolist(),
            "reached": None if self._reached is None else packed(self._reached),
            "ratios": packed(self._ratios),
            "last_quiet": self._last_quiet.tolist(),
            "left_band": self._left_band,
            "was_sudden": self._was_sudden,
            "stood": self._stood,
            "normal_again": self._normal_again,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, deferred: bool = False) -> Self:
        """The monitor that `state` was taken from: it goes on exactly as that one would have.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        commission, clear_after = count("commission", state["commission"]), count("clear_after", state["clear_after"])
        rate = number("false_alarms_per_10k", state["false_alarms_per_10k"])
        monitor = cls(commission, rate, clear_after=clear_after, deferred=deferred)
        monitor.images = count("images", state["images"])
        if state["layout"] is not None:
            monitor._settle_on(LAYOUTS[state["layout"]])
        layout = monitor.layout or FRAME
        monitor.scene = Scene.from_state(state["scene"]) if state["scene"] else None
        monitor._looking = _images(state["looking"])
        monitor._charts = Charts.from_state(state["charts"]) if state["charts"] else None
        monitor.standing = Alarm.from_state(state["standing"]) if state["standing"] else None
        if state["evidence"] and monitor._charts is not None:
            monitor._evidence = Evidence.from_state(state["evidence"], monitor._charts)
        monitor.calibration = Calibration.from_state(state["calibration"]) if state["calibration"] else None
        monitor._learnt = count("learnt", state["learnt"])
        monitor._blocks = [Block.from_state(block, layout.size) for block in state["blocks"]]
        monitor._pending = [unpacked("pending", text, np.float64, layout.size) for text in state["pending"]]
        monitor._rehearsal = Charts.from_state(state["rehearsal"]) if state["rehearsal"] else None
        peaks = calibrated_charts(layout)
        monitor._peaks = [_peaks(peak, peaks) for peak in state["peaks"]]
        monitor._peak = floats("peak", state["peak"], peaks)
        if state["reached"] is not None:
            monitor._reached = unpacked("reached", state["reached"], np.float64, 2, layout.size)
        monitor._ratios = unpacked("ratios", state["ratios"], np.float64, 2, len(layout.charts))
        monitor._last_quiet = integers("last_quiet", state["last_quiet"], len(layout.charts))
        monitor._left_band, monitor._was_sudden = bool(state["left_band"]), bool(state["was_sudden"])
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
        if (self.scene is not None) != (self.layout is SCENE) or (self.layout is None and self._learnt):
            raise StateDamaged("what it measures is not what it has learnt to measure")
        if any(charts.layout is not self.layout for charts in (self._charts, self._rehearsal) if charts is not None):
            raise StateDamaged("its charts are of other measurements")
        kept = len(self._blocks) * self._block_images + len(self._pending)
        if kept != (0 if self.calibration else self._learnt) or len(self._pending) >= self._block_images:
            raise StateDamaged(f"it keeps {kept} of the {self._learnt} images that it learnt from")


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


def _images(state: Mapping[str, Any]) -> list[Pixels]:
    """The images that were looked at so far, out of a saved state."""
    if state["shape"] is None:
        return []
    height, width = (count("shape", side) for side in state["shape"][:2])
    return [unpacked("looking", text, np.uint8, height, width, 3) for text in state["images"]]


def _provisional_limits(layout: Layout) -> Floats:
    """How much wider charts are before they have been calibrated: jumps, then drifts, then flicker."""
    widths = [
        _PROVISIONAL_STILL if is_still else _PROVISIONAL_MOVING for is_still in (of.still for of in layout.charted)
    ]
    return np.array([*(jump for jump, _ in widths), *(drift for _, drift in widths), _PROVISIONAL_FLICKER])


def _calibrated(ratios: Floats) -> Floats:
    """The ratios of the charts that have limits of their own: all but the bands."""
    kinds = len(ratios) // 3
    return np.concatenate([ratios[: 2 * kinds], ratios[3 * kinds :]])
