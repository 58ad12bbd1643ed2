"""Every coefficient against the tables of its textbook, and against the data folder where there is one."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.agreement import (
    METRICS,
    WEIGHTS,
    Coefficient,
    coefficients,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac,
    krippendorff_alpha,
    pabak,
    pair_agreement,
    paired,
    share,
)

VECTORS = Path(__file__).parents[3].parent / "shared" / "measure" / "consensus" / "agreement_vectors.json"

# Fleiss, J. L. (1971), Psychological Bulletin 76: 10 subjects, 14 looks each, 5 classes.
FLEISS = """0 0 0 0 14, 0 2 6 4 2, 0 0 3 5 6, 0 3 9 2 0, 2 2 8 1 1,
7 7 0 0 0, 3 2 6 3 0, 2 5 3 2 2, 6 5 2 1 0, 0 2 2 3 7"""
# Krippendorff (2011), example C, which Gwet (2014) takes too: 4 observers, 12 units, 5 values, 7 values missing.
FOUR_RATERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
PARADOX = [[118, 5], [2, 0]]
# AIAG, MSA, 4th edition, chapter III C: 50 parts, 3 inspectors, 3 looks.
AIAG = [
    ([[44, 6], [3, 97]], 0.8629, (0.7763, 0.9496), 0.8933),
    ([[42, 5], [9, 94]], 0.7880, (0.6828, 0.8933), 0.8334),
    ([[43, 7], [8, 92]], 0.7761, (0.6690, 0.8833), 0.8193),
    ([[45, 5], [3, 97]], 0.8788, (0.7972, 0.9604), 0.9048),
    ([[45, 2], [3, 100]], 0.9230, (0.8566, 0.9893), 0.9412),
    ([[42, 9], [6, 93]], 0.7740, (0.6659, 0.8820), 0.8207),
]
ABSTRACTORS = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]
DIAGNOSES = [[40, 4, 4, 17], [6, 25, 2, 13], [4, 1, 21, 12], [15, 5, 9, 45]]


@pytest.fixture(scope="module")
def vectors() -> Any:
    if not VECTORS.is_file() and "data" not in os.environ.get("LOUPE_TEST_REQUIRE", ""):
        pytest.skip(f"there is no {VECTORS}")
    return json.loads(VECTORS.read_text())


def counted(rows: list[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(units, 5) from what each observer said of every unit, 1..5; anything else is missing."""
    counts = np.zeros((len(rows[0]), 5), np.int64)
    for row in rows:
        for unit, value in enumerate(row):
            if str(value).isdigit():
                counts[unit, int(value) - 1] += 1
    return counts


def value(found: Coefficient | None) -> float:
    assert found
    return found.value


def ends(found: Coefficient | None) -> list[float]:
    assert found
    return [found.low, found.high]


@pytest.mark.parametrize(("table", "kappa", "interval", "ac1"), AIAG)
def test_tables_of_the_handbook(table: Any, kappa: float, interval: tuple[float, float], ac1: float) -> None:
    found = cohen_kappa(np.array(table))
    assert value(found) == pytest.approx(kappa, abs=5e-5)
    assert ends(found) == pytest.approx(interval, abs=5e-5)
    assert value(gwet_ac(paired(np.array(table)))) == pytest.approx(ac1, abs=5e-5)


@pytest.mark.parametrize(
    ("table", "known"),
    [(ABSTRACTORS, (0.7964, 0.8429, 0.8922, 0.8493)), (DIAGNOSES, (0.4315, 0.4068, 0.3832, 0.4562))],
)
def test_tables_of_two_readers(table: Any, known: tuple[float, ...]) -> None:
    of = np.array(table)
    kappas = [value(cohen_kappa(of, weights=weights)) for weights in ("identity", "linear", "quadratic")]
    assert [*kappas, value(gwet_ac(paired(of)))] == pytest.approx(known, abs=5e-5)


def test_kappa_of_four_cells_has_the_published_interval() -> None:
    found = cohen_kappa(np.array([[20, 5], [10, 15]]))
    assert [value(found), *ends(found)] == pytest.approx([0.4, 0.1511, 0.6489], abs=5e-5)


def test_kappa_hides_agreement_where_one_class_rules_and_ac1_does_not() -> None:
    counts = paired(np.array(PARADOX))
    assert pair_agreement(counts) == share(118, 125)
    assert value(cohen_kappa(np.array(PARADOX))) == pytest.approx(-0.0234, abs=5e-5)
    assert value(gwet_ac(counts)) == pytest.approx(0.9408, abs=5e-5)
    assert value(pabak(counts)) == pytest.approx(0.888, abs=5e-5)
    assert coefficients(counts).is_paradox


def test_fleiss_of_many_looks() -> None:
    table = np.array([[int(cell) for cell in row.split()] for row in FLEISS.split(",")])
    assert value(fleiss_kappa(table)) == pytest.approx(0.2099, abs=5e-5)


@pytest.mark.parametrize(
    ("metric", "known"), [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491), ("ratio", 0.7974)]
)
def test_alpha_with_missing_values(metric: str, known: float) -> None:
    found = krippendorff_alpha(counted(FOUR_RATERS), metric, np.arange(1.0, 6.0))
    assert value(found) == pytest.approx(known, abs=5e-5)
    assert found
    assert found.n == 11  # one unit was seen once


@pytest.mark.parametrize(
    ("weights", "ac", "low", "fleiss", "alpha"),
    [
        ("identity", 0.77544, 0.46081, 0.76117, 0.74342),
        ("linear", 0.85874, 0.6005, 0.81794, 0.80038),
        ("quadratic", 0.914, 0.68518, 0.86494, 0.84911),
        ("ordinal", 0.89894, 0.66365, 0.85021, 0.83364),
    ],
)
def test_four_raters_with_missing_values(weights: str, ac: float, low: float, fleiss: float, alpha: float) -> None:
    counts = counted(FOUR_RATERS)
    found = gwet_ac(counts, weights)
    assert [value(found), *ends(found)] == pytest.approx([ac, low, 1.0], abs=5e-6)
    assert value(fleiss_kappa(counts, weights)) == pytest.approx(fleiss, abs=5e-6)
    distance = 1 - WEIGHTS[weights](np.arange(5.0))
    assert value(krippendorff_alpha(counts, distance)) == pytest.approx(alpha, abs=5e-6)


def test_literals_here_are_the_published_values(vectors: Any) -> None:
    known = [vectors["aiag"][pair] for pair in ("AxB", "BxC", "AxC", "AxRef", "BxRef", "CxRef")]
    assert [(one["table"], one["kappa"], tuple(one["ci95"]), one["ac1"]) for one in known] == AIAG
    assert vectors["abstractors3x3"]["table"] == ABSTRACTORS
    assert vectors["diagnosis4x4"]["table"] == DIAGNOSES
    assert counted(vectors["krippendorff_canonical"]["data"]).tolist() == counted(FOUR_RATERS).tolist()
    assert vectors["fleiss1971"]["table"] == [[int(cell) for cell in row.split()] for row in FLEISS.split(",")]
    for weights, said in vectors["gwet_4raters"].items():
        found = gwet_ac(counted(FOUR_RATERS), weights)
        assert [value(found), *ends(found)] == pytest.approx([said["gwet"], *said["ci"]], abs=5e-6)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_two_looks_an_item_are_a_table(weights: str) -> None:
    # Scott's pi of a symmetric table is Cohen's kappa of it.
    table = np.array([[30, 4, 1], [4, 12, 3], [1, 3, 9]])
    assert value(fleiss_kappa(paired(table), weights)) == pytest.approx(value(cohen_kappa(table, weights=weights)))


def test_items_of_one_part_are_one_piece_of_evidence() -> None:
    counts = counted(FOUR_RATERS)
    twice, group = np.repeat(counts, 2, axis=0), np.repeat(np.arange(len(counts)), 2)
    for figure in (fleiss_kappa, gwet_ac, pabak):
        alone, together = figure(counts), figure(twice, group=group)
        assert together
        assert alone
        assert [together.value, together.low, together.n] == pytest.approx([alone.value, alone.low, alone.n])
    assert pair_agreement(counts) == pair_agreement(twice, group)


def test_agreement_that_chance_would_give_anyway_has_no_kappa() -> None:
    assert cohen_kappa(np.array([[10, 0], [0, 0]])) is None
    assert cohen_kappa(np.zeros((2, 2))) is None
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None
    assert krippendorff_alpha(np.array([[3, 0], [3, 0]])) is None


def test_items_with_one_look_tell_nothing_of_agreement() -> None:
    counts = np.array([[1, 0], [0, 1]])
    found = coefficients(counts)
    assert (found.agreement, found.fleiss, found.ac, found.pabak, found.alpha) == (None,) * 5
    assert not found.is_paradox
    assert coefficients(np.zeros((0, 2))).agreement is None


def test_one_part_rules_nothing_out() -> None:
    found = gwet_ac(np.array([[2, 1]]))
    assert found
    assert (found.low, found.high, found.n) == (-1.0, 1.0, 1)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_looks_have_no_distance(metric: str) -> None:
    assert value(krippendorff_alpha(np.array([[3, 0, 0], [0, 3, 0], [0, 0, 3]]), metric)) == 1.0


@settings(deadline=None)  # a loaded machine is no failure
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=12),
    st.sampled_from(sorted(WEIGHTS)),
)
def test_any_counts_have_an_answer(rows: list[list[int]], weights: str) -> None:
    found = coefficients(np.array(rows), weights, np.arange(len(rows)) // 2)
    for one in (found.fleiss, found.ac, found.pabak, found.alpha):
        assert one is None or one.low <= one.value + 1e-9 <= one.high + 2e-9 <= 1 + 3e-9
