"""What every consensus model must hold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.consensus import CONSENSUS, aggregate
from labeling.votes import Consensus, Floats, Votes, WrongVotes

METHODS = sorted({*CONSENSUS, "auto"})
TEXTBOOK = {"dawid_skene", "one_coin"}
"""Maximum likelihood: every vote counts in full, and agreement soon is certainty."""
ITEMS, INSPECTORS, CLASSES = 8, 5, 4


def votes_of(rows: list[tuple[int, int, int, int, float]]) -> Votes:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    item, inspector, label, occasion = columns[:4].astype(np.int64)
    return Votes(item, inspector, label, occasion, columns[4])


def ballots(classes: int) -> st.SearchStrategy[list[tuple[int, int, int, int, float]]]:
    return st.lists(
        st.tuples(
            st.integers(0, ITEMS - 1),
            st.integers(0, INSPECTORS - 1),
            st.integers(0, classes - 1),
            st.integers(0, 2),
            st.sampled_from([0.1, 0.5, 1.0]),
        ),
        max_size=30,
    )


def assert_sound(found: Consensus, classes: int) -> None:
    n = len(found.probability)
    assert found.probability.shape == (n, classes)
    assert np.isfinite(found.probability).all()
    assert (found.probability >= 0).all()
    np.testing.assert_allclose(found.probability.sum(axis=1), 1.0, atol=1e-9)
    assert found.label.shape == (n,)
    assert np.array_equal(found.label, found.probability.argmax(axis=1))
    assert found.effective_votes.shape == (n,)
    assert np.isfinite(found.effective_votes).all()
    assert (found.effective_votes >= 0).all()
    assert found.confusion.shape[1:] == (classes, classes)
    assert np.isfinite(found.confusion).all()
    np.testing.assert_allclose(found.confusion.sum(axis=2), 1.0, atol=1e-9)
    assert found.method in CONSENSUS
    assert found.reason


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_probabilities_are_probabilities(method: str, data: st.DataObject) -> None:
    classes = data.draw(st.integers(1, CLASSES))
    votes = votes_of(data.draw(ballots(classes)))
    assert_sound(aggregate(votes, classes, method=method), classes)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_order_of_votes_says_nothing(method: str, data: st.DataObject) -> None:
    rows = data.draw(ballots(CLASSES))
    one, other = votes_of(rows), votes_of(data.draw(st.permutations(rows)))
    first, second = aggregate(one, CLASSES, method=method), aggregate(other, CLASSES, method=method)
    np.testing.assert_allclose(first.probability, second.probability, atol=1e-6)
    np.testing.assert_allclose(first.confusion, second.confusion, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nothing_that_was_passed_is_changed(method: str, data: st.DataObject) -> None:
    rows = data.draw(ballots(CLASSES))
    votes, untouched = votes_of(rows), votes_of(rows)
    aggregate(votes, CLASSES, method=method)
    for name in ("item", "inspector", "label", "occasion", "weight"):
        assert np.array_equal(getattr(votes, name), getattr(untouched, name))


@pytest.mark.parametrize("method", METHODS)
def test_no_votes_are_fine(method: str) -> None:
    assert_sound(aggregate(votes_of([]), 3, method=method), 3)
    prior: Floats = np.array([[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]])
    found = aggregate(votes_of([]), 3, method=method, model_probability=prior)
    assert_sound(found, 3)
    assert found.label.tolist() == [2, 0], "without votes the model is all there is"
    assert found.effective_votes.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("method", METHODS)
def test_one_inspector_is_believed(method: str) -> None:
    found = aggregate(votes_of([(n, 0, n % 2, 0, 1.0) for n in range(6)]), 2, method=method)
    assert_sound(found, 2)
    assert found.label.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_certain(method: str) -> None:
    found = aggregate(votes_of([(0, 0, 0, 0, 1.0), (1, 1, 0, 0, 0.5)]), 1, method=method)
    assert_sound(found, 1)
    assert found.probability.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_sure_of_the_impossible_leaves_probabilities(method: str) -> None:
    certain: Floats = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = aggregate(
        votes_of([(0, n, 1, 0, 1.0) for n in range(4)]),
        2,
        method=method,
        class_prior=np.array([0.5, 0.5]),
        model_probability=certain,
    )
    assert_sound(found, 2)
    assert (found.probability > 0).all(), "a model may doubt what people saw, never rule it out"


@pytest.mark.parametrize("method", METHODS)
def test_items_without_votes_between_others_are_kept(method: str) -> None:
    found = aggregate(votes_of([(0, 0, 1, 0, 1.0), (4, 2, 0, 0, 1.0)]), 2, method=method)
    assert_sound(found, 2)
    assert len(found.label) == 5
    assert found.effective_votes[1:4].tolist() == [0.0] * 3


@pytest.mark.parametrize("method", sorted({*METHODS} - TEXTBOOK))
def test_agreement_of_many_is_surer_than_of_few_and_repeats_count_for_less(method: str) -> None:
    def certainty(looks: list[tuple[int, int]]) -> float:
        background = [(n, inspector, n % 2, 0, 1.0) for n in range(1, 20) for inspector in range(4)]
        rows = background + [(0, inspector, 1, occasion, 1.0) for inspector, occasion in looks]
        return float(aggregate(votes_of(rows), 2, method=method).probability[0, 1])

    one, repeated, four = certainty([(0, 0)]), certainty([(0, 0), (0, 1)]), certainty([(n, 0) for n in range(4)])
    two = certainty([(0, 0), (1, 0)])
    assert one < two < four
    assert one <= repeated < two


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


GOOD: dict[str, Any] = {"item": ints(0, 1), "inspector": ints(0, 1), "label": ints(0, 1), "occasion": ints(0, 0)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"item": ints(0)},
        {"weight": np.array([1.0])},
        {"time": np.array([1.0])},
        {"item": ints(0, -1)},
        {"inspector": ints(-1, 0)},
        {"occasion": ints(0, -1)},
        {"label": ints(0, 2)},
        {"label": ints(0, -1)},
        {"weight": np.array([0.0, 1.0])},
        {"weight": np.array([1.0, 1.5])},
        {"weight": np.array([1.0, np.nan])},
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_wrong_votes_are_refused_with_a_remedy(method: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongVotes) as refused:
        aggregate(Votes(**{**GOOD, **wrong}), 2, method=method)
    assert refused.value.remedy


def test_wrong_arguments_are_refused_with_a_remedy() -> None:
    votes = Votes(**GOOD)
    for arguments in ({"method": "guess"}, {"model_probability": np.full((1, 2), 0.5)}):
        with pytest.raises(WrongVotes) as refused:
            aggregate(votes, 2, **arguments)
        assert refused.value.remedy
    with pytest.raises(WrongVotes, match="class_count is 0"):
        aggregate(votes, 0)


@pytest.mark.parametrize(
    "prior", [np.array([0.5]), np.array([0.0, 0.0]), np.array([-1.0, 2.0]), np.array([np.nan, 1.0])]
)
def test_a_prior_that_is_none_is_refused(prior: Floats) -> None:
    with pytest.raises(WrongVotes, match="class_prior"):
        aggregate(Votes(**GOOD), 2, class_prior=prior)


@pytest.mark.parametrize("model", [np.full((2, 3), 0.3), np.array([[0.5, np.nan], [0.5, 0.5]]), np.full(2, 0.5)])
def test_model_probabilities_that_are_none_are_refused(model: Floats) -> None:
    with pytest.raises(WrongVotes, match="model_probability"):
        aggregate(Votes(**GOOD), 2, model_probability=model)
