"""Confusions, circumstances and drift: what is there is found, and what is not there is not."""

import warnings

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact

from labeling.disagreement.conditions import conditions
from labeling.disagreement.confusions import confusions
from labeling.disagreement.drift import Drift, drifts
from labeling.disagreement.significance import more_often, q_values
from labeling.others import others
from labeling.votes import Votes
from tests.labeling.disagreement.simulated_teams import shift_work

STEADY = 20
"""Teams, of which one in twenty may be accused."""


def test_tests_and_false_discovery_rates_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        n, other = rng.integers(1, 40, 2)
        a, b = int(rng.integers(0, n + 1)), int(rng.integers(0, other + 1))
        expected = fisher_exact([[a, n - a], [b, other - b]], alternative="greater").pvalue
        assert more_often(a, int(n), b, int(other)) == pytest.approx(expected, abs=1e-9)
    p = rng.random(30) ** 2
    assert q_values(p) == pytest.approx(false_discovery_control(p))
    assert q_values([]).tolist() == []


def alarms(seed: int, drifting: int | None = None, to: float = 0.35) -> list[Drift]:
    rng = np.random.default_rng(seed)
    votes, _ = shift_work(rng, drifting=drifting, to=to)
    return [one for one in drifts(votes, 2, rng) if one.is_alarm]


def test_steady_teams_are_seldom_accused() -> None:
    assert sum(bool(alarms(seed)) for seed in range(STEADY)) <= 3


def test_the_drifting_inspector_is_found_and_nobody_else() -> None:
    accused = [[one.inspector for one in alarms(seed, drifting=1)] for seed in range(8)]
    assert sum(1 in one for one in accused) >= 7
    assert sum(bool(set(one) - {1}) for one in accused) <= 1


def test_the_onset_is_near() -> None:
    rng = np.random.default_rng(3)
    votes, _ = shift_work(rng, drifting=1, to=0.4)
    found = next(one for one in drifts(votes, 2, rng) if one.inspector == 1)
    assert found.onset is not None
    assert abs(int(votes.item[found.look[found.onset]]) - 180) < 40
    assert found.after is not None
    assert found.before is not None
    assert found.after > 2 * found.before


def test_a_late_shift_is_found_and_an_even_one_is_not() -> None:
    rng = np.random.default_rng(5)
    votes, truth = shift_work(rng, items=400)
    late = rng.integers(0, 2, len(votes.item))
    label = np.where((votes.inspector == 2) & (late == 1) & (rng.random(len(late)) < 0.45), 1, votes.label)
    tired = Votes(votes.item, votes.inspector, label, votes.occasion)
    levels = {"shift": late, "nothing": rng.integers(0, 3, len(late))}
    first, *rest = conditions(tired, others(tired, 2), levels, rng)
    assert (first.inspector, first.kind, first.levels[first.worst]) == (2, "shift", 1)
    assert first.q < 0.01
    assert all(one.q > 0.05 for one in rest)
    assert len(rest) == 7
    assert truth.any()


def test_unknown_and_small_levels_are_left_out() -> None:
    votes, _ = shift_work(np.random.default_rng(0), items=60)
    level = np.where(votes.item < 30, 0, -1)
    assert conditions(votes, others(votes, 2), {"shift": level}, np.random.default_rng(0)) == ()


def test_even_teams_confuse_nothing_more_often() -> None:
    reported = 0
    for seed in range(20):
        votes, _ = shift_work(np.random.default_rng(seed), hard=0.0)
        reported += any(one.q <= 0.05 for one in confusions(votes, others(votes, 2)))
    assert reported <= 3


@pytest.mark.parametrize("looks", [[], [(0, 0, 0)], [(0, 0, 0), (0, 1, 1)]], ids=["nothing", "one look", "two differ"])
def test_the_smallest_sets_get_an_answer(looks: list[tuple[int, int, int]]) -> None:
    item, inspector, label = np.array(looks, np.int64).reshape(-1, 3).T
    votes = Votes(item, inspector, label, 0 * item, time=item.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = others(votes, 2)
        assert drifts(votes, 2, np.random.default_rng(0)) == ()
        assert conditions(votes, said, {"look": 0 * item}, np.random.default_rng(0)) == ()
        assert len(confusions(votes, said)) == (2 if len(looks) == 2 else 0)
        assert np.isfinite(said.most).all()


def test_without_times_there_is_no_chart() -> None:
    votes, _ = shift_work(np.random.default_rng(0), items=50)
    timeless = Votes(votes.item, votes.inspector, votes.label, votes.occasion)
    assert drifts(timeless, 2, np.random.default_rng(0)) == ()
