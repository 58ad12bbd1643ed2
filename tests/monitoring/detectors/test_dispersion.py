"""The chart of scatter: flicker and frozen pictures."""

import numpy as np
import pytest

from monitoring.detectors.dispersion import Dispersion
from monitoring.detectors.ranges import SettingOutOfRange
from monitoring.detectors.tails import two_sided
from monitoring.saved import StateDamaged


def test_the_average_is_that_of_the_squares() -> None:
    chart = Dispersion(weight=0.25)
    ratios = [chart.update(value) for value in (1.0, -2.0, 0.5)]
    assert chart.variance == pytest.approx(0.75 * (0.75 * 1 + 0.25 * 4) + 0.25 * 0.25)
    assert ratios[1] == pytest.approx(0.75 / (chart.limit - 1))


@pytest.mark.parametrize("weight", [0.05, 0.1, 0.2])
def test_noise_passes_the_limit_no_more_often_than_it_says(weight: float) -> None:
    chart = Dispersion(weight, width=3.0)
    stream = np.random.default_rng(0).standard_normal(200_000).tolist()
    found = sum(chart.update(value) > 1 for value in stream) / len(stream)
    wanted = two_sided(3.0) / 2
    assert 0.4 * wanted < found < 1.3 * wanted


def test_flicker_around_the_same_mean_is_found() -> None:
    chart = Dispersion()
    noise = np.random.default_rng(1).standard_normal(300)
    flicker = noise * np.where(np.arange(300) < 200, 1.0, 2.0)
    assert 200 < next(index for index, value in enumerate(flicker.tolist()) if chart.update(value) > 1) < 230


def test_less_scatter_alarms_only_if_asked_for() -> None:
    asked, not_asked = Dispersion(falling=True), Dispersion()
    ratios = [asked.update(0.0) for _ in range(60)]
    assert next(index for index, ratio in enumerate(ratios) if ratio > 1) == 21
    assert max(not_asked.update(0.0) for _ in range(60)) == 0


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"weight": 1.5}, {"width": -1.0}, {"width": 99.0}])
def test_settings_without_a_chart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange, match=next(iter(settings))):
        Dispersion(**settings)  # type: ignore[arg-type]  # none of them is the switch


@pytest.mark.parametrize("damage", [{"variance": -0.1}, {"variance": 1e9}, {"weight": 0.0}, {"falling": 1}])
def test_a_memory_no_values_lead_to_is_refused(damage: dict[str, float]) -> None:
    with pytest.raises(StateDamaged):
        Dispersion.from_state({**Dispersion().state(), **damage})
