"""What a part's images and scores say of light, optics and the parts themselves reaches the metrics and the alarms."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from monitoring.metrics import LineMetrics
from monitoring.product_watch import ProductWatch, parts_of
from monitoring.sights import MOST, Sight
from monitoring.watch import Observation
from service.line.alarm_book import NEW_MODEL
from service.line.champions import Active
from service.line.episodes import Episodes
from service.line.looking import Look, sight_of
from service.line.recording import Sighting
from service.line.requests import PartRequest

log = structlog.get_logger("line")

_DECIDED = {"ok": True, "not_ok": False}


class Watching:
    """Hears of every view that was looked at, and of every part that was judged; safe to use from many threads.

    The answer is decided and on record by then: whatever breaks here is logged, and changes nothing about it.
    """

    def __init__(self, products: ProductWatch, episodes: Episodes, metrics: LineMetrics) -> None:
        self._products, self._episodes, self._metrics = products, episodes, metrics
        self._is_told = False
        """Whether the log has it that there are more sights than are watched."""

    def looked(self, part: PartRequest, active: Active, looks: Sequence[Look], result_id: str, at: datetime) -> None:
        """These views came and were looked at: `result_id` is their inspection, which came in at `at`."""
        try:
            for found in looks:
                if found.observation is not None:
                    self._see(sight_of(part, found.view, active), found.observation, result_id, at)
        except Exception as error:
            log.error("watching_broke", station=part.station, trigger_id=part.trigger_id, exc_info=error)

    def judged(self, seen: Sighting, evaluation: str, result_id: str) -> None:
        """The part was judged from all its views. What is seen in another light than usual says nothing of the part."""
        part, active, looks = seen.part, seen.active, seen.looks
        scores = [found.score.p_defect for found in looks if found.score is not None]
        if part.mode != "production" or len(scores) < len(looks) or any(found.optics_cause for found in looks):
            return
        try:
            sight = parts_of(part.station, active.model.product)
            observation = self._products.observe(sight, active.model.id, scores, _DECIDED.get(evaluation))
            if observation.is_new:
                self._episodes.end(sight, NEW_MODEL)
            self._episodes.see(sight, observation, result_id, seen.received_at)
        except Exception as error:
            log.error("watching_broke", station=part.station, trigger_id=part.trigger_id, exc_info=error)

    def _see(self, sight: Sight, observation: Observation, result_id: str, at: datetime) -> None:
        if observation.state == "unwatched":
            self._metrics.unwatched()
            if not self._is_told:
                self._is_told = True
                log.error("sights_unwatched", camera=sight.camera, product=sight.product, lamp=sight.lamp, most=MOST)
            return
        self._metrics.watched(sight.camera, observation.charts, observation.rounded, observation.standing is not None)
        self._episodes.see(sight, observation, result_id, at)
