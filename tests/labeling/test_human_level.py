"""One inspector's error, against what is so in simulation."""

import warnings

import numpy as np
import pytest

from labeling.consensus import aggregate
from labeling.human_level import human_level
from labeling.votes import Ints, Votes
from tests.labeling.disagreement.simulated_teams import shift_work


def true_error(votes: Votes, truth: Ints) -> float:
    return float((votes.label != truth[votes.item]).mean())


@pytest.mark.parametrize(("inspectors", "error"), [(3, 0.04), (3, 0.1), (5, 0.1)])
def test_the_corrected_error_is_the_true_one_where_the_raw_one_is_too_high(inspectors: int, error: float) -> None:
    raw, corrected, true = [], [], []
    for seed in range(10):
        votes, truth = shift_work(
            np.random.default_rng(seed), inspectors=inspectors, looks=inspectors, error=error, hard=0.0
        )
        found = human_level(votes, aggregate(votes, 2, method="majority")).overall
        assert found
        assert found.corrected
        raw.append(found.raw.value)
        corrected.append(found.corrected.value)
        true.append(true_error(votes, truth))
    assert np.mean(corrected) == pytest.approx(np.mean(true), rel=0.06)
    assert np.mean(raw) > np.mean(true)
    assert abs(np.mean(corrected) - np.mean(true)) < abs(np.mean(raw) - np.mean(true))


def test_the_interval_holds_the_true_error_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        votes, _ = shift_work(np.random.default_rng(seed), items=200, inspectors=3, looks=3, error=0.08, hard=0.0)
        found = human_level(votes, aggregate(votes, 2, method="majority")).overall
        assert found
        assert found.corrected
        held += found.corrected.low <= 0.08 <= found.corrected.high
    assert held >= 35


def test_images_that_are_alike_widen_the_interval() -> None:
    votes, _ = shift_work(np.random.default_rng(0), hard=0.0)
    four = Votes(
        np.tile(votes.item, 4),
        np.tile(votes.inspector, 4),
        np.tile(votes.label, 4),
        np.repeat(np.arange(4), len(votes.item)),
    )
    once, often = (human_level(one, aggregate(one, 2, method="majority")).overall for one in (votes, four))
    assert once
    assert often
    # Saying the same four times is no more evidence.
    assert often.raw.high - often.raw.low == pytest.approx(once.raw.high - once.raw.low, rel=0.15)


def test_decisions_are_errors_between_good_and_not_good() -> None:
    rng = np.random.default_rng(0)
    item, inspector = np.repeat(np.arange(200), 3), np.tile(np.arange(3), 200)
    truth = item % 3
    swapped = np.where(truth == 1, 2, np.where(truth == 2, 1, 0))
    label = np.where(rng.random(600) < 0.2, swapped, truth)
    votes = Votes(item, inspector, label, 0 * item)
    settled = aggregate(votes, 3, method="majority")
    classes, decided = human_level(votes, settled), human_level(votes, settled, [0])
    assert classes.overall
    assert decided.overall
    assert classes.overall.raw.value > 0.05
    assert decided.overall.raw.value == 0.0
    assert len(decided.by_class) == 2


def test_each_inspector_and_each_class_gets_its_own_error() -> None:
    rng = np.random.default_rng(0)
    errors = np.array([0.02, 0.05, 0.05, 0.15])
    item, inspector = np.repeat(np.arange(2000), 4), np.tile(np.arange(4), 2000)
    truth = (rng.random(2000) < 0.3).astype(np.int64)
    label = truth[item] ^ (rng.random(8000) < errors[inspector])
    votes = Votes(item, inspector, label, 0 * item)
    found = human_level(votes, aggregate(votes, 2))
    for one, error in zip(found.by_inspector, errors, strict=True):
        assert one
        assert one.corrected
        assert one.corrected.value == pytest.approx(error, abs=0.012)
    for one in found.by_class:
        assert one
        assert one.corrected
        assert one.corrected.value == pytest.approx(errors.mean(), abs=0.025)


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([], "one inspector alone"),
        ([(n, 0, 0) for n in range(30)], "one inspector alone"),
        ([(n, n % 2, 0) for n in range(30)], "fewer than 10"),
    ],
    ids=["nothing", "one inspector", "no overlap"],
)
def test_what_cant_be_said_is_none_with_a_reason(looks: list[tuple[int, int, int]], reason: str) -> None:
    item, inspector, label = np.array(looks, np.int64).reshape(-1, 3).T
    votes = Votes(item, inspector, label, 0 * item)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = human_level(votes, aggregate(votes, 2, method="majority"))
    assert found.overall is None
    assert reason in found.reason


def test_two_inspectors_are_told_that_nobody_knows_which_one_errs() -> None:
    votes, _ = shift_work(np.random.default_rng(0), inspectors=2, looks=2)
    found = human_level(votes, aggregate(votes, 2, method="majority"))
    assert found.overall
    assert "of two inspectors" in found.reason


def test_everybody_disagreeing_is_an_error_of_one() -> None:
    item, inspector = np.repeat(np.arange(20), 2), np.tile(np.arange(2), 20)
    found = human_level(
        votes := Votes(item, inspector, inspector.copy(), 0 * item), aggregate(votes, 2, method="majority")
    )
    assert found.overall
    assert found.overall.raw.value == 1.0
    assert found.overall.corrected is None
