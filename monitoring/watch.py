"""All cameras of a process, each with its own optics monitor, safe to observe from many threads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Literal

import numpy as np

from monitoring.baseline import Floats
from monitoring.charts import CHARTS
from monitoring.optics import Alarm, OpticsMonitor
from monitoring.saved import StateDamaged
from monitoring.signals import MAP_SIZE, Signature

State = Literal["unwatched", "commissioning", "provisional", "ok", "alarm"]

CAMERAS: Final = 256
"""Cameras a process watches unless told otherwise: names come from outside, and memory is not without end."""

_NO_RATIOS: Final = np.empty(0)
_TRIAL: Final = Signature(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.zeros((MAP_SIZE, MAP_SIZE), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one image says about its camera.

    state    how the camera stands after this image; "unwatched" beyond the most cameras a watch holds
    rounded  every chart over its limit, 1.0 = at the limit, to four digits and without any that is not finite: what is
             told and stored, for none to change
    alarm    the alarm that this very image raised
    cleared  whether this very image ended a standing alarm
    exact    every chart over its limit, float64 (18,) as `monitoring.charts.CHARTS`; (0,) for an unwatched camera
    """

    state: State
    rounded: Mapping[str, float]
    alarm: Alarm | None
    cleared: bool
    exact: Floats

    @property
    def ratios(self) -> dict[str, float]:
        """Every chart over its limit by name, made anew each time."""
        return dict(zip(CHARTS, self.exact.tolist(), strict=False))


@dataclass(slots=True)
class _Camera:
    monitor: OpticsMonitor
    lock: Lock = field(default_factory=Lock)
    changes: int = 0
    told: int = 0
    """How many of the changes whoever saves states has got."""


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
            return Observation("unwatched", {}, None, False, _NO_RATIOS)
        with watched.lock:
            watched.changes += 1
            monitor = watched.monitor
            stood = monitor.standing is not None
            alarm = monitor.update(signature)
            cleared = stood and monitor.standing is None
            return Observation(_state(monitor), monitor.rounded, alarm, cleared, monitor.exact)

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
                watched.changes += 1
                watched.monitor.intended_change()

    def summary(self) -> dict[str, State]:
        """How each camera stands now."""
        found = {}
        for name, watched in self._all().items():
            with watched.lock:
                found[name] = _state(watched.monitor)
        return found

    def states(self) -> dict[str, Any]:
        """Every monitor's state by camera, JSON-serialisable."""
        return {name: _copy(watched)[0].state() for name, watched in self._all().items()}

    def changed_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Camera and state, JSON-serialisable, of the cameras that changed since this was last run through.

        A camera counts as saved once the next one is asked for: one whose saving raised comes again. A state can be
        large while its camera is commissioned (0.7 MB of JSON), so that only one at a time is made; no camera waits
        for that. For one caller at a time.
        """
        for name, watched in self._all().items():
            if watched.changes == watched.told:
                continue
            monitor, changes = _copy(watched)
            yield name, monitor.state()
            watched.told = changes

    def restore(self, states: Mapping[str, Any]) -> tuple[str, ...]:
        """Go on from `states` after a restart: what commissioning taught stays, local baselines are learnt anew.

        Monitors keep the settings they were commissioned with. Gives the names of the cameras whose state is damaged:
        these are commissioned again.
        """
        damaged = []
        for name, state in states.items():
            try:
                monitor = _restored(state)
            # A file can hold anything: what is missing, of another kind or beyond any number shows as these.
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
                damaged.append(name)
                continue
            with self._register:
                self._cameras[name] = _Camera(monitor)
        return tuple(damaged)

    def _all(self) -> dict[str, _Camera]:
        with self._register:
            return dict(self._cameras)

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


def _copy(watched: _Camera) -> tuple[OpticsMonitor, int]:
    """The monitor as it stands after so many changes; the camera waits for no more than this."""
    with watched.lock:
        return watched.monitor.copy(), watched.changes


def _restored(state: Mapping[str, Any]) -> OpticsMonitor:
    """The monitor that `state` was taken from, tried on one image, so that it does not fail on every part later."""
    monitor = OpticsMonitor.from_state(state)
    monitor.resume()
    trial = monitor.copy()
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        trial.update(_TRIAL)
    if not np.isfinite(trial.ratio):
        raise StateDamaged("its charts give no numbers")
    return monitor
