import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.spc import WrongCounts, ewma_chart, p_chart
from monitoring.spc.ewma import OUTSIDE, WIDTHS


def test_averages_and_limits_are_those_of_the_textbook() -> None:
    """Montgomery, equations 9.22 to 9.26, for subgroups of one size: limits that widen towards their final place."""
    counts, weight, centre = [4, 7, 5, 9, 2], 0.2, 0.05
    chart = ewma_chart(counts, [100] * 5, centre=centre, weight=weight)
    average, expected = centre, []
    for count in counts:
        average = weight * count / 100 + (1 - weight) * average
        expected.append(average)
    assert chart.value == pytest.approx(expected)
    sigma = (centre * (1 - centre) / 100) ** 0.5
    reach = [2.962 * sigma * (weight / (2 - weight) * (1 - (1 - weight) ** (2 * i))) ** 0.5 for i in range(1, 6)]
    assert chart.upper_limit == pytest.approx([centre + r for r in reach])
    assert chart.lower_limit == pytest.approx([centre - r for r in reach])


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.2, 0.7, 1.0]),
    st.floats(0.01, 0.99),
)
def test_variance_is_that_of_a_weighted_sum_of_independent_shares(
    sizes: list[int], weight: float, centre: float
) -> None:
    chart = ewma_chart([0] * len(sizes), sizes, centre=centre, weight=weight)
    own = [weight * (1 - weight) ** (len(sizes) - 1 - i) for i in range(len(sizes))]
    variance = sum(w**2 * centre * (1 - centre) / n for w, n in zip(own, sizes, strict=True))
    width = np.interp(weight, list(WIDTHS), list(WIDTHS.values()))
    assert chart.upper_limit[-1] == pytest.approx(min(1, centre + width * variance**0.5))


@given(st.lists(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1))
def test_every_average_lies_in_its_interval_and_every_limit_is_possible(counts: list[tuple[int, int]]) -> None:
    rejects, parts = zip(*counts, strict=True)
    chart = ewma_chart(rejects, parts)
    assert ((chart.low <= chart.value) & (chart.value <= chart.high)).all()
    assert ((chart.lower_limit >= 0) & (chart.upper_limit <= 1)).all()
    assert chart.value.min() >= min(chart.centre, *(k / n for k, n in counts)) - 1e-12
    assert chart.value.max() <= max(chart.centre, *(k / n for k, n in counts)) + 1e-12


def test_with_all_weight_on_the_newest_it_is_a_p_chart() -> None:
    rejects, parts = [3, 9, 4, 0, 7], [100, 120, 80, 60, 100]
    assert ewma_chart(rejects, parts, weight=1.0).value == pytest.approx(p_chart(rejects, parts).value)


def test_a_small_lasting_change_is_found_earlier_than_on_a_p_chart() -> None:
    """From 5 to 6 % in subgroups of 400: less than one sigma."""
    rng = np.random.default_rng(31)
    waits: dict[str, list[int]] = {"beyond_3_sigma": [], OUTSIDE: []}
    for _ in range(100):
        counts, parts = rng.binomial(400, 0.06, 400), [400] * 400
        drawn = {"beyond_3_sigma": p_chart(counts, parts, centre=0.05), OUTSIDE: ewma_chart(counts, parts, centre=0.05)}
        for name, chart in drawn.items():
            waits[name].append(next(n for n, names in enumerate(chart.rules, 1) if name in names))
    assert np.mean(waits[OUTSIDE]) < np.mean(waits["beyond_3_sigma"]) / 2


def test_a_small_subgroup_widens_the_limits_and_a_large_one_narrows_them() -> None:
    chart = ewma_chart([5] * 40, [*([100] * 20), 5, *([1000] * 19)], centre=0.05)
    assert chart.upper_limit[20] > chart.upper_limit[19]
    assert chart.upper_limit[-1] < chart.upper_limit[19]


def test_without_rejects_nothing_is_told_but_the_limits_without_width() -> None:
    chart = ewma_chart([0] * 30, [100] * 30)
    assert not any(chart.rules)
    assert "no reject among 3000 parts" in chart.cautions[0]


@pytest.mark.parametrize("weight", [0.0, 0.01, 1.1, float("nan")])
def test_a_weight_that_can_not_be_is_refused(weight: float) -> None:
    with pytest.raises(WrongCounts, match="weight") as refused:
        ewma_chart([1], [10], weight=weight)
    assert "0.05 to 1" in refused.value.remedy
