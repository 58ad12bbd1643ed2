"""What Prometheus can read; the registry is passed in."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.expected import Estimate
from monitoring.features import Floats
from monitoring.optics import Phase
from monitoring.tallies import Counts, Durations

LABEL_LIMIT = 256
"""Names come from outside; above this many different ones they are counted as `other`, so that memory stays bounded."""
STAGES = ("decode", "queue", "infer", "commit", "total")
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)


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


@dataclass(frozen=True, slots=True)
class ProductState:
    """How a product at a station stands: its charts over their limits, whether an alarm stands, and what errors are to
    be expected; None where that is withheld.
    """

    station: str
    product: str
    ratios: Mapping[str, float]
    stands: bool
    estimate: Estimate | None


class LineMetrics(Collector):
    """The line server's counters, gauges and histograms; safe to use from many threads.

    Every part passes here, so what comes with a part goes into plain numbers, and `collect` makes of them what
    Prometheus reads.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = Lock()
        self._station, self._camera = BoundedNames(), BoundedNames()
        parts = ("station", "mode", "evaluation", "disposition", "result_code")
        self._inspections = Counts("loupe_inspections", "Answered inspections.", *parts)
        self._stages = Durations("loupe_inspection_stage_seconds", "Time an inspection spends, by stage.", "stage")
        self._refusals = Counts("loupe_refusals", "Requests that were refused before inspection.", "reason")
        self._repeats = Counts("loupe_repeats", "Triggers that came again and got the stored answer.")
        self._alarms = Counts("loupe_optics_alarms", "Optics alarms raised.", "camera", "cause")
        self._messages = Counts("loupe_mqtt_messages", "Verdicts for the MQTT broker.", "result")
        self._webhooks = Counts("loupe_webhook_messages", "Optics alarms for the webhooks.", "result")
        self._unwatched = Counts("loupe_optics_unwatched_images", "Images of more sights than are watched.")
        self._forwarded = Counts("loupe_forwarded", "Requests passed on to the owner of their station.", "result")
        self._challenges = Counts("loupe_challenges", "Judged parts with a known answer.", "station", "result")
        self._champions: dict[str, str] = {}
        self._ratios: dict[str, tuple[tuple[str, ...], Floats]] = {}
        self._standing: dict[str, bool] = {}
        self._baselines: dict[str, tuple[int, Phase, float | None]] = {}
        self._products: Sequence[ProductState] = ()
        registry.register(self)

        def gauge(name: str, documentation: str) -> Gauge:
            return Gauge(name, documentation, registry=registry)

        self.journal_waiting = gauge("loupe_journal_waiting", "Journal entries that have not reached the database.")
        self.journal_on_reserve = gauge(
            "loupe_journal_on_reserve", "1 while the disk is full and the journal lives on its reserve."
        )
        self.in_work = gauge("loupe_inspections_in_work", "Parts that wait or are being judged.")
        self.ready = gauge("loupe_ready", "1 when at least one champion is loaded, warmed and challenged.")
        self.drained_at = gauge("loupe_last_drain_timestamp_seconds", "When the journal last reached the database.")
        self.models_loaded = gauge("loupe_models_loaded", "Models held in memory.")
        self.models_bytes = gauge("loupe_models_bytes", "Bytes of the models held in memory.")
        self.stations_owned = gauge("loupe_stations_owned", "Stations that this process decides for.")

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
        with self._lock:
            self._inspections.add(self._station(station), mode, evaluation, disposition, result_code)
            for stage, duration in timing_ms.items():
                self._stages.add(stage, duration / 1000)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        with self._lock:
            self._refusals.add(reason)

    def repeated(self) -> None:
        """Count a trigger that came again."""
        with self._lock:
            self._repeats.add()

    def published(self, ok: bool) -> None:
        """Count a verdict for the MQTT broker: sent or dropped."""
        with self._lock:
            self._messages.add("sent" if ok else "dropped")

    def alerted(self, result: str) -> None:
        """Count an alarm for a webhook: sent, refused or dropped."""
        with self._lock:
            self._webhooks.add(result)

    def forwarded(self, ok: bool) -> None:
        """Count a request that was passed on to the owner of its station: answered or failed."""
        with self._lock:
            self._forwarded.add("answered" if ok else "failed")

    def challenged(self, station: str, passed: bool) -> None:
        """Count a part with a known answer: judged as it has to be or not."""
        with self._lock:
            self._challenges.add(self._station(station), "passed" if passed else "failed")

    def champion(self, product: str, model: str) -> None:
        """Show the model that decides for a product."""
        with self._lock:
            self._champions[product] = model

    def watched(self, camera: str, charts: tuple[str, ...], ratios: Floats, standing: bool) -> None:
        """Show a camera's charts over their limits, `ratios` (charts,), which must not change after this."""
        with self._lock:
            name = self._camera(camera)
            self._ratios[name], self._standing[name] = (charts, ratios), standing

    def unwatched(self) -> None:
        """Count an image of a sight beyond the most that are watched."""
        with self._lock:
            self._unwatched.add()

    def learnt(
        self, camera: str, version: int, phase: Phase, false_alarms_per_10k: float | None, standing: bool
    ) -> None:
        """Show by which of its baselines a camera is watched, how far that is, how seldom it alarms for nothing, and
        whether an alarm stands, for no image may come that says so.
        """
        with self._lock:
            name = self._camera(camera)
            self._baselines[name] = version, phase, false_alarms_per_10k
            self._standing[name] = standing

    def products(self, states: Sequence[ProductState]) -> None:
        """Show how every product stands."""
        self._products = states

    def alarmed(self, camera: str, cause: str) -> None:
        """Count an alarm whose cause is final."""
        with self._lock:
            self._alarms.add(self._camera(camera), cause)

    def collect(self) -> Iterator[Metric]:
        """Every family as it is now, but for the gauges that are attributes: the registry has those."""
        with self._lock:
            # Parts wait only while numbers are copied; making families takes a hundred times as long.
            inspections, stages = self._inspections.copy(), self._stages.copy()
            rare = (self._refusals, self._repeats, self._alarms, self._messages, self._forwarded, self._challenges)
            others = [counts.copy() for counts in (*rare, self._webhooks, self._unwatched)]
            champions, ratios, standing = dict(self._champions), dict(self._ratios), dict(self._standing)
            learnt = dict(self._baselines)
        yield from (inspections.family(), stages.family())
        yield from (counts.family() for counts in others)
        deciding = GaugeMetricFamily(
            "loupe_champion_info", "The model that decides, by product.", labels=["product", "model"]
        )
        for product, model in champions.items():
            deciding.add_metric([product, model], 1.0)
        charts = GaugeMetricFamily(
            "loupe_optics_score_ratio", "Chart over its limit, 1 = alarm.", labels=["camera", "chart"]
        )
        for camera, (names, found) in ratios.items():
            for chart, ratio in zip(names, found.tolist(), strict=True):
                if math.isfinite(ratio):
                    charts.add_metric([camera, chart], ratio)
        alarms = GaugeMetricFamily("loupe_optics_alarm_standing", "1 while an optics alarm stands.", labels=["camera"])
        for camera, stands in standing.items():
            alarms.add_metric([camera], float(stands))
        yield from (deciding, charts, alarms)
        yield from _baselines(learnt)
        yield from _products(self._products)

    def describe(self) -> Iterator[Metric]:
        """The families by whose names the registry refuses a second of the same name."""
        return self.collect()


def _baselines(learnt: Mapping[str, tuple[int, Phase, float | None]]) -> Iterator[Metric]:
    """By which baseline each camera is watched: version, phase and calibrated rate of false alarms."""
    versions = GaugeMetricFamily(
        "loupe_optics_baseline_version", "How many baselines the camera has had for its product.", labels=["camera"]
    )
    phases = GaugeMetricFamily(
        "loupe_optics_phase", "1 for the phase that the camera is in.", labels=["camera", "phase"]
    )
    rates = GaugeMetricFamily(
        "loupe_optics_false_alarm_rate",
        "False alarms per 10 000 images, as seen when the camera was calibrated.",
        labels=["camera"],
    )
    for camera, (version, phase, rate) in learnt.items():
        versions.add_metric([camera], version)
        for one in PHASES:
            phases.add_metric([camera, one], float(one == phase))
        if rate is not None:
            rates.add_metric([camera], rate)
    yield from (versions, phases, rates)


def _products(states: Sequence[ProductState]) -> Iterator[Metric]:
    """How products stand; an expected share that is withheld is absent."""
    labels = ["station", "product"]
    charts = GaugeMetricFamily(
        "loupe_product_score_ratio", "Chart of a product's scores over its limit, 1 = alarm.", labels=[*labels, "chart"]
    )
    stands = GaugeMetricFamily("loupe_product_alarm_standing", "1 while an alarm of the product stands.", labels=labels)
    shares = {
        name: GaugeMetricFamily(f"loupe_expected_{name}_share", told, labels=[*labels, "bound"])
        for name, told in (
            ("escape", "Share of passed parts expected to be defective, by the model's own probabilities."),
            ("overkill", "Share of rejected parts expected to be good, by the model's own probabilities."),
        )
    }
    for one in states:
        named = [one.station, one.product]
        stands.add_metric(named, float(one.stands))
        for chart, ratio in one.ratios.items():
            charts.add_metric([*named, chart], ratio)
        if one.estimate is None:
            continue
        for family, share in zip(shares.values(), (one.estimate.escapes, one.estimate.overkill), strict=True):
            for bound, value in asdict(share).items() if share is not None else ():
                family.add_metric([*named, bound], value)
    yield from (charts, stands, *shares.values())
