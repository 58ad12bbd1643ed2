"""What the images of an alarm say together, and when they have said enough."""

import json
from functools import cache

import numpy as np
import pytest

from monitoring.alarm import EVIDENCE_IMAGES, Alarm, Evidence
from monitoring.baseline import Baseline
from monitoring.charts import Charts, calibrated_charts
from monitoring.diagnosis import CAUSES
from monitoring.features import SCENE, Floats
from monitoring.optics import OpticsMonitor
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, packed
from tests.monitoring.commissioned import alarms, commissioned, stands
from tests.monitoring.line_light import blurred, dimmed, flickering, moved, soiled, stream, weak_at


@cache
def charts() -> Charts:
    """Over a baseline that scatters by the least that is believed."""
    spread = SCENE.widths("smallest_spread")
    baseline = Baseline(SCENE, np.zeros(SCENE.size), spread, SCENE.widths("unseen_wander"))
    return Charts(baseline, np.ones(calibrated_charts(SCENE)))


def measurements(seed: int, count: int, **shifts: float) -> list[Floats]:
    """Measurements that scatter as normal, moved by so many units of the smallest jump."""
    rng = np.random.default_rng(seed)
    found = charts().baseline.spread * rng.standard_normal((count, SCENE.size))
    for name, units in shifts.items():
        found[:, SCENE.index(name)] += units * SCENE.features[SCENE.index(name)].least_jump
    return list(found)


def test_more_images_make_the_shift_surer() -> None:
    errors = np.zeros((2, 50))
    for seed in range(50):
        evidence = Evidence(charts(), "level.jump")
        for n, measurement in enumerate(measurements(seed, EVIDENCE_IMAGES, level=-3.0)):
            found = evidence.take(measurement)
            assert found.images == n + 1
            if n in (0, EVIDENCE_IMAGES - 1):
                errors[min(n, 1), seed] = abs(found.size - 3.0)
            assert evidence.is_complete == (n == EVIDENCE_IMAGES - 1)
    assert errors[1].mean() < 0.5 * errors[0].mean()


def test_a_small_change_is_named_once_there_are_enough_images_of_it() -> None:
    """One image says only which chart alarmed; a dozen say that the focus changed along with the light."""
    evidence = Evidence(charts(), "level.drift")
    named = [evidence.take(one).cause for one in measurements(3, EVIDENCE_IMAGES, focus=-0.25)]
    assert named[0] == "lamp_dim"
    assert named[-1] == "defocus"


def test_a_chart_against_commissioning_measures_from_there_and_any_other_from_of_late() -> None:
    of = charts().copy()
    for measurement in measurements(1, 100, level=1.0):
        of.update(measurement, np.zeros(len(SCENE.charts), np.int64), 0)
    away = measurements(2, 1, level=4.0)[0]
    of_late, of_all = Evidence(of, "level.jump").take(away), Evidence(of, "level.band").take(away)
    assert of_late.size == pytest.approx(3.0, abs=0.5)
    # What the light does anyway is no change.
    anyway = SCENE.widths("unseen_wander")[0] / SCENE.widths("least_drift")[0]
    assert of_all.size == pytest.approx(4.0 * SCENE.widths("least_jump")[0] / 0.006 - anyway, abs=0.5)


def test_motion_is_asked_for_three_times_and_only_where_the_picture_may_have_moved() -> None:
    for shifts, expected in (({"shift_x": 4.0, "noise": 5.0}, 3), ({"level": -8.0}, 0)):
        evidence = Evidence(charts(), "shift_x.jump")
        asked = []
        for n, measurement in enumerate(measurements(4, EVIDENCE_IMAGES + 3, **shifts)):
            evidence.take(measurement)
            if evidence.wants_motion:
                asked.append(n)
        assert len(asked) == expected
        assert asked[:1] == ([0] if expected else [])


def test_a_motion_that_was_found_refines_the_diagnosis_and_one_that_was_not_takes_it_back() -> None:
    evidence = Evidence(charts(), "focus.jump")
    for measurement in measurements(5, 3, focus=-9.0, noise=5.0):
        found = evidence.take(measurement)
    assert found.cause == "defocus"
    motion = Motion(2.0, -1.0, 0.3)
    found = evidence.take_motion(motion)
    assert (found.cause, found.motion) == ("bump", motion)
    assert evidence.take(measurements(6, 1, focus=-9.0, noise=5.0)[0]).motion == motion
    assert evidence.take_motion(None).cause == "defocus"


def test_what_is_only_seen_is_no_evidence() -> None:
    evidence = Evidence(charts(), "level.jump")
    first, second = measurements(7, 2, level=-3.0)
    found = evidence.take(first)
    evidence.see(second)
    assert (evidence.last == second - charts().local).all()
    assert evidence.take_motion(None).images == found.images == 1


def spoiled(measurement: Floats, cell: int) -> Floats:
    """A measurement of an image in which a few cells are far darker."""
    found = measurement.copy()
    first = SCENE.cells("map").start + cell
    for place in (first, first + 1, first + 28, first + 29):
        found[place] -= 0.4
    return found


@pytest.mark.parametrize("odd", [0, 4, 11])
def test_a_part_that_differs_is_no_spot_among_the_images_of_an_alarm(odd: int) -> None:
    clean, spotted = Evidence(charts(), "level.jump"), Evidence(charts(), "level.jump")
    for n, one in enumerate(measurements(10, EVIDENCE_IMAGES, level=-3.0)):
        expected, found = clean.take(one), spotted.take(spoiled(one, 200) if n == odd else one)
    assert found.cause == expected.cause == "lamp_dim"
    assert np.abs(found.heat_map - expected.heat_map).max() < 0.01


def test_what_most_images_show_is_no_less_for_what_two_of_them_do_not() -> None:
    evidence = Evidence(charts(), "map.jump")
    for n, one in enumerate(measurements(11, EVIDENCE_IMAGES)):
        found = evidence.take(one if n in (3, 8) else spoiled(one, 200))
    assert found.cause == "soiling"
    assert found.heat_map[7, 4] == pytest.approx(-0.4 * 9 / 10, abs=0.01)


def test_a_single_odd_image_keeps_its_cause_while_its_alarm_stands() -> None:
    evidence = Evidence(charts(), "map.jump")
    first, *rest = measurements(12, 4)
    assert evidence.take(spoiled(first, 200)).cause == "soiling"
    assert {evidence.take(one).cause for one in rest} == {"soiling"}


def test_evidence_goes_on_from_its_state_and_from_its_copy() -> None:
    evidence = Evidence(charts(), "shift_x.band")
    for measurement in measurements(8, 5, shift_x=4.0, noise=5.0):
        evidence.take(measurement)
    evidence.take_motion(Motion(0.5, 0.0, 0.0))
    kept = evidence.state()
    restored, twin = Evidence.from_state(json.loads(json.dumps(kept)), charts()), evidence.copy()
    rest = measurements(9, 6, shift_x=4.0, noise=5.0)
    expected = [evidence.take(measurement).state() for measurement in rest]
    assert twin.state() == restored.state() == kept
    for other in (restored, twin):
        assert [other.take(measurement).state() for measurement in rest] == expected
        assert other.state() == evidence.state()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reference", packed(np.zeros(SCENE.size - 1))),
        ("sum", ""),
        ("sum", packed(np.full(SCENE.size, np.inf))),
        ("lowest", packed(np.zeros(SCENE.size))),
        ("highest", packed(np.full(SCENE.size - len(SCENE.features), np.inf))),
        ("last", packed(np.zeros(3))),
        ("levels", ["dark"]),
        ("levels", [float("nan")]),
        ("motion", {"right_px": "far", "down_px": 0.0, "turn_degrees": 0.0}),
    ],
)
def test_damaged_evidence_is_refused(field: str, value: object) -> None:
    evidence = Evidence(charts(), "level.jump")
    evidence.take(measurements(1, 1)[0])
    with pytest.raises(StateDamaged):
        Evidence.from_state({**evidence.state(), field: value}, charts())


def test_evidence_of_no_image_is_refused() -> None:
    """It would have no mean: an alarm has at least the image that raised it."""
    evidence = Evidence(charts(), "level.jump")
    evidence.take(measurements(1, 1)[0])
    with pytest.raises(StateDamaged):
        Evidence.from_state({**evidence.state(), "levels": []}, charts())


def raised() -> tuple[OpticsMonitor, Alarm]:
    monitor = commissioned()
    (alarm,) = alarms(monitor, stream(7, 1, dimmed(0.1)))
    return monitor, alarm


def test_an_alarm_is_the_same_one_while_its_diagnosis_gets_better_and_is_final_in_the_end() -> None:
    monitor, alarm = raised()
    assert alarm.diagnosis.images == 1
    images = []
    for image in stream(8, 30, dimmed(0.1)):
        assert monitor.update(image) is None
        assert monitor.standing is alarm
        images.append(alarm.diagnosis.images)
    assert images[:11] == list(range(2, EVIDENCE_IMAGES + 1))
    assert set(images[11:]) == {EVIDENCE_IMAGES}
    final = alarm.diagnosis
    alarms(monitor, stream(9, 5, soiled(0.8, 0.8, 6, 0.5)))
    assert alarm.diagnosis is final


def test_what_one_image_could_not_tell_the_next_ones_do() -> None:
    monitor = commissioned()
    causes: list[str] = []
    for image in stream(7, 20, flickering(0.02)):
        monitor.update(image)
        if monitor.standing is not None:
            causes.append(monitor.standing.cause)
    assert causes[-1] == "flicker"
    assert set(causes) <= set(CAUSES)


def test_a_bump_is_known_as_one_from_the_first_image_on() -> None:
    monitor = commissioned()
    for image in stream(7, 14, moved(1.5, 1.0)):
        monitor.update(image)
        assert monitor.standing is not None
        assert monitor.standing.cause == "bump"
        assert monitor.standing.diagnosis.motion is not None


GLITCHES = {
    "dark": dimmed(0.5),
    "black": dimmed(1.0),
    "bright": dimmed(-0.5),
    "moved": moved(3.0, 2.0),
    "blurred": blurred(2.0),
    "half lit": weak_at("left", 0.4),
    "soiled": soiled(0.8, 0.8, 8, 0.4),
}


@pytest.mark.parametrize("glitch", sorted(GLITCHES))
def test_one_odd_image_alarms_at_once_and_clears_after_a_few(glitch: str) -> None:
    monitor = commissioned()
    assert alarms(monitor, stream(7, 5)) == []
    (alarm,) = alarms(monitor, stream(8, 1, GLITCHES[glitch]))
    assert (alarm.onset, alarm.at_image) == (monitor.images - 1, monitor.images - 1)
    stood = []
    for image in stream(9, 30):
        assert monitor.update(image) is None
        stood.append(stands(monitor))
    assert 1 <= sum(stood) <= 4
    assert not any(stood[4:])


def test_the_longer_it_was_abnormal_the_longer_it_must_be_normal_again() -> None:
    stood = []
    for images in (1, 2, 4, 30):
        monitor = commissioned()
        alarms(monitor, stream(8, images, dimmed(0.3)))
        count = 0
        for image in stream(9, 60):
            count += stands(monitor)
            monitor.update(image)
        stood.append(count)
    assert max(stood[:2]) <= 4 < stood[2] < 20 <= stood[3] <= 30


def test_an_alarm_comes_back_exactly() -> None:
    _, alarm = raised()
    for state in (alarm.state(), json.loads(json.dumps(alarm.state()))):
        twin = Alarm.from_state(state)
        assert twin.state() == alarm.state()
        assert (twin.onset, twin.at_image, twin.chart, twin.ratio) == (
            alarm.onset,
            alarm.at_image,
            alarm.chart,
            alarm.ratio,
        )
        assert twin.cause == alarm.cause == "lamp_dim"
        assert (twin.heat_map == alarm.heat_map).all()


@pytest.mark.parametrize(
    ("field", "value"), [("onset", -1), ("at_image", 1.5), ("ratio", float("inf")), ("ratio", "2")]
)
def test_a_damaged_alarm_is_refused(field: str, value: object) -> None:
    _, alarm = raised()
    with pytest.raises(StateDamaged):
        Alarm.from_state({**alarm.state(), field: value})
