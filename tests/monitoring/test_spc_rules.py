import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.spc import NELSON, RULE_SETS, WESTERN_ELECTRIC, WrongCounts, p_chart
from monitoring.spc.counts import Flags
from monitoring.spc.run_rules import broken, zones

OUTSIDE, NINE, TREND, ALTERNATING, TWO, FOUR, HUGGING, AVOIDING = RULE_SETS[NELSON]


def told(*sigmas: float) -> list[tuple[str, ...]]:
    """Nelson's rules that points at so many sigmas break: 10000 parts a subgroup around a centre of one half."""
    counts = [round(10_000 * 0.5 + z * 50) for z in sigmas]
    return list(p_chart(counts, [10_000] * len(counts), centre=0.5, rules=NELSON).rules)


def test_nelson_has_eight_rules() -> None:
    assert len(RULE_SETS[NELSON]) == 8


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("sigmas", "last"),
    [
        ((0, 3.1), (OUTSIDE,)),
        ((*(0.1, 0.2) * 4, 0.1), (NINE,)),
        ((*(0.1, 0.2) * 4,), ()),
        ((*(0.1, 0.2) * 4, 0), ()),
        ((-0.5, -0.3, -0.1, 0.1, 0.3, 0.5), (TREND,)),
        ((-0.3, -0.1, 0.1, 0.3, 0.5), ()),
        ((-0.5, -0.3, -0.1, -0.1, 0.3, 0.5), ()),
        ((*(0.5, -0.5) * 7,), (ALTERNATING,)),
        ((*(0.5, -0.5) * 6, 0.5), ()),
        ((*(0.5, -0.5) * 6, 0.5, 0.5), ()),
        ((0, 2.1, 2.2), (TWO,)),
        ((0, 2.1, -2.2), ()),
        ((1.1, 1.3, 0, 1.1, 1.2), (FOUR,)),
        ((*(0.5, -0.5, 0.6) * 5,), (HUGGING,)),
        ((*(0.5, -0.5, 0.6) * 4, 0.5, -0.5), ()),
        ((1.2, *(0.5, -0.5, 0.6) * 4, 0.5, -0.5), ()),
        ((*(1.2, 1.5, -1.3, -1.4) * 2,), (AVOIDING,)),
        ((*(1.2, 1.5, -1.3, -1.4) * 2, 0.9), ()),
        ((1.5, -1.3, -1.4, 1.2, 1.5, -1.3, -1.4), ()),
    ],
)
def test_nelsons_rules_are_told_at_the_point_that_completes_them(
    sigmas: tuple[float, ...], last: tuple[str, ...], side: int
) -> None:
    found = told(*(side * z for z in sigmas))
    assert found[-1] == last
    assert all(names == () for names in found[:-1]) or last != found[-2]


def test_a_rule_is_told_at_every_further_point_of_its_pattern() -> None:
    found = told(*(0.1, 0.2) * 6)
    assert [names == (NINE,) for names in found] == [n >= 8 for n in range(12)]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40))
def test_turned_upside_down_a_chart_breaks_the_same_rules(counts: list[int]) -> None:
    for rules in RULE_SETS:
        up = p_chart(counts, [12] * len(counts), centre=0.5, rules=rules)
        down = p_chart([12 - k for k in counts], [12] * len(counts), centre=0.5, rules=rules)
        assert up.rules == down.rules


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 60))
def test_what_comes_later_changes_nothing_told_before(counts: list[int], cut: int) -> None:
    cut = min(cut, len(counts))
    for rules in RULE_SETS:
        whole = p_chart(counts, [20] * len(counts), centre=0.4, rules=rules).rules
        if cut:
            assert p_chart(counts[:cut], [20] * cut, centre=0.4, rules=rules).rules == whole[:cut]


@pytest.mark.parametrize("rules", RULE_SETS)
def test_a_line_with_a_reject_now_and_then_breaks_no_rule_for_having_none_mostly(rules: str) -> None:
    """One reject in 1000 parts, subgroups of 50: 95 of 100 hold none, so eight of them below the centre say nothing."""
    assert not any(p_chart([0] * 200, [50] * 200, centre=0.001, rules=rules).rules)


def test_in_dense_subgroups_the_rules_are_those_of_the_books() -> None:
    chart = p_chart([4] * 8, [100] * 8, centre=0.05)
    assert chart.rules[-1] == ("8_on_one_side",)


def first_told(rules: str, runs: int) -> list[int]:
    rng = np.random.default_rng(21)
    found = []
    for _ in range(runs):
        k = rng.binomial(100_000, 0.5, 1500)
        z = (k - 50_000) / np.sqrt(25_000)
        told: Flags = np.any(list(broken(zones(z, k, np.full(k.size, 100_000), 0.5), rules).values()), axis=0)
        found.append(int(told.argmax()) + 1 if told.any() else k.size)
    return found


def test_western_electric_rules_alarm_falsely_as_often_as_champ_and_woodall_computed() -> None:
    """C. W. Champ and W. H. Woodall, Technometrics 29 (1987): one in 91.75 points with all four rules."""
    assert np.mean(first_told(WESTERN_ELECTRIC, 1500)) == pytest.approx(91.75, rel=0.08)


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(WrongCounts, match="'montgomery'") as refused:
        p_chart([1], [2], rules="montgomery")
    assert "nelson" in refused.value.remedy
