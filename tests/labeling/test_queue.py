import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.consensus import aggregate
from labeling.queue import LEAST_GAIN, REPEAT_AFTER_S, SURE, expected_gain, next_requests
from labeling.votes import Consensus, Floats, Votes
from simulation.panel import panel

HOUR_S = 3600.0


def votes_of(rows: list[tuple[int, int, int]], time: Floats | None = None) -> Votes:
    item, inspector, label = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Votes(item, inspector, label, np.zeros(len(rows), dtype=np.int64), time=time)


def settled(rows: list[tuple[int, int, int]], time: Floats | None = None) -> tuple[Votes, Consensus]:
    votes = votes_of(rows, time)
    return votes, aggregate(votes, 2)


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=40)
ALIKE = [(n, inspector, int(n % 2 != (n % 6 == inspector))) for n in range(18) for inspector in range(3)]
"""Three equally good inspectors, of whom each errs about three of eighteen items, alone."""


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, n=st.integers(1, 15))
def test_who_is_asked_has_not_judged_the_item_and_items_come_once(rows: list[tuple[int, int, int]], n: int) -> None:
    votes, consensus = settled(rows)
    pairs = next_requests(votes, consensus, n, inspector_count=4)
    items = pairs[:, 0].tolist()
    assert len(items) == len(set(items)) <= n
    assert not {(item, who) for item, who in pairs.tolist()} & {(item, who) for item, who, _ in rows}
    assert (consensus.probability[items].max(axis=1) < SURE).all()


@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_the_first_pair_is_worth_most(rows: list[tuple[int, int, int]]) -> None:
    votes, consensus = settled(rows)
    pairs = next_requests(votes, consensus, 1, inspector_count=4)
    gain = expected_gain(consensus, 4)
    gain[votes.item, votes.inspector] = 0.0
    gain[consensus.probability.max(axis=1) >= SURE] = 0.0
    if len(pairs):
        assert gain[tuple(pairs[0])] == gain.max()
    else:
        assert gain.max() < LEAST_GAIN


def test_a_disputed_image_goes_before_a_settled_one() -> None:
    rows = [*ALIKE, (18, 0, 0), (18, 1, 1), (19, 0, 1), (19, 1, 1)]
    assert next_requests(*settled(rows), 9)[:, 0].tolist().index(18) == 0


def test_what_is_sure_is_not_asked_for() -> None:
    votes, consensus = settled([(n, inspector, n % 2) for n in range(18) for inspector in range(3)])
    assert (consensus.probability.max(axis=1) >= SURE).all()
    assert len(next_requests(votes, consensus, 9, inspector_count=4)) == 0


def test_among_equals_the_inspector_who_agrees_best_is_asked() -> None:
    rows = [(n, inspector, n % 2) for n in range(8) for inspector in (0, 1)] + [(n, 2, 0) for n in range(8)]
    votes, consensus = settled([*rows, (8, 3, 1), (9, 3, 0), (9, 3, 1)])
    pairs = dict(next_requests(votes, consensus, 99).tolist())
    assert pairs[9] in (0, 1), "inspector 2 says good whatever it is"


def test_nearly_equal_inspectors_are_asked_in_turn() -> None:
    rows = [*ALIKE, *((18 + n, 3, n % 2) for n in range(12)), *((n, 3, n % 2) for n in range(12))]
    asked = next_requests(*settled(rows), 12)[:, 1].tolist()
    assert {who in asked for who in (0, 1, 2)} == {True}, asked


def test_a_dear_inspector_is_asked_less() -> None:
    votes, consensus = settled([*ALIKE, (18, 0, 1)])
    assert next_requests(votes, consensus, 1, cost=np.array([1.0, 1.0, 9.0])).tolist() == [[18, 1]]
    assert next_requests(votes, consensus, 1, cost=np.array([1.0, 9.0, 1.0])).tolist() == [[18, 2]]


def test_what_a_judgement_costs_says_whom_to_ask_and_not_about_which_item() -> None:
    # Item 18 is disputed, and only a dear inspector is left for it; of item 19 less can be told, by a cheap one.
    votes, consensus = settled([*ALIKE, (18, 0, 0), (18, 1, 1), (19, 0, 0), (19, 2, 0)])
    assert next_requests(votes, consensus, 2).tolist() == [[18, 2], [19, 1]]
    assert next_requests(votes, consensus, 2, cost=np.array([1.0, 1.0, 9.0])).tolist() == [[18, 2], [19, 1]]


def test_only_those_who_are_there_are_asked() -> None:
    votes, consensus = settled([*ALIKE, (18, 0, 1)])
    assert set(next_requests(votes, consensus, 9, available=[2])[:, 1].tolist()) == {2}
    assert len(next_requests(votes, consensus, 9, available=[])) == 0


def test_importance_outweighs_uncertainty() -> None:
    votes, consensus = settled([*ALIKE, (18, 0, 0), (18, 1, 1), (19, 0, 0)])
    assert next_requests(votes, consensus, 1)[0, 0] == 18
    importance = np.ones(20)
    importance[19] = 50.0
    assert next_requests(votes, consensus, 1, importance=importance)[0, 0] == 19


def test_closed_items_are_left_alone() -> None:
    votes, consensus = settled([*ALIKE, (18, 0, 0), (18, 1, 1), (19, 0, 0)])
    closed = np.arange(20) == 18
    assert 18 not in next_requests(votes, consensus, 9, closed=closed)[:, 0]


def test_nobody_is_asked_again_before_the_first_look_is_forgotten() -> None:
    rows = [(0, 0, 0), (0, 1, 1)]
    votes, consensus = settled(rows, np.array([0.0, HOUR_S]))
    assert len(next_requests(votes, consensus, 9)) == 0, "without a clock nobody is asked again"
    assert len(next_requests(votes, consensus, 9, now_s=REPEAT_AFTER_S - 1)) == 0
    assert next_requests(votes, consensus, 9, now_s=REPEAT_AFTER_S).tolist() == [[0, 0]]
    unknown, consensus = settled(rows, np.array([np.nan, np.nan]))
    assert len(next_requests(unknown, consensus, 9, now_s=1e12)) == 0


@pytest.mark.parametrize("n", [0, -1])
def test_asking_for_nothing_gives_nothing(n: int) -> None:
    votes, consensus = settled([(0, 0, 0)])
    assert next_requests(votes, consensus, n).shape == (0, 2)


def test_without_votes_there_is_nobody_to_ask_unless_inspectors_are_known() -> None:
    votes = votes_of([])
    consensus = aggregate(votes, 2, model_probability=np.array([[0.9, 0.1], [0.5, 0.5]]))
    assert next_requests(votes, consensus, 5).shape == (0, 2)
    assert next_requests(votes, consensus, 5, inspector_count=2)[:, 0].tolist() == [1, 0]


def test_an_inspector_who_guesses_is_worth_nothing() -> None:
    consensus = Consensus(
        np.array([[0.5, 0.5]]), np.array([0]), np.array([np.eye(2), np.full((2, 2), 0.5)]), np.zeros(1), "", ""
    )
    assert expected_gain(consensus, 2).round(6).tolist() == [[0.693147, 0.0]]


def test_asking_beats_asking_at_random() -> None:
    right = {"queue": 0.0, "random": 0.0}
    for seed in range(6):
        drawn = panel(np.random.default_rng([seed]), 80, 4, np.array([0.85, 0.1, 0.05]))
        for policy in right:
            rng = np.random.default_rng([seed, 1])
            seen = np.arange(4) == rng.integers(0, 4, 80)[:, None]
            for _ in range(8):
                item, who = np.nonzero(seen)
                votes = Votes(item, who, drawn.answer[item, who], np.zeros(len(item), np.int64))
                consensus = aggregate(votes, 3)
                if policy == "queue":
                    chosen = next_requests(votes, consensus, 10, inspector_count=4)
                else:
                    chosen = rng.permutation(np.argwhere(~seen))[:10]
                seen[chosen[:, 0], chosen[:, 1]] = True
            right[policy] += float((consensus.label == drawn.truth).mean()) / 6
    assert right["queue"] > right["random"] + 0.02
