"""All cameras of a process, each with its own optics monitor, safe to observe from many threads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Literal

from monitoring.optics import Alarm, OpticsMonitor
from monitoring.signals import Signature

State = Literal["unwatched", "commissioning", "provisional", "ok", "alarm"]

CAMERAS: Final = 256
"""Cameras a process watches unless told otherwise: names come from outside, and memory is not without end."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one image says about its camera.

    state    how the camera stands after this image; "unwatched" beyond the most cameras a watch holds
    ratios   every chart over its limit, 1.0 = at the limit
    alarm    the alarm that this very image raised
    cleared  whether this very image ended a standing alarm
    """

    state: State
    ratios: Mapping[str, float]
    alarm: Alarm | None
    cleared: bool


@dataclass(slots=True)
class _Camera:
    monitor: OpticsMonitor
    lock: Lock = field(default_factory=Lock)


class Watch:
    """Optics monitors by camera, made as cameras appear; `commission` and the rate are every monitor's."""

    def __init__(self, commission: int = 8000, false_alarms_per_10k: float = 1.0, *, cameras: int = CAMERAS) -> None:
        self._commission = commission
        self._false_alarms_per_10k = false_alarms_per_10k
        self._most = cameras
        self._cameras: dict[str, _Camera] = {}
        self._register = Lock()

    def observe(self, camera: str, signature: Signature) -> Observation:
        """Take the signature of a camera's next image. Images of one camera must come in order, from any thread."""
        watched = self._watched(camera)
        if watched is None:
            return Observation("unwatched", {}, None, False)
        with watched.lock:
            monitor = watched.monitor
            stood = monitor.standing is not None
            alarm = monitor.update(signature)
            return Observation(_state(monitor), monitor.ratios, alarm, stood and monitor.standing is None)

    def standing(self, camera: str) -> Alarm | None:
        """The alarm that stands for a camera; None for a camera never seen, too."""
        watched = self._cameras.get(camera)
        if watched is None:
            return None
        with watched.lock:
            return watched.monitor.standing

    def intended_change(self, camera: str) -> None:
        """Somebody changed this camera's light, optics or product on purpose: commission it again."""
        watched = self._cameras.get(camera)
        if watched is not None:
            with watched.lock:
                watched.monitor.intended_change()

    def summary(self) -> dict[str, State]:
        """How each camera stands now."""
        with self._register:
            cameras = dict(self._cameras)
        found = {}
        for name, watched in cameras.items():
            with watched.lock:
                found[name] = _state(watched.monitor)
        return found

    def states(self) -> dict[str, Any]:
        """Every monitor's state by camera, JSON-serialisable."""
        with self._register:
            cameras = dict(self._cameras)
        states = {}
        for name, watched in cameras.items():
            with watched.lock:
                states[name] = watched.monitor.state()
        return states

    def restore(self, states: Mapping[str, Any]) -> None:
        """Go on from `states` after a restart: what commissioning taught stays, local baselines are learnt anew.

        Monitors keep the settings they were commissioned with.
        """
        for name, state in states.items():
            monitor = OpticsMonitor.from_state(state)
            monitor.resume()
            with self._register:
                self._cameras[name] = _Camera(monitor)

    def _watched(self, camera: str) -> _Camera | None:
        watched = self._cameras.get(camera)
        if watched is not None:
            return watched
        with self._register:
            if camera not in self._cameras and len(self._cameras) < self._most:
                self._cameras[camera] = _Camera(OpticsMonitor(self._commission, self._false_alarms_per_10k))
            return self._cameras.get(camera)


def _state(monitor: OpticsMonitor) -> State:
    if monitor.standing is not None:
        return "alarm"
    return "ok" if monitor.phase == "calibrated" else monitor.phase
