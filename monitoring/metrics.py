"""What Prometheus can read; the registry is passed in."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LABEL_LIMIT = 256
"""Names come from outside; above this many different ones they are counted as `other`, so that memory stays bounded."""
STAGES = ("decode", "queue", "infer", "commit", "total")
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class BoundedNames:
    """Lets a limited number of different names through."""

    def __init__(self, limit: int = LABEL_LIMIT) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        """The name, or `other` when there are too many.

        >>> bounded = BoundedNames(limit=1)
        >>> bounded("s1"), bounded("s2"), bounded("s1")
        ('s1', 'other', 's1')
        """
        if name not in self._known:
            if len(self._known) >= self._limit:
                return "other"
            self._known.add(name)
        return name


class LineMetrics:
    """The line server's counters, gauges and histograms."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._station, self._camera = BoundedNames(), BoundedNames()
        self._inspections = Counter(
            "loupe_inspections",
            "Answered inspections.",
            ["station", "mode", "evaluation", "disposition", "result_code"],
            registry=registry,
        )
        self._stage = Histogram(
            "loupe_inspection_stage_seconds",
            "Time an inspection spends, by stage.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._refusals = Counter(
            "loupe_refusals", "Requests that were refused before inspection.", ["reason"], registry=registry
        )
        self._repeats = Counter(
            "loupe_repeats", "Triggers that came again and got the stored answer.", registry=registry
        )
        self.journal_waiting = Gauge(
            "loupe_journal_waiting", "Journal entries that have not reached the database.", registry=registry
        )
        self.in_work = Gauge("loupe_inspections_in_work", "Parts that wait or are being judged.", registry=registry)
        self.ready = Gauge(
            "loupe_ready", "1 when at least one champion is loaded, warmed and challenged.", registry=registry
        )
        self.drained_at = Gauge(
            "loupe_last_drain_timestamp_seconds", "When the journal last reached the database.", registry=registry
        )
        self._model = Gauge(
            "loupe_champion_info", "The model that decides, by product.", ["product", "model"], registry=registry
        )
        self._ratio = Gauge(
            "loupe_optics_score_ratio", "Chart over its limit, 1 = alarm.", ["camera", "chart"], registry=registry
        )
        self._alarms = Counter("loupe_optics_alarms", "Optics alarms raised.", ["camera", "cause"], registry=registry)
        self._standing = Gauge(
            "loupe_optics_alarm_standing", "1 while an optics alarm stands.", ["camera"], registry=registry
        )

    def inspected(
        self,
        station: str,
        mode: str,
        evaluation: str,
        disposition: str,
        result_code: int,
        timing_ms: Mapping[str, float],
    ) -> None:
        """Count an answered inspection and where its time (ms) went."""
        self._inspections.labels(self._station(station), mode, evaluation, disposition, str(result_code)).inc()
        for stage, duration in timing_ms.items():
            self._stage.labels(stage).observe(duration / 1000)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._refusals.labels(reason).inc()

    def repeated(self) -> None:
        """Count a trigger that came again."""
        self._repeats.inc()

    def champion(self, product: str, model: str) -> None:
        """Show the model that decides for a product."""
        for metric in list(self._model.collect()):
            for sample in metric.samples:
                if sample.labels["product"] == product:
                    self._model.remove(product, sample.labels["model"])
        self._model.labels(product, model).set(1)

    def watched(self, camera: str, ratios: Mapping[str, float], standing: bool) -> None:
        """Show a camera's charts."""
        name = self._camera(camera)
        for chart, ratio in ratios.items():
            self._ratio.labels(name, chart).set(ratio)
        self._standing.labels(name).set(float(standing))

    def alarmed(self, camera: str, cause: str) -> None:
        """Count an alarm."""
        self._alarms.labels(self._camera(camera), cause).inc()
