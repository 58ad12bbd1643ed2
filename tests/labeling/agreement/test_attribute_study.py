import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.agreement import (
    ACCEPTABLE,
    CLASSES,
    DECIDED,
    MARGINAL,
    OTHERS,
    UNACCEPTABLE,
    AgreementStudy,
    band,
    share,
    study,
    worst_band,
)
from labeling.votes import Votes, WrongVotes

# A teaching example that JASP publishes: 15 parts, the reference, and three looks each of BL, EG and MH.
JASP = """Y YYYYYYYYY, N NNNNNNYYY, Y YYYYYYYYY, Y YNNYNNYYY, Y YYYYYYYYY, N YYYYYYYYY, Y NNNYYYYYY, N NNNNNNNNY,
N NNNNNNYNN, Y YYYYYYYYY, N NNNNNNYNY, Y YYYYYYYYY, Y YYYYYYYYY, Y NNNNNNNNN, Y YYYYYYYYY"""
NO, YES, MAYBE = 0, 1, 2


def jasp(trial: int | None = None) -> AgreementStudy:
    rows = [row.split() for row in JASP.replace("\n", " ").split(", ")]
    label = np.array([["NY".index(said) for said in looks] for _, looks in rows], np.int64)
    places = np.indices(label.shape)
    item, column = places[0], places[1]
    chosen = np.full(label.shape, True) if trial is None else np.asarray(column % 3 == trial)
    votes = Votes(item[chosen], column[chosen] // 3, label[chosen], column[chosen] % 3)
    # `Yes` is what must be found: the rates below are given for it.
    return study(votes, np.array(["NY".index(true) for true, _ in rows]), ok=[NO])


def of_looks(*looks: tuple[int, int, int], reference: list[int], **more: Any) -> AgreementStudy:
    """A study of (item, inspector, label); occasions count up."""
    return without_reference(list(looks), reference=np.array(reference), ok=[NO], undecided=[MAYBE], **more)


def without_reference(looks: list[tuple[int, int, int]], **more: Any) -> AgreementStudy:
    """A study of (item, inspector, label) with nothing known of the parts; occasions count up."""
    seen: dict[tuple[int, int], int] = {}
    rows = []
    for item, inspector, label in looks:
        seen[item, inspector] = 1 + seen.get((item, inspector), -1)
        rows.append((item, inspector, label, seen[item, inspector]))
    item_column, inspector_column, said, occasion = np.array(rows, np.int64).reshape(-1, 4).T
    return study(Votes(item_column, inspector_column, said, occasion), **more)


@pytest.mark.parametrize(
    ("inspector", "within", "right", "miss", "false_alarm"),
    [(0, 14, 11, 26.67, 20.0), (1, 14, 12, 16.67, 20.0), (2, 12, 9, 10.0, 66.67)],
)
def test_published_study_gives_its_published_shares(
    inspector: int, within: int, right: int, miss: float, false_alarm: float
) -> None:
    found = jasp().inspectors[inspector]
    assert (found.looks, found.parts) == (45, 15)
    assert found.repeatability == share(within, 15)
    assert found.effectiveness == share(right, 15)
    assert found.miss
    assert found.false_alarm
    assert (found.miss.n, found.false_alarm.n) == (10, 5)
    assert 100 * found.miss.value == pytest.approx(miss, abs=0.005)
    assert 100 * found.false_alarm.value == pytest.approx(false_alarm, abs=0.005)


@pytest.mark.parametrize(("inspector", "kappa"), [(0, 0.492308), (1, 0.612903), (2, 0.264151)])
def test_published_study_gives_its_published_kappa_with_the_reference(inspector: int, kappa: float) -> None:
    found = jasp().inspectors[inspector].kappa
    assert found
    assert found.value == pytest.approx(kappa, abs=5e-7)
    assert found.n == 15


@pytest.mark.parametrize(
    ("inspector", "within", "reference", "by_trial", "cohen_by_trial"),
    [
        (0, 0.91, 0.485714, 0.486089, 0.493506),
        (1, 0.905462, 0.612069, 0.612919, 0.614286),
        (2, 0.543919, 0.240753, 0.220152, 0.25387),
    ],
)
def test_published_study_gives_its_published_fleiss_kappas(
    inspector: int, within: float, reference: float, by_trial: float, cohen_by_trial: float
) -> None:
    found = jasp().inspectors[inspector]
    assert found.within.fleiss
    assert found.within.fleiss.value == pytest.approx(within, abs=5e-7)
    assert found.fleiss
    assert found.fleiss.value == pytest.approx(reference, abs=5e-7)
    trials = [jasp(trial).inspectors[inspector] for trial in range(3)]
    assert np.mean([one.fleiss.value for one in trials if one.fleiss]) == pytest.approx(by_trial, abs=5e-7)
    assert np.mean([one.kappa.value for one in trials if one.kappa]) == pytest.approx(cohen_by_trial, abs=5e-7)


def test_published_study_gives_its_published_fleiss_kappa_of_all_with_the_reference() -> None:
    found = [one.fleiss.value for one in jasp().inspectors if one.fleiss]
    assert np.mean(found) == pytest.approx(0.446179, abs=5e-7)


def test_published_study_gives_its_published_figures_of_all_inspectors() -> None:
    found = jasp()
    assert found.between == share(9, 15)
    assert found.effectiveness == share(7, 15)
    assert found.fleiss == pytest.approx(0.641667, abs=5e-7)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(42, 50, 70.89, 92.83), (45, 50, 78.19, 96.67), (40, 50, 66.28, 89.97), (14, 15, 68.05, 99.83), (0, 30, 0, 11.57)],
)
def test_intervals_are_the_published_ones(hits: int, n: int, low: float, high: float) -> None:
    found = share(hits, n)
    assert [100 * found.low, 100 * found.high] == pytest.approx([low, high], abs=0.005)


@pytest.mark.parametrize(
    ("figure", "value", "expected"),
    [
        ("effectiveness", 45 / 50, ACCEPTABLE), ("effectiveness", 0.8999, MARGINAL),
        ("effectiveness", 40 / 50, MARGINAL), ("effectiveness", 0.7999, UNACCEPTABLE),
        ("miss", 1 / 50, ACCEPTABLE), ("miss", 0.05, MARGINAL), ("miss", 0.0501, UNACCEPTABLE),
        ("false_alarm", 0.05, ACCEPTABLE), ("false_alarm", 0.1, MARGINAL), ("false_alarm", 0.11, UNACCEPTABLE),
    ],
)  # fmt: skip
def test_bands_are_those_of_the_handbook(figure: str, value: float, expected: str) -> None:
    assert band(figure, value) == expected


def test_few_parts_rule_little_out() -> None:
    assert (band("miss", 0.0), worst_band("miss", share(0, 16))) == (ACCEPTABLE, UNACCEPTABLE)
    assert worst_band("miss", share(0, 200)) == ACCEPTABLE
    assert worst_band("effectiveness", share(50, 50)) == ACCEPTABLE


def test_recheck_is_no_miss_and_no_pass() -> None:
    found = of_looks((0, 0, MAYBE), (1, 0, MAYBE), (2, 0, NO), (3, 0, YES), reference=[YES, NO, NO, YES])
    (one,) = found.inspectors
    assert one.miss == share(0, 2)
    assert one.false_alarm == share(1, 2)
    assert one.effectiveness == share(2, 4)
    assert one.undecided == share(2, 4)
    assert one.repeatability is None


def test_a_part_is_right_when_all_of_its_images_are() -> None:
    looks = [(0, 0, YES), (0, 0, YES), (1, 0, YES), (1, 0, NO), (2, 0, NO), (2, 0, NO)]
    found = of_looks(*looks, reference=[YES, YES, NO], part=np.array([7, 7, 9]))
    (one,) = found.inspectors
    assert one.parts == 2
    assert one.repeatability == one.effectiveness == share(1, 2)
    assert one.miss == share(0.25, 1)


def test_different_images_of_a_part_may_show_different_things() -> None:
    looks = [(0, 0, YES), (0, 0, YES), (1, 0, NO), (1, 0, NO)]
    (one,) = of_looks(*looks, reference=[YES, NO], part=np.array([0, 0])).inspectors
    assert one.repeatability == one.effectiveness == share(1, 1)


def test_more_looks_at_the_same_parts_are_no_more_evidence() -> None:
    once = [(item, 0, NO) for item in range(10)]
    reference = [YES, *[NO] * 9]
    few, many = (of_looks(*once * times, reference=reference).inspectors[0] for times in (1, 5))
    assert few.miss == many.miss
    assert few.false_alarm == many.false_alarm
    assert few.undecided == many.undecided


def test_inspectors_are_compared_only_where_they_looked_at_the_same() -> None:
    looks = [(0, 0, NO), (1, 0, YES), (2, 0, NO), (1, 1, YES), (2, 1, YES), (3, 1, YES), (4, 3, NO)]
    found = of_looks(*looks, reference=[NO, YES, NO, YES, NO])
    assert [one.inspector for one in found.inspectors] == [0, 1, 3]
    assert found.pairs[0].agreement == share(1, 2)
    assert (found.pairs[1].agreement, found.pairs[1].kappa) == (None, None)
    assert found.between is found.effectiveness is None


def test_without_a_reference_each_inspector_is_held_against_the_others() -> None:
    looks = [(item, who, YES if item < 3 else NO) for item in range(6) for who in range(3)]
    looks[0] = (0, 0, NO)  # inspector 0 alone passes the first part
    found = without_reference(looks, ok=[NO])
    assert found.reference == OTHERS
    assert found.effectiveness is None
    first, second, third = found.inspectors
    assert (first.effectiveness, first.miss, first.false_alarm) == (share(5, 6), share(1, 3), share(0, 3))
    # For the other two the rest is split on the first part, so it says nothing of them.
    assert [one.unreferenced for one in found.inspectors] == [0, 1, 1]
    assert second.effectiveness == third.effectiveness == share(5, 5)


def test_inspectors_who_contradict_each_other_are_both_wrong_by_the_other() -> None:
    found = without_reference([(item, who, who) for item in range(5) for who in (0, 1)])
    assert [one.effectiveness for one in found.inspectors] == [share(0, 5)] * 2
    assert found.between == share(0, 5)


def test_without_good_labels_classes_are_compared() -> None:
    found = without_reference([(item, who, item % 3) for item in range(6) for who in (0, 1, 2)])
    assert (found.level, found.by_class) == (CLASSES, None)
    assert {(one.miss, one.false_alarm, one.bias) for one in found.inspectors} == {(None, None, None)}
    assert {one.effectiveness for one in found.inspectors} == {share(6, 6)}


def test_defects_that_are_mixed_up_matter_to_classes_and_not_to_decisions() -> None:
    scratch, dent = 1, 2
    looks = [(0, 0, scratch), (0, 1, dent), (1, 0, dent), (1, 1, dent), (2, 0, NO), (2, 1, NO)]
    found = without_reference(looks, ok=[NO])
    assert (found.level, found.between) == (DECIDED, share(3, 3))
    assert found.by_class
    assert (found.by_class.level, found.by_class.between) == (CLASSES, share(2, 3))


def test_one_inspector_without_a_reference_has_only_repeatability() -> None:
    found = without_reference([(0, 0, NO), (0, 0, NO), (1, 0, NO), (1, 0, YES)], ok=[NO])
    (one,) = found.inspectors
    assert one.repeatability == share(1, 2)
    assert (one.unreferenced, one.effectiveness, one.kappa, one.confusion) == (2, None, None, None)
    assert (found.between, found.pairs) == (None, ())


def test_parts_of_which_nobody_knows_what_they_are_are_left_out_and_counted() -> None:
    found = of_looks((0, 0, NO), (1, 0, YES), (2, 0, YES), reference=[NO, YES, -1])
    (one,) = found.inspectors
    assert (one.parts, one.unreferenced, one.effectiveness) == (3, 1, share(2, 2))
    assert one.confusion == ((1, 0, 0), (0, 1, 0), (0, 0, 0))


def test_bias_tells_strict_from_lenient() -> None:
    looks = [(item, who, said) for item in range(10) for who, said in enumerate((YES, item % 2, NO))]
    found = of_looks(*looks, reference=[item % 2 for item in range(10)])
    strict, even, lenient = (one.bias for one in found.inspectors)
    assert strict
    assert even
    assert lenient
    assert [strict.value, even.value, lenient.value] == [0.5, 0.0, -0.5]
    assert strict.low > 0 > lenient.high
    assert found.pairs[1].bias
    assert found.pairs[1].bias.value == 1.0


def test_looks_that_are_right_and_wrong_are_mixed_and_always_wrong_ones_are_not() -> None:
    looks = [(0, 0, NO), (0, 0, YES), (1, 0, YES), (1, 0, YES), (2, 0, NO), (2, 0, NO), (3, 0, NO)]
    (one,) = of_looks(*looks, reference=[NO, NO, NO, NO]).inspectors
    assert one.mixed == share(1, 3)


def test_agreement_that_kappa_hides_is_a_paradox() -> None:
    # 118 parts both pass, 7 on which they differ, none that both reject.
    said = [(NO, NO)] * 118 + [(NO, YES)] * 5 + [(YES, NO)] * 2
    found = without_reference([(n, who, pair[who]) for n, pair in enumerate(said) for who in (0, 1)], ok=[NO])
    (pair,) = found.pairs
    assert pair.is_paradox
    assert found.together.is_paradox
    assert pair.kappa
    assert pair.ac
    assert pair.pabak
    assert [pair.kappa.value, pair.ac.value, pair.pabak.value] == pytest.approx([-0.0234, 0.9408, 0.888], abs=5e-5)
    assert pair.agreement == share(118, 125)


def test_honest_disagreement_is_no_paradox() -> None:
    assert not any(pair.is_paradox for pair in jasp().pairs)


def test_everybody_says_the_same_of_everything() -> None:
    found = without_reference([(item, who, NO) for item in range(4) for who in (0, 1)], ok=[NO])
    (pair,) = found.pairs
    assert (pair.agreement, pair.kappa, pair.is_paradox) == (share(4, 4), None, True)
    assert pair.ac
    assert pair.ac.value == 1.0
    assert found.fleiss is None


def test_near_misses_cost_less_with_weights() -> None:
    rows = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 1)]
    looks = [(n, who, pair[who]) for n, pair in enumerate(rows) for who in (0, 1)]
    plain, weighted = (without_reference(looks, weights=name) for name in ("identity", "quadratic"))
    for figure in ("kappa", "ac", "pabak"):
        assert getattr(plain.pairs[0], figure).value < getattr(weighted.pairs[0], figure).value
    assert plain.pairs[0].agreement == weighted.pairs[0].agreement


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(WrongVotes) as refused:
        without_reference([(0, 0, NO)], weights="cubic")
    assert "quadratic" in refused.value.remedy


def test_no_votes_tell_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    found = study(Votes(nothing, nothing, nothing, nothing), np.array([NO, YES]), ok=[NO])
    assert (found.inspectors, found.pairs, found.fleiss, found.between) == ((), (), None, None)


@pytest.mark.parametrize("wrong", [{"reference": [NO]}, {"reference": [NO, MAYBE]}, {"part": np.array([0])}])
def test_what_does_not_fit_the_votes_is_refused(wrong: dict[str, Any]) -> None:
    given_to = {"reference": [NO, YES], **wrong}
    with pytest.raises(WrongVotes) as refused:
        of_looks((0, 0, NO), (1, 0, YES), **given_to)
    assert refused.value.remedy


@settings(deadline=None)  # a loaded machine is no failure
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_every_share_lies_in_its_interval(looks: list[tuple[int, int, int]]) -> None:
    found = of_looks(*looks, reference=[NO, YES, NO, YES, NO, YES])
    for one in found.inspectors:
        for figure in (one.repeatability, one.effectiveness, one.miss, one.false_alarm, one.undecided):
            assert figure is None or 0 <= figure.low <= figure.value <= figure.high <= 1
        assert one.kappa is None or -1 <= one.kappa.low <= one.kappa.value <= one.kappa.high <= 1


@pytest.mark.parametrize(
    ("missed", "alarmed", "miss", "false_alarm"), [(3, 5, 6.25, 4.90), (3, 2, 6.25, 1.96), (6, 9, 12.5, 8.82)]
)
def test_rates_are_those_of_the_handbook(missed: int, alarmed: int, miss: float, false_alarm: float) -> None:
    """AIAG's 16 defective and 34 good parts, three looks each."""
    wrong = {*range(missed), *range(48, 48 + alarmed)}
    looks = [(look // 3, 0, (YES if look < 48 else NO) if look not in wrong else NO if look < 48 else YES)
             for look in range(150)]  # fmt: skip
    (one,) = of_looks(*looks, reference=[YES] * 16 + [NO] * 34).inspectors
    assert one.miss
    assert one.false_alarm
    assert 100 * one.miss.value == pytest.approx(miss, abs=0.005)
    assert 100 * one.false_alarm.value == pytest.approx(false_alarm, abs=0.005)


@settings(deadline=None)  # a loaded machine is no failure
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=40),
    st.sampled_from(["identity", "linear", "quadratic", "ordinal"]),
    st.booleans(),
)
def test_any_votes_have_figures_that_are_numbers(
    looks: list[tuple[int, int, int]], weights: str, knows_good: bool
) -> None:
    found = without_reference(looks, weights=weights, ok=[0] if knows_good else None, undecided=[3])
    assert all(math.isfinite(number) for number in numbers(asdict(found)))


def numbers(value: Any) -> Iterator[float]:
    """Every number in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value
