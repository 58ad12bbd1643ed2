"""The chart of scores against scipy's polynomials and percentiles, and what changes it finds."""

import json

import numpy as np
import pytest
from scipy import special, stats

from monitoring.detectors.ranges import SettingOutOfRange, TooFewSamples
from monitoring.detectors.score_drift import KNOTS, ScoreDrift
from monitoring.detectors.tails import two_sided
from monitoring.saved import StateDamaged


def first_alarm(chart: ScoreDrift, scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int | None:
    return next((index for index, score in enumerate(scores.tolist()) if chart.update(score) > 1), None)


def test_a_place_is_the_mid_rank_among_the_reference() -> None:
    reference = np.random.default_rng(0).choice([0.0, 0.1, 0.25, 0.9, 1.0], 400, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    chart = ScoreDrift.fit(reference)
    for score in (-1.0, 0.0, 0.1, 0.25, 0.9, 1.0, 2.0):
        expected = stats.percentileofscore(reference, score, kind="mean") / 100
        assert chart.place(score) == pytest.approx(expected, abs=1e-12)


def test_a_reference_of_many_scores_is_remembered_by_few_and_close() -> None:
    reference = np.sort(np.concatenate([np.zeros(3000), np.random.default_rng(0).beta(2, 5, 7000)]))
    chart = ScoreDrift.fit(reference)
    assert len(chart.state()["knots"]) <= KNOTS
    places = np.array([chart.place(score) for score in reference.tolist()])
    expected = stats.rankdata(reference) / reference.size
    np.testing.assert_allclose(places, expected, atol=1 / KNOTS)
    assert chart.place(0.0) == pytest.approx(0.15)


def test_the_components_are_averages_of_legendre_polynomials() -> None:
    reference = (np.arange(1000) + 0.5) / 1000
    chart = ScoreDrift.fit(reference, weight=0.1)
    scores = np.random.default_rng(0).random(60)
    for score in scores.tolist():
        chart.update(score)
    weights = 0.1 * 0.9 ** np.arange(60)[::-1]
    expected = [
        (weights * np.sqrt(2 * order + 1) * special.eval_sh_legendre(order, scores)).sum() * np.sqrt(1.9 / 0.1)
        for order in (1, 2, 3)
    ]
    assert list(chart.components.values()) == pytest.approx(expected, rel=0.03, abs=0.03)


@pytest.mark.parametrize("reference", ["even", "skewed", "ties"])
def test_scores_as_before_pass_the_limit_about_as_rarely_as_it_says(reference: str) -> None:
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if reference == "ties":
            return rng.choice([0.0, 0.25, 0.5, 1.0], count, p=[0.6, 0.3, 0.08, 0.02])
        return rng.random(count) if reference == "even" else np.exp(2 * rng.standard_normal(count))

    found = 0
    for _ in range(10):
        chart = ScoreDrift.fit(draw(1000), width=3.0)
        found += sum(chart.update(score) > 1 for score in draw(10_000).tolist())
    assert found / 100_000 < 2.5 * two_sided(3.0)


@pytest.mark.parametrize(
    ("change", "component", "sign"),
    [("mean", "mean", 1), ("wider", "spread", 1), ("narrower", "spread", -1), ("tail", "spread", 1)],
)
def test_changes_of_mean_spread_and_tail_are_found_and_told_apart(change: str, component: str, sign: int) -> None:
    rng = np.random.default_rng(3)
    chart = ScoreDrift.fit(rng.standard_normal(2000))
    assert first_alarm(chart, rng.standard_normal(500)) is None
    noise = rng.standard_normal(400)
    heavy = np.where(rng.random(400) < 0.35, 4 * noise, noise)
    changed = {"mean": noise + 1.0, "wider": 2.5 * noise, "narrower": 0.3 * noise, "tail": heavy}[change]
    found = first_alarm(chart, changed)
    assert found is not None
    assert max(chart.components, key=lambda name: abs(chart.components[name])) == component
    assert sign * chart.components[component] > 0


def test_a_camera_that_always_sees_the_same_is_found() -> None:
    chart = ScoreDrift.fit(np.random.default_rng(0).standard_normal(1000))
    assert first_alarm(chart, np.zeros(100)) is not None


def test_scores_never_seen_between_two_that_were_are_a_change() -> None:
    chart = ScoreDrift.fit(np.tile([0.0, 1.0], 500))
    assert first_alarm(chart, np.tile([0.0, 1.0], 500)) is None
    assert first_alarm(chart, np.full(20, 0.5)) is not None


def test_one_score_throughout_is_a_reference_too() -> None:
    chart = ScoreDrift.fit(np.full(100, 0.25))
    assert first_alarm(chart, np.full(1000, 0.25)) is None
    assert first_alarm(chart, np.full(10, 0.75)) is not None


def test_it_remembers_no_more_for_a_larger_reference() -> None:
    rng = np.random.default_rng(0)
    small, large = (len(json.dumps(ScoreDrift.fit(rng.random(count)).state())) for count in (1000, 50_000))
    assert large < 1.3 * small


def test_a_reference_too_small_is_refused_and_what_is_not_finite_does_not_count() -> None:
    with pytest.raises(TooFewSamples, match="49 samples") as refused:
        ScoreDrift.fit(np.append(np.arange(49.0), [np.nan, np.inf]))
    assert "50" in refused.value.remedy


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"width": 40.0}])
def test_settings_without_a_chart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange, match=next(iter(settings))):
        ScoreDrift.fit(np.arange(100.0), **settings)


@pytest.mark.parametrize(
    "damage",
    [
        {"average": [1e9, 0.0, 0.0]},
        {"samples": 3},
        {"knots": []},
        {"knots": [[1.0, 0.0, 0.5], [0.0, 0.5, 1.0]]},
        {"knots": [[0.0, 0.0, 0.7], [1.0, 0.5, 1.0]]},
        {"knots": [[0.0, -0.5, 0.5], [1.0, 0.5, 1.0]]},
        {"moments": [[0.0] * 3, *(-np.eye(3)).tolist()]},
        {"moments": [[0.0] * 3, [1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]},
    ],
)
def test_a_memory_no_scores_lead_to_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(StateDamaged):
        ScoreDrift.from_state({**ScoreDrift.fit(np.arange(100.0)).state(), **damage})
