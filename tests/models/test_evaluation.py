import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from models.evaluation import (
    OneSidedSample,
    accuracy,
    auroc,
    auroc_interval,
    grouped_proportion,
    outcomes,
    proportion,
    upper_bound,
)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60))
def test_auroc_agrees_with_scikit_learn_ties_included(rows: list[tuple[int, bool]]) -> None:
    score, defect = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if defect.all() or not defect.any():
        with pytest.raises(OneSidedSample):
            auroc(score, defect)
    else:
        assert auroc(score, defect) == pytest.approx(roc_auc_score(defect, score))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (1, 500)])
def test_proportions_agree_with_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, "exact")
    found = proportion(hits, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert upper_bound(hits, n) == pytest.approx(
        binomtest(hits, n, alternative="less").proportion_ci(0.95, "exact").high
    )


def test_nothing_seen_says_nothing() -> None:
    assert proportion(0, 0).high == 1.0
    assert upper_bound(0, 0) == 1.0


def test_copies_of_a_part_do_not_narrow_an_interval() -> None:
    rng = np.random.default_rng(0)
    defect = np.arange(40) % 2 == 0
    score = defect + rng.normal(0, 1.2, 40)
    once = auroc_interval(score, defect, np.arange(40), np.random.default_rng(1))
    six_times = auroc_interval(
        np.repeat(score, 6), np.repeat(defect, 6), np.repeat(np.arange(40), 6), np.random.default_rng(1)
    )
    assert six_times.n == once.n == 40
    assert six_times.high - six_times.low == pytest.approx(once.high - once.low, rel=0.05)
    assert once.low < once.value < once.high
    assert grouped_proportion(np.repeat(score > 0, 6), np.repeat(np.arange(40), 6)) == grouped_proportion(
        score > 0, np.arange(40)
    )


def test_the_same_seed_gives_the_same_interval() -> None:
    arguments = ([0.1, 0.5, 0.4, 0.9, 0.2, 0.7], [0, 1, 0, 1, 1, 0], list("aabbcd"))
    first, second = (auroc_interval(*arguments, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_outcomes_of_two_thresholds() -> None:
    found = outcomes([0.1, 0.5, 0.9, 0.1, 0.6, 0.95], [0, 0, 0, 1, 1, 1], list("abcdef"), 0.3, 0.8)
    assert found.escape.value == pytest.approx(1 / 3)
    assert found.overkill.value == pytest.approx(2 / 3)
    assert found.recheck.value == pytest.approx(2 / 6)


def test_accuracy_is_the_share_of_likeliest_classes() -> None:
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]])
    assert accuracy(probability, [0, 1, 1, 1], list("abcd")).value == 0.75
