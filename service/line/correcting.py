"""Taking a change of light out of an image before it is scored: off unless the recipe says so, and only once proven.

Proven on what counts: defects that this very model found here under normal light. Each is put under the changed light
and corrected, and must keep its contrast and still be found.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

import numpy as np
import structlog

from models.classifier import ViewScore
from models.preprocess import Pixels, Prepared
from models.scoring import score_prepared
from monitoring.alarm import Alarm
from monitoring.correction import Correction
from monitoring.sights import Sight
from monitoring.watch import Observation
from service.line.champions import Active

KNOWN_DEFECTS: Final = 8
FEWEST_DEFECTS: Final = 3
MOST_BYTES: Final = 4_000_000
"""A view with larger tiles is not kept: eight of them for every camera and product would fill the memory."""

log = structlog.get_logger("line")


@dataclass(frozen=True, slots=True)
class _Defect:
    prepared: Prepared
    model_id: str


@dataclass(slots=True)
class _Known:
    defects: deque[_Defect] = field(default_factory=lambda: deque(maxlen=KNOWN_DEFECTS))
    asked: tuple[Alarm, str, Correction] | None = None
    """The alarm, the model and the correction that were put to the test, or are being."""
    is_proven: bool = False


class Corrections:
    """The corrections of all cameras; safe to use from many threads.

    `elsewhere` runs a function on another thread: the proof takes as long as scoring the known defects does.
    """

    def __init__(self, elsewhere: Callable[[Callable[[], None]], object]) -> None:
        self._elsewhere = elsewhere
        self._known: dict[Sight, _Known] = {}
        self._lock = Lock()

    def corrected(
        self, sight: Sight, prepared: Prepared, observation: Observation, active: Active
    ) -> tuple[Prepared, Correction | None]:
        """The view as it would look under the light of before, and what was done: None where it stays as it is."""
        correction, alarm = observation.correction, observation.standing
        if active.recipe.on_optics_alarm != "correct" or correction is None or alarm is None:
            return prepared, None
        known = self._of(sight)
        asked = alarm, active.model.id, correction
        with self._lock:
            is_asked, is_proven = _covers(known.asked, asked), known.is_proven
            if not is_asked:
                known.asked, known.is_proven = asked, False
        if not is_asked:
            self._elsewhere(lambda: self._prove(sight, known, asked, active))
        if not is_asked or not is_proven:
            return prepared, None
        return replace(prepared, tiles=correction.apply(prepared.tiles)), correction

    def learn(
        self, sight: Sight, prepared: Prepared, observation: Observation, score: ViewScore, active: Active
    ) -> None:
        """Keep a view with a defect that was found under normal light, to prove corrections with."""
        is_found = score.p_defect >= active.point.reject_from
        if observation.state != "ok" or not is_found or prepared.tiles.nbytes > MOST_BYTES:
            return
        known = self._of(sight)
        with self._lock:
            known.defects.append(_Defect(prepared, active.model.id))

    def _of(self, sight: Sight) -> _Known:
        with self._lock:
            return self._known.setdefault(sight, _Known())

    def _prove(self, sight: Sight, known: _Known, asked: tuple[Alarm, str, Correction], active: Active) -> None:
        alarm, _, correction = asked
        with self._lock:
            defects = [defect.prepared for defect in known.defects if defect.model_id == active.model.id]
        retained = correction.retained([_worst_tile(defect) for defect in defects])
        found = sum(_still_found(defect, correction, active) for defect in defects)
        is_proven = (
            len(defects) >= FEWEST_DEFECTS
            and found == len(defects)
            and correction.is_safe([_worst_tile(defect) for defect in defects])
        )
        with self._lock:
            if known.asked is asked:
                known.is_proven = is_proven
        log.warning(
            "light_correction",
            camera=sight.camera,
            cause=alarm.cause,
            used=is_proven,
            known_defects=len(defects),
            still_found=found,
            retained_contrast=round(retained, 3),
        )


def _covers(proven: tuple[Alarm, str, Correction] | None, asked: tuple[Alarm, str, Correction]) -> bool:
    """Whether what was put to the test tells of what is asked: of the same alarm and model, and about as strong."""
    return proven is not None and proven[0] is asked[0] and proven[1] == asked[1] and proven[2].is_near(asked[2])


def _worst_tile(prepared: Prepared) -> Pixels:
    """The tile with the most contrast: one of several shows the defect, and the emptiest shows nothing to lose."""
    return max(prepared.tiles, key=lambda tile: float(np.std(tile)))


def _still_found(prepared: Prepared, correction: Correction, active: Active) -> bool:
    """Whether a known defect is rejected after its light was changed and corrected."""
    again = replace(prepared, tiles=correction.apply(correction.undo(prepared.tiles)))
    return score_prepared(active.classifier, again).p_defect >= active.point.reject_from
