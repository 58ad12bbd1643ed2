"""The optics monitor: decides, calibrated, that one camera's light or optics are no longer normal."""

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from monitoring import steps
from monitoring.alarm import Alarm, Evidence
from monitoring.calibration import Calibration
from monitoring.charts import NOTICED, Charts
from monitoring.chores import Chore, FindMotion, LearnScene
from monitoring.commissioning import Commissioning, FirstImages
from monitoring.correction import Correction, correction, is_alone
from monitoring.features import FRAME, LAYOUTS, SCENE, Floats, Layout
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, count, integers, number, packed, unpacked
from monitoring.scene import Scene
from monitoring.signals import Signature, as_overview, measure, signature

Phase = Literal["commissioning", "provisional", "calibrated"]
Pixels = NDArray[np.uint8]

SMALLEST_COMMISSION: Final = 50
"""Fewer images say nothing about what is normal."""

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
        self._looking: FirstImages | None = FirstImages(self.commission)
        """What a scene is looked for in, until `layout` is settled."""
        self._learning: Commissioning | None = None
        """What is learnt from then on, until charts are calibrated."""
        self._charts: Charts | None = None
        self._evidence: Evidence | None = None
        self._left_band = self._was_sudden = False
        self._stood = 0
        self._normal_again = 0
        self._say_nothing(FRAME)

    def _say_nothing(self, layout: Layout) -> None:
        """No chart of a layout has said anything so far."""
        charts = len(layout.charts)
        self._ratios = np.zeros((2, charts))
        self._last_quiet = np.full(charts, self.images - 1)

    @property
    def learnt(self) -> int:
        """How many images it has learnt from since it was last commissioned."""
        if self._learning is not None:
            return self._learning.learnt
        return 0 if self.calibration is None else self.commission

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
        if not is_alone(self.standing.cause, self.ratios):
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
        if self._looking is not None and not self._look(self._looking, overview):
            return None
        measurement = self._measure(image, overview)
        charts, learning = self._charts, self._learning
        if charts is None:
            assert learning is not None
            self._learn(learning, measurement)
            return None
        if self.standing is not None:
            self._stand(charts, self.standing, measurement, overview)
            return None
        self._ratios = charts.update(measurement, self._last_quiet, index)
        if charts.worst > 1.0:
            return self._raise(charts, index, measurement, overview)
        if learning is not None:
            self._learn(learning, measurement)
        return None

    def resume(self) -> None:
        """Go on after a gap in time: the local baseline is learnt anew, commissioning's knowledge and alarms stay."""
        if self._charts is not None:
            self._charts.relearn()
        if self._learning is not None:
            self._learning.relearn()
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
            assert self._looking is not None
            self._begin(self._looking, found)
        elif self.standing is not None and self._evidence is not None:
            assert not isinstance(found, Scene)
            self.standing.diagnosis = self._evidence.take_motion(found)

    def _due(self, chore: Chore) -> None:
        self.chore = chore
        if not self.deferred:
            self.finish(chore, chore.do())

    def _look(self, looking: FirstImages, overview: Pixels | None) -> bool:
        """Look for what keeps still before the camera; whether it is settled what is measured of the image."""
        if overview is None or not looking.take(overview):
            self.chore = None
            self._begin(looking, None)
            return True
        if looking.are_enough and self.chore is None:
            self._due(LearnScene(tuple(looking.overviews)))
        return False

    def _begin(self, looking: FirstImages, scene: Scene | None) -> None:
        """Settle what is measured, and learn from the images that were looked at meanwhile."""
        self._looking = None
        self.scene = scene
        self.layout = layout = FRAME if scene is None else SCENE
        self._say_nothing(layout)
        self._learning = learning = Commissioning(layout, self.commission, self.false_alarms_per_10k)
        for overview in looking.overviews:
            self._learn(learning, self._measure(overview, overview))

    def _learn(self, learning: Commissioning, measurement: Floats) -> None:
        """Move on in life where enough has been learnt."""
        learning.take(measurement)
        if self._charts is None:
            self._charts = learning.provisional()
        found = learning.calibrated()
        if found is not None:
            self._charts, self.calibration = found
            self._last_quiet[:] = self.images - 1
            self._learning = None

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

    def copy(self) -> Self:
        """This monitor as it is now, which goes its own way from here on; quick, whatever it has learnt so far."""
        twin = copy(self)
        # A scene is never changed, and neither are ratios once they are given.
        twin._last_quiet = self._last_quiet.copy()
        twin._looking = self._looking and self._looking.copy()
        twin._learning = self._learning and self._learning.copy()
        twin._charts = self._charts and self._charts.copy()
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
            "looking": self._looking and self._looking.state(),
            "learnt": self.learnt,
            "learning": self._learning and self._learning.state(),
            "charts": self._charts and self._charts.state(),
            "calibration": self.calibration and asdict(self.calibration),
            "standing": self.standing and self.standing.state(),
            "evidence": self._evidence and self._evidence.state(),
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
        monitor.layout = None if state["layout"] is None else LAYOUTS[state["layout"]]
        layout = monitor.layout or FRAME
        monitor.scene = Scene.from_state(state["scene"]) if state["scene"] else None
        monitor._looking = FirstImages.from_state(state["looking"], commission) if state["looking"] else None
        if state["learning"]:
            monitor._learning = Commissioning.from_state(state["learning"], layout, commission, rate)
        monitor._charts = Charts.from_state(state["charts"]) if state["charts"] else None
        monitor.calibration = Calibration.from_state(state["calibration"]) if state["calibration"] else None
        monitor.standing = Alarm.from_state(state["standing"]) if state["standing"] else None
        if state["evidence"] and monitor._charts is not None:
            monitor._evidence = Evidence.from_state(state["evidence"], monitor._charts)
        monitor._ratios = unpacked("ratios", state["ratios"], np.float64, 2, len(layout.charts))
        monitor._last_quiet = integers("last_quiet", state["last_quiet"], len(layout.charts))
        monitor._left_band, monitor._was_sudden = bool(state["left_band"]), bool(state["was_sudden"])
        monitor._stood = count("stood", state["stood"])
        monitor._normal_again = count("normal_again", state["normal_again"])
        monitor._check(count("learnt", state["learnt"]))
        return monitor

    def _check(self, learnt: int) -> None:
        """Refuse a memory that no life leads to: it would break at some later image."""
        if self.false_alarms_per_10k <= 0:
            raise StateDamaged("it wants no false alarm, ever")
        if self._charts is None and (self.calibration is not None or self.standing is not None):
            raise StateDamaged("it is past commissioning and has no charts")
        if (self.scene is not None) != (self.layout is SCENE):
            raise StateDamaged("what it measures is not what it has learnt to measure")
        if self._charts is not None and self._charts.layout is not self.layout:
            raise StateDamaged("its charts are of other measurements")
        looks = self.layout is None
        learns = not looks and self.calibration is None
        if (self._looking is not None, self._learning is not None) != (looks, learns):
            raise StateDamaged("it keeps what it has no use for, or nothing where it learns")
        if self.learnt != learnt:
            raise StateDamaged(f"it keeps {self.learnt} of the {learnt} images that it learnt from")
