import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.agreement import (
    ACCEPTABLE,
    MARGINAL,
    UNACCEPTABLE,
    AgreementStudy,
    band,
    cohen_kappa,
    fleiss_kappa,
    share,
    study,
    worst_band,
)
from labeling.votes import Votes, WrongVotes

VECTORS = Path(__file__).parents[2].parent / "shared" / "measure" / "consensus" / "agreement_vectors.json"

# A teaching example that JASP publishes: 15 parts, the reference, and three looks each of BL, EG and MH.
JASP = """Y YYYYYYYYY, N NNNNNNYYY, Y YYYYYYYYY, Y YNNYNNYYY, Y YYYYYYYYY, N YYYYYYYYY, Y NNNYYYYYY, N NNNNNNNNY,
N NNNNNNYNN, Y YYYYYYYYY, N NNNNNNYNY, Y YYYYYYYYY, Y YYYYYYYYY, Y NNNNNNNNN, Y YYYYYYYYY"""
NO, YES, MAYBE = 0, 1, 2


def jasp() -> AgreementStudy:
    rows = [row.split() for row in JASP.replace("\n", " ").split(", ")]
    label = np.array([["NY".index(said) for said in looks] for _, looks in rows])
    item, column = np.indices(label.shape)
    votes = Votes(item.ravel(), column.ravel() // 3, label.ravel(), column.ravel() % 3)
    # `Yes` is what must be found: the rates below are given for it.
    return study(votes, np.array(["NY".index(true) for true, _ in rows]), ok=[NO])


@pytest.fixture(scope="module")
def vectors() -> Any:
    if not VECTORS.is_file() and "data" not in os.environ.get("LOUPE_TEST_REQUIRE", ""):
        pytest.skip(f"there is no {VECTORS}")
    return json.loads(VECTORS.read_text())


def of_looks(*looks: tuple[int, int, int], reference: list[int], **more: Any) -> AgreementStudy:
    """A study of (item, inspector, label); occasions count up."""
    seen: dict[tuple[int, int], int] = {}
    occasion = []
    for item, inspector, _ in looks:
        occasion.append(seen.get((item, inspector), 0))
        seen[item, inspector] = occasion[-1] + 1
    item_column, inspector_column, label = (np.array(column) for column in zip(*looks, strict=True))
    votes = Votes(item_column, inspector_column, label, np.array(occasion))
    return study(votes, np.array(reference), ok=[NO], undecided=[MAYBE], **more)


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


def test_kappas_of_tables_are_the_published_ones(vectors: Any) -> None:
    tables = [known for name, known in vectors["aiag"].items() if name != "effectiveness"]
    for known in [*tables, vectors["abstractors3x3"], vectors["diagnosis4x4"]]:
        found = cohen_kappa(np.array(known["table"]))
        assert found
        assert found.value == pytest.approx(known["kappa"], abs=5e-5)
        if "ci95" in known:
            assert [found.low, found.high] == pytest.approx(known["ci95"], abs=1e-4)


def test_kappa_of_four_cells_has_the_published_interval() -> None:
    found = cohen_kappa(np.array([[20, 5], [10, 15]]))
    assert found
    assert [found.value, found.low, found.high] == pytest.approx([0.4, 0.1511, 0.6489], abs=5e-5)


def test_fleiss_kappa_is_the_published_one(vectors: Any) -> None:
    known = vectors["fleiss1971"]
    assert fleiss_kappa(np.array(known["table"])) == pytest.approx(known["kappa"], abs=5e-5)


def test_agreement_that_chance_would_give_anyway_has_no_kappa() -> None:
    assert cohen_kappa(np.array([[10, 0], [0, 0]])) is None
    assert cohen_kappa(np.zeros((2, 2))) is None
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None
    assert fleiss_kappa(np.array([[1, 0], [0, 1]])) is None


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


def test_without_a_reference_only_agreement_is_told() -> None:
    votes = Votes(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 0]), np.zeros(4, np.int64))
    found = study(votes, ok=[NO])
    assert found.between == share(1, 2)
    assert found.effectiveness is None
    assert {(one.miss, one.false_alarm, one.effectiveness, one.kappa) for one in found.inspectors} == {(None,) * 4}


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


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_every_share_lies_in_its_interval(looks: list[tuple[int, int, int]]) -> None:
    found = of_looks(*looks, reference=[NO, YES, NO, YES, NO, YES])
    for one in found.inspectors:
        for figure in (one.repeatability, one.effectiveness, one.miss, one.false_alarm, one.undecided):
            assert figure is None or 0 <= figure.low <= figure.value <= figure.high <= 1
        assert one.kappa is None or -1 <= one.kappa.low <= one.kappa.value <= one.kappa.high <= 1
