from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.spc import CHARTS, RULES, WrongCounts, np_chart, p_chart, wilson

JUICE = [
    12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6,
]  # fmt: skip
"""Montgomery, table 7.1: nonconforming cans of orange juice in 30 samples of 50."""
ORDER_ERRORS = [12, 8, 6, 9, 10, 12, 11, 16, 10, 6, 20, 15, 9, 8, 6, 8, 10, 7, 5, 8, 5, 8, 10, 6, 9]
ORDERS = [100, 80, 80, 100, 110, 110, 100, 100, 90, 90, 110, 120, 120, 120, 110, 80, 80, 80, 90, 100, 100, 100, 100, 90, 90]  # fmt: skip # noqa: E501
"""Montgomery, table 7.4: purchase orders with errors in samples of varying size."""

FIRST, SECOND, THIRD, FOURTH = RULES


def outside(rules: tuple[tuple[str, ...], ...]) -> list[int]:
    """Numbers, from 1, of the points outside the limits."""
    return [n for n, names in enumerate(rules, 1) if FIRST in names]


def test_p_chart_gives_montgomerys_trial_limits() -> None:
    chart = p_chart(JUICE, [50] * 30)
    assert chart.centre == pytest.approx(0.2313, abs=5e-5)
    assert chart.upper_limit == pytest.approx(0.4102, abs=5e-5)
    assert chart.lower_limit == pytest.approx(0.0524, abs=5e-5)
    assert outside(chart.rules) == [15, 23]


def test_p_chart_gives_montgomerys_revised_limits_and_takes_them_as_given() -> None:
    kept = [count for n, count in enumerate(JUICE, 1) if n not in (15, 23)]
    chart = p_chart(kept, [50] * 28)
    assert chart.centre == pytest.approx(0.2150, abs=5e-5)
    assert (chart.upper_limit[0], chart.lower_limit[0]) == pytest.approx((0.3893, 0.0407), abs=1e-4)
    later = p_chart([24], [50], centre=chart.centre)
    assert (later.centre, later.upper_limit[0]) == (chart.centre, chart.upper_limit[0])
    assert outside(later.rules) == [1]


def test_np_chart_gives_montgomerys_limits() -> None:
    """His 20.510 and 2.620 come from the centre rounded to 0.2313."""
    chart = np_chart(JUICE, [50] * 30)
    assert chart.centre == pytest.approx(11.565, abs=3e-3)
    assert chart.upper_limit == pytest.approx(20.510, abs=3e-3)
    assert chart.lower_limit == pytest.approx(2.620, abs=3e-3)
    assert chart.value.tolist() == JUICE
    assert outside(chart.rules) == [15, 23]


def test_subgroups_of_varying_size_have_limits_of_their_own() -> None:
    chart = p_chart(ORDER_ERRORS, ORDERS)
    assert chart.centre == pytest.approx(234 / 2450)
    sigma = np.sqrt(chart.centre * (1 - chart.centre) / np.array(ORDERS))
    assert chart.upper_limit == pytest.approx(chart.centre + 3 * sigma)
    assert outside(chart.rules) == [11], "as in Montgomery's figure 7.6"


@pytest.mark.parametrize(
    ("count", "parts", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_newcombes(count: int, parts: int, low: float, high: float) -> None:
    """R. G. Newcombe (1998), table I, method 3."""
    assert [float(end) for end in wilson(count, parts)] == pytest.approx([low, high], abs=5e-5)


@given(st.lists(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1))
def test_every_point_lies_in_its_interval_and_every_limit_is_possible(counts: list[tuple[int, int]]) -> None:
    chart = p_chart(*zip(*counts, strict=True))
    assert ((chart.low <= chart.value) & (chart.value <= chart.high)).all()
    assert ((chart.lower_limit >= 0) & (chart.upper_limit <= 1) & (chart.lower_limit <= chart.upper_limit)).all()
    assert chart.centre_low <= chart.centre <= chart.centre_high
    is_outside = (chart.value > chart.upper_limit) | (chart.value < chart.lower_limit)
    told = np.array([FIRST in names for names in chart.rules])
    on_the_line = np.isclose(chart.value, chart.upper_limit) | np.isclose(chart.value, chart.lower_limit)
    assert (told == is_outside)[~on_the_line].all()


def told(*sigmas: float) -> list[tuple[str, ...]]:
    """The rules that points at so many sigmas break: 10000 parts a subgroup around a centre of one half."""
    counts = [round(10_000 * 0.5 + z * 50) for z in sigmas]
    return list(p_chart(counts, [10_000] * len(counts), centre=0.5).rules)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("sigmas", "last"),
    [
        ((0, 3.1), (FIRST,)),
        ((0, 2.98), ()),
        ((2.1, 0, 2.1), (SECOND,)),
        ((2.1, 2.1), (SECOND,)),
        ((2.1, 0, 0, 2.1), ()),
        ((2.1, 0, -2.1), ()),
        ((2.1, 2.1, 0), ()),
        ((1.1, 1.1, 0, 1.1, 1.1), (THIRD,)),
        ((1.1, 1.1, 0, 1.1, 0.9), ()),
        ((1.1, 1.1, -1.1, 0, 1.1, 1.1), ()),
        ((0.1,) * 8, (FOURTH,)),
        ((0.1,) * 7, ()),
        ((*(0.1,) * 7, 0), ()),
        ((*(0.1,) * 4, -0.1, *(0.1,) * 4), ()),
        ((*(1.1,) * 7, 3.1), (FIRST, THIRD, FOURTH)),
    ],
)
def test_run_rules_are_told_at_the_point_that_completes_them(
    sigmas: tuple[float, ...], last: tuple[str, ...], side: int
) -> None:
    assert told(*(side * z for z in sigmas))[-1] == last


def test_a_line_without_rejects_is_under_control_and_its_limits_are_told_to_have_no_width() -> None:
    chart = p_chart([0, 0, 0], [10, 200, 3000])
    assert (chart.centre, chart.upper_limit.tolist()) == (0.0, [0.0, 0.0, 0.0])
    assert chart.rules == ((), (), ())
    assert chart.centre_high > 0
    assert "no reject among 3210 parts" in chart.cautions[0]
    assert "0.12 %" in chart.cautions[0], "how many there may be all the same"
    assert chart.chance_outside is None


def test_a_line_of_nothing_but_rejects_is_told_so() -> None:
    chart = p_chart([5], [5])
    assert chart.rules == ((),)
    assert (chart.lower_limit.tolist(), chart.upper_limit.tolist()) == ([1.0], [1.0])
    assert "no good part among 5 parts" in chart.cautions[0]


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("rejects", [0, 1, 3])
def test_subgroups_of_one_size_without_any_scatter_never_leave_the_limits(name: str, rejects: int) -> None:
    chart = CHARTS[name]([rejects] * 30, [3] * 30)
    assert not any("beyond" in told for names in chart.rules for told in names)
    assert not any("one_side" in told for names in chart.rules for told in names)
    assert (chart.upper_limit > chart.lower_limit).all() == (0 < rejects < 3)


@pytest.mark.parametrize("name", [name for name in CHARTS if name != "np"])
def test_subgroups_of_one_part_make_a_chart(name: str) -> None:
    chart = CHARTS[name]([0, 1, 0, 0], [1, 1, 1, 1])
    assert chart.centre == 0.25
    assert ((chart.lower_limit >= 0) & (chart.upper_limit <= 1)).all()


@pytest.mark.parametrize("name", CHARTS)
def test_ten_million_parts_a_subgroup_are_no_more_work_than_ten(name: str) -> None:
    rng = np.random.default_rng(3)
    chart = CHARTS[name](rng.binomial(10_000_000, 0.01, 1000), [10_000_000] * 1000)
    outside = sum(1 for names in chart.rules if {FIRST, "beyond_limits"} & set(names))
    assert outside <= 12
    assert chart.dispersion.verdict == "chance"


def test_how_often_a_point_leaves_the_limits_by_chance_is_the_binomial_probability() -> None:
    """A p chart of 50 parts at 2 %: limits at 0 and 7.94 %, so that four rejects are outside."""
    chart = p_chart([1, 0, 2], [50, 50, 50], centre=0.02)
    at_most_three = sum(comb(50, k) * 0.02**k * 0.98 ** (50 - k) for k in range(4))
    assert chart.chance_outside == pytest.approx(1 - at_most_three)
    assert "subgroups of 250 parts or more" in chart.cautions[-1]
    large = p_chart([50_000], [1_000_000], centre=0.05)
    assert large.chance_outside == pytest.approx(0.0027, abs=2e-5)
    assert large.cautions == ()


def test_a_reject_where_none_is_wanted_is_told() -> None:
    assert outside(p_chart([0, 1], [10, 10], centre=0.0).rules) == [2]
    assert outside(p_chart([10, 9], [10, 10], centre=1.0).rules) == [2]


def test_np_chart_of_unequal_subgroups_is_refused() -> None:
    with pytest.raises(WrongCounts, match="from 9 to 10 parts") as refused:
        np_chart([1, 1], [10, 9])
    assert "p chart" in refused.value.remedy


@pytest.mark.parametrize(
    ("rejects", "parts"), [([], []), ([1], [0]), ([-1], [5]), ([6], [5]), ([1, 2], [5]), ([[1]], [[5]])]
)
def test_counts_that_make_no_chart_are_refused(rejects: list[int], parts: list[int]) -> None:
    with pytest.raises(WrongCounts) as refused:
        p_chart(rejects, parts)
    assert refused.value.remedy
