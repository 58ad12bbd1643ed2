"""The plans against sums over what may happen, done the slow way, and against what the docs promise."""

import numpy as np
import pytest
from scipy.stats import binom

from labeling.agreement import cohen_kappa, share
from labeling.agreement.planning import (
    MOST_FOR_KAPPA,
    WrongPlan,
    binomial,
    expected_width,
    parts_for_kappa,
    parts_for_width,
    parts_to_exclude,
    power_of_kappa,
    power_to_exclude,
)


@pytest.mark.parametrize(("n", "rate"), [(1, 0.5), (50, 0.9), (200, 0.02), (7, 0.0), (7, 1.0)])
def test_binomial_is_that_of_scipy(n: int, rate: float) -> None:
    assert binomial(n, rate) == pytest.approx(binom.pmf(np.arange(n + 1), n, rate), abs=1e-12)


@pytest.mark.parametrize(("rate", "hits"), [(0.02, 0), (0.05, 0), (0.05, 1), (0.1, 3)])
def test_one_part_less_does_not_exclude_the_rate(rate: float, hits: int) -> None:
    n = parts_to_exclude(rate, hits)
    assert share(hits, n).high <= rate < share(hits, n - 1).high


@pytest.mark.parametrize(("width", "expected"), [(0.2, 0.9), (0.1, 0.9), (0.2, 0.5), (0.15, 1.0)])
def test_width_is_reached_and_not_before(width: float, expected: float) -> None:
    n = parts_for_width(width, expected)
    assert expected_width(n, expected) <= width < expected_width(n - 1, expected)


def test_power_is_the_share_of_studies_that_exclude_the_rate() -> None:
    drawn = np.random.default_rng(3).binomial(150, 0.02, 20_000)
    excluded = np.array([share(int(hits), 150).high <= 0.06 for hits in range(151)])[drawn].mean()
    assert power_to_exclude(150, 0.06, 0.02) == pytest.approx(excluded, abs=0.01)


def test_power_of_kappa_is_the_share_of_studies_whose_interval_lies_above() -> None:
    rng = np.random.default_rng(5)
    differ = (1 - 0.9) * 0.3 * 0.7
    cells = [0.7**2 + 0.9 * 0.3 * 0.7, differ, differ, 0.3**2 + 0.9 * 0.3 * 0.7]
    drawn = rng.multinomial(60, cells, 4000).reshape(-1, 2, 2)
    found = [cohen_kappa(table) for table in drawn]
    above = np.mean([one is not None and one.low > 0.75 for one in found])
    assert power_of_kappa(60, 0.75, 0.9, 0.3) == pytest.approx(above, abs=0.025)


def test_more_parts_tell_kappas_apart_that_are_nearer_or_rarer() -> None:
    usual = parts_for_kappa(0.75, 0.9)
    assert parts_for_kappa(0.75, 0.85) > 2 * usual
    assert parts_for_kappa(0.75, 0.9, defective=0.1) > 1.5 * usual


def test_what_no_study_can_show_is_refused() -> None:
    with pytest.raises(WrongPlan, match="width 0"):
        parts_for_width(0.0)
    with pytest.raises(WrongPlan, match="expected share"):
        parts_for_width(0.1, 1.2)
    with pytest.raises(WrongPlan, match="more than 10000 parts"):
        parts_for_width(0.001)
    with pytest.raises(WrongPlan, match="-1 parts"):
        parts_to_exclude(0.05, -1)
    with pytest.raises(WrongPlan, match="not above"):
        parts_for_kappa(0.9, 0.8)
    with pytest.raises(WrongPlan, match="more than 1000 parts"):
        parts_for_kappa(0.75, 0.76)


@pytest.mark.parametrize(("least", "true", "defective"), [(0.75, 0.79, 0.5), (0.75, 0.78, 0.2), (0.75, 0.75, 0.5)])
def test_the_power_of_very_many_parts_goes_on_from_the_exact_sum(least: float, true: float, defective: float) -> None:
    exact = power_of_kappa(MOST_FOR_KAPPA, least, true, defective)
    assert power_of_kappa(MOST_FOR_KAPPA + 1, least, true, defective) == pytest.approx(exact, abs=0.03)
