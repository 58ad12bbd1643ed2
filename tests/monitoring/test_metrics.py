"""What Prometheus reads is what its own client would have made of the same parts."""

import re
from collections.abc import Callable
from threading import Thread

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.expected import Estimate, Share
from monitoring.metrics import LABEL_LIMIT, LineMetrics, ProductState

DURATIONS_S = (0.0, 0.0005, 0.001, 0.0010001, 0.04, 0.5, 5.0, 5.1, 1e6)
RATIOS = {"level.jump": 0.25, "map.band": 1.75}
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def families(registry: CollectorRegistry) -> dict[str, str]:
    """The text of every family by its name; when a series began differs from run to run."""
    text = re.sub(r"(_created(?:{.*})?) .+", r"\1 then", generate_latest(registry).decode())
    parts = re.split(r"^(?=# HELP )", text, flags=re.MULTILINE)[1:]
    return {part.split()[2]: "\n".join(sorted(part.splitlines())) for part in parts}


def by_the_client(registry: CollectorRegistry) -> None:
    """Every family, made with the client's own metrics."""

    def counter(name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=registry)

    def gauge(name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=registry)

    parts = ("station", "mode", "evaluation", "disposition", "result_code")
    inspections = counter("loupe_inspections", "Answered inspections.", *parts)
    inspections.labels("s1", "production", "ok", "pass", "0").inc(len(DURATIONS_S))
    inspections.labels('s"2\n', "challenge", "not_decidable", "recheck", "904").inc()
    stages = Histogram(
        "loupe_inspection_stage_seconds",
        "Time an inspection spends, by stage.",
        ["stage"],
        buckets=BOUNDS_S,
        registry=registry,
    )
    for duration in DURATIONS_S:
        stages.labels("infer").observe(duration)
        stages.labels("total").observe(2 * duration)
    counter("loupe_refusals", "Requests that were refused before inspection.", "reason").labels("Overloaded").inc(2)
    counter("loupe_repeats", "Triggers that came again and got the stored answer.").inc()
    alarms = counter("loupe_optics_alarms", "Optics alarms raised.", "camera", "cause")
    alarms.labels("s1/0", "lamp_dim").inc()
    messages = counter("loupe_mqtt_messages", "Verdicts for the MQTT broker.", "result")
    messages.labels("sent").inc(2)
    messages.labels("dropped").inc()
    webhooks = counter("loupe_webhook_messages", "Optics alarms for the webhooks.", "result")
    webhooks.labels("sent").inc(2)
    webhooks.labels("refused").inc()
    forwarded = counter("loupe_forwarded", "Requests passed on to the owner of their station.", "result")
    forwarded.labels("answered").inc()
    forwarded.labels("failed").inc()
    challenges = counter("loupe_challenges", "Judged parts with a known answer.", "station", "result")
    challenges.labels("s1", "passed").inc()
    challenges.labels("s1", "failed").inc()
    deciding = gauge("loupe_champion_info", "The model that decides, by product.", "product", "model")
    deciding.labels("housing", "m2").set(1)
    charts = gauge("loupe_optics_score_ratio", "Chart over its limit, 1 = alarm.", "camera", "chart")
    for chart, ratio in RATIOS.items():
        charts.labels("s1/0", chart).set(ratio)
    standing = gauge("loupe_optics_alarm_standing", "1 while an optics alarm stands.", "camera")
    standing.labels("s1/0").set(1)
    standing.labels("s2/0").set(0)
    versions = gauge(
        "loupe_optics_baseline_version", "How many baselines the camera has had for its product.", "camera"
    )
    phases = gauge("loupe_optics_phase", "1 for the phase that the camera is in.", "camera", "phase")
    rates = gauge(
        "loupe_optics_false_alarm_rate",
        "False alarms per 10 000 images, as seen when the camera was calibrated.",
        "camera",
    )
    for camera, version, phase in (("s1/0", 3, "calibrated"), ("s2/0", 1, "commissioning")):
        versions.labels(camera).set(version)
        for one in ("commissioning", "provisional", "calibrated"):
            phases.labels(camera, one).set(one == phase)
    rates.labels("s1/0").set(0.5)
    gauge("loupe_journal_waiting", "Journal entries that have not reached the database.").set(7)
    gauge("loupe_journal_on_reserve", "1 while the disk is full and the journal lives on its reserve.").set(1)
    gauge("loupe_inspections_in_work", "Parts that wait or are being judged.")
    gauge("loupe_ready", "1 when at least one champion is loaded, warmed and challenged.").set(1)
    gauge("loupe_last_drain_timestamp_seconds", "When the journal last reached the database.").set(1.5e9)
    gauge("loupe_models_loaded", "Models held in memory.").set(2)
    gauge("loupe_models_bytes", "Bytes of the models held in memory.").set(3e8)
    gauge("loupe_stations_owned", "Stations that this process decides for.").set(4)
    counter("loupe_optics_unwatched_images", "Images of more sights than are watched.").inc()
    products = ["station", "product"]
    ratios = gauge(
        "loupe_product_score_ratio", "Chart of a product's scores over its limit, 1 = alarm.", *products, "chart"
    )
    ratios.labels("s1", "housing", "defect_rate").set(0.5)
    ratios.labels("s1", "housing", "scores").set(1.25)
    gauge("loupe_product_alarm_standing", "1 while an alarm of the product stands.", *products).labels(
        "s1", "housing"
    ).set(1)
    escapes = gauge(
        "loupe_expected_escape_share",
        "Share of passed parts expected to be defective, by the model's own probabilities.",
        *products,
        "bound",
    )
    for bound, share in {"expected": 0.01, "low": 0.0, "high": 0.02}.items():
        escapes.labels("s1", "housing", bound).set(share)
    gauge(
        "loupe_expected_overkill_share",
        "Share of rejected parts expected to be good, by the model's own probabilities.",
        *products,
        "bound",
    )


def by_loupe(registry: CollectorRegistry) -> None:
    """The same parts, told to LineMetrics."""
    metrics = LineMetrics(registry)
    for duration in DURATIONS_S:
        timing = {"infer": 1000 * duration, "total": 2000 * duration}
        metrics.inspected("s1", "production", "ok", "pass", 0, timing)
    metrics.inspected('s"2\n', "challenge", "not_decidable", "recheck", 904, {})
    metrics.refused("Overloaded")
    metrics.refused("Overloaded")
    metrics.repeated()
    metrics.alarmed("s1/0", "lamp_dim")
    for ok in (True, True, False):
        metrics.published(ok)
    for result in ("sent", "sent", "refused"):
        metrics.alerted(result)
    metrics.unwatched()
    metrics.forwarded(True)
    metrics.forwarded(False)
    metrics.challenged("s1", True)
    metrics.challenged("s1", False)
    metrics.champion("housing", "m1")
    metrics.champion("housing", "m2")
    metrics.watched("s1/0", tuple(RATIOS), np.zeros(len(RATIOS)), False)
    metrics.watched("s1/0", tuple(RATIOS), np.array([*RATIOS.values()]), True)
    metrics.watched("s2/0", (), np.zeros(0), False)
    metrics.learnt("s1/0", 2, "provisional", None, False)
    metrics.learnt("s1/0", 3, "calibrated", 0.5, True)
    metrics.learnt("s2/0", 1, "commissioning", None, False)
    expected = Estimate(90, 10, Share(0.01, 0.0, 0.02), None)
    metrics.products([ProductState("s1", "housing", {"defect_rate": 0.5, "scores": 1.25}, True, expected)])
    metrics.journal_waiting.set(7)
    metrics.journal_on_reserve.set(1)
    metrics.ready.set(1)
    metrics.drained_at.set(1.5e9)
    metrics.models_loaded.set(2)
    metrics.models_bytes.set(3e8)
    metrics.stations_owned.set(4)


def registry_of(fill: Callable[[CollectorRegistry], object]) -> CollectorRegistry:
    registry = CollectorRegistry()
    fill(registry)
    return registry


def test_prometheus_reads_what_its_own_client_would_show() -> None:
    shown, expected = families(registry_of(by_loupe)), families(registry_of(by_the_client))
    assert sorted(shown) == sorted(expected)
    for name, text in expected.items():
        assert shown[name] == text


def test_every_family_is_there_before_the_first_part() -> None:
    empty, filled = registry_of(LineMetrics), registry_of(by_loupe)
    assert {(f.name, f.type) for f in empty.collect()} == {(f.name, f.type) for f in filled.collect()}
    assert empty.get_sample_value("loupe_repeats_total") == 0
    assert list(text_string_to_metric_families(generate_latest(empty).decode()))


def test_a_second_set_of_the_same_names_is_refused() -> None:
    registry = registry_of(LineMetrics)
    with pytest.raises(ValueError, match="loupe_inspections"):
        LineMetrics(registry)


def test_no_part_is_lost_between_threads() -> None:
    registry = CollectorRegistry()
    metrics = LineMetrics(registry)

    def work() -> None:
        for _ in range(500):
            metrics.inspected("s1", "production", "ok", "pass", 0, {"total": 3.0})
            metrics.refused("Overloaded")

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        generate_latest(registry)
    for thread in threads:
        thread.join()
    labels = {"station": "s1", "mode": "production", "evaluation": "ok", "disposition": "pass", "result_code": "0"}
    assert registry.get_sample_value("loupe_inspections_total", labels) == 2000
    assert registry.get_sample_value("loupe_inspection_stage_seconds_count", {"stage": "total"}) == 2000
    assert registry.get_sample_value("loupe_refusals_total", {"reason": "Overloaded"}) == 2000


def test_names_from_outside_do_not_fill_the_memory() -> None:
    registry = CollectorRegistry()
    metrics = LineMetrics(registry)
    for n in range(LABEL_LIMIT + 50):
        metrics.watched(f"s{n}/0", tuple(RATIOS), np.array([*RATIOS.values()]), False)
        metrics.learnt(f"s{n}/0", 1, "calibrated", 0.0, False)
        metrics.challenged(f"s{n}", True)
    text = generate_latest(registry).decode()
    assert text.count("loupe_optics_alarm_standing{") == LABEL_LIMIT + 1
    assert text.count("loupe_optics_phase{") == 3 * (LABEL_LIMIT + 1)
    assert text.count("loupe_challenges_total{") == LABEL_LIMIT + 1
    assert registry.get_sample_value("loupe_challenges_total", {"station": "other", "result": "passed"}) == 50
