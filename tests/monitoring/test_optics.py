"""The life of an optics monitor."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest

from monitoring.features import FRAME, GRID, SCENE
from monitoring.optics import SMALLEST_COMMISSION, CommissionTooShort, OpticsMonitor, OverviewMissing
from monitoring.saved import StateDamaged
from monitoring.signals import OverviewInvalid, Signature, signature
from tests.monitoring.commissioned import COMMISSION, alarms, commissioned, phase, stands
from tests.monitoring.line_light import (
    HEIGHT,
    WIDTH,
    Change,
    Kind,
    Pixels,
    blurred,
    coloured,
    dimmed,
    fading,
    flickering,
    grainy,
    moved,
    soiled,
    stream,
    veiled,
    weak_at,
)

KINDS: tuple[Kind, ...] = ("fixture", "web", "sizes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_an_undisturbed_line_does_not_alarm(kind: Kind, seed: int) -> None:
    monitor = OpticsMonitor(300)
    assert alarms(monitor, stream(seed, 700, kind=kind)) == []


def test_a_still_picture_does_not_alarm() -> None:
    monitor = OpticsMonitor(COMMISSION)
    assert alarms(monitor, [np.full((64, 64, 3), 80, np.uint8)] * 400) == []
    assert monitor.layout is SCENE


def test_a_black_camera_does_not_alarm_and_light_on_it_does() -> None:
    monitor = OpticsMonitor(COMMISSION)
    assert alarms(monitor, [np.zeros((64, 64, 3), np.uint8)] * 300) == []
    assert monitor.layout is FRAME
    assert len(alarms(monitor, [np.full((64, 64, 3), 80, np.uint8)] * 5)) == 1


def test_the_monitor_takes_images_as_it_takes_their_signatures() -> None:
    by_image, by_signature = OpticsMonitor(COMMISSION), OpticsMonitor(COMMISSION)
    for image in stream(1, COMMISSION + 20) + stream(2, 10, dimmed(0.1)):
        by_image.update(image)
        by_signature.update(signature(image))
    assert by_image.state() == by_signature.state()
    assert by_image.layout is SCENE


def without_overview(image: Pixels) -> Signature:
    seen = signature(image)
    return replace(seen, overview=None)


def test_signatures_alone_are_watched_as_whole_frames() -> None:
    monitor = OpticsMonitor(COMMISSION)
    for image in stream(1, COMMISSION + 40, kind="web"):
        assert monitor.update(without_overview(image)) is None
    assert monitor.layout is FRAME
    assert phase(monitor) == "calibrated"
    found = [monitor.update(without_overview(image)) for image in stream(2, 8, dimmed(0.2), kind="web")]
    assert [alarm.cause for alarm in found if alarm is not None] == ["lamp_dim"]


def test_a_signature_alone_is_refused_where_a_scene_is_watched() -> None:
    monitor = commissioned()
    before = monitor.state()
    with pytest.raises(OverviewMissing) as refused:
        monitor.update(without_overview(stream(2, 1)[0]))
    assert refused.value.remedy
    assert monitor.state() == before


def test_what_is_no_picture_is_refused_and_counts_for_nothing() -> None:
    monitor = commissioned()
    before = monitor.state()
    with pytest.raises(OverviewInvalid):
        monitor.update(np.zeros((HEIGHT, WIDTH), np.uint8))
    assert monitor.state() == before


CHANGES: dict[str, tuple[Change, str]] = {
    "dimmed": (dimmed(0.05), "lamp_dim"),
    "brighter": (dimmed(-0.05), "exposure"),
    "warmer": (coloured(1.03, 0.97), "colour_temp"),
    "weak at the left": (weak_at("left", 0.2), "lamp_off"),
    "blurred": (blurred(0.8), "defocus"),
    "moved": (moved(0.5, 0.0), "bump"),
    "veiled": (veiled(0.1), "haze"),
    "soiled": (soiled(0.8, 0.85, 7, 0.2), "soiling"),
    "grainy": (grainy(3.0), "noise"),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_change_of_what_keeps_still_alarms_at_its_first_image_and_is_named(change: str) -> None:
    happened, cause = CHANGES[change]
    monitor = commissioned()
    began = monitor.images
    (alarm,) = alarms(monitor, stream(7, 30, happened))
    assert alarm.at_image == began
    assert abs(alarm.onset - began) <= 1
    assert alarm.cause == cause
    assert alarm.chart in monitor.charts
    assert alarm.ratio > 1
    assert monitor.standing is alarm


@pytest.mark.parametrize("kind", ["web", "sizes"])
@pytest.mark.parametrize("change", [dimmed(0.15), coloured(1.05, 0.95), blurred(1.5), veiled(0.25), grainy(4.0)])
def test_a_change_of_the_whole_frame_alarms_within_six_images(kind: Kind, change: Change) -> None:
    monitor = commissioned(kind)
    began = monitor.images
    (alarm,) = alarms(monitor, stream(7, 30, change, kind))
    assert began < alarm.at_image < began + 6
    assert abs(alarm.onset - began) <= 2


@pytest.mark.parametrize("odd", [dimmed(1.0), dimmed(-1.0), blurred(2.0), weak_at("left", 0.5)])
def test_one_odd_image_of_a_whole_frame_never_alarms(odd: Change) -> None:
    monitor = commissioned("web")
    assert alarms(monitor, stream(3, 5, kind="web")) == []
    assert alarms(monitor, stream(4, 1, odd, "web")) == []
    assert alarms(monitor, stream(5, 20, kind="web")) == []


def test_odd_parts_never_alarm_one_at_a_time() -> None:
    for part in (0.2, 2.0):
        monitor = commissioned()
        for seed in range(10, 20):
            assert alarms(monitor, stream(seed, 1, part=part) + stream(seed, 15)) == []


def test_a_change_too_small_to_be_worth_it_does_not_alarm() -> None:
    for change in (dimmed(0.003), coloured(1.0005, 1.0), moved(0.02, 0.0), weak_at("left", 0.0005)):
        assert alarms(commissioned(), stream(7, 60, change)) == []


def test_a_slow_fading_lamp_alarms_too() -> None:
    monitor = commissioned()
    (alarm,) = alarms(monitor, stream(7, 250, fading(0.2, 250)))
    assert alarm.at_image - monitor.images + 250 < 60
    assert stands(monitor)


def test_flicker_alarms_though_the_light_is_the_same_on_the_whole() -> None:
    monitor = commissioned()
    found = alarms(monitor, stream(7, 40, flickering(0.01)))
    assert found[-1].cause == "flicker"


def test_one_episode_is_one_alarm_that_stands_until_the_light_is_back() -> None:
    monitor = commissioned()
    assert len(alarms(monitor, stream(7, 300, dimmed(0.15)))) == 1
    assert stands(monitor)
    assert monitor.ratio > 1
    assert alarms(monitor, stream(8, 19)) == []
    assert stands(monitor)
    assert alarms(monitor, stream(9, 20)) == []
    assert not stands(monitor)
    assert alarms(monitor, stream(10, 200)) == []


def test_how_long_it_must_be_normal_again_is_up_to_the_caller() -> None:
    for clear_after in (5, 40):
        monitor = OpticsMonitor(COMMISSION, clear_after=clear_after)
        alarms(monitor, stream(1, 160) + stream(7, 60, dimmed(0.15)))
        stood = 0
        for image in stream(8, 60):
            monitor.update(image)
            stood += stands(monitor)
        assert clear_after <= stood + 1 <= clear_after + 6


def test_a_faded_lamp_that_is_replaced_clears_the_alarm() -> None:
    monitor = commissioned()
    assert len(alarms(monitor, stream(7, 300, fading(0.15, 300)))) == 1
    assert stands(monitor)
    assert alarms(monitor, stream(8, 60)) == []
    assert not stands(monitor)


def test_a_small_jump_that_stays_within_the_band_is_the_new_normal_in_the_end() -> None:
    monitor = commissioned()
    barely = coloured(1.0045, 1.0)
    assert len(alarms(monitor, stream(7, 60, barely))) == 1
    assert stands(monitor)
    assert alarms(monitor, stream(8, 300, barely) * 7) == []
    assert not stands(monitor)


def test_a_second_episode_alarms_anew() -> None:
    monitor = commissioned()
    seen: list[int] = []
    for _ in range(3):
        began = monitor.images
        (alarm,) = alarms(monitor, stream(7, 40, dimmed(0.15)))
        seen.append(alarm.at_image)
        assert alarm.at_image == began
        assert abs(alarm.onset - began) <= 1
        assert alarms(monitor, stream(8, 60)) == []
        assert not stands(monitor)
    assert len(set(seen)) == 3


def test_another_change_under_a_standing_alarm_is_no_second_one() -> None:
    monitor = commissioned()
    (alarm,) = alarms(monitor, stream(7, 40, dimmed(0.15)) + stream(8, 40, moved(3.0, 1.0)))
    assert monitor.standing is alarm
    assert alarm.cause == "lamp_dim"


def test_life_goes_from_looking_to_gross_changes_to_what_commissioning_taught() -> None:
    monitor = OpticsMonitor(1000)
    assert alarms(monitor, stream(1, 63)) == []
    assert (monitor.layout, phase(monitor)) == (None, "commissioning")
    assert set(monitor.ratios.values()) == {0.0}
    assert alarms(monitor, stream(2, 136)) == []
    assert monitor.layout is SCENE
    assert phase(monitor) == "commissioning"
    assert alarms(monitor, stream(3, 100)) == []
    assert phase(monitor) == "provisional"
    assert [alarm.cause for alarm in alarms(monitor.copy(), stream(3, 10, dimmed(0.4)))] == ["lamp_dim"]
    assert alarms(monitor, stream(4, 710)) == []
    assert phase(monitor) == "calibrated"
    assert monitor.calibration is not None


def test_images_under_a_standing_alarm_teach_nothing() -> None:
    monitor = OpticsMonitor(300)
    alarms(monitor, stream(1, 150))
    assert len(alarms(monitor, stream(2, 500, dimmed(0.4)))) == 1
    assert phase(monitor) == "provisional"
    alarms(monitor, stream(1, 250))
    assert phase(monitor) == "calibrated"
    assert len(alarms(monitor, stream(2, 10, dimmed(0.15)))) == 1


def test_a_standing_alarm_keeps_the_local_baseline_as_it_was() -> None:
    monitor = commissioned()
    alarms(monitor, stream(7, 1, dimmed(0.15)))
    charts = monitor._charts
    assert charts is not None
    local = charts.local.tolist()
    alarms(monitor, stream(8, 200, dimmed(0.15)))
    assert charts.local.tolist() == local


def test_an_intended_change_commissions_again_under_the_new_light() -> None:
    monitor = commissioned()
    alarms(monitor, stream(7, 10, dimmed(0.3)))
    monitor.intended_change()
    assert not stands(monitor)
    assert (monitor.scene, monitor.layout, phase(monitor)) == (None, None, "commissioning")
    assert alarms(monitor, stream(8, 300, dimmed(0.3))) == []
    assert phase(monitor) == "calibrated"
    began = monitor.images
    (alarm,) = alarms(monitor, stream(9, 14))
    assert alarm.cause == "exposure"
    assert alarm.onset == began


def test_an_intended_change_may_be_of_what_keeps_still() -> None:
    monitor = commissioned("web")
    monitor.intended_change()
    assert alarms(monitor, stream(8, 200)) == []
    assert monitor.layout is SCENE
    monitor.intended_change()
    assert alarms(monitor, stream(8, 200, kind="web")) == []
    assert monitor.layout is FRAME


def test_resume_accepts_light_elsewhere_in_its_band_and_still_sees_what_is_outside() -> None:
    monitor = commissioned()
    monitor.resume()
    assert alarms(monitor, stream(7, 100, dimmed(0.01))) == []
    monitor.resume()
    (alarm,) = alarms(monitor, stream(8, 14, dimmed(0.15)))
    assert alarm.cause == "lamp_dim"
    monitor.resume()
    assert monitor.standing is alarm


def test_resume_is_for_every_time_of_life() -> None:
    for situation in SITUATIONS:
        monitor = at(situation)
        before = (phase(monitor), stands(monitor), monitor.images)
        monitor.resume()
        assert (phase(monitor), stands(monitor), monitor.images) == before, situation


def test_sizes_that_change_while_looking_leave_the_whole_frame() -> None:
    monitor = OpticsMonitor(COMMISSION)
    alarms(monitor, stream(1, 20))
    assert alarms(monitor, [image[1:] for image in stream(2, COMMISSION + 20)]) == []
    assert monitor.layout is FRAME
    assert phase(monitor) == "calibrated"


@pytest.mark.parametrize(
    "shape", [(60, 80), (240, 320), (119, 160), (120, 159), (160, 120), (28, 28), (1, 1), (900, 30)]
)
def test_an_image_of_another_size_is_measured_all_the_same(shape: tuple[int, int]) -> None:
    monitor = commissioned()
    for image in stream(7, 3):
        monitor.update(np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8))
        assert np.isfinite(monitor.exact).all()
    assert alarms(monitor, stream(8, 60)) == []
    assert not stands(monitor)


def test_the_same_picture_with_a_few_more_pixels_is_no_change_of_light() -> None:
    monitor = commissioned()
    for image in stream(7, 14):
        monitor.update(np.asarray(cv2.resize(image, (250, 188), interpolation=cv2.INTER_LINEAR), np.uint8))
    assert monitor.ratios["level.jump"] < 1
    assert monitor.ratios["red_green.jump"] < 1


@pytest.mark.parametrize("commission", [-1, 0, SMALLEST_COMMISSION - 1])
def test_a_commission_too_short_to_say_anything_is_refused(commission: int) -> None:
    with pytest.raises(CommissionTooShort) as refused:
        OpticsMonitor(commission)
    assert refused.value.commission == commission
    assert str(SMALLEST_COMMISSION) in refused.value.remedy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("commission", [SMALLEST_COMMISSION, SMALLEST_COMMISSION + 1, 77, 199])
def test_a_commission_as_short_as_may_be_ends(kind: Kind, commission: int) -> None:
    monitor = OpticsMonitor(commission)
    alarms(monitor, stream(1, commission + 40, kind=kind))
    assert phase(monitor) == "calibrated"


def test_charts_are_named_and_rounded() -> None:
    monitor = commissioned()
    for image in stream(7, 3) + stream(8, 3, dimmed(0.1)):
        monitor.update(image)
        assert tuple(monitor.ratios) == monitor.charts == SCENE.charts
        assert list(monitor.ratios.values()) == monitor.exact.tolist()
        assert monitor.ratio == monitor.exact.max()
        assert monitor.rounded.tolist() == [round(ratio, 4) for ratio in monitor.exact.tolist()]


def test_ratios_of_an_earlier_image_stay_what_they_were() -> None:
    monitor = commissioned()
    kept = []
    for image in stream(7, 5) + stream(8, 5, dimmed(0.1)):
        monitor.update(image)
        kept.append((monitor.exact, monitor.exact.tolist()))
    assert all(ratios.tolist() == values for ratios, values in kept)


def test_a_change_of_light_can_be_taken_out_once_its_cause_is_certain() -> None:
    monitor = commissioned()
    images = stream(7, 20, dimmed(0.15))
    found = [(monitor.update(image), monitor.correction)[1] for image in images]
    assert found[:11] == [None] * 11
    last = found[-1]
    assert last is not None
    before = stream(7, 20)[-1]
    assert np.abs(last.apply(images[-1]).mean() / before.mean() - 1) < 0.01
    alarms(monitor, stream(8, 40))
    assert monitor.correction is None


def _after(images: list[Pixels]) -> OpticsMonitor:
    monitor = OpticsMonitor(COMMISSION)
    for image in images:
        monitor.update(image)
    return monitor


def _web(*lives: tuple[int, Change | None]) -> OpticsMonitor:
    images: list[Pixels] = []
    for seed, (count, change) in enumerate(lives, 1):
        images += stream(seed, count, kind="web") if change is None else stream(seed, count, change, "web")
    return _after(images)


SITUATIONS: dict[str, Callable[[], OpticsMonitor]] = {
    "new": lambda: OpticsMonitor(COMMISSION),
    "looking": lambda: _after(stream(1, 13)),
    "the scene just learnt": lambda: _after(stream(1, 40)),
    "provisional": lambda: _after(stream(1, 60)),
    "rehearsing": lambda: _after(stream(1, 101)),
    "just calibrated": lambda: _after(stream(1, 121)),
    "calibrated": lambda: _after(stream(1, 200)),
    "an alarm while provisional": lambda: _after(stream(1, 60) + stream(2, 5, dimmed(0.4))),
    "just raised": lambda: _after(stream(1, 200) + stream(2, 1, dimmed(0.15))),
    "evidence": lambda: _after(stream(1, 200) + stream(2, 5, dimmed(0.15))),
    "evidence of a bump": lambda: _after(stream(1, 200) + stream(2, 7, moved(2.0, 1.0))),
    "evidence of soiling": lambda: _after(stream(1, 200) + stream(2, 7, soiled(0.8, 0.85, 7, 0.3))),
    "standing": lambda: _after(stream(1, 200) + stream(2, 40, dimmed(0.15))),
    "clearing": lambda: _after(stream(1, 200) + stream(2, 40, dimmed(0.15)) + stream(3, 15)),
    "cleared": lambda: _after(stream(1, 200) + stream(2, 40, dimmed(0.15)) + stream(3, 40)),
    "a whole frame, learning": lambda: _web((60, None)),
    "a whole frame": lambda: _web((200, None)),
    "a whole frame, standing": lambda: _web((200, None), (10, dimmed(0.2))),
}


@cache
def _made(situation: str) -> OpticsMonitor:
    return SITUATIONS[situation]()


def at(situation: str) -> OpticsMonitor:
    """A monitor in a situation, to do with as one likes."""
    return copy.deepcopy(_made(situation))


@pytest.mark.parametrize("situation", sorted(SITUATIONS))
@pytest.mark.parametrize("way", ["json", "state", "deepcopy", "copy"])
def test_a_copy_goes_on_exactly_as_the_original(situation: str, way: str) -> None:
    monitor = at(situation)
    ways: dict[str, Callable[[], OpticsMonitor]] = {
        "json": lambda: OpticsMonitor.from_state(json.loads(json.dumps(monitor.state()))),
        "state": lambda: OpticsMonitor.from_state(monitor.state()),
        "deepcopy": lambda: copy.deepcopy(monitor),
        "copy": monitor.copy,
    }
    twin = ways[way]()
    kept = json.dumps(monitor.state())
    assert json.dumps(twin.state()) == kept
    kind: Kind = "web" if "frame" in situation else "fixture"
    images = stream(11, 50, kind=kind) + stream(12, 14, weak_at("top", 0.2), kind)
    expected = [said(twin, image) for image in images]
    assert json.dumps(monitor.state()) == kept
    assert [said(monitor, image) for image in images] == expected
    assert twin.state() == monitor.state()


def said(monitor: OpticsMonitor, image: Pixels) -> tuple[dict[str, Any] | None, list[float]]:
    """The alarm of an image and all charts over their limits."""
    alarm = monitor.update(image)
    return None if alarm is None else alarm.state(), monitor.exact.tolist()


def damaged(situation: str, **fields: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(at(situation).state())), **fields}


@pytest.mark.parametrize(
    "state",
    [
        lambda: damaged("calibrated", commission=10),
        lambda: damaged("calibrated", commission="120"),
        lambda: damaged("calibrated", false_alarms_per_10k=0),
        lambda: damaged("calibrated", images=-3),
        lambda: damaged("calibrated", layout="elsewhere"),
        lambda: damaged("calibrated", layout=None),
        lambda: damaged("calibrated", layout="frame"),
        lambda: damaged("calibrated", scene=None),
        lambda: damaged("a whole frame", scene=at("calibrated").state()["scene"]),
        lambda: damaged("a whole frame", charts=at("calibrated").state()["charts"]),
        lambda: damaged("calibrated", charts=None),
        lambda: damaged("standing", charts=None),
        lambda: damaged("rehearsing", learnt=3),
        lambda: damaged("rehearsing", learning={**at("rehearsing").state()["learning"], "blocks": []}),
        lambda: damaged("rehearsing", learning={**at("rehearsing").state()["learning"], "peak": []}),
        lambda: damaged("rehearsing", learning=at("a whole frame, learning").state()["learning"]),
        lambda: damaged("rehearsing", learning=None),
        lambda: damaged("looking", learning=at("provisional").state()["learning"]),
        lambda: damaged("calibrated", learning=at("rehearsing").state()["learning"]),
        lambda: damaged("calibrated", learnt=3),
        lambda: damaged("calibrated", ratios=""),
        lambda: damaged("calibrated", last_quiet=[0]),
        lambda: damaged("standing", stood=-1),
        lambda: damaged("standing", normal_again=None),
        lambda: damaged("standing", standing={"onset": 3}),
        lambda: damaged("evidence", evidence={"chart": "level.jump"}),
        lambda: damaged("looking", looking={"shape": [5, 5, 3], "images": ["AAAA"]}),
        lambda: damaged("looking", looking=None),
        lambda: damaged("looking", layout="frame"),
        lambda: damaged("calibrated", looking=at("looking").state()["looking"]),
    ],
)
def test_a_memory_that_no_life_leads_to_is_refused(state: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises((StateDamaged, CommissionTooShort, KeyError, TypeError, ValueError)):
        OpticsMonitor.from_state(state())


@pytest.mark.parametrize("field", sorted(OpticsMonitor(COMMISSION).state()))
def test_a_state_without_one_of_its_fields_is_refused(field: str) -> None:
    state = damaged("evidence")
    del state[field]
    with pytest.raises((StateDamaged, KeyError)):
        OpticsMonitor.from_state(state)


def test_memory_is_bounded_however_long_the_line_runs() -> None:
    monitor = OpticsMonitor(COMMISSION)
    ring = [cv2.resize(image, (56, 42), interpolation=cv2.INTER_AREA) for image in stream(1, 25)]
    dark = [image // 2 for image in ring]
    sizes: dict[str, set[int]] = {"calm": set(), "alarm": set()}
    for n in range(20_000):
        # Half of the time all is well, and half of the time an alarm stands.
        calm = n < 2000 or (n // 500) % 2 == 0
        monitor.update(np.asarray((ring if calm else dark)[n % len(ring)], np.uint8))
        if n >= 1000 and n % 500 == 499:
            assert stands(monitor) != calm
            sizes["calm" if calm else "alarm"].add(len(json.dumps(monitor.state())))
            assert (monitor._looking, monitor._learning) == (None, None)
    assert monitor.images == 20_000
    for found in sizes.values():
        # Only numbers that count get longer.
        assert max(found) - min(found) < 2000


def test_a_heat_map_is_as_fine_as_the_grid() -> None:
    monitor = commissioned()
    (alarm,) = alarms(monitor, stream(7, 14, dimmed(0.15)))
    assert alarm.heat_map.shape == (GRID, GRID) == (28, 28)
    assert alarm.heat_map.dtype == np.float32
    assert np.median(alarm.heat_map) == pytest.approx(np.log(0.85), abs=0.02)
