"""Images for the book are told from slips and chance, in teams that were not made the way they are told apart."""

import warnings

import numpy as np
import pytest

from labeling.consensus import aggregate
from labeling.disagreement.causes import BOOK, CLEAR, NOISY, Causes, causes
from labeling.disagreement.limit_samples import BORDERLINE, candidates
from labeling.votes import Votes
from tests.labeling.disagreement.simulated_teams import BETWEEN, Team, auroc, team

SEEDS = range(3)
NOBODY = np.zeros(0, np.int64)


def found(one: Team, seed: int = 0) -> Causes:
    return causes(one.votes, aggregate(one.votes, 2, method="majority"), np.random.default_rng(seed))


def of(*looks: tuple[int, int, int, int]) -> Votes:
    item, inspector, label, occasion = (np.array(column, np.int64) for column in zip(*looks, strict=True))
    return Votes(item, inspector, label, occasion)


def test_images_between_the_borders_are_ranked_above_other_contested_ones() -> None:
    ranked = []
    for seed in SEEDS:
        one = team(np.random.default_rng(seed), again=0.5)
        why = found(one)
        contested = why.kind != CLEAR
        ranked.append(auroc(why.score[contested], one.cause[contested] == BETWEEN))
    assert np.mean(ranked) > 0.8


def test_most_images_that_are_called_the_books_fault_are() -> None:
    right, called = 0, 0
    for seed in SEEDS:
        one = team(np.random.default_rng(seed), inspectors=6, looks=6)
        fault = found(one).is_book_at_fault
        right, called = right + int((one.cause[fault] == BETWEEN).sum()), called + int(fault.sum())
    assert called > 30
    assert right / called > 0.75


def test_random_errors_are_hardly_ever_the_books_fault() -> None:
    called = contested = 0
    for seed in SEEDS:
        why = found(team(np.random.default_rng(seed), between=0, vague=0, slip=0.15))
        called, contested = called + int(why.is_book_at_fault.sum()), contested + int((why.kind != CLEAR).sum())
    assert contested > 100
    assert called / contested < 0.05


def test_looks_that_change_from_occasion_to_occasion_are_chance() -> None:
    clear = [(item, who, int(item < 10), occasion) for item in range(20) for who in (0, 1) for occasion in (0, 1, 2, 3)]
    toss = [(20, who, occasion % 2, occasion) for who in (0, 1) for occasion in (0, 1, 2, 3)]
    votes = of(*clear, *toss)
    why = causes(votes, aggregate(votes, 2, method="majority"), np.random.default_rng(0))
    assert why.kind[20] == NOISY
    assert (why.kind[:20] == CLEAR).all()


def test_a_third_class_leaves_a_pair_alone() -> None:
    looks = [(i, w, int(i >= 12 - 4 * w), o) for i in range(20) for w in (0, 1) for o in (0, 1)]
    votes = of(*looks, *((20 + i, w, 2, 0) for i in range(10) for w in (0, 1)))
    why = causes(votes, aggregate(votes, 3, method="majority"), np.random.default_rng(0))
    assert np.flatnonzero(why.is_book_at_fault).tolist() == [8, 9, 10, 11]
    assert [(one.first, one.second) for one in why.borders] == [(0, 1)]
    assert why.borders[0].point[0] > why.borders[0].point[1]


def test_the_same_seed_gives_the_same_answer() -> None:
    one = team(np.random.default_rng(1), items=60)
    assert (found(one).score == found(one).score).all()


@pytest.mark.parametrize(
    "votes",
    [
        of((0, 0, 0, 0)),
        of((0, 0, 0, 0), (0, 0, 1, 1)),
        of((0, 0, 0, 0), (1, 1, 1, 0)),
        of((0, 0, 0, 0), (0, 1, 1, 0)),
        Votes(NOBODY, NOBODY, NOBODY, NOBODY),
    ],
    ids=["one look", "one inspector who contradicts themselves", "no overlap", "all disagree", "nothing"],
)
def test_the_smallest_sets_get_an_answer(votes: Votes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        why = causes(votes, aggregate(votes, 2, method="majority"), np.random.default_rng(0))
        chosen = candidates(votes, why, ["ok", "dent"])
    assert np.isfinite(why.score).all()
    assert not (why.kind == BOOK).any()
    assert chosen == ()


def test_one_class_is_clear() -> None:
    votes = of((0, 0, 0, 0), (0, 1, 0, 0))
    why = causes(votes, aggregate(votes, 1, method="majority"), np.random.default_rng(0))
    assert why.kind.tolist() == [CLEAR]


def test_limit_samples_lie_on_both_sides_of_the_border() -> None:
    one = team(np.random.default_rng(3), inspectors=4, looks=4, again=0.5, vague=0)
    chosen = candidates(one.votes, found(one), ["ok", "dent"], 4)
    assert {c.role for c in chosen} == {BORDERLINE, "first", "second"}
    border = [c.item for c in chosen if c.role == BORDERLINE]
    assert (one.cause[border] == BETWEEN).mean() >= 0.75
    for role, truth in (("first", 0), ("second", 1)):
        assert all(one.truth[c.item] == truth for c in chosen if c.role == role)
