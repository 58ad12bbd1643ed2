"""The chart of single parts: run lengths from the Markov chain, from the published approximation and by simulation."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from monitoring.detectors.bernoulli_cusum import BernoulliCusum
from monitoring.detectors.ranges import SettingOutOfRange
from monitoring.saved import StateDamaged


def run_length(p: float, step: int, limit: int, *, falling: bool) -> float:
    """Average parts to a sum above the limit, from all states' linear equations (Brook & Evans 1972)."""
    chain = np.eye(limit + 1)
    for state in range(limit + 1):
        good, defect = (state + 1, max(state - step + 1, 0)) if falling else (max(state - 1, 0), state + step - 1)
        for target, probability in ((good, 1 - p), (defect, p)):
            if target <= limit:
                chain[state, target] -= probability
    return float(np.linalg.solve(chain, np.ones(limit + 1))[0])


@pytest.mark.parametrize(("p0", "p1", "wanted"), [(0.02, 0.06, 1e4), (0.1, 0.2, 1e3), (0.3, 0.4, 5e4)])
def test_the_limit_of_a_rise_is_the_least_with_the_wanted_run_length(p0: float, p1: float, wanted: float) -> None:
    chart = BernoulliCusum(p0, p1, None, wanted)
    assert run_length(p0, chart.rise, chart.rise_limit - 1, falling=False) < wanted
    assert run_length(p0, chart.rise, chart.rise_limit, falling=False) >= wanted


@pytest.mark.parametrize(("p0", "fallen", "wanted"), [(0.02, 0.005, 1e4), (0.1, 0.05, 1e3), (0.3, 0.2, 5e4)])
def test_the_limit_of_a_fall_is_the_least_with_the_wanted_run_length(p0: float, fallen: float, wanted: float) -> None:
    chart = BernoulliCusum(p0, min(2 * p0, 0.9), fallen, wanted / 2)
    assert run_length(p0, chart.fall, chart.fall_limit - 1, falling=True) < wanted
    assert run_length(p0, chart.fall, chart.fall_limit, falling=True) >= wanted


@pytest.mark.parametrize(("p0", "p1", "wanted"), [(0.01, 0.035, 1e4), (0.02, 0.06, 1e4), (0.05, 0.09, 1e4)])
def test_reynolds_and_stoumbos_approximate_the_same_run_length(p0: float, p1: float, wanted: float) -> None:
    """Their corrected diffusion, in log-likelihood ratios of the rate that the chart bent `p1` to."""
    chart = BernoulliCusum(p0, p1, None, wanted)
    share = 1 / chart.rise

    def bent(rate: float) -> float:
        return -math.log((1 - rate) / (1 - p0)) / math.log(rate * (1 - p0) / (p0 * (1 - rate))) - share

    rate = brentq(bent, p0 * 1.0001, 0.99)
    assert rate == pytest.approx(p1, rel=0.05)
    good, defect = -math.log((1 - rate) / (1 - p0)), math.log(rate * (1 - p0) / (p0 * (1 - rate)))
    log = math.log(p0)
    overshoot = 0.410 - 0.0842 * log - 0.0391 * log**3 - 0.00376 * log**4 - 0.000008 * log**7
    reach = ((chart.rise_limit + 1) / chart.rise + overshoot * math.sqrt(p0 * (1 - p0))) * defect
    approximation = (math.exp(reach) - reach - 1) / abs(defect * p0 - good)
    assert approximation == pytest.approx(run_length(p0, chart.rise, chart.rise_limit, falling=False), rel=0.02)


@pytest.mark.parametrize("fallen", [None, 0.05])
def test_false_alarms_come_as_rarely_as_wanted(fallen: float | None) -> None:
    chart = BernoulliCusum(0.1, 0.2, fallen, run_length=500)
    parts = (np.random.default_rng(0).random(600_000) < 0.1).astype(float)
    alarms = 0
    for part in parts.tolist():
        if chart.update(part) > 1:
            alarms += 1
            chart.reset()
    assert 500 * 0.95 < parts.size / alarms < 500 * 1.15


def test_soft_outcomes_of_the_same_rate_alarm_more_rarely_and_a_rise_still_does() -> None:
    rng = np.random.default_rng(0)
    chart = BernoulliCusum(0.02, 0.06, None, run_length=1000)
    good = rng.beta(0.02 * 5, 0.98 * 5, 20_000)
    alarms = 0
    for part in good.tolist():
        if chart.update(part) > 1:
            alarms += 1
            chart.reset()
    assert alarms < 20
    chart.reset()
    assert max(chart.update(part) for part in rng.beta(0.12 * 5, 0.88 * 5, 500).tolist()) > 1


def test_a_blind_camera_is_found_by_the_defects_that_never_come() -> None:
    both, rise_only = BernoulliCusum(0.02, 0.06, 0.005), BernoulliCusum(0.02, 0.06, None)
    assert next(index for index in range(2000) if both.update(0.0) > 1) == both.fall_limit
    assert max(rise_only.update(0.0) for _ in range(2000)) == 0


def test_defects_far_rarer_than_what_is_looked_for_do_not_alarm_alone() -> None:
    chart = BernoulliCusum(1e-4, 0.05, None, run_length=100)
    assert chart.update(1.0) <= 0.6
    assert chart.update(1.0) > 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"p0": 0.0}, "p0"),
        ({"p0": 0.6, "p1": 0.7}, "p0"),
        ({"p1": 0.01}, "p1"),
        ({"p1": 1.0}, "p1"),
        ({"fallen": 0.02}, "fallen"),
        ({"run_length": 0.5}, "run_length"),
        ({"p0": 1e-9, "p1": 1.02e-9, "fallen": 0.98e-9, "run_length": 1e11}, "run_length"),
    ],
)
def test_settings_without_a_chart_are_refused(settings: dict[str, float], name: str) -> None:
    with pytest.raises(SettingOutOfRange, match=rf"^{name} is") as refused:
        BernoulliCusum(**settings)
    assert name in refused.value.remedy


@pytest.mark.parametrize("damage", [{"above": -1.0}, {"p0": 0.0}, {"fallen": 0.5}, {"run_length": -1.0}])
def test_a_memory_no_parts_lead_to_is_refused(damage: dict[str, float]) -> None:
    with pytest.raises(StateDamaged):
        BernoulliCusum.from_state({**BernoulliCusum().state(), **damage})
