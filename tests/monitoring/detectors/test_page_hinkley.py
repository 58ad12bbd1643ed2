"""Page-Hinkley against its definition, and what its bounded mean is for."""

import numpy as np
import pytest

from monitoring.detectors.page_hinkley import PageHinkley
from monitoring.detectors.ranges import SettingOutOfRange
from monitoring.saved import StateDamaged


def test_it_is_the_textbook_test_while_the_mean_is_of_all_values() -> None:
    stream = np.random.default_rng(0).normal(0.1, 1, 400)
    chart = PageHinkley(tolerance=0.3, limit=30.0, memory=10_000)
    ratios = [chart.update(value) for value in stream.tolist()]
    # Fifty values of 0 before: what the chart takes its first mean to be made of.
    values = np.concatenate([np.zeros(50), stream])
    deviation = values - np.cumsum(values) / np.arange(1, len(values) + 1)
    rising, falling = np.cumsum(deviation - 0.3), np.cumsum(deviation + 0.3)
    above = rising - np.minimum.accumulate(np.minimum(rising, 0))
    below = np.maximum.accumulate(np.maximum(falling, 0)) - falling
    np.testing.assert_allclose(ratios, np.maximum(above, below)[50:] / 30.0, atol=1e-12)


def test_a_lasting_shift_becomes_normal_and_the_alarm_ends() -> None:
    chart = PageHinkley(memory=200)
    ratios = [chart.update(2.0) for _ in range(600)]
    assert max(ratios) > 1
    assert ratios[-1] == 0
    assert chart.mean == pytest.approx(2.0, abs=0.2)


def test_a_drift_slower_than_its_tolerance_is_followed_and_a_faster_one_alarms() -> None:
    slow, fast = PageHinkley(memory=200), PageHinkley(memory=200)
    assert max(slow.update(0.4 * index / 200) for index in range(4000)) < 1
    assert max(fast.update(1.0 * index / 200) for index in range(4000)) > 1


def test_a_long_life_makes_it_no_slower() -> None:
    young, old = PageHinkley(), PageHinkley()
    for _ in range(50_000):
        old.update(0.0)

    def delay(chart: PageHinkley) -> int:
        return next(index for index in range(100) if chart.update(1.5) > 1)

    assert (delay(young), delay(old)) == (14, 12)


@pytest.mark.parametrize("settings", [{"tolerance": -1.0}, {"limit": 0.0}, {"memory": 1}, {"limit": float("nan")}])
def test_settings_without_a_chart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange, match=next(iter(settings))):
        PageHinkley(**settings)  # type: ignore[arg-type]  # a count is among them


@pytest.mark.parametrize("damage", [{"above": -1.0}, {"below": 1e6}, {"known": 0}, {"known": 2000}, {"limit": -3.0}])
def test_a_memory_no_values_lead_to_is_refused(damage: dict[str, float]) -> None:
    with pytest.raises(StateDamaged):
        PageHinkley.from_state({**PageHinkley().state(), **damage})
