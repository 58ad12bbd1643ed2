"""What each consensus model is for, on simulated inspectors whose answers are known."""

from typing import Any

import numpy as np
import pytest

from labeling.consensus import CERTAIN, aggregate
from labeling.votes import Consensus, Floats, Ints, Votes, WrongVotes
from simulation.panel import Panel, panel

RARE = np.array([0.88, 0.08, 0.04])
EVEN = np.full(3, 1 / 3)


def all_votes(drawn: Panel) -> Votes:
    item, inspector = np.nonzero(np.ones_like(drawn.answer))
    return Votes(item, inspector, drawn.answer[item, inspector], np.zeros(len(item), np.int64))


def accuracy(found: Consensus, drawn: Panel) -> float:
    return float((found.label == drawn.truth).mean())


def log_loss(found: Consensus, drawn: Panel) -> float:
    said = found.probability[np.arange(len(drawn.truth)), drawn.truth]
    return float(-np.log(np.maximum(said, 1e-4)).mean())


def over_seeds(mix: Floats, inspectors: int, method: str) -> tuple[float, float]:
    """Mean accuracy and log-loss over twelve panels of 100 images."""
    found = []
    for seed in range(12):
        drawn = panel(np.random.default_rng([seed, inspectors]), 100, inspectors, mix)
        settled = aggregate(all_votes(drawn), len(mix), method=method)
        found.append((accuracy(settled, drawn), log_loss(settled, drawn)))
    return float(np.mean([a for a, _ in found])), float(np.mean([b for _, b in found]))


@pytest.mark.parametrize("mix", [RARE, EVEN], ids=["rare", "even"])
@pytest.mark.parametrize("inspectors", [2, 3, 5])
def test_auto_is_no_worse_than_majority_and_knows_how_little_it_knows(mix: Floats, inspectors: int) -> None:
    right, loss = over_seeds(mix, inspectors, "auto")
    majority_right, majority_loss = over_seeds(mix, inspectors, "majority")
    assert right >= majority_right - 0.01
    assert loss <= majority_loss
    assert loss <= over_seeds(mix, inspectors, "dawid_skene")[1] - 0.02, "the textbook model is too sure"


def test_rare_defects_are_not_drowned_by_equal_shares() -> None:
    right, _ = over_seeds(RARE, 3, "auto")
    assert right > over_seeds(RARE, 3, "majority")[0] + 0.02


def test_a_known_mix_wins() -> None:
    drawn = panel(np.random.default_rng(5), 100, 2, RARE)
    guessed = aggregate(all_votes(drawn), 3, class_prior=np.full(3, 1 / 3))
    known = aggregate(all_votes(drawn), 3, class_prior=RARE)
    assert "known" in known.reason
    assert accuracy(known, drawn) > accuracy(guessed, drawn)


def test_the_posterior_is_calibrated() -> None:
    sure, hit = [], []
    for seed in range(40):
        drawn = panel(np.random.default_rng([seed, 9]), 100, 3, EVEN)
        found = aggregate(all_votes(drawn), 3)
        sure.append(found.probability.max(axis=1))
        hit.append(found.label == drawn.truth)
    confidence, right = np.concatenate(sure), np.concatenate(hit)
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert sum(gaps) < 0.05


def test_out_of_fold_opinions_help_and_do_not_decide() -> None:
    drawn = panel(np.random.default_rng(3), 200, 2, EVEN)
    votes = all_votes(drawn)
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1, (200, 3)) + 2.0 * np.eye(3)[drawn.truth]
    opinions = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    alone, helped = aggregate(votes, 3), aggregate(votes, 3, model_probability=opinions)
    assert accuracy(helped, drawn) > accuracy(alone, drawn) + 0.03
    assert log_loss(helped, drawn) < log_loss(alone, drawn) - 0.1
    # Three people who agree are not overruled by a model that is certain.
    agreed = Votes(*(np.array(a) for a in ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2] * 3, [1] * 3 + [0] * 6, [0] * 9)))
    wrong = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert aggregate(agreed, 2, model_probability=wrong, method="hierarchical").label.tolist() == [1, 0, 0]


def test_equal_opinions_say_nothing() -> None:
    drawn = panel(np.random.default_rng(3), 50, 3, EVEN)
    silent = aggregate(all_votes(drawn), 3, model_probability=np.ones((50, 3)))
    np.testing.assert_allclose(silent.probability, aggregate(all_votes(drawn), 3).probability, atol=1e-6)


def test_known_answers_are_final_and_tell_who_is_good() -> None:
    # Two inspectors who never agree: only known answers tell whom to believe.
    truth = np.arange(60) % 2
    item = np.tile(np.arange(60), 2)
    said = np.concatenate([truth, np.where(np.arange(60) % 3 == 0, truth, 1 - truth)])
    votes = Votes(item, np.repeat([0, 1], 60), said, np.zeros(120, np.int64))
    known = np.where(np.arange(60) < 20, truth, -1)
    found = aggregate(votes, 2, known=known)
    assert (found.label == truth).all()
    assert found.probability[np.arange(20), truth[:20]].tolist() == [CERTAIN] * 20
    assert found.confusion[0].diagonal().mean() > 0.85 > 0.5 > found.confusion[1].diagonal().mean()


@pytest.mark.parametrize("known", [np.array([2, -1]), np.array([-2, 0]), np.array([0])])
def test_known_answers_that_are_none_are_refused(known: Ints) -> None:
    votes = Votes(*(np.array(a) for a in ([0, 1], [0, 1], [0, 1], [0, 0])))
    with pytest.raises(WrongVotes, match="known"):
        aggregate(votes, 2, known=known)


def graded(rng: np.random.Generator, images: int, inspectors: int) -> Panel:
    """Severities 0..3 that inspectors read off a scale, each with a bias and a noise."""
    truth = rng.choice(4, images, p=[0.4, 0.25, 0.2, 0.15])
    place = truth + rng.choice([-1, 1], images) * 0.9 * rng.beta(1.5, 4, images)
    bias, noise = rng.normal(0, 0.3, inspectors), rng.uniform(0.3, 0.7, inspectors)
    seen = place[:, None] + bias + rng.normal(0, 1, (images, inspectors)) * noise
    return Panel(truth, np.clip(np.rint(seen), 0, 3).astype(np.int64), 4)


def test_votes_for_one_and_three_speak_for_two() -> None:
    drawn = graded(np.random.default_rng(1), 100, 2)
    item, inspector = np.nonzero(np.ones_like(drawn.answer))
    said = drawn.answer.copy()
    said[0] = (1, 3)
    found = aggregate(Votes(item, inspector, said[item, inspector], np.zeros(len(item), np.int64)), 4)
    assert (found.method, found.label[0]) == ("ordinal", 2)


def test_an_order_of_classes_is_used_where_there_is_one() -> None:
    better = []
    for seed in range(12):
        drawn = graded(np.random.default_rng([seed]), 100, 3)
        found = aggregate(all_votes(drawn), 4)
        assert found.method == "ordinal"
        assert "steps of a scale" in found.reason
        better.append(accuracy(found, drawn) - accuracy(aggregate(all_votes(drawn), 4, method="majority"), drawn))
        shuffled = np.array([2, 0, 3, 1])[drawn.answer]
        assert aggregate(all_votes(Panel(drawn.truth, shuffled, 4)), 4).method == "hierarchical"
    assert np.mean(better) > 0.01


def test_one_who_turns_around_after_the_first_look_is_two_judges() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 80)
    rows = []
    for item, true in enumerate(truth.tolist()):
        for who, right in ((0, 0.9), (1, 0.85), (2, 0.95)):
            rows.append((item, who, true if rng.random() < right else 1 - true, 0))
        rows.append((item, 2, true if rng.random() < 0.5 else 1 - true, 1))
    votes = Votes(*np.array(rows).T)
    apart = aggregate(votes, 2, method="within_inspector")
    together = aggregate(votes, 2, method="hierarchical")
    assert (apart.label == truth).mean() >= (together.label == truth).mean()
    assert 0.5 < apart.confusion[2].diagonal().mean() < 0.95, "both occasions together"


def test_glad_believes_votes_on_clear_items_more() -> None:
    rng = np.random.default_rng(6)
    truth, clear = rng.integers(0, 2, 300), rng.random(300) < 0.5
    right = np.where(clear[:, None], 0.95, 0.6)
    answer = np.where(rng.random((300, 6)) < right, truth[:, None], 1 - truth[:, None])
    drawn = Panel(truth, answer, 2)
    found = aggregate(all_votes(drawn), 2, method="glad")
    assert accuracy(found, drawn) >= accuracy(aggregate(all_votes(drawn), 2, method="majority"), drawn) - 0.01
    sure = found.probability.max(axis=1)
    assert sure[clear].mean() > sure[~clear].mean() + 0.05


def test_more_than_four_classes_from_few_labels() -> None:
    drawn = panel(np.random.default_rng(8), 100, 3, np.full(7, 1 / 7))
    auto, textbook = (aggregate(all_votes(drawn), 7, method=method) for method in ("auto", "dawid_skene"))
    assert accuracy(auto, drawn) >= accuracy(textbook, drawn)
    assert log_loss(auto, drawn) < log_loss(textbook, drawn)


@pytest.mark.parametrize(
    ("said", "reason"),
    [([], "nobody judged"), ([(0, 0, 1, 0), (1, 0, 0, 0)], "one inspector judged")],
)
def test_auto_says_when_nothing_can_be_learned(said: list[tuple[int, int, int, int]], reason: str) -> None:
    found = aggregate(Votes(*np.array(said, np.int64).reshape(-1, 4).T), 2)
    assert found.method == "majority"
    assert reason in found.reason


def test_auto_says_what_it_made_of_the_mix() -> None:
    rare = aggregate(all_votes(panel(np.random.default_rng(1), 100, 3, RARE)), 3)
    even = aggregate(all_votes(panel(np.random.default_rng(1), 100, 3, EVEN)), 3)
    assert "rare" in rare.reason
    assert "learned from the labels" in rare.reason
    assert "equal shares are expected" in even.reason


def test_asking_about_what_is_disputed_does_not_hide_that_defects_are_rare() -> None:
    """Second looks at doubtful images only: kappa among them is poor, though inspectors are good."""
    drawn = panel(np.random.default_rng(11), 200, 3, np.array([0.9, 0.06, 0.04]))
    first = drawn.answer[:, 0]
    asked = np.flatnonzero(first != 0)
    item = np.concatenate([np.arange(200), asked, asked])
    who = np.concatenate([np.zeros(200, int), np.ones(len(asked), int), np.full(len(asked), 2)])
    found = aggregate(Votes(item, who, drawn.answer[item, who], np.zeros(len(item), np.int64)), 3)
    assert "rare" in found.reason
    assert accuracy(found, drawn) > (first == drawn.truth).mean()


def test_one_inspector_s_rare_defects_stay() -> None:
    """Sixty good parts and one of each of eight defects, each judged once by one person."""
    label = np.concatenate([np.zeros(60, np.int64), np.arange(1, 9)])
    votes = Votes(np.arange(68), np.zeros(68, np.int64), label, np.zeros(68, np.int64))
    assert (aggregate(votes, 9).label == label).all()


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.1])
def test_majority_never_overrules_what_all_say(weight: float) -> None:
    label = np.concatenate([np.zeros(400, np.int64), np.arange(1, 20).repeat(2)])
    item = np.concatenate([np.arange(200).repeat(2), 200 + np.arange(19).repeat(2)])
    votes = Votes(item, np.tile([0, 1], 219), label, np.zeros(438, np.int64), weight=np.full(438, weight))
    found = aggregate(votes, 20, method="majority")
    assert (found.label[200:] == np.arange(1, 20)).all()


@pytest.mark.parametrize("mix", [[0.6, 0.0, 0.4], [0.5, 0.002, 0.498]])
def test_a_class_that_is_hardly_used_makes_no_scale_of_its_neighbours(mix: list[float]) -> None:
    rng = np.random.default_rng(3)
    truth = rng.choice(3, 300, p=mix)
    answer = np.where(rng.random((300, 3)) < 0.9, truth[:, None], 2 - truth[:, None])
    assert aggregate(all_votes(Panel(truth, answer, 3)), 3).method == "hierarchical"


@pytest.mark.parametrize("kind", [list, np.uint8, np.uint64, np.int32, float])
def test_whole_numbers_of_any_kind_are_votes(kind: Any) -> None:
    columns = ([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0])
    given = Votes(*(list(c) if kind is list else np.array(c, kind) for c in columns))  # type: ignore[arg-type]
    usual = Votes(*(np.array(c) for c in columns))
    np.testing.assert_array_equal(aggregate(given, 2).probability, aggregate(usual, 2).probability)


@pytest.mark.parametrize("wrong", [[0.5, 1.0], [[0, 1]], [np.nan, 1.0], ["a", "b"], [2.0**70, 0.0]])
def test_what_is_no_list_of_whole_numbers_is_refused(wrong: Any) -> None:
    with pytest.raises(WrongVotes, match="label"):
        aggregate(Votes(np.array([0, 1]), np.array([0, 1]), wrong, np.array([0, 0])), 2)


def test_shares_may_be_of_any_size() -> None:
    votes = Votes(*(np.array(a) for a in ([0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0])))
    huge = aggregate(votes, 2, class_prior=np.array([1.7e308, 1.7e308]), model_probability=np.full((2, 2), 1.7e308))
    assert np.isfinite(huge.probability).all()


def test_items_numbered_into_the_void_are_refused() -> None:
    for item, inspector in (([0, 10**12], [0, 1]), ([0, 1], [0, 10**9])):
        votes = Votes(np.array(item), np.array(inspector), np.array([0, 1]), np.array([0, 0]))
        with pytest.raises(WrongVotes, match="numbered up to"):
            aggregate(votes, 2)
        with pytest.raises(WrongVotes):
            aggregate(votes, 2, model_probability=np.full((2, 2), 0.5))
