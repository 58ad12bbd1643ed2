"""What a part's images and scores say of light, optics and the parts themselves reaches the metrics and the alarms."""

from collections.abc import Sequence
from datetime import datetime

from monitoring.metrics import LineMetrics
from monitoring.product_watch import ProductWatch, parts_of
from service.line.alarm_book import NEW_MODEL
from service.line.champions import Active
from service.line.episodes import Episodes
from service.line.looking import Look, sight_of
from service.line.recording import Sighting
from service.line.requests import PartRequest

_DECIDED = {"ok": True, "not_ok": False}


class Watching:
    """Hears of every view that was looked at, and of every part that was judged; safe to use from many threads."""

    def __init__(self, products: ProductWatch, episodes: Episodes, metrics: LineMetrics) -> None:
        self._products, self._episodes, self._metrics = products, episodes, metrics

    def looked(self, part: PartRequest, active: Active, looks: Sequence[Look], result_id: str, at: datetime) -> None:
        """These views came and were looked at: `result_id` is their inspection, which came in at `at`."""
        for found in looks:
            observation = found.observation
            if observation is not None:
                sight = sight_of(part, found.view, active)
                standing = observation.standing is not None
                self._metrics.watched(sight.camera, observation.charts, observation.rounded, standing)
                self._episodes.see(sight, observation, result_id, at)

    def judged(self, seen: Sighting, evaluation: str, result_id: str) -> None:
        """The part was judged from all its views. What is seen in another light than usual says nothing of the part."""
        part, active, looks = seen.part, seen.active, seen.looks
        scores = [found.score.p_defect for found in looks if found.score is not None]
        if part.mode != "production" or len(scores) < len(looks) or any(found.optics_cause for found in looks):
            return
        sight = parts_of(part.station, active.model.product)
        if self._products.renew(sight, active.model.id):
            self._episodes.end(sight, NEW_MODEL)
        observation = self._products.observe(sight, max(scores), _DECIDED.get(evaluation))
        self._episodes.see(sight, observation, result_id, seen.received_at)
