import numpy as np

from simulation.panel import MIXED_TEAM, TIRED_AFTER, mixed_panel

EVEN = np.array([0.5, 0.3, 0.2])


def right(answers: np.ndarray, truth: np.ndarray) -> list[float]:
    return [float((column == truth).mean()) for column in answers.T]


def test_members_are_as_good_as_their_skill_says_and_in_its_order() -> None:
    drawn = mixed_panel(np.random.default_rng(0), 20_000, MIXED_TEAM, EVEN)
    expert, poor, tiring, *ordinary = right(drawn.rested, drawn.truth)
    assert expert > tiring > max(ordinary) >= min(ordinary) > poor
    # The mean over images of all difficulties lies nearer to a half than the skill on a usual one.
    assert 0.9 < expert < 0.95
    assert 0.6 < poor < 0.65


def test_who_tires_does_so_after_so_many_answers_and_alone() -> None:
    drawn = mixed_panel(np.random.default_rng(1), 500, MIXED_TEAM, EVEN)
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(drawn.rested[:, others], drawn.tired[:, others])
    differs = int(np.flatnonzero(drawn.rested[:, 2] != drawn.tired[:, 2])[0])
    assert drawn.answer(differs, 2, TIRED_AFTER - 1) == drawn.rested[differs, 2] == drawn.truth[differs]
    assert drawn.answer(differs, 2, TIRED_AFTER) == drawn.tired[differs, 2]


def test_hard_images_are_hard_for_all() -> None:
    drawn = mixed_panel(np.random.default_rng(2), 5_000, MIXED_TEAM, EVEN)
    wrong = drawn.rested != drawn.truth[:, None]
    assert np.corrcoef(wrong[:, 3], wrong[:, 4])[0, 1] > 0.05
