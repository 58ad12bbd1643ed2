"""Limits from a period of their own, apart from the points that are judged by them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.spc import CHARTS, ControlChart, WrongCounts, p_chart
from tests.monitoring.test_spc import JUICE

AFTER = [9, 6, 12, 5, 6, 4, 6, 3, 7, 6, 2, 4, 3, 6, 5, 4, 8, 5, 6, 7, 5, 6, 3, 5]
"""Montgomery, table 7.2: 24 samples of 50 cans, after the machine was adjusted."""


def test_montgomerys_later_samples_are_judged_by_limits_of_the_earlier_ones() -> None:
    """His figure 7.2: with the centre of the first period, without samples 15 and 23, the rate has fallen."""
    kept = [count for n, count in enumerate(JUICE, 1) if n not in (15, 23)]
    chart = p_chart([*kept, *AFTER], [50] * 52, baseline=28)
    assert chart.centre == pytest.approx(0.2150, abs=5e-5)
    assert (chart.upper_limit[-1], chart.lower_limit[-1]) == pytest.approx((0.3893, 0.0407), abs=1e-4)
    below = [n for n, names in enumerate(chart.rules[28:], 31) if "beyond_3_sigma" in names]
    assert below == [41], "one sample lies under the lower limit"
    assert "8_on_one_side" in chart.rules[-1]


@pytest.mark.parametrize("name", CHARTS)
@given(judged=st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_what_is_judged_never_moves_the_limits(name: str, judged: list[int]) -> None:
    baseline = [3, 5, 2, 6, 4, 4, 3, 7, 2, 5]
    alone = CHARTS[name](baseline, [40] * 10)
    both = CHARTS[name]([*baseline, *judged], [40] * (10 + len(judged)), baseline=10)
    assert both.centre == alone.centre
    assert both.dispersion == alone.dispersion
    assert both.upper_limit[:10] == pytest.approx(alone.upper_limit)
    assert both.rules[:10] == alone.rules
    assert both.baseline == 10


@pytest.mark.parametrize("name", CHARTS)
def test_no_pattern_reaches_from_the_baseline_into_what_is_judged(name: str) -> None:
    rejects = [8, 12] * 8 + [14] * 9
    together = CHARTS[name](rejects, [100] * 25, centre=0.1)
    apart = CHARTS[name](rejects, [100] * 25, centre=0.1, baseline=20)
    again = CHARTS[name](rejects[20:], [100] * 5, centre=0.1)
    if name != "laney":  # whose limits are those of the baseline
        assert apart.rules[20:] == again.rules
        assert together.rules[:20] == apart.rules[:20]
    assert not any("8_on_one_side" in names for names in apart.rules[20:])


def test_an_average_begins_anew_where_the_baseline_ends() -> None:
    chart = CHARTS["ewma"]([5] * 10 + [0] * 5, [100] * 15, baseline=10)
    assert chart.value[10] == pytest.approx(0.05 * 0.8)
    assert chart.upper_limit[10] == pytest.approx(chart.upper_limit[0])


def test_points_of_the_baseline_outside_its_own_limits_are_told() -> None:
    chart = p_chart([*([2] * 20), 20, *([2] * 20)], [100] * 41, baseline=30)
    assert any("1 of the 30 points of the baseline" in caution for caution in chart.cautions)


@pytest.mark.parametrize(("subgroups", "said"), [(19, True), (20, False)])
def test_few_subgroups_are_told_where_limits_are_drawn_from_them(subgroups: int, said: bool) -> None:
    def told(chart: ControlChart) -> bool:
        return any("20 or more" in caution for caution in chart.cautions)

    rejects, parts = [3, 5] * 20, [100] * 40
    assert told(p_chart(rejects, parts, baseline=subgroups)) == said
    assert not told(p_chart(rejects, parts, baseline=subgroups, centre=0.04)), "a given centre needs none"
    assert told(CHARTS["laney"](rejects, parts, baseline=subgroups, centre=0.04)) == said, "sigma z does"


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("given", [{"baseline": 0}, {"baseline": 4}, {"centre": 1.5}, {"centre": float("nan")}])
def test_a_baseline_or_centre_that_can_not_be_is_refused(name: str, given: dict[str, float]) -> None:
    with pytest.raises(WrongCounts) as refused:
        CHARTS[name]([1, 2, 3], [10, 10, 10], **given)
    assert refused.value.remedy


@pytest.mark.parametrize("name", CHARTS)
def test_numbers_that_are_given_are_not_changed(name: str) -> None:
    rejects, parts = np.array([1, 2, 3]), np.array([10, 10, 10])
    CHARTS[name](rejects, parts, baseline=2)
    assert (rejects.tolist(), parts.tolist()) == ([1, 2, 3], [10, 10, 10])
