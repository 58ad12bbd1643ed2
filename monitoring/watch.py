"""All cameras of a process, each with its own optics monitor for each sight, safe to observe from many threads."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from monitoring.alarm import Alarm
from monitoring.charts import NOTICED
from monitoring.chores import Chore, Pixels
from monitoring.correction import Correction
from monitoring.features import GRID, Floats
from monitoring.optics import OpticsMonitor
from monitoring.saved import StateDamaged
from monitoring.sights import MOST, Saved, Sight, Sights, Watched
from monitoring.signals import Signature

State = Literal["unwatched", "commissioning", "provisional", "ok", "alarm"]

GAP_S: Final = 1800.0
"""After so long without an image the light may have wandered: a sight's local normal is learnt anew."""
GAP_IMAGES: Final = 50
"""As after so many images of the same camera with another product or lamp."""

_TRIAL: Final = np.full((GRID, GRID, 3), 90, np.uint8)


def _no_ratios() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one image says about its camera.

    state    how the camera stands after this image; "unwatched" beyond the most cameras a watch holds
    charts   names of the charts
    exact    every chart over its limit, 1.0 = at the limit, float64 (charts,)
    rounded  the same to four digits
    alarm    the alarm that this very image raised
    cleared  whether this very image ended a standing alarm
    standing the alarm that stands after this image
    before   with an alarm: the last image on which every chart was quiet, uint8 (h, w, 3)
    after    with an alarm: the image that raised it
    correction what takes a standing alarm's change out of this image, if that is safe
    version  which of its sight's baselines it was held against; 0 where there is none
    is_new   whether that one begins with this image
    """

    state: State
    charts: tuple[str, ...] = ()
    exact: Floats = field(default_factory=_no_ratios)
    rounded: Floats = field(default_factory=_no_ratios)
    alarm: Alarm | None = None
    cleared: bool = False
    standing: Alarm | None = None
    before: Pixels | None = None
    after: Pixels | None = None
    correction: Correction | None = None
    version: int = 0
    is_new: bool = False

    @property
    def ratios(self) -> dict[str, float]:
        """Every chart over its limit by name, to four digits and without any that is not finite."""
        found = self.rounded.tolist()
        if math.isfinite(sum(found)):
            return dict(zip(self.charts, found, strict=True))
        return {chart: ratio for chart, ratio in zip(self.charts, found, strict=True) if math.isfinite(ratio)}

    @property
    def signals(self) -> dict[str, float]:
        """Every signal's worst chart over its limit: what an answer tells and a record keeps."""
        worst: dict[str, float] = {}
        for chart, ratio in self.ratios.items():
            name = chart.partition(".")[0]
            if ratio > worst.get(name, -1.0):
                worst[name] = ratio
        return worst


@dataclass(slots=True)
class _Camera(Watched[OpticsMonitor]):
    chore: Chore | None = None
    """What is being done elsewhere for the monitor."""
    before: Pixels | None = None
    """The last image on which every chart was quiet."""
    seen_at: tuple[float, int] = (-math.inf, 0)
    """When it was last seen, by the clock and by its camera's count of images."""


class Watch:
    """Optics monitors by sight, made as cameras appear; `commission` and the rate are every monitor's.

    `elsewhere` runs a function on another thread: what takes long is done there, and no image waits for it. Without one
    it is done at once.
    """

    def __init__(
        self,
        commission: int = 8000,
        false_alarms_per_10k: float = 1.0,
        *,
        most: int = MOST,
        elsewhere: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._elsewhere, self._clock = elsewhere, clock

        def made() -> _Camera:
            return _Camera(OpticsMonitor(commission, false_alarms_per_10k, deferred=elsewhere is not None))

        self._sights = Sights(made, most)
        self._latest: dict[str, Sight] = {}
        self._images: dict[str, int] = {}
        """How many images each camera has sent."""

    def observe(self, sight: Sight, image: Pixels | Signature) -> Observation:
        """Take a camera's next image, uint8 (h, w, 3) RGB of the whole frame, or its signature.

        Images of one camera must come in order, from any thread; an image is kept and must not change after this.
        """
        camera, watched = sight.camera, self._sights.get(sight)
        if watched is None:
            return Observation("unwatched")
        with watched.lock:
            monitor = watched.monitor
            self._latest[camera] = sight
            self._images[camera] = images = self._images.get(camera, 0) + 1
            now, (then, former) = self._clock(), watched.seen_at
            if now - then > GAP_S or images - former > GAP_IMAGES:
                monitor.resume()
            watched.seen_at = now, images
            watched.changes += 1
            stood = monitor.standing is not None
            alarm = monitor.update(image)
            cleared = stood and monitor.standing is None
            self._see_to(watched)
            before = watched.before
            overview = image.overview if isinstance(image, Signature) else image
            if monitor.standing is None and monitor.ratio < NOTICED:
                watched.before = overview
            return Observation(
                _state(monitor),
                monitor.charts,
                monitor.exact,
                monitor.rounded,
                alarm,
                cleared,
                monitor.standing,
                before if alarm is not None else None,
                overview if alarm is not None else None,
                monitor.correction,
                watched.version,
            )

    def _see_to(self, watched: _Camera) -> None:
        """Have the monitor's chore done elsewhere, if it has one that nobody does."""
        chore = watched.monitor.chore
        if chore is None or chore is watched.chore or self._elsewhere is None:
            return
        watched.chore = chore

        def work() -> None:
            found = None
            try:
                found = chore.do()
            finally:
                # Whatever broke it is told where this runs; a camera without a scene is watched all the same.
                with watched.lock:
                    watched.monitor.finish(chore, found)
                    watched.changes += 1

        self._elsewhere(work)

    def intended_change(self, camera: str) -> list[Saved]:
        """Somebody changed this camera's light or optics on purpose: commission it again, as a new version.

        Gives the baselines that were, of every product and lamp; none for a camera never seen.
        """
        former = []
        for sight, watched in self._sights.all().items():
            if sight.camera == camera:
                with watched.lock:
                    former.append(Saved(sight, watched.version, watched.monitor.state()))
                    watched.changes += 1
                    watched.version += 1
                    watched.before = None
                    watched.monitor.intended_change()
        return former

    def summary(self) -> dict[str, State]:
        """How each camera stands now, with what it saw last."""
        found = {}
        for camera in dict.fromkeys(sight.camera for sight in self._sights.all()):
            watched = self._seen_last(camera)
            if watched is not None:
                with watched.lock:
                    found[camera] = _state(watched.monitor)
        return found

    def monitors(self) -> dict[Sight, tuple[int, OpticsMonitor]]:
        """Version and monitor of every sight, each as it is now and going its own way."""
        return {sight: (watched.version, watched.copied()[0]) for sight, watched in self._sights.all().items()}

    def standing(self) -> dict[Sight, tuple[int, Alarm | None]]:
        """As `monitoring.sights.Sights.standing`."""
        return self._sights.standing()

    def saved(self, sight: Sight) -> Saved | None:
        """As `monitoring.sights.Sights.saved`."""
        return self._sights.saved(sight)

    def changed_states(self) -> Iterator[Saved]:
        """As `monitoring.sights.Sights.changed_states`."""
        return self._sights.changed_states()

    def restore(self, saved: Saved) -> bool:
        """Go on from a saved state after a restart: what commissioning taught stays, local baselines are learnt anew.

        A monitor keeps the settings that it was commissioned with. False where the state is damaged: that camera is
        commissioned again.
        """
        try:
            monitor = _restored(saved.state, self._elsewhere is not None)
        # A file can hold anything: what is missing, of another kind or beyond any number shows as these.
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            return False
        self._sights.put(saved.sight, _Camera(monitor, saved.version))
        self._latest.setdefault(saved.sight.camera, saved.sight)
        return True

    def _seen_last(self, camera: str) -> _Camera | None:
        sight = self._latest.get(camera)
        return None if sight is None else self._sights.find(sight)


def _state(monitor: OpticsMonitor) -> State:
    if monitor.standing is not None:
        return "alarm"
    return "ok" if monitor.phase == "calibrated" else monitor.phase


def _restored(state: Mapping[str, Any], deferred: bool) -> OpticsMonitor:
    """The monitor that `state` was taken from, tried on one image, so that it does not fail on every part later."""
    monitor = OpticsMonitor.from_state(state, deferred=deferred)
    monitor.resume()
    trial = monitor.copy()
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        trial.update(_TRIAL)
    if not np.isfinite(trial.ratio):
        raise StateDamaged("its charts give no numbers")
    return monitor
