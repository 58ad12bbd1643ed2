"""Monitors that know what is normal on the lines of `tests.monitoring.line_light`, and what they say of a change."""

from collections.abc import Sequence
from functools import cache

from monitoring.alarm import Alarm
from monitoring.optics import OpticsMonitor
from tests.monitoring.line_light import Change, Kind, Pixels, as_is, stream

COMMISSION = 120


def commissioned(kind: Kind = "fixture", commission: int = COMMISSION) -> OpticsMonitor:
    """A monitor that has seen 40 images more than it needs, to do with as one likes."""
    return _commissioned(kind, commission).copy()


@cache
def _commissioned(kind: Kind, commission: int) -> OpticsMonitor:
    monitor = OpticsMonitor(commission)
    assert alarms(monitor, stream(1, commission + 40, kind=kind)) == []
    assert phase(monitor) == "calibrated"
    return monitor


def alarms(monitor: OpticsMonitor, images: Sequence[Pixels]) -> list[Alarm]:
    """The alarms that the images raise."""
    return [alarm for image in images if (alarm := monitor.update(image)) is not None]


def phase(monitor: OpticsMonitor) -> str:
    return monitor.phase


def stands(monitor: OpticsMonitor) -> bool:
    return monitor.standing is not None


def told(
    change: Change = as_is, *, kind: Kind = "fixture", seed: int = 7, images: int = 14, part: float = 1.0
) -> Alarm:
    """The alarm that stands after so many images of a change, and what they have said about it."""
    monitor = commissioned(kind)
    alarms(monitor, stream(seed, images, change, kind, part))
    assert monitor.standing is not None
    return monitor.standing
