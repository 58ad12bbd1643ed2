"""What a monitor would notice, tried on simulated cameras."""

from functools import cache

import numpy as np
import pytest

from monitoring.disturbances import DISTURBANCES, Pixels
from monitoring.optics import OpticsMonitor
from monitoring.selftest import SelfTest, SelfTestImpossible, Trial, self_test
from simulation.light.stream import Happening, Stream

CAMERA = "castings"
COMMISSION = 400


@cache
def commissioned() -> OpticsMonitor:
    monitor = OpticsMonitor(COMMISSION)
    for image in Stream(CAMERA, 0, COMMISSION):
        monitor.update(image)
    return monitor


@cache
def images(happening: Happening | None = None) -> tuple[Pixels, ...]:
    return tuple(Stream(CAMERA, COMMISSION, 60, key=1, happening=happening))


@cache
def found(seed: int = 0) -> SelfTest:
    amounts = {
        "lamp_dim": (0.3, 0.005, 0.04),
        "bump": (1, 5),
        "noise": (0.7,),
        "soiling": (40,),
        "colour_temp": (0.15,),
    }
    return self_test(images(), commissioned(), amounts=amounts, replays=3, most_images=40, seed=seed, is_linear=True)


def trial(amount: float, *delays: int | None, cause: str = "haze") -> Trial:
    return Trial("haze", amount, f"a veil of {amount:g}", delays, tuple(None if d is None else cause for d in delays))


def result(*trials: Trial) -> SelfTest:
    return SelfTest({"haze": trials}, 60, 200, 1000, 0, "calibrated", "scene", ())


def test_what_is_gross_is_found_at_once_and_named_and_what_is_tiny_is_not_found() -> None:
    tiny, small, gross = found().trials["lamp_dim"]
    assert [tiny.amount, small.amount, gross.amount] == [0.005, 0.04, 0.3]
    assert gross.delays == (1, 1, 1)
    assert gross.causes == ("lamp_dim",) * 3
    assert (tiny.median_delay, tiny.found) == (None, 0)
    assert small.median_delay is not None
    assert "0.5 % less light not at all" in found().sentence("lamp_dim")
    assert "30 % less light" not in found().sentence("lamp_dim")


def test_every_kind_of_disturbance_is_tried_in_the_camera_s_own_way() -> None:
    trials = found().trials
    assert all(delay == 1 for delay in trials["bump"][-1].delays)
    assert set(trials["bump"][-1].causes) == {"bump"}
    assert set(trials["noise"][0].causes) == {"noise"}
    assert trials["soiling"][0].found == 3
    assert found().not_shown == ("colour_temp",)
    assert "colour_temp" not in trials


def test_it_says_on_what_it_rests() -> None:
    assert (found().images, found().most_images, found().quiet_images) == (60, 40, 3 * 80)
    assert (found().phase, found().layout) == ("calibrated", "scene")
    low, high = found().false_alarm_share
    assert 0 <= low <= found().false_alarms / found().quiet_images <= high < 0.1


def test_the_same_seed_gives_the_same_answer_and_another_one_other_places() -> None:
    first = found()
    found.cache_clear()
    assert found() == first
    assert found(1).trials.keys() == first.trials.keys()
    assert found(1) != first


def test_the_monitor_and_the_images_stay_as_they_are() -> None:
    monitor, before = commissioned(), commissioned().state()
    given = [image.copy() for image in images()]
    self_test(images(), monitor, amounts={"haze": (0.3,)}, replays=1, most_images=10)
    assert monitor.state() == before
    assert all(np.array_equal(*pair) for pair in zip(given, images(), strict=True))


def test_a_deferred_monitor_is_as_good_as_one_that_does_its_chores() -> None:
    deferred = OpticsMonitor.from_state(commissioned().state(), deferred=True)
    tried = [
        self_test(images(), monitor, amounts={"bump": (5,)}, replays=2, most_images=10, is_linear=True)
        for monitor in (commissioned(), deferred)
    ]
    assert tried[0] == tried[1]
    assert deferred.chore is None


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    self_test(
        images(),
        commissioned(),
        amounts={"haze": (0.08, 0.3), "flicker": (0.15,)},
        replays=1,
        most_images=10,
        report=lambda done, total: told.append((done, total)),
    )
    assert told == [(n, 4) for n in range(1, 5)]


def test_a_frame_without_anything_still_is_tried_too() -> None:
    monitor = OpticsMonitor(200)
    for image in Stream("steel_web", 0, 200):
        monitor.update(image)
    tried = self_test(
        tuple(Stream("steel_web", 200, 40)), monitor, amounts={"lamp_dim": (0.3,)}, replays=2, most_images=20
    )
    assert tried.layout == "frame"
    assert tried.trials["lamp_dim"][0].causes == ("lamp_dim", "lamp_dim")


def test_what_can_t_be_tried_is_refused_with_a_remedy() -> None:
    with pytest.raises(SelfTestImpossible, match="19 images") as refused:
        self_test(images()[:19], commissioned())
    assert "20" in refused.value.remedy
    with pytest.raises(SelfTestImpossible, match="still learning"):
        self_test(images(), OpticsMonitor(400))
    with pytest.raises(SelfTestImpossible, match="256 x 144"):
        self_test([image[:100] for image in images()], commissioned())
    with pytest.raises(SelfTestImpossible, match="alarms on these images"):
        self_test(images(Happening("lamp_dim", 2)), commissioned())


def test_half_of_the_times_decides() -> None:
    one = trial(0.1, 1, 3, 30, None)
    assert (one.found, one.median_delay) == (3, 16)
    assert [one.share_within(count) for count in (1, 5, 20, 200)] == [0.25, 0.5, 0.5, 0.75]
    assert trial(0.1, 1, None).median_delay is None
    assert trial(0.1, 7, cause="noise").named_right == 0


def test_the_smallest_amount_is_the_one_from_which_on_all_are_found() -> None:
    found = result(trial(0.01, 1, 1), trial(0.02, None, None), trial(0.04, 9, 30), trial(0.08, 1, 2))
    smallest = found.smallest_within("haze", 50)
    assert smallest is not None
    assert smallest.amount == 0.04
    at_once = found.smallest_within("haze", 2)
    assert at_once is not None
    assert at_once.amount == 0.08
    assert found.sentence("haze") == "a veil of 0.04 in 19 images, a veil of 0.08 in 1 image, a veil of 0.02 not at all"
    assert result(trial(0.01, None)).smallest_within("haze", 200) is None
    assert result(trial(0.01, None)).sentence("haze") == "not at all"
    assert result(trial(0.01, 1)).sentence("haze") == "a veil of 0.01 in 1 image"


def test_the_ladder_is_what_is_tried_where_nothing_else_is_said() -> None:
    tried = self_test(images()[:24], commissioned(), replays=1, most_images=2, is_linear=True)
    assert set(tried.trials) == set(DISTURBANCES) - {"colour_temp"}
    for name, trials in tried.trials.items():
        assert tuple(one.amount for one in trials) == DISTURBANCES[name].amounts
