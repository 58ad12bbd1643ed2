"""One view from bytes to a score: decoded, watched, scored. A part never passes because something broke here."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from models.classifier import ViewScore
from models.preprocess import UnreadableImage, prepare
from models.scoring import score_prepared
from monitoring.correction import Correction
from monitoring.sights import Sight
from monitoring.watch import Observation, Watch
from service.line.champions import Active
from service.line.correcting import Corrections
from service.line.requests import PartRequest, ViewRequest

UNWATCHED = "unwatched"
NO_NUMBER = "the model gave no number for this image"
log = structlog.get_logger("line")


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about one view before the verdict."""

    view: ViewRequest
    digest: str
    """SHA-256 of the image as it was sent."""
    width: int | None = None
    height: int | None = None
    score: ViewScore | None = None
    observation: Observation | None = None
    optics_cause: str | None = None
    """The cause of an optics alarm that stands for this camera."""
    correction: Correction | None = None
    """What was taken out of the image before it was scored."""
    unreadable: str | None = None
    broken: str | None = None
    decode_ms: float = 0.0
    infer_ms: float = 0.0

    @property
    def view_id(self) -> str:
        """The view's name."""
        return self.view.view_id

    @property
    def drift_state(self) -> str:
        """What the optics monitor of this camera says."""
        return self.observation.state if self.observation else UNWATCHED

    @property
    def signals(self) -> Mapping[str, float]:
        """Every signal of the camera over its limit."""
        return self.observation.signals if self.observation is not None else {}


def sight_of(part: PartRequest, view: ViewRequest, active: Active) -> Sight:
    """What the view's camera sees, and under which light."""
    return Sight(part.watched_camera(view), active.model.product, active.recipe.lamps.get(view.view_id, ""))


class Looking:
    """Looks at views; safe to use from many threads. An image of more than `pixel_limit` pixels is not decoded."""

    def __init__(self, watch: Watch, corrections: Corrections, pixel_limit: int) -> None:
        self._watch, self._corrections, self._pixel_limit = watch, corrections, pixel_limit

    def look(self, part: PartRequest, view: ViewRequest, body: bytes, digest: str, active: Active) -> Look:
        """Decode, watch and score a view; whatever goes wrong is in the result and never raised."""
        began = time.perf_counter()
        try:
            prepared = prepare(view.frame(body), active.classifier.card.geometry, pixel_limit=self._pixel_limit)
        except UnreadableImage as error:
            return Look(view, digest, unreadable=str(error))
        except Exception as error:  # noqa: BLE001 - the edge of the process: the line must be answered
            return Look(view, digest, broken=_broken(part, error))
        decoded = time.perf_counter()
        observation, cause, correction, score, broken = None, None, None, None, None
        sight = sight_of(part, view, active)
        try:
            if part.mode == "production":
                observation = self._watch.observe(sight, prepared.overview)
                if observation.standing is not None:
                    cause = observation.standing.cause
                    prepared, correction = self._corrections.corrected(sight, prepared, observation, active)
            watched = time.perf_counter()
            score = score_prepared(active.classifier, prepared)
            if observation is not None:
                self._corrections.learn(sight, prepared, observation, score, active)
        except Exception as error:  # noqa: BLE001 - the edge of the process: the line must be answered
            broken = _broken(part, error)
            watched = decoded
        if score is not None and not score.is_finite:
            score, broken = None, NO_NUMBER
        return Look(
            view,
            digest,
            prepared.width,
            prepared.height,
            score,
            observation,
            cause,
            correction,
            broken=broken,
            decode_ms=1000 * (decoded - began),
            infer_ms=1000 * (time.perf_counter() - watched),
        )


def _broken(part: PartRequest, error: Exception) -> str:
    log.error("inspection_broke", station=part.station, trigger_id=part.trigger_id, exc_info=error)
    return f"{type(error).__name__} inside Loupe; see the log"
