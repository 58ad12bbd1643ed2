"""Which optics alarms stand: every image says something of its camera, and each alarm is one episode with one id.

A part's own thread only notes what its image said. Pictures are encoded, records written and people told on the thread
that does the monitors' chores, so after a chore that was due before: what that found is known by then.
"""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog

from monitoring import alarm as optics
from monitoring.sights import Sight
from monitoring.watch import Observation
from service.line.alarm_book import GLITCH_IMAGES, INTENDED_CHANGE, NORMAL_AGAIN, RESTART, AlarmBook, Standing
from service.line.alarm_memory import Remembered
from service.line.recording import new_id
from storage.alarms import DIAGNOSED, Episode
from storage.records import Alarm

ABNORMAL: Final = 0.8
"""An image with a chart above this share of its limit is not normal again, as `monitoring.optics` counts."""
MISSED_IMAGES: Final = 20
"""An alarm that so many images stood under and that nobody has reported is taken note of all the same."""
LATE_RAISE_S: Final = 10.0
"""Several threads judge parts of one camera: news of a clearing may come so much before that of its alarm."""
PICTURES_WAITING: Final = 32
"""While so many alarms wait to be recorded, others are recorded without their pictures."""
WAIT_S: Final = 10.0
"""How long the end waits for what is being recorded."""

Submit = Callable[[Callable[[], None]], object]
log = structlog.get_logger("line")


class Watches(Protocol):
    """What raises alarms, such as a `monitoring.watch.Watch`."""

    def standing(self) -> dict[Sight, tuple[int, optics.Alarm | None]]:
        """Version of every sight's baseline, and the alarm that stands there."""
        ...


class Episodes:
    """The alarms of all cameras, and of all products, that stand; safe to use from many threads.

    `submit` runs a function on the one thread that does the watch's chores, in the order of being asked. `keep` saves
    what a sight's monitor knows, so that an alarm outlives even a process that is killed.
    """

    def __init__(
        self,
        watches: Sequence[Watches],
        book: AlarmBook,
        submit: Submit,
        clock: Callable[[], datetime],
        keep: Callable[[Sight], None] = lambda sight: None,
    ) -> None:
        self._watches, self._book, self._submit, self._clock, self._keep = watches, book, submit, clock, keep
        self._latest: dict[str, Sight] = {}
        self._lock = threading.Lock()  # guards all below, and the order of what is submitted
        self._open: dict[Sight, list[Standing]] = {}
        self._early: dict[Sight, list[float]] = {}
        """When clearings were heard of whose alarms were not, by time.monotonic()."""
        self._missed: dict[Sight, tuple[int, int]] = {}
        """The image that raised an alarm which nobody has reported, and how many images stood under it."""
        self._waiting = 0
        """Alarms that wait to be recorded."""

    def resume(self, remembered: Sequence[Remembered]) -> None:
        """Go on with the alarms that stood when the process ended; to be called once, before the first part.

        One that its monitor has forgotten, as it was saved before, stands no more. One of which only its monitor knows
        is recorded now.
        """
        known = self._known()
        with self._lock:
            for one in remembered:
                sight = Sight(f"{one.record.station}/{one.record.camera}", one.record.product, one.record.lamp)
                changes = {change.kind: change for change in one.changes}
                standing = Standing(one.record, sight, one.at_image, None, changes, one.is_alerted)
                standing.is_final = DIAGNOSED in changes
                _, alarm = known.get(sight, (0, None))
                if alarm is None or alarm.at_image != one.at_image:
                    self._end(standing, RESTART, None, self._clock())
                else:
                    self._open.setdefault(sight, []).append(standing)
                    self._repeat(standing)
            for sight, (_, alarm) in known.items():
                if alarm is not None and sight not in self._open:
                    self._begin(sight, alarm, "", self._clock(), None)

    def see(self, sight: Sight, observation: Observation, result_id: str, at: datetime) -> None:
        """Note what an image said of its camera; `result_id` is its inspection."""
        if observation.state != "unwatched":
            self._latest[sight.camera] = sight
        if observation.standing is None and not observation.cleared:
            return
        with self._lock:
            if observation.alarm is not None:
                self._begin(sight, observation.alarm, result_id, at, observation)
            elif observation.standing is not None:
                self._follow(sight, observation.standing, observation, result_id, at)
            if observation.cleared:
                self._end_oldest(sight, NORMAL_AGAIN, result_id, at)

    def end(self, sight: Sight, reason: str) -> None:
        """The alarm of this sight stands no more, for another reason than an image that is normal again."""
        with self._lock:
            while self._open.get(sight):
                self._end_oldest(sight, reason, None, self._clock())

    def standing(self) -> dict[Sight, Episode]:
        """The alarms that stand."""
        with self._lock:
            return {sight: found[-1].episode for sight, found in self._open.items()}

    def latest(self) -> dict[str, Sight]:
        """What each camera saw last, as far as it has seen anything since the start."""
        return self._latest.copy()

    def picture(self, alarm_id: str, name: str) -> bytes | None:
        """PNG of an alarm of late, before or after; None where the store has to be asked."""
        return self._book.picture(alarm_id, name)

    def retry(self) -> bool:
        """Write again what the disk did not take."""
        if self._book.is_behind:
            with self._lock:
                self._do(self._book.write)
        return False

    def close(self) -> None:
        """Wait until all is recorded that was seen; to be called when no part comes any more."""
        done = threading.Event()
        with self._lock:
            self._do(done.set)
        if not done.wait(WAIT_S):
            log.error("alarms_not_recorded", reason=f"not done within {WAIT_S:g} s")

    # What follows is for whoever holds the lock.

    def _begin(
        self, sight: Sight, alarm: optics.Alarm, result_id: str, at: datetime, observation: Observation | None
    ) -> None:
        found = self._open.setdefault(sight, [])
        if any(standing.at_image == alarm.at_image for standing in found):
            return
        station, _, camera = sight.camera.partition("/")
        record = Alarm(
            id=new_id(),
            station=station,
            camera=camera,
            product=sight.product,
            lamp=sight.lamp,
            cause=alarm.cause,
            chart=alarm.chart,
            ratio=float(alarm.ratio),
            images_since_onset=max(0, alarm.at_image - alarm.onset),
            result_id=result_id,
            raised_at=at,
        )
        standing = Standing(record, sight, alarm.at_image, alarm)
        found.append(standing)
        self._missed.pop(sight, None)
        pictures = {}
        if observation is not None and self._waiting < PICTURES_WAITING:
            pictures = {"before": observation.before, "after": observation.after}
        self._waiting += 1

        def record_it() -> None:
            with self._lock:
                self._waiting -= 1
            version, _ = self._known().get(sight, (0, None))
            held_against = version if observation is None else observation.version
            self._book.raised(standing, self._all(), pictures, held_against)
            self._keep(sight)
            if held_against != version:  # somebody declared a change while the image was in work
                self._end_forgotten(sight, standing)

        self._do(record_it)
        if self._was_cleared(sight):
            self._end_oldest(sight, NORMAL_AGAIN, result_id, at)

    def _follow(
        self, sight: Sight, alarm: optics.Alarm, observation: Observation, result_id: str, at: datetime
    ) -> None:
        """Another image under an alarm."""
        standing = next((one for one in self._open.get(sight, ()) if one.at_image == alarm.at_image), None)
        if standing is None:
            self._miss(sight, alarm, result_id, at)
            return
        standing.alarm = alarm
        if not standing.is_final and alarm.diagnosis.images >= optics.EVIDENCE_IMAGES:
            standing.is_final = True
            self._do(lambda: self._book.diagnosed(standing, self._all(), result_id, at))
        elif not standing.is_final and standing.abnormal <= GLITCH_IMAGES and _is_abnormal(observation):
            standing.abnormal += 1
            if standing.abnormal > GLITCH_IMAGES:
                self._do(lambda: self._book.alert(standing, self._all()))

    def _miss(self, sight: Sight, alarm: optics.Alarm, result_id: str, at: datetime) -> None:
        """Its news are on another thread still, or were lost with a part that was refused behind its look."""
        at_image, count = self._missed.get(sight, (alarm.at_image, 0))
        count = count + 1 if at_image == alarm.at_image else 1
        self._missed[sight] = alarm.at_image, count
        if count >= MISSED_IMAGES:
            self._begin(sight, alarm, result_id, at, None)

    def _end_oldest(self, sight: Sight, reason: str, result_id: str | None, at: datetime) -> None:
        found = self._open.get(sight)
        if not found:
            now = time.monotonic()
            self._early[sight] = [*(then for then in self._early.get(sight, ()) if now - then < LATE_RAISE_S), now]
            return
        standing = found.pop(0)
        if not found:
            del self._open[sight]
        self._end(standing, reason, result_id, at)

    def _end_forgotten(self, sight: Sight, standing: Standing) -> None:
        """End an alarm of a baseline that was replaced meanwhile, if nobody has."""
        with self._lock:
            found = self._open.get(sight, [])
            if standing in found:
                found.remove(standing)
                if not found:
                    del self._open[sight]
                self._end(standing, INTENDED_CHANGE, None, self._clock())

    def _was_cleared(self, sight: Sight) -> bool:
        """Whether the news of an alarm's clearing came before those of the alarm."""
        now = time.monotonic()
        early = [at for at in self._early.pop(sight, []) if now - at < LATE_RAISE_S]
        if len(early) > 1:
            self._early[sight] = early[1:]
        return bool(early)

    def _end(self, standing: Standing, reason: str, result_id: str | None, at: datetime) -> None:
        self._do(lambda: self._book.cleared(standing, self._all(), reason, result_id, at))

    def _repeat(self, standing: Standing) -> None:
        """Whoever is told may have forgotten meanwhile."""
        self._do(lambda: self._book.say(standing, self._all()))

    def _do(self, job: Callable[[], None]) -> None:
        """Have something done on the thread of the chores."""

        def work() -> None:
            try:
                job()
            except Exception as error:  # the edge of a thread: nobody asks what became of it
                log.error("alarm_not_recorded", kind=type(error).__name__, exc_info=error)

        self._submit(work)

    # What follows is for the thread of the chores.

    def _known(self) -> dict[Sight, tuple[int, optics.Alarm | None]]:
        return {sight: found for watch in self._watches for sight, found in watch.standing().items()}

    def _all(self) -> list[Standing]:
        with self._lock:
            return [standing for found in self._open.values() for standing in found]


def _is_abnormal(observation: Observation) -> bool:
    return float(observation.exact.max()) >= ABNORMAL
