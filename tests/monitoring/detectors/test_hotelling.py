"""Hotelling's T2 and the residual against textbook formulas, few samples, and what tells where."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special
from sklearn.decomposition import PCA

from monitoring.detectors.hotelling import Hotelling
from monitoring.detectors.ranges import SettingOutOfRange, TooFewSamples
from monitoring.detectors.tails import two_sided, weighted_chi_square_limit
from monitoring.saved import StateDamaged


def samples(seed: int, count: int, columns: int = 20, causes: int = 3, noise: float = 1.0) -> NDArray[np.float64]:
    """Vectors moved by a few common causes, the same for every seed, and by noise of their own."""
    loadings = 2 * np.random.default_rng(99).standard_normal((causes, columns))
    rng = np.random.default_rng(seed)
    return 5 + rng.standard_normal((count, causes)) @ loadings + noise * rng.standard_normal((count, columns))


def test_of_many_samples_it_is_the_textbook_t2() -> None:
    learnt, new = samples(0, 5000, 6, 2, 0.1), samples(1, 200, 6, 2, 0.1)
    chart = Hotelling.fit(learnt, explained=0.9, weight=1.0)
    kept = chart.model.variances.size
    scaled = (learnt - learnt.mean(0)) / learnt.std(0)
    principal = PCA(kept).fit(scaled)
    scores = principal.transform((new - learnt.mean(0)) / learnt.std(0))
    t2 = (scores**2 / principal.explained_variance_).sum(1)
    left = special.betaincinv((5000 - kept) / 2, kept / 2, two_sided(5.0) / 2)
    fisher = (1 / left - 1) * (5000 - kept) / kept
    limit = kept * 4999 * 5001 / (5000 * (5000 - kept)) * fisher
    assert kept == 2
    assert limit < 40
    ratios = []
    for vector in new:
        chart.reset()
        ratios.append(chart.update(vector))
    larger = t2 > kept + 2
    expected = (t2 - kept) / (limit - kept)
    np.testing.assert_allclose(np.array(ratios)[larger], expected[larger], rtol=0.05, atol=0.2)
    assert np.corrcoef(np.array(ratios)[larger], expected[larger])[0, 1] > 0.9


@pytest.mark.parametrize(("tail", "apart"), [(0.05, 0.001), (0.01, 0.001), (0.001, 0.003)])
def test_the_residuals_limit_is_about_that_of_jackson_and_mudholkar(tail: float, apart: float) -> None:
    variances = np.repeat([1.5, 1.2, 1.0, 0.7, 0.5], 20)
    first, second, third = (float((variances**power).sum()) for power in (1, 2, 3))
    bend = 1 - 2 * first * third / (3 * second**2)
    deviation = -float(special.ndtri(tail)) * math.sqrt(2 * second * bend**2) / first
    theirs = first * (deviation + 1 + second * bend * (bend - 1) / first**2) ** (1 / bend)
    assert weighted_chi_square_limit(tail, (first, second, third)) == pytest.approx(theirs, rel=apart)


@pytest.mark.parametrize(("count", "columns"), [(2000, 8), (100, 8), (60, 200), (300, 64)])
def test_noise_passes_the_limits_about_as_rarely_as_they_say(count: int, columns: int) -> None:
    found = []
    for seed in range(6):
        chart = Hotelling.fit(samples(seed, count, columns), width=3.0)
        found.append(np.mean([chart.update(vector) > 1 for vector in samples(100 + seed, 4000, columns)]))
    assert np.mean(found) < 2.5 * two_sided(3.0)


def test_fewer_samples_than_columns_and_constant_columns_still_find_what_is_new() -> None:
    learnt = samples(0, 40, 300)
    learnt[:, 17] = 255.0
    chart = Hotelling.fit(learnt)
    normal = samples(1, 300, 300)
    normal[:, 17] = 255.0
    assert max(chart.update(vector) for vector in normal) < 1
    changed = normal[:30] + np.where(np.arange(300) % 10 == 0, 3.0, 0.0)
    assert max(chart.update(vector) for vector in changed) > 1


@pytest.mark.parametrize("column", [4, 17])
def test_a_change_of_one_column_is_found_and_placed(column: int) -> None:
    learnt = samples(0, 500)
    learnt[:, 17] = 3.0
    chart = Hotelling.fit(learnt)
    normal = samples(1, 100)
    normal[:, 17] = 3.0
    changed = normal[0].copy()
    changed[column] += 25.0
    assert max(chart.update(vector) for vector in normal) < 1
    assert max(chart.update(changed) for _ in range(5)) > 1
    assert int(chart.contributions(changed).argmax()) == column


def test_contributions_add_up_to_both_ratios() -> None:
    chart = Hotelling.fit(samples(0, 400))
    vector = samples(1, 1)[0] + 2.0
    model = chart.model
    scaled = (vector - model.centre) / model.scale
    scores = scaled @ model.directions
    t2, q = (scores**2 / model.variances).sum(), scaled @ scaled - scores @ scores
    t2_limit, q_limit = chart._limits
    found = chart.contributions(vector)
    assert found.shape == (20,)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(t2 / t2_limit + q / q_limit, rel=1e-9)


def test_a_new_direction_is_seen_beside_and_an_old_one_inside() -> None:
    chart = Hotelling.fit(samples(0, 1000, 20, 1))
    model = chart.model
    inside = model.centre + 8 * model.scale * model.directions[:, 0] * model.variances[0] ** 0.5
    assert max(chart.update(inside) for _ in range(5)) > 1
    chart.reset()
    rng = np.random.default_rng(0)
    beside = rng.standard_normal(20)
    beside -= model.directions @ (model.directions.T @ beside)
    assert max(chart.update(model.centre + 2.5 * model.scale * beside) for _ in range(5)) > 1


def test_missing_columns_count_as_their_average() -> None:
    chart = Hotelling.fit(samples(0, 500))
    shifted = chart.model.centre + chart.model.scale
    chart.update(shifted)
    before = chart.state()["average"]
    vector = chart.model.centre.copy()
    vector[3] = np.nan
    chart.update(vector)
    after = chart.state()["average"]
    assert after[3] == before[3]
    assert after[4] < before[4]


def test_one_wild_vector_among_noise_does_not_alarm() -> None:
    chart = Hotelling.fit(samples(0, 1000))
    stream = samples(1, 2000)
    stream[99::200] = 1e9
    assert max(chart.update(vector) for vector in stream) < 1


def test_columns_that_never_change_are_taken_to_scatter_like_one_unit() -> None:
    chart = Hotelling.fit(np.full((20, 5), 7.0))
    assert chart.model.variances.size == 0
    assert max(chart.update(np.full(5, 7.0)) for _ in range(10)) == 0
    assert max(chart.update(np.full(5, 11.0)) for _ in range(5)) > 1


def test_columns_that_copy_each_other_leave_no_limit_of_nothing() -> None:
    one = np.random.default_rng(0).standard_normal((200, 1))
    chart = Hotelling.fit(np.repeat(one, 6, axis=1))
    assert max(chart.update(np.full(6, value)) for value in (0.5, -1.0, 0.3, 1.2)) < 1
    assert max(chart.update(np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])) for _ in range(5)) > 1


def test_too_few_samples_are_refused_and_what_is_not_finite_does_not_count() -> None:
    few = samples(0, 12)
    few[:3, 0] = np.nan
    with pytest.raises(TooFewSamples, match="9 samples"):
        Hotelling.fit(few)


@pytest.mark.parametrize("settings", [{"explained": 0.0}, {"weight": 0.0}, {"width": 0.0}])
def test_settings_without_a_chart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange, match=next(iter(settings))):
        Hotelling.fit(samples(0, 50), **settings)


@pytest.mark.parametrize(
    "damage", [{"samples": 2}, {"scale": [0.0] * 20}, {"residual": [-1.0, 1.0, 1.0]}, {"directions": [[1.0] * 4] * 20}]
)
def test_a_model_no_samples_lead_to_is_refused(damage: dict[str, object]) -> None:
    state = Hotelling.fit(samples(0, 100)).state()
    with pytest.raises(StateDamaged):
        Hotelling.from_state({**state, "model": {**state["model"], **damage}})


def test_a_memory_no_vectors_lead_to_is_refused() -> None:
    chart = Hotelling.fit(samples(0, 100))
    with pytest.raises(StateDamaged):
        Hotelling.from_state({**chart.state(), "average": [3.0] * 20})
