"""What takes long is left to others, and whatever becomes of it meanwhile the monitor goes on."""

import json
from collections.abc import Sequence

import pytest

from monitoring.alarm import Alarm
from monitoring.chores import Chore, FindMotion, LearnScene
from monitoring.features import FRAME, SCENE
from monitoring.optics import OpticsMonitor
from tests.monitoring.commissioned import COMMISSION, commissioned, phase, stands
from tests.monitoring.line_light import Pixels, blurred, dimmed, moved, stream

LOOKED = COMMISSION // 3


def deferred(commission: int = COMMISSION) -> OpticsMonitor:
    return OpticsMonitor(commission, deferred=True)


def see(monitor: OpticsMonitor, images: Sequence[Pixels], *, help_out: bool = False) -> list[Alarm]:
    """The alarms of the images; chores are done after each one or left alone."""
    found = []
    for image in images:
        alarm = monitor.update(image)
        if help_out and monitor.chore is not None:
            monitor.finish(monitor.chore, monitor.chore.do())
        if alarm is not None:
            found.append(alarm)
    return found


def chore_of(monitor: OpticsMonitor) -> Chore:
    assert monitor.chore is not None
    return monitor.chore


def ready() -> OpticsMonitor:
    """A commissioned monitor that leaves its chores to others."""
    return OpticsMonitor.from_state(commissioned().state(), deferred=True)


def test_the_scene_is_left_to_be_learnt_while_images_come_and_go() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED - 1))
    assert monitor.chore is None
    see(monitor, stream(2, 1))
    chore = chore_of(monitor)
    assert isinstance(chore, LearnScene)
    assert len(chore.images) == LOOKED
    see(monitor, stream(3, 100))
    assert chore_of(monitor) is chore
    assert (monitor.scene, monitor.layout, phase(monitor)) == (None, None, "commissioning")
    assert monitor.images == LOOKED + 100
    monitor.finish(chore, chore.do())
    assert monitor.chore is None
    assert monitor.layout is SCENE
    assert see(monitor, stream(4, COMMISSION)) == []
    assert phase(monitor) == "calibrated"


def test_a_scene_that_there_is_not_leaves_the_whole_frame() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED, kind="web"))
    chore = chore_of(monitor)
    found = chore.do()
    assert found is None
    monitor.finish(chore, found)
    assert monitor.layout is FRAME
    assert monitor.chore is None


def test_the_images_looked_at_are_kept_apart_from_what_the_caller_does_with_them() -> None:
    ours, theirs = deferred(), deferred()
    for image in stream(1, LOOKED):
        mine = image.copy()
        ours.update(mine)
        theirs.update(image)
        mine[:] = 0
    assert ours.state() == theirs.state()


def test_a_helper_that_is_quick_makes_it_the_same_as_without_one() -> None:
    images = stream(1, 170) + stream(2, 14, moved(1.0, 0.5)) + stream(3, 30)
    alone, helped = OpticsMonitor(COMMISSION), deferred()
    for image in images:
        ours = alone.update(image)
        theirs = helped.update(image)
        if helped.chore is not None:
            helped.finish(helped.chore, helped.chore.do())
        assert (ours and ours.state()) == (theirs and theirs.state())
    assert helped.state() == alone.state()


def test_the_motion_is_left_to_be_found() -> None:
    monitor = ready()
    (alarm,) = see(monitor, stream(7, 1, moved(2.0, -1.0)))
    chore = chore_of(monitor)
    assert isinstance(chore, FindMotion)
    see(monitor, stream(8, 2, moved(2.0, -1.0)))
    before = alarm.diagnosis
    monitor.finish(chore, chore.do())
    assert alarm.cause == "bump"
    assert before.motion is None
    assert alarm.diagnosis.motion is not None
    assert alarm.diagnosis.motion.right_px == pytest.approx(2.0, abs=0.2)


def test_a_motion_nobody_ever_looked_for_leaves_the_other_evidence() -> None:
    monitor = ready()
    (alarm,) = see(monitor, stream(7, 20, moved(2.0, -1.0)))
    assert alarm.diagnosis.images == 12
    assert alarm.diagnosis.motion is None
    assert stands(monitor)


def finished_late(monitor: OpticsMonitor, chore: Chore) -> bool:
    """Whether a chore that is done too late changes anything."""
    before = monitor.state()
    monitor.finish(chore, chore.do())
    return monitor.state() != before


def test_a_scene_learnt_before_an_intended_change_is_of_no_use() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED))
    chore = chore_of(monitor)
    monitor.intended_change()
    assert monitor.chore is None
    assert not finished_late(monitor, chore)
    assert monitor.scene is None
    see(monitor, stream(2, 10))
    assert not finished_late(monitor, chore)
    see(monitor, stream(3, LOOKED))
    assert chore_of(monitor) is not chore
    assert not finished_late(monitor, chore)


def test_a_scene_of_images_that_then_changed_their_size_is_of_no_use() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED))
    chore = chore_of(monitor)
    see(monitor, [image[:100] for image in stream(2, 4)])
    assert monitor.layout is FRAME
    assert not finished_late(monitor, chore)
    assert monitor.scene is None


def test_a_motion_found_after_the_alarm_cleared_is_of_no_use() -> None:
    monitor = ready()
    see(monitor, stream(7, 1, moved(2.0, -1.0)))
    chore = chore_of(monitor)
    see(monitor, stream(8, 30))
    assert not stands(monitor)
    assert monitor.chore is None
    assert not finished_late(monitor, chore)
    (alarm,) = see(monitor, stream(9, 1, blurred(1.5)))
    assert not finished_late(monitor, chore)
    assert alarm.diagnosis.motion is None


def test_the_latest_motion_is_the_one_that_counts() -> None:
    monitor = ready()
    see(monitor, stream(7, 1, moved(2.0, -1.0)))
    first = chore_of(monitor)
    see(monitor, stream(8, 5, moved(2.0, -1.0)))
    second = chore_of(monitor)
    assert second is not first
    assert not finished_late(monitor, first)
    assert finished_late(monitor, second)
    assert not finished_late(monitor, second)


def test_a_chore_done_twice_counts_once() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED))
    chore = chore_of(monitor)
    found = chore.do()
    monitor.finish(chore, found)
    before = monitor.state()
    monitor.finish(chore, found)
    assert monitor.state() == before


def test_a_state_saved_while_the_scene_is_being_learnt_goes_on() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED + 5))
    restored = OpticsMonitor.from_state(json.loads(json.dumps(monitor.state())), deferred=True)
    assert restored.state() == monitor.state()
    lost = chore_of(monitor)
    restored.finish(lost, lost.do())
    assert restored.scene is None
    see(restored, stream(2, 1))
    chore = chore_of(restored)
    assert isinstance(chore, LearnScene)
    assert len(chore.images) == LOOKED
    assert see(restored, stream(3, COMMISSION), help_out=True) == []
    assert restored.layout is SCENE
    assert phase(restored) == "calibrated"


def test_a_state_saved_while_the_scene_is_being_learnt_goes_on_without_a_helper_too() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED + 5))
    restored = OpticsMonitor.from_state(monitor.state())
    assert see(restored, stream(2, COMMISSION)) == []
    assert phase(restored) == "calibrated"
    assert restored.layout is SCENE


def test_a_state_saved_while_a_motion_is_looked_for_goes_on() -> None:
    monitor = ready()
    see(monitor, stream(7, 2, moved(2.0, -1.0)))
    restored = OpticsMonitor.from_state(json.loads(json.dumps(monitor.state())), deferred=True)
    see(restored, stream(8, 12, moved(2.0, -1.0)), help_out=True)
    assert restored.standing is not None
    assert restored.standing.cause == "bump"
    assert restored.standing.diagnosis.motion is not None


def test_a_copy_has_the_chore_for_itself() -> None:
    monitor = deferred()
    see(monitor, stream(1, LOOKED))
    twin = monitor.copy()
    chore = chore_of(twin)
    twin.finish(chore, chore.do())
    assert twin.scene is not None
    assert monitor.scene is None
    assert chore_of(monitor) is chore
    monitor.finish(chore, chore.do())
    assert monitor.state() == twin.state()


def test_a_copy_s_motion_leaves_the_original_s_diagnosis_alone() -> None:
    monitor = ready()
    see(monitor, stream(7, 1, moved(2.0, -1.0)))
    twin = monitor.copy()
    chore = chore_of(twin)
    twin.finish(chore, chore.do())
    assert monitor.standing is not None
    assert twin.standing is not None
    assert twin.standing.diagnosis.motion is not None
    assert monitor.standing.diagnosis.motion is None


def test_light_alone_is_no_chore() -> None:
    monitor = ready()
    for image in stream(7, 20, dimmed(0.2)):
        monitor.update(image)
        assert monitor.chore is None
