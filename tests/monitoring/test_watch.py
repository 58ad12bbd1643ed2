import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import pytest

from monitoring.alarm import Alarm
from monitoring.sights import Saved, Sight
from monitoring.signals import signature
from monitoring.watch import GAP_S, Observation, Watch
from tests.monitoring.line_light import Pixels, dimmed, moved, stream

COMMISSION = 120
DIM = dimmed(0.2)


def observe(watch: Watch, camera: str, images: list[Pixels], product: str = "") -> list[Observation]:
    return [watch.observe(Sight(camera, product), image) for image in images]


def standing(watch: Watch, camera: str) -> Alarm | None:
    return watch.standing()[Sight(camera)][1]


def saved(watch: Watch) -> dict[str, Saved]:
    """Everything that has changed since the last time, by camera."""
    return {one.sight.camera: one for one in watch.changed_states()}


def test_a_camera_goes_through_its_states() -> None:
    seen = observe(Watch(COMMISSION), "top", stream(1, 160) + stream(2, 10, DIM) + stream(3, 60))
    states = [observation.state for observation in seen]
    assert list(dict.fromkeys(states)) == ["commissioning", "provisional", "ok", "alarm"]
    assert states[-1] == "ok"


def test_alarm_and_clearing_are_told_once_and_the_alarm_stands_between() -> None:
    watch = Watch(COMMISSION)
    seen = observe(watch, "top", stream(1, 160) + stream(2, 10, DIM))
    assert [index for index, observation in enumerate(seen) if observation.alarm] == [160]
    stands = standing(watch, "top")
    assert stands is not None
    assert stands.at_image == 160
    assert all(observation.standing is seen[160].alarm for observation in seen[160:])
    after = observe(watch, "top", stream(3, 60))
    assert sum(observation.cleared for observation in after) == 1
    assert standing(watch, "top") is None
    assert after[-1].standing is None


def test_an_alarm_comes_with_the_last_quiet_picture_and_the_one_that_raised_it() -> None:
    images = stream(1, 160) + stream(2, 3, DIM)
    seen = observe(Watch(COMMISSION), "top", images)
    assert seen[159].before is seen[159].after is seen[161].before is None
    before, after = seen[160].before, seen[160].after
    assert any(before is image for image in images[150:160])
    assert after is images[160]


def test_signals_are_the_worst_of_their_charts() -> None:
    (*_, last) = observe(Watch(COMMISSION), "top", stream(1, 160))
    assert set(last.ratios) == set(last.charts)
    assert last.ratios == {
        chart: round(ratio, 4) for chart, ratio in zip(last.charts, last.exact.tolist(), strict=True)
    }
    of_level = [last.ratios[f"level.{kind}"] for kind in ("jump", "drift", "band", "flicker")]
    assert last.signals["level"] == max(of_level)
    assert len(last.signals) < len(last.charts) / 2


def test_ratios_of_an_earlier_image_stay_what_they_were() -> None:
    watch = Watch(COMMISSION)
    seen = [(observation, observation.ratios) for observation in observe(watch, "top", stream(1, 160))]
    observe(watch, "top", stream(2, 10, DIM))
    assert all(observation.ratios == ratios for observation, ratios in seen)


def test_a_ratio_that_is_no_number_is_not_told() -> None:
    watch = Watch(COMMISSION)
    web = [replace(signature(image), overview=None) for image in stream(1, 160, kind="web")]
    for seen in web:
        watch.observe(Sight("top"), seen)
    observation = watch.observe(Sight("top"), replace(web[0], focus=math.nan))
    assert np.isnan(observation.exact).any()
    assert set(observation.charts) - set(observation.ratios) == {"focus.jump", "focus.drift", "focus.band"}
    assert "focus" not in observation.signals


def test_cameras_do_not_touch_each_other() -> None:
    watch = Watch(COMMISSION)
    for camera in ("left", "right"):
        observe(watch, camera, stream(1, 160))
    observe(watch, "left", stream(2, 5, DIM))
    assert standing(watch, "left") is not None
    assert standing(watch, "right") is None


def test_two_products_before_one_camera_are_each_normal() -> None:
    watch = Watch(COMMISSION)
    bright, dark = stream(1, 160), stream(1, 160, DIM)
    observe(watch, "top", bright, "bright one")
    seen = observe(watch, "top", dark, "dark one")
    assert seen[0].state == "commissioning"
    for number in range(4):
        now = observe(watch, "top", stream(5 + number, 30), "bright one")
        now += observe(watch, "top", stream(5 + number, 30, DIM), "dark one")
        assert {observation.state for observation in now} == {"ok"}
    assert {sight.product for sight in watch.monitors()} == {"bright one", "dark one"}
    assert watch.summary() == {"top": "ok"}
    observe(watch, "top", stream(9, 3), "dark one")
    assert watch.summary() == {"top": "alarm"}


def test_an_intended_change_commissions_again_as_the_next_version_and_gives_back_the_former() -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", stream(1, 160) + stream(2, 5, DIM))
    (former,) = watch.intended_change("top")
    assert (former.sight, former.version) == (Sight("top"), 1)
    assert watch.intended_change("never seen") == []
    assert standing(watch, "top") is None
    assert watch.observe(Sight("top"), stream(3, 1, DIM)[0]).state == "commissioning"
    assert watch.monitors()[Sight("top")][0] == 2
    again = Watch(COMMISSION)
    assert again.restore(former)
    assert standing(again, "top") is not None


def test_more_cameras_than_a_watch_holds_are_unwatched() -> None:
    watch = Watch(COMMISSION, most=2)
    (image,) = stream(1, 1)
    assert [watch.observe(Sight(name), image).state for name in ("a", "b", "c", "a")] == [
        "commissioning",
        "commissioning",
        "unwatched",
        "commissioning",
    ]
    assert watch.observe(Sight("c"), image).ratios == watch.observe(Sight("c"), image).signals == {}
    assert Sight("c") not in watch.standing()


def test_what_takes_long_is_done_elsewhere_and_taken_when_it_is_done() -> None:
    waiting: list[Callable[[], None]] = []
    watch = Watch(COMMISSION, elsewhere=waiting.append)
    observe(watch, "top", stream(1, 60))
    assert len(waiting) == 1
    assert watch.monitors()[Sight("top")][1].scene is None
    waiting.pop()()
    assert watch.monitors()[Sight("top")][1].scene is not None
    observe(watch, "top", stream(2, 160))
    (alarm,) = [seen.alarm for seen in observe(watch, "top", stream(3, 1, moved(2.0, 0.0)))]
    assert alarm is not None
    assert alarm.diagnosis.motion is None
    (find_motion,) = waiting
    find_motion()
    assert alarm.diagnosis.motion is not None


def test_a_chore_that_breaks_is_told_where_it_runs_and_the_camera_is_watched_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting: list[Callable[[], None]] = []
    watch = Watch(COMMISSION, elsewhere=waiting.append)
    observe(watch, "top", stream(1, 60))
    monkeypatch.setattr("monitoring.chores.Scene.learn", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        waiting.pop()()
    observe(watch, "top", stream(2, 160))
    assert watch.summary() == {"top": "ok"}
    assert watch.monitors()[Sight("top")][1].scene is None


def test_threads_on_their_own_cameras_see_what_one_thread_would() -> None:
    images = stream(1, 160) + stream(2, 5, DIM)
    alone, together = Watch(COMMISSION), Watch(COMMISSION)
    observe(alone, "camera 0", images)
    threads = [Thread(target=observe, args=(together, f"camera {n}", images)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = saved(alone)["camera 0"].state
    assert {camera: one.state for camera, one in saved(together).items()} == {f"camera {n}": expected for n in range(4)}


LIVES = {"looking": 13, "provisional": 50, "rehearsing": 101, "ok": 160, "alarm": 165}


@cache
def _lives() -> str:
    watch = Watch(COMMISSION)
    for camera, images in LIVES.items():
        observe(watch, camera, (stream(1, 160) + stream(2, 5, DIM))[:images])
    return json.dumps({camera: one.state for camera, one in saved(watch).items()})


def lives() -> dict[str, Any]:
    """A state for every time of a monitor's life, by its name."""
    found: dict[str, Any] = json.loads(_lives())
    return found


def restored(*states: tuple[str, Any]) -> tuple[Watch, list[bool]]:
    watch = Watch(COMMISSION)
    return watch, [watch.restore(Saved(Sight(camera), 1, state)) for camera, state in states]


def test_a_restart_keeps_what_was_learnt_and_what_stands() -> None:
    watch, done = restored(("calm", lives()["ok"]), ("dark", lives()["alarm"]))
    assert done == [True, True]
    assert standing(watch, "dark") is not None
    assert {observation.state for observation in observe(watch, "calm", stream(3, 60))} == {"ok"}
    assert observe(watch, "calm", stream(4, 5, DIM))[-1].state == "alarm"
    assert observe(watch, "dark", stream(5, 60))[-1].state == "ok"


def learning(**fields: Any) -> dict[str, Any]:
    """What a rehearsing monitor keeps of what it learns, with other values in some of its fields."""
    return {**lives()["rehearsing"]["learning"], **fields}


Damage = Callable[[dict[str, Any]], object]
DAMAGES: dict[str, Damage] = {
    "a number is text": lambda state: state.update(images="12"),
    "a number is missing": lambda state: state.pop("learnt"),
    "a number is beyond any": lambda state: state.update(images=10**30),
    "a list is cut": lambda state: state["last_quiet"].pop(),
    "a list is one number": lambda state: state.update(learning=learning(peak=[0.0])),
    "packed numbers are cut": lambda state: state.update(ratios=state["ratios"][:40]),
    "packed numbers are text": lambda state: state.update(ratios="0" * 18),
    "a table is of another kind": lambda state: state.update(learning=learning(pending=[[1.0, [2.0]]])),
    "images that were not learnt from": lambda state: state.update(learning=learning(blocks=[["", ""]] * 9)),
    "an unknown cause": lambda state: state.update(standing={"cause": 5, "chart": "level.jump"}),
    "an alarm without charts": lambda state: state.update(standing=lives()["alarm"]["standing"], charts=None),
    "limits without charts": lambda state: state.update(calibration=lives()["ok"]["calibration"], charts=None),
    "an unknown layout": lambda state: state.update(layout="other"),
    "a scene of nothing": lambda state: state.update(scene={"shape": [3, 3]}),
    "no images to commission": lambda state: state.update(commission=0),
    "no rate": lambda state: state.update(false_alarms_per_10k=0.0),
    "empty": lambda state: state.clear(),
}


@pytest.mark.parametrize("life", sorted(LIVES))
@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_camera_with_a_damaged_state_learns_anew_and_no_other(life: str, damage: str) -> None:
    broken = lives()[life]
    DAMAGES[damage](broken)
    watch, done = restored(("before", lives()["ok"]), ("broken", broken), ("after", lives()["ok"]))
    assert done == [True, False, True]
    assert watch.summary() == {"before": "ok", "after": "ok"}
    assert watch.observe(Sight("broken"), stream(3, 1)[0]).state == "commissioning"


def spoilt(field: str, value: object) -> Damage:
    return lambda state: state["charts"].update({field: value})


@pytest.mark.parametrize(
    "damage",
    [
        spoilt("memory", "AAAA"),
        spoilt("limits", ""),
        spoilt("own", None),
        spoilt("seen", -1),
        lambda state: state["charts"]["baseline"].update(layout="frame"),
        lambda state: state["charts"]["baseline"].pop("centre"),
        lambda state: state["charts"]["baseline"].update(spread=state["charts"]["baseline"]["band"][:-4]),
        lambda state: state.update(charts=[1]),
    ],
)
def test_damaged_charts_are_found_before_the_first_part(damage: Damage) -> None:
    state = lives()["ok"]
    damage(state)
    assert restored(("broken", state))[1] == [False]


@pytest.mark.parametrize("state", [None, 3, "text", [], [1, 2], True])
def test_what_is_no_state_at_all_is_damaged(state: object) -> None:
    assert restored(("broken", state))[1] == [False]


def test_only_cameras_that_changed_are_saved_again() -> None:
    watch = Watch(COMMISSION)
    assert saved(watch) == {}
    for camera in ("left", "right"):
        observe(watch, camera, stream(1, 20))
    assert set(saved(watch)) == {"left", "right"}
    assert saved(watch) == {}
    observe(watch, "right", stream(2, 1))
    assert set(saved(watch)) == {"right"}
    watch.intended_change("left")
    (left,) = saved(watch).values()
    assert (left.sight.camera, left.version) == ("left", 2)


def test_a_restored_camera_has_not_changed() -> None:
    watch, _ = restored(*lives().items())
    assert saved(watch) == {}
    observe(watch, "ok", stream(2, 1))
    assert set(saved(watch)) == {"ok"}


def test_a_camera_whose_saving_failed_comes_again() -> None:
    watch = Watch(COMMISSION)
    for camera in ("left", "middle", "right"):
        observe(watch, camera, stream(1, 1))
    changed = watch.changed_states()
    # It ends here, as when what the caller does with "middle" raises.
    assert [next(changed).sight.camera, next(changed).sight.camera] == ["left", "middle"]
    assert set(saved(watch)) == {"middle", "right"}


def test_a_part_that_comes_while_its_camera_is_saved_is_in_the_next_save() -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", stream(1, 10))
    for one in watch.changed_states():
        kept = copy.deepcopy(one.state)
        observe(watch, "top", stream(2, 1))
        assert one.state == kept
    assert saved(watch)["top"].state["images"] == 11


def test_what_was_begun_before_an_intended_change_is_dropped_and_begun_again() -> None:
    waiting: list[Callable[[], None]] = []
    watch = Watch(COMMISSION, elsewhere=waiting.append)
    observe(watch, "top", stream(1, 60))
    (late,) = waiting
    watch.intended_change("top")
    late()
    assert watch.monitors()[Sight("top")][1].scene is None
    observe(watch, "top", stream(2, 60))
    assert len(waiting) == 2
    waiting[1]()
    version, monitor = watch.monitors()[Sight("top")]
    assert version == 2
    assert monitor.scene is not None


def test_many_images_while_something_is_done_elsewhere_ask_for_it_once() -> None:
    waiting: list[Callable[[], None]] = []
    watch = Watch(COMMISSION, elsewhere=waiting.append)
    observe(watch, "top", stream(1, 160))
    observe(watch, "side", stream(2, 160))
    assert len(waiting) == 2
    for done in waiting:
        done()
    assert len(waiting) == 2
    observe(watch, "top", stream(3, 160))
    assert watch.summary() == {"top": "ok", "side": "provisional"}


def test_what_was_done_elsewhere_is_saved() -> None:
    waiting: list[Callable[[], None]] = []
    watch = Watch(COMMISSION, elsewhere=waiting.append)
    observe(watch, "top", stream(1, 60))
    assert saved(watch)["top"].state["scene"] is None
    waiting.pop()()
    again, _ = restored(("top", json.loads(json.dumps(saved(watch)["top"].state))))
    assert again.monitors()[Sight("top")][1].scene is not None


def test_an_image_of_another_size_is_no_accident() -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", stream(1, 160))
    observe(watch, "top", [image[:60, :80].copy() for image in stream(2, 3)])
    assert watch.summary() == {"top": "alarm"}
    assert observe(watch, "top", stream(3, 60))[-1].state == "ok"


@pytest.mark.parametrize("images", [161, 163, 168, 173, 190])
def test_an_alarm_outlives_a_restart_whatever_is_known_of_it(images: int) -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", (stream(1, 160) + stream(2, 30, moved(1.5, 0.0)))[:images])
    before = standing(watch, "top")
    again, done = restored(("top", json.loads(json.dumps(saved(watch)["top"].state))))
    assert done == [True]
    after = standing(again, "top")
    assert before is not None
    assert after is not None
    assert after.state() == before.state()
    observe(again, "top", stream(3, 12, moved(1.5, 0.0)))
    after = standing(again, "top")
    assert after is not None
    assert after.diagnosis.images == 12
    assert after.cause == "bump"


def test_a_product_that_comes_back_finds_the_light_wherever_it_is_in_its_band() -> None:
    watch = Watch(COMMISSION)
    for product in ("one", "other"):
        observe(watch, "top", stream(1, 160), product)
    seen = observe(watch, "top", stream(2, 40, dimmed(0.01)), "one")
    assert {observation.state for observation in seen} == {"ok"}
    assert watch.observe(Sight("top", "one"), stream(3, 1, DIM)[0]).state == "alarm"


def test_an_intended_change_is_one_for_every_product_and_lamp_of_the_camera() -> None:
    watch = Watch(COMMISSION)
    sights = [Sight("top", "one"), Sight("top", "other"), Sight("top", "one", "red")]
    for sight in (*sights, Sight("side", "one")):
        watch.observe(sight, stream(1, 1)[0])
    assert [(saved.sight, saved.version) for saved in watch.intended_change("top")] == [(sight, 1) for sight in sights]
    assert [version for version, _ in watch.monitors().values()] == [2, 2, 2, 1]


def test_lamps_that_take_turns_are_each_held_against_their_own_light() -> None:
    watch = Watch(COMMISSION)
    bright, dark = stream(1, 200), stream(1, 200, DIM)
    for lit, unlit in zip(bright, dark, strict=True):
        watch.observe(Sight("top", lamp="ring"), lit)
        watch.observe(Sight("top", lamp="bar"), unlit)
    assert {monitor.phase for _, monitor in watch.monitors().values()} == {"calibrated"}
    assert watch.observe(Sight("top", lamp="bar"), dark[0]).state == "ok"
    assert watch.observe(Sight("top", lamp="ring"), dark[0]).state == "alarm"


def test_a_camera_that_rested_finds_the_light_wherever_it_is_in_its_band() -> None:
    now = [0.0]
    watch = Watch(COMMISSION, clock=lambda: now[0])
    observe(watch, "top", stream(1, 160))
    now[0] = GAP_S + 1
    assert {seen.state for seen in observe(watch, "top", stream(2, 40, dimmed(0.01)))} == {"ok"}


def test_a_restored_version_goes_on_counting() -> None:
    watch = Watch(COMMISSION)
    assert watch.restore(Saved(Sight("top"), 7, lives()["ok"]))
    assert [former.version for former in watch.intended_change("top")] == [7]
    assert watch.monitors()[Sight("top")][0] == 8
