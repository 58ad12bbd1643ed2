"""The product monitor: decides from a model's scores that the parts are no longer what they were."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Final, Literal, Self

import numpy as np

from monitoring.alarm import Alarm
from monitoring.calibration import clopper_pearson
from monitoring.detectors.bernoulli_cusum import BernoulliCusum
from monitoring.detectors.score_drift import FEWEST, ScoreDrift
from monitoring.diagnosis import Diagnosis
from monitoring.features import GRID, Floats
from monitoring.saved import StateDamaged, count, integers, number

CHARTS: Final = ("defect_rate", "scores")

_DEFECT = 0.5
_LEARNING_SHARE = 0.6
_LOWEST_RATE, _HIGHEST_RATE = 0.002, 0.25
_SURE = 0.8
_RISE, _RISE_BY = 2.5, 0.02
_FALL = 1 / 6
_RUN_LENGTH = 200_000.0
_QUIET = 0.2
_SCORES_WIDTH = 5.5
_SCORES_MARGIN = 1.5
_CLEAR = 0.6
_CLEAR_PARTS = 300
_NO_PLACE: Final = np.zeros((GRID, GRID), np.float32)

Phase = Literal["commissioning", "calibrated"]


class CommissionTooShort(ValueError):
    """A product monitor was asked to learn from too few parts."""

    remedy = f"Commission on at least {2 * FEWEST} parts, better on several lots."

    def __init__(self, commission: int) -> None:
        super().__init__(f"commission is {commission} parts, at least {2 * FEWEST} are needed")
        self.commission = commission


class ProductMonitor:
    """Watches one product at one station by a model's scores; one `update` a part, while light and optics are normal.

    commission  parts that teach what is normal
    model       whose scores they are: another model's mean something else
    deferred    whether somebody else calls `learn` when that is due; else the last part of commissioning takes 50 ms

    A Bernoulli CUSUM watches the defect rate, both ways: strangely few defects are more often a blind camera than a
    better process. A chart of the scores of good parts watches what no defect rate shows. Neither needs a label.
    An alarm's cause is "defect_rate" or "new_batch", scores that lie elsewhere than they did; its diagnosis has a size
    below 0 where it is less, not more: of defects or of score. Raises `CommissionTooShort`.
    """

    def __init__(self, commission: int = 1000, model: str = "", *, deferred: bool = False) -> None:
        if commission < 2 * FEWEST:
            raise CommissionTooShort(commission)
        self.commission, self.model, self.deferred = commission, model, deferred
        self.parts = 0
        self.standing: Alarm | None = None
        self._scores: list[float] = []
        self._rise: BernoulliCusum | None = None
        self._fall: BernoulliCusum | None = None
        self._drift: ScoreDrift | None = None
        self._drift_limit = 1.0
        self._ratios = (0.0, 0.0)
        self._last_quiet = [-1, -1]
        self._quiet_parts = 0

    @property
    def phase(self) -> Phase:
        """How far it has come in life."""
        return "commissioning" if self._drift is None else "calibrated"

    @property
    def exact(self) -> Floats:
        """Both of `CHARTS` over their limits at the last part, 1.0 = at the limit, float64 (2,)."""
        return np.array(self._ratios)

    @property
    def is_due(self) -> bool:
        """Whether it has seen enough to learn from."""
        return len(self._scores) >= self.commission

    def update(self, p_defect: float) -> Alarm | None:
        """Take the next part's calibrated probability of a defect, 0 to 1; NaN is passed over.

        Returns an alarm on the part that raises it, once an episode; `standing` holds it until 300 parts in a row gave
        no sign of it.
        """
        if p_defect != p_defect:  # NaN
            return None
        part, self.parts = self.parts, self.parts + 1
        rise, drift = self._rise, self._drift
        if rise is None or drift is None:
            if not self.is_due:
                self._scores.append(p_defect)
            if self.is_due and not self.deferred:
                self.learn()
            return None
        defect = float(p_defect >= _DEFECT)
        rising = rise.update(defect)
        falling = 0.0
        if self._fall is not None:
            self._fall.update(defect)
            falling = self._fall.below / self._fall.fall_limit
        drifting = self._ratios[1] if defect else drift.update(p_defect) / self._drift_limit
        self._ratios = (max(rising, falling), drifting)
        for chart, ratio in enumerate(self._ratios):
            if ratio < _QUIET:
                self._last_quiet[chart] = part
        if self.standing is not None:
            self._stand(self.standing, rise, drift)
            return None
        worst = int(self._ratios[1] > self._ratios[0])
        ratio = self._ratios[worst]
        if ratio <= 1:
            return None
        risen = drift.components["mean"] > 0 if worst else rising >= falling
        onset = self._last_quiet[worst] + 1
        size = ratio if risen else -ratio
        diagnosis = Diagnosis("new_batch" if worst else "defect_rate", _NO_PLACE, part + 1 - onset, size)
        self.standing = Alarm(onset, part, CHARTS[worst], ratio, diagnosis)
        self._begin_anew(rise, drift)
        return self.standing

    def _stand(self, alarm: Alarm, rise: BernoulliCusum, drift: ScoreDrift) -> None:
        """Let the alarm stand while the charts go on finding the change, each time anew."""
        alarm.diagnosis = replace(alarm.diagnosis, images=alarm.diagnosis.images + 1)
        ratio = max(self._ratios)
        if ratio > 1:
            self._begin_anew(rise, drift)
        self._quiet_parts = self._quiet_parts + 1 if ratio < _CLEAR else 0
        if self._quiet_parts >= _CLEAR_PARTS:
            self.standing = None

    def _begin_anew(self, rise: BernoulliCusum, drift: ScoreDrift) -> None:
        self._quiet_parts = 0
        for detector in (rise, self._fall, drift):
            if detector is not None:
                detector.reset()

    def learn(self) -> None:
        """Learn what is normal from the parts of commissioning; to be called once that is due."""
        scores, self._scores = np.array(self._scores), []
        good = scores[scores < _DEFECT]
        # From so few defects the rate is known roughly: neither chart may take its own ignorance for a change.
        low, high = clopper_pearson(len(scores) - len(good), len(scores), _SURE)
        usual = min(max(high, _LOWEST_RATE), _HIGHEST_RATE)
        self._rise = BernoulliCusum(usual, max(_RISE * usual, usual + _RISE_BY), None, _RUN_LENGTH)
        if low >= _LOWEST_RATE:
            usual = min(low, _HIGHEST_RATE)
            self._fall = BernoulliCusum(usual, _RISE * usual, _FALL * usual, _RUN_LENGTH)
        good = good if len(good) >= 2 * FEWEST else scores
        learnt = max(FEWEST, int(_LEARNING_SHARE * len(good)))
        rehearsal = ScoreDrift.fit(good[:learnt], width=_SCORES_WIDTH)
        peak = max(rehearsal.update(score) for score in good[learnt:].tolist())
        # Scores of one lot are alike: what the rest of the commissioning reached is no change.
        self._drift_limit = max(1.0, _SCORES_MARGIN * peak)
        self._drift = ScoreDrift.fit(good, width=_SCORES_WIDTH)
        self._last_quiet = [self.parts - 1, self.parts - 1]

    def copy(self) -> Self:
        """This monitor as it is now, which goes its own way from here on."""
        twin = copy(self)
        twin._scores, twin._last_quiet = list(self._scores), list(self._last_quiet)
        twin._rise, twin._fall, twin._drift = copy(self._rise), copy(self._fall), copy(self._drift)
        twin.standing = copy(self.standing)
        return twin

    def state(self) -> dict[str, Any]:
        """All settings and memory, JSON-serialisable, exact."""
        return {
            "commission": self.commission,
            "model": self.model,
            "parts": self.parts,
            "standing": self.standing and self.standing.state(),
            "scores": list(self._scores),
            "rise": self._rise and self._rise.state(),
            "fall": self._fall and self._fall.state(),
            "drift": self._drift and self._drift.state(),
            "drift_limit": self._drift_limit,
            "ratios": list(self._ratios),
            "last_quiet": list(self._last_quiet),
            "quiet_parts": self._quiet_parts,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, deferred: bool = False) -> Self:
        """The monitor that `state` was taken from: it goes on exactly as that one would have.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        monitor = cls(count("commission", state["commission"]), str(state["model"]), deferred=deferred)
        monitor.parts = count("parts", state["parts"])
        monitor.standing = Alarm.from_state(state["standing"]) if state["standing"] else None
        monitor._scores = [number("scores", score) for score in state["scores"]]
        monitor._rise = BernoulliCusum.from_state(state["rise"]) if state["rise"] else None
        monitor._fall = BernoulliCusum.from_state(state["fall"]) if state["fall"] else None
        monitor._drift = ScoreDrift.from_state(state["drift"]) if state["drift"] else None
        monitor._drift_limit = number("drift_limit", state["drift_limit"])
        rate, scores = (number("ratios", ratio) for ratio in state["ratios"])
        monitor._ratios = (rate, scores)
        monitor._last_quiet = integers("last_quiet", state["last_quiet"], len(CHARTS)).tolist()
        monitor._quiet_parts = count("quiet_parts", state["quiet_parts"])
        if monitor._fall is not None and monitor._fall.fall_limit <= 0:
            raise StateDamaged("a chart of falls that knows none")
        if (monitor._rise is None) != (monitor._drift is None) or monitor._drift_limit < 1:
            raise StateDamaged("a product monitor that has learnt half")
        return monitor
