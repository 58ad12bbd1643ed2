import copy
import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from monitoring.charts import CHARTS
from monitoring.diagnosis import CAUSES
from monitoring.optics import Alarm, CommissionTooShort, OpticsMonitor
from monitoring.signals import Signature, signature
from tests.monitoring.line_light import SIDE_PX, Change, Picture, as_is, stream

COMMISSION = 120


@cache
def dimmed(share: float) -> Change:
    return lambda picture: picture * (1 - share)


def warmer(picture: Picture) -> Picture:
    warm: Picture = picture * np.array([1.05, 1.0, 0.95])
    return warm


def barely_warmer(picture: Picture) -> Picture:
    warm: Picture = picture * np.array([1.0045, 1.0, 1.0])
    return warm


def left_lamp_weak(picture: Picture) -> Picture:
    weak: Picture = picture * np.linspace(0.6, 1.0, SIDE_PX)[None, :, None]
    return weak


def blurred(picture: Picture) -> Picture:
    across: Picture = (picture + np.roll(picture, 1, axis=1)) / 2
    down: Picture = (across + np.roll(across, 1, axis=0)) / 2
    return down


def commissioned(commission: int = COMMISSION) -> OpticsMonitor:
    return copy.deepcopy(_commissioned(commission))


@cache
def _commissioned(commission: int) -> OpticsMonitor:
    monitor = OpticsMonitor(commission)
    for measured in stream(1, commission + 40):
        assert monitor.update(measured) is None
    assert phase(monitor) == "calibrated"
    return monitor


def phase(monitor: OpticsMonitor) -> str:
    return monitor.phase


def stands(monitor: OpticsMonitor) -> bool:
    return monitor.standing is not None


def alarms(monitor: OpticsMonitor, signatures: list[Signature]) -> list[Alarm]:
    return [alarm for measured in signatures if (alarm := monitor.update(measured)) is not None]


@pytest.mark.parametrize("seed", range(4))
def test_an_undisturbed_line_does_not_alarm_after_a_short_commission(seed: int) -> None:
    monitor = OpticsMonitor(COMMISSION)
    assert alarms(monitor, stream(seed, 800)) == []


def test_a_still_picture_does_not_alarm() -> None:
    monitor = OpticsMonitor(COMMISSION)
    assert alarms(monitor, [signature(np.full((64, 64, 3), 80, np.uint8))] * 400) == []


def test_a_black_camera_does_not_alarm_and_light_on_it_does() -> None:
    monitor = OpticsMonitor(COMMISSION)
    assert alarms(monitor, [signature(np.zeros((64, 64, 3), np.uint8))] * 300) == []
    assert len(alarms(monitor, [signature(np.full((64, 64, 3), 80, np.uint8))] * 5)) == 1


def test_the_monitor_takes_images_as_it_takes_their_signatures() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    by_image, by_signature = OpticsMonitor(COMMISSION), OpticsMonitor(COMMISSION)
    for _ in range(COMMISSION + 20):
        by_image.update(image)
        by_signature.update(signature(image))
    assert by_image.state() == by_signature.state()


@pytest.mark.parametrize(
    ("change", "causes", "side"),
    [
        (dimmed(0.15), {"lamp_dim"}, None),
        (dimmed(-0.15), {"brighter"}, None),
        (warmer, {"colour"}, None),
        (left_lamp_weak, {"lamp_side"}, "left"),
        (blurred, {"defocus"}, None),
    ],
)
def test_a_change_alarms_within_five_images_and_is_named(change: Change, causes: set[str], side: str | None) -> None:
    monitor = commissioned()
    began = monitor.images
    (alarm,) = alarms(monitor, stream(7, 30, change))
    assert alarm.at_image - began < 5
    assert abs(alarm.onset - began) <= 1
    assert alarm.cause in causes
    assert alarm.side == side
    assert alarm.chart in CHARTS
    assert alarm.ratio > 1
    assert alarm.heat_map.shape == (8, 8)
    assert alarm.heat_map.dtype == np.float32


def test_fifteen_percent_less_light_alarms_at_the_second_image_and_shows_in_the_heat_map() -> None:
    monitor = commissioned()
    began = monitor.images
    (alarm,) = alarms(monitor, stream(7, 10, dimmed(0.15)))
    assert alarm.at_image == began + 1
    # Two images are in the recent mean, which forgets with 0.4: 1 - 0.6² = 64 % of the change shows.
    assert np.median(alarm.heat_map) == pytest.approx(0.64 * np.log(0.85), abs=0.02)


def test_a_slow_fading_lamp_alarms_too() -> None:
    monitor = commissioned()
    fading = [stream(index, 1, dimmed(0.2 * index / 200))[0] for index in range(200)]
    assert len(alarms(monitor, fading)) == 1


def test_one_odd_image_never_alarms() -> None:
    for odd in (dimmed(1.0), dimmed(-1.0), blurred, left_lamp_weak):
        monitor = commissioned()
        assert alarms(monitor, stream(3, 5)) == []
        assert alarms(monitor, stream(4, 1, odd)) == []
        assert alarms(monitor, stream(5, 20)) == []


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


def test_a_faded_lamp_that_is_replaced_clears_the_alarm() -> None:
    monitor = commissioned()
    fading = [stream(index, 1, dimmed(0.15 * index / 300))[0] for index in range(300)]
    assert len(alarms(monitor, fading)) == 1
    assert stands(monitor)
    assert alarms(monitor, stream(7, 40)) == []
    assert not stands(monitor)


def test_a_small_jump_that_stays_within_the_band_is_the_new_normal_in_the_end() -> None:
    monitor = commissioned()
    assert len(alarms(monitor, stream(7, 60, barely_warmer))) == 1
    assert stands(monitor)
    assert alarms(monitor, stream(8, 600, barely_warmer)) == []
    assert not stands(monitor)


def test_a_second_episode_alarms_anew() -> None:
    monitor = commissioned()
    for _ in range(2):
        assert len(alarms(monitor, stream(7, 40, dimmed(0.15)))) == 1
        assert alarms(monitor, stream(8, 60)) == []
        assert not stands(monitor)


def test_gross_changes_alarm_before_commissioning_is_over() -> None:
    monitor = OpticsMonitor(1000)
    assert alarms(monitor, stream(1, 199)) == []
    assert phase(monitor) == "commissioning"
    assert alarms(monitor, stream(2, 100)) == []
    assert phase(monitor) == "provisional"
    assert [alarm.cause for alarm in alarms(monitor, stream(3, 10, dimmed(0.4)))] == ["lamp_dim"]


def test_images_under_a_standing_alarm_teach_nothing() -> None:
    monitor = OpticsMonitor(300)
    alarms(monitor, stream(1, 150))
    alarms(monitor, stream(2, 500, dimmed(0.4)))
    assert phase(monitor) == "provisional"
    alarms(monitor, stream(1, 250))
    assert phase(monitor) == "calibrated"
    assert len(alarms(monitor, stream(2, 10, dimmed(0.15)))) == 1


def test_an_intended_change_commissions_again_under_the_new_light() -> None:
    monitor = commissioned()
    alarms(monitor, stream(7, 10, dimmed(0.3)))
    monitor.intended_change()
    assert not stands(monitor)
    assert phase(monitor) == "commissioning"
    assert alarms(monitor, stream(8, 300, dimmed(0.3))) == []
    assert phase(monitor) == "calibrated"
    began = monitor.images
    (alarm,) = alarms(monitor, stream(9, 10, as_is))
    assert alarm.cause == "brighter"
    assert alarm.onset == began


def test_resume_accepts_light_elsewhere_in_its_band_and_still_sees_what_is_outside() -> None:
    monitor = commissioned()
    monitor.resume()
    assert alarms(monitor, stream(7, 100, dimmed(0.01))) == []
    monitor.resume()
    assert len(alarms(monitor, stream(8, 10, dimmed(0.15)))) == 1


def test_the_false_alarm_rate_comes_with_an_interval_as_wide_as_the_check_was_short() -> None:
    short, longer = commissioned().calibration, commissioned(commission=1000).calibration
    assert short is not None
    assert longer is not None
    for calibration in (short, longer):
        assert calibration.low <= calibration.rate_per_10k <= calibration.high
    assert longer.images > short.images
    assert longer.high < short.high


def test_a_commission_too_short_to_say_anything_is_refused() -> None:
    with pytest.raises(CommissionTooShort) as refused:
        OpticsMonitor(99)
    assert refused.value.commission == 99


SITUATIONS: dict[str, Callable[[], OpticsMonitor]] = {
    "new": lambda: OpticsMonitor(COMMISSION),
    "commissioning": lambda: _after(stream(1, 13)),
    "provisional": lambda: _after(stream(1, 50)),
    "rehearsing": lambda: _after(stream(1, 101)),
    "calibrated": lambda: _after(stream(1, 200)),
    "standing": lambda: _after(stream(1, 200) + stream(2, 10, dimmed(0.15))),
    "clearing": lambda: _after(stream(1, 200) + stream(2, 10, dimmed(0.15)) + stream(3, 15)),
}


def _after(signatures: list[Signature]) -> OpticsMonitor:
    monitor = OpticsMonitor(COMMISSION)
    for measured in signatures:
        monitor.update(measured)
    return monitor


@pytest.mark.parametrize("situation", sorted(SITUATIONS))
@pytest.mark.parametrize("way", ["json", "deepcopy"])
def test_a_copy_goes_on_exactly_as_the_original(situation: str, way: str) -> None:
    monitor = SITUATIONS[situation]()
    if way == "json":
        twin = OpticsMonitor.from_state(json.loads(json.dumps(monitor.state())))
    else:
        twin = copy.deepcopy(monitor)
    assert twin.state() == monitor.state()
    for measured in stream(11, 150) + stream(12, 10, dimmed(0.15)):
        ours, theirs = monitor.update(measured), twin.update(measured)
        assert (ours and ours.state()) == (theirs and theirs.state())
    assert twin.state() == monitor.state()


def test_every_cause_in_the_list_is_a_plain_word() -> None:
    assert len(set(CAUSES)) == len(CAUSES)
    assert all(cause.replace("_", "").isalpha() for cause in CAUSES)
