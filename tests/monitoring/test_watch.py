import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from threading import Thread
from typing import Any

import pytest

from monitoring.charts import CHARTS
from monitoring.signals import Signature
from monitoring.watch import Observation, Watch
from tests.monitoring.line_light import Picture, stream

COMMISSION = 120


def dim(picture: Picture) -> Picture:
    return 0.8 * picture


def observe(watch: Watch, camera: str, signatures: list[Signature]) -> list[Observation]:
    return [watch.observe(camera, measured) for measured in signatures]


def test_a_camera_goes_through_its_states() -> None:
    watch = Watch(COMMISSION)
    seen = observe(watch, "top", stream(1, 160) + stream(2, 10, dim) + stream(3, 40))
    states = [observation.state for observation in seen]
    assert list(dict.fromkeys(states)) == ["commissioning", "provisional", "ok", "alarm"]
    assert states[-1] == "ok"


def test_alarm_and_clearing_are_told_once() -> None:
    watch = Watch(COMMISSION)
    seen = observe(watch, "top", stream(1, 160) + stream(2, 10, dim))
    assert [index for index, observation in enumerate(seen) if observation.alarm] == [161]
    standing = watch.standing("top")
    assert standing is seen[161].alarm
    after = observe(watch, "top", stream(3, 60))
    assert sum(observation.cleared for observation in after) == 1
    assert watch.standing("top") is None


def test_rounded_ratios_are_the_ratios_to_four_digits() -> None:
    watch = Watch(COMMISSION)
    for observation in observe(watch, "top", stream(1, 160) + stream(2, 10, dim) + stream(3, 40)):
        assert tuple(observation.ratios) == tuple(observation.rounded) == CHARTS
        assert observation.rounded == {chart: round(ratio, 4) for chart, ratio in observation.ratios.items()}


def test_ratios_of_an_earlier_image_stay_what_they_were() -> None:
    watch = Watch(COMMISSION)
    seen = [(observation, observation.ratios) for observation in observe(watch, "top", stream(1, 160))]
    observe(watch, "top", stream(2, 10, dim))
    assert all(observation.ratios == ratios for observation, ratios in seen)


def test_a_ratio_that_is_no_number_is_not_told() -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", stream(1, 160))
    observation = watch.observe("top", replace(stream(3, 1)[0], focus=math.nan))
    assert math.isnan(observation.ratios["focus.jump"])
    assert set(CHARTS) - set(observation.rounded) == {"focus.jump", "focus.band"}


def test_cameras_do_not_touch_each_other() -> None:
    watch = Watch(COMMISSION)
    for camera in ("left", "right"):
        observe(watch, camera, stream(1, 160))
    observe(watch, "left", stream(2, 5, dim))
    assert watch.standing("left") is not None
    assert watch.standing("right") is None


def test_an_intended_change_commissions_that_camera_again() -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", stream(1, 160) + stream(2, 5, dim))
    watch.intended_change("top")
    watch.intended_change("never seen")
    assert watch.standing("top") is None
    assert watch.observe("top", stream(3, 1, dim)[0]).state == "commissioning"


def test_more_cameras_than_a_watch_holds_are_unwatched() -> None:
    watch = Watch(COMMISSION, cameras=2)
    (measured,) = stream(1, 1)
    assert [watch.observe(name, measured).state for name in ("a", "b", "c", "a")] == [
        "commissioning",
        "commissioning",
        "unwatched",
        "commissioning",
    ]
    assert watch.observe("c", measured).ratios == watch.observe("c", measured).rounded == {}
    assert watch.standing("c") is None


def test_a_restart_keeps_what_was_learnt_and_what_stands() -> None:
    before = Watch(COMMISSION)
    observe(before, "calm", stream(1, 160))
    observe(before, "dark", stream(1, 160) + stream(2, 5, dim))
    after = Watch(COMMISSION)
    after.restore(json.loads(json.dumps(before.states())))
    assert after.standing("dark") is not None
    assert {observation.state for observation in observe(after, "calm", stream(3, 60))} == {"ok"}
    assert observe(after, "calm", stream(4, 5, dim))[-1].state == "alarm"
    assert observe(after, "dark", stream(5, 60))[-1].state == "ok"


def test_threads_on_their_own_cameras_see_what_one_thread_would() -> None:
    signatures = stream(1, 160) + stream(2, 5, dim)
    alone = Watch(COMMISSION)
    observe(alone, "camera 0", signatures)
    together = Watch(COMMISSION)
    threads = [Thread(target=observe, args=(together, f"camera {n}", signatures)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = alone.states()["camera 0"]
    assert together.states() == {f"camera {n}": expected for n in range(4)}


LIVES = {"commissioning": 13, "provisional": 50, "rehearsing": 101, "ok": 160, "alarm": 165}


@cache
def _lives() -> str:
    watch = Watch(COMMISSION)
    for camera, images in LIVES.items():
        observe(watch, camera, (stream(1, 160) + stream(2, 5, dim))[:images])
    return json.dumps(watch.states())


def lives() -> dict[str, Any]:
    """A state for every time of a monitor's life, by its name."""
    found: dict[str, Any] = json.loads(_lives())
    return found


def test_states_are_taken_over_as_they_were() -> None:
    watch = Watch(COMMISSION)
    assert watch.restore(lives()) == ()
    assert list(watch.summary()) == list(LIVES)
    again = Watch(COMMISSION)
    assert again.restore(json.loads(json.dumps(watch.states()))) == ()
    assert again.states() == watch.states()


Damage = Callable[[dict[str, Any]], object]
DAMAGES: dict[str, Damage] = {
    "a number is text": lambda state: state.update(images="12"),
    "a number is missing": lambda state: state.pop("learnt"),
    "a number is no number": lambda state: state["ratios"].__setitem__(0, float("nan")),
    "a number is beyond any": lambda state: state.update(images=10**30),
    "a list is cut": lambda state: state["last_quiet"].pop(),
    "a list is one number": lambda state: state.update(peak=[0.0]),
    "a list is text": lambda state: state.update(ratios="0" * 18),
    "a table is ragged": lambda state: state.update(pending=[[1.0, [2.0]]]),
    "images that were not learnt from": lambda state: state.update(pending=[[0.0] * 72] * 9),
    "an unknown cause": lambda state: state.update(standing={"cause": 5, "chart": "level.jump"}),
    "an alarm without charts": lambda state: state.update(standing=lives()["alarm"]["standing"], charts=None),
    "limits without charts": lambda state: state.update(calibration=lives()["ok"]["calibration"], charts=None),
    "no images to commission": lambda state: state.update(commission=0),
    "no rate": lambda state: state.update(false_alarms_per_10k=0.0),
    "empty": lambda state: state.clear(),
}


@pytest.mark.parametrize("life", sorted(LIVES))
@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_camera_with_a_damaged_state_is_named_and_learns_anew(life: str, damage: str) -> None:
    states = {"before": lives()["ok"], "broken": lives()[life], "after": lives()["ok"]}
    DAMAGES[damage](states["broken"])
    watch = Watch(COMMISSION)
    assert watch.restore(states) == ("broken",)
    assert watch.summary() == {"before": "ok", "after": "ok"}
    assert watch.observe("broken", stream(3, 1)[0]).state == "commissioning"


def spoilt(chart: str, field: str, value: object) -> Damage:
    return lambda state: state["charts"][chart][3].update({field: value})


@pytest.mark.parametrize(
    "damage",
    [
        spoilt("jumps", "weight", 2),
        spoilt("jumps", "width", 0),
        spoilt("jumps", "average", "0.1"),
        spoilt("bands", "limit", 0.0),
        spoilt("bands", "above", float("inf")),
        lambda state: state["charts"]["slow"].__setitem__(5, float("nan")),
        lambda state: state["charts"]["baseline"]["spread"].__setitem__(70, 0.0),
        lambda state: state["charts"]["baseline"]["centre"].pop(),
        lambda state: state["charts"]["jumps"].pop(),
        lambda state: state.update(charts=[1]),
    ],
)
def test_damaged_charts_are_found_before_the_first_part(damage: Damage) -> None:
    state = lives()["ok"]
    damage(state)
    assert Watch(COMMISSION).restore({"broken": state}) == ("broken",)


@pytest.mark.parametrize("state", [None, 3, "text", [], [1, 2], True])
def test_what_is_no_state_at_all_is_damaged(state: object) -> None:
    assert Watch(COMMISSION).restore({"broken": state}) == ("broken",)


def test_only_cameras_that_changed_are_saved_again() -> None:
    watch = Watch(COMMISSION)
    assert list(watch.changed_states()) == []
    for camera in ("left", "right"):
        observe(watch, camera, stream(1, 20))
    assert dict(watch.changed_states()) == watch.states()
    assert list(watch.changed_states()) == []
    observe(watch, "right", stream(2, 1))
    assert dict(watch.changed_states()) == {"right": watch.states()["right"]}
    watch.intended_change("left")
    assert dict(watch.changed_states()) == {"left": watch.states()["left"]}


def test_a_restored_camera_has_not_changed() -> None:
    watch = Watch(COMMISSION)
    watch.restore(lives())
    assert list(watch.changed_states()) == []
    observe(watch, "ok", stream(2, 1))
    assert [name for name, _ in watch.changed_states()] == ["ok"]


def test_a_camera_whose_saving_failed_comes_again() -> None:
    watch = Watch(COMMISSION)
    for camera in ("left", "middle", "right"):
        observe(watch, camera, stream(1, 1))
    changed = watch.changed_states()
    # It ends here, as when what the caller does with "middle" raises.
    assert [next(changed)[0], next(changed)[0]] == ["left", "middle"]
    assert [name for name, _ in watch.changed_states()] == ["middle", "right"]


def test_a_part_that_comes_while_its_camera_is_saved_is_in_the_next_save() -> None:
    watch = Watch(COMMISSION)
    observe(watch, "top", stream(1, 10))
    for _, state in watch.changed_states():
        saved = copy.deepcopy(state)
        observe(watch, "top", stream(2, 1))
        assert state == saved
    assert dict(watch.changed_states())["top"]["images"] == 11
