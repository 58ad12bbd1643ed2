import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.consensus import aggregate
from labeling.queue import next_requests
from labeling.votes import Consensus, Floats, Votes


def votes_of(rows: list[tuple[int, int, int]]) -> Votes:
    item, inspector, label = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Votes(item, inspector, label, np.zeros(len(rows), dtype=np.int64))


def settled(rows: list[tuple[int, int, int]]) -> tuple[Votes, Consensus]:
    votes = votes_of(rows)
    return votes, aggregate(votes, 2)


def entropy(consensus: Consensus) -> Floats:
    p = np.maximum(consensus.probability, 1e-12)
    return np.asarray(-(p * np.log(p)).sum(axis=1))


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, n=st.integers(1, 15))
def test_the_least_certain_images_come_first_each_once_for_who_knows_it_least(
    rows: list[tuple[int, int, int]], n: int
) -> None:
    votes, consensus = settled(rows)
    pairs = next_requests(votes, consensus, n, inspector_count=4)
    items = pairs[:, 0].tolist()
    assert len(items) == len(set(items)) == min(n, len(consensus.label))
    values = entropy(consensus)
    asked = values[items]
    assert (np.diff(asked) <= 1e-12).all()
    assert np.delete(values, items).max(initial=-1.0) <= asked.min() + 1e-12
    looks = np.zeros((len(consensus.label), 4))
    np.add.at(looks, (votes.item, votes.inspector), 1)
    for item, inspector in pairs:
        assert looks[item, inspector] == looks[item].min()


def test_a_disputed_image_goes_before_a_settled_one() -> None:
    votes, consensus = settled([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1), (2, 0, 1), (2, 1, 1)])
    assert next_requests(votes, consensus, 1, inspector_count=3).tolist() == [[1, 2]]


def test_among_equals_the_inspector_who_agrees_best_is_asked() -> None:
    rows = [(n, inspector, n % 2) for n in range(8) for inspector in (0, 1)] + [(n, 2, 0) for n in range(8)]
    votes, consensus = settled([*rows, (8, 3, 1), (9, 3, 0), (9, 3, 1)])
    pairs = dict(next_requests(votes, consensus, 99).tolist())
    assert pairs[9] in (0, 1), "inspector 2 says good whatever it is"


def test_importance_outweighs_uncertainty() -> None:
    votes, consensus = settled([(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)])
    assert next_requests(votes, consensus, 1).tolist()[0][0] == 0
    assert next_requests(votes, consensus, 1, importance=np.array([0.01, 5.0])).tolist()[0][0] == 1


@pytest.mark.parametrize("n", [0, -1])
def test_asking_for_nothing_gives_nothing(n: int) -> None:
    votes, consensus = settled([(0, 0, 0)])
    assert next_requests(votes, consensus, n).shape == (0, 2)


def test_without_votes_there_is_nobody_to_ask_unless_inspectors_are_known() -> None:
    votes = votes_of([])
    consensus = aggregate(votes, 2, model_probability=np.array([[0.9, 0.1], [0.5, 0.5]]))
    assert next_requests(votes, consensus, 5).shape == (0, 2)
    assert next_requests(votes, consensus, 5, inspector_count=2)[:, 0].tolist() == [1, 0]
