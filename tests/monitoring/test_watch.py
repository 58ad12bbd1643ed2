import json
from threading import Thread

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
    assert watch.observe("c", measured).ratios == {}
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
