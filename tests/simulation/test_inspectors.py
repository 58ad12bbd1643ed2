from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from simulation.inspectors import Inspector, standard_team
from simulation.parts import CLASSES

MORNING = datetime(2026, 5, 4, 9, tzinfo=UTC)
AFTERNOON = datetime(2026, 5, 4, 15, tzinfo=UTC)
ANNA, BELA, CHEN = standard_team()


def miss_rate(inspector: Inspector, size: float, at: datetime, looks: int = 800) -> float:
    rng = np.random.default_rng(0)
    return sum(inspector.judge(rng, "dent", size, at).label == "ok" for _ in range(looks)) / looks


@pytest.mark.parametrize("inspector", standard_team(), ids=lambda inspector: inspector.name)
def test_everyone_misses_small_defects_more_often(inspector: Inspector) -> None:
    rates = [miss_rate(inspector, size, MORNING) for size in (0.05, 0.3, 0.5)]
    assert rates[0] > rates[1] > rates[2]
    assert rates[0] > 0.3
    assert rates[2] < 0.05


def test_drifting_inspector_passes_small_defects_only_in_the_afternoon() -> None:
    assert miss_rate(CHEN, 0.3, AFTERNOON) > miss_rate(CHEN, 0.3, MORNING) + 0.4
    assert miss_rate(CHEN, 0.8, AFTERNOON) < 0.05
    assert miss_rate(ANNA, 0.3, AFTERNOON) == miss_rate(ANNA, 0.3, MORNING)


def test_same_inspector_may_answer_differently_when_asked_twice() -> None:
    rng = np.random.default_rng(1)
    answers = Counter(BELA.judge(rng, "scratch", 0.15, MORNING).label for _ in range(60))
    assert answers["ok"] > 5
    assert answers["scratch"] > 5


def test_good_parts_are_mostly_called_good() -> None:
    rng = np.random.default_rng(2)
    for inspector in standard_team():
        right = sum(inspector.judge(rng, "ok", 0.0, MORNING).label == "ok" for _ in range(800)) / 800
        assert right == pytest.approx(inspector.skill, abs=0.025)


def test_confusions_follow_their_weights() -> None:
    rng = np.random.default_rng(3)
    muddler = Inspector("dora", skill=0.0, miss_small=0.0, confusions={"dent": {"scratch": 3, "contamination": 1}})
    answers = Counter(muddler.judge(rng, "dent", 0.9, MORNING).label for _ in range(1000))
    assert set(answers) == {"scratch", "contamination"}
    assert answers["scratch"] / 1000 == pytest.approx(0.75, abs=0.05)


def test_team_names_only_known_classes() -> None:
    for inspector in standard_team():
        named = set(inspector.confusions) | {label for other in inspector.confusions.values() for label in other}
        assert named <= set(CLASSES)


def test_doubt_is_greatest_at_the_limit_of_sight_and_takes_longer() -> None:
    rng = np.random.default_rng(4)
    looks = {size: [ANNA.judge(rng, "dent", size, MORNING) for _ in range(600)] for size in (0.3, 0.9)}
    unsure = {size: sum(look.unsure for look in some) for size, some in looks.items()}
    assert unsure[0.3] > 3 * unsure[0.9]
    every = [look for some in looks.values() for look in some]
    assert np.median([look.seconds for look in every if look.unsure]) > np.median(
        [look.seconds for look in every if not look.unsure]
    )


def test_same_generator_gives_the_same_judgement() -> None:
    first, second = (ANNA.judge(np.random.default_rng(6), "dent", 0.2, MORNING) for _ in range(2))
    assert first == second
