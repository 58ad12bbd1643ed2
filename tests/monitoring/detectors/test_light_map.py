"""The chart of light against plain least squares, and what it takes for large and smooth."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.detectors.light_map import TERMS, LightMap
from monitoring.detectors.ranges import SettingOutOfRange, TooFewSamples
from monitoring.detectors.tails import chi_square_limit, two_sided
from monitoring.saved import StateDamaged


def design(height: int, width: int) -> NDArray[np.float64]:
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)


def test_it_charts_the_least_squares_coefficients_in_their_covariance() -> None:
    maps = np.random.default_rng(0).normal(0.05, 1, (30, 6, 9))
    chart = LightMap((6, 9), weight=0.25)
    terms = design(6, 9)
    average: NDArray[np.float64] = np.zeros(6)
    ratio = 0.0
    for value in maps:
        ratio = chart.update(value)
        average += 0.25 * (np.linalg.lstsq(terms, value.ravel())[0] - average)
    distance = float(average @ (terms.T @ terms) @ average) * (2 - 0.25) / 0.25
    limit = chi_square_limit(two_sided(5.0), 6)
    assert ratio == pytest.approx(max(distance - 6, 0) / (limit - 6), rel=1e-9)
    # What the average began with, a parabola of 0 with a whole map's weight, is part of the coefficients as well.
    assert list(chart.coefficients.values()) == pytest.approx(average.tolist(), rel=1e-9)


@pytest.mark.parametrize("masked", [0.0, 0.4])
def test_noise_passes_the_limit_as_rarely_as_it_says_with_and_without_masks(masked: float) -> None:
    rng = np.random.default_rng(0)
    chart = LightMap((8, 8), width=3.0)
    found = 0
    for _ in range(40_000):
        value = rng.standard_normal((8, 8))
        value[rng.random((8, 8)) < masked] = np.nan
        found += chart.update(value) > 1
    assert 0.5 * two_sided(3.0) < found / 40_000 < 1.5 * two_sided(3.0)


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_found_and_named_though_half_of_the_map_is_masked(term: str) -> None:
    rng = np.random.default_rng(1)
    chart = LightMap((16, 16))
    change = 0.4 * design(16, 16)[:, TERMS.index(term)].reshape(16, 16)
    ratios: list[float] = []
    for _ in range(40):
        value = rng.standard_normal((16, 16)) + change
        value[:8, :] = np.nan if len(ratios) % 2 else value[:8, :]
        ratios.append(chart.update(value))
    assert ratios[0] < 1
    assert max(ratios) > 1
    found = chart.coefficients
    assert found[term] == pytest.approx(0.4, abs=0.15)
    assert max(found, key=lambda name: abs(found[name])) == term


def test_a_wandering_lamp_that_was_learnt_does_not_alarm_and_a_larger_change_does() -> None:
    rng = np.random.default_rng(2)
    terms = design(10, 10)

    def maps(count: int) -> Any:
        # Level and left-right go together, as when one of two lamps wanders.
        lamp = rng.standard_normal(count)[:, None] * np.array([0.6, 0.4, 0, 0, 0, 0])
        return (lamp @ terms.T + rng.standard_normal((count, 100))).reshape(count, 10, 10)

    learnt, textbook = LightMap.fit(maps(1000)), LightMap((10, 10))
    stream = maps(2000)
    assert max(textbook.update(value) for value in stream) > 1
    assert max(learnt.update(value) for value in stream) < 1
    assert learnt.wander[0, 1] == pytest.approx(0.24, abs=0.06)
    across = np.tile(np.linspace(-0.8, 0.8, 10), (10, 1)).T
    assert next(index for index, value in enumerate(maps(50) + across) if learnt.update(value) > 1) < 5


def test_maps_learnt_from_may_be_masked_and_must_be_enough() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((200, 8, 8))
    maps[rng.random(maps.shape) < 0.3] = np.nan
    chart = LightMap.fit(maps)
    assert np.abs(chart.wander).max() < 0.05
    assert chart.samples == 200
    maps[:150] = np.nan
    with pytest.raises(TooFewSamples, match="50 samples"):
        LightMap.fit(maps)


def test_a_small_artefact_however_strong_is_no_change_of_light() -> None:
    chart = LightMap((32, 32))
    spot = np.zeros((32, 32))
    spot[3, 3] = 1e6
    assert max(chart.update(spot) for _ in range(200)) < 0.8


def test_an_empty_map_changes_nothing() -> None:
    chart = LightMap((8, 8))
    before = [chart.update(np.full((8, 8), 0.5)) for _ in range(2)][-1]
    state = chart.state()
    assert chart.update(np.full((8, 8), np.nan)) == before
    assert chart.state() == state


def test_a_map_that_shows_ever_less_stays_sane() -> None:
    rng = np.random.default_rng(0)
    chart = LightMap((8, 8))
    for _ in range(500):
        value = np.full((8, 8), np.nan)
        value[2, :3] = rng.standard_normal(3)
        assert chart.update(value) < 1
    twin = LightMap.from_state(chart.state())
    assert twin.update(np.zeros((8, 8))) < 1


@pytest.mark.parametrize("settings", [{"shape": (2, 8)}, {"shape": (8, 2)}, {"weight": 0.0}, {"width": 0.0}])
def test_settings_without_a_chart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange):
        LightMap(**settings)  # type: ignore[arg-type]  # a shape is among them


@pytest.mark.parametrize(
    "damage",
    [
        {"shape": [8]},
        {"shape": [8, 1]},
        {"shape": [10**9, 10**9]},
        {"weight": 0.0},
        {"samples": 7},
        {"average": [1e12] * 6},
        {"scatter": (-np.eye(6)).tolist()},
        {"information": np.triu(np.ones((6, 6))).tolist()},
    ],
)
def test_a_memory_no_maps_lead_to_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(StateDamaged):
        LightMap.from_state({**LightMap((8, 8)).state(), **damage})
