"""What becomes of an optics alarm goes on record and is told, to a broker and to webhooks; for one thread."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from monitoring import alarm as optics
from monitoring.metrics import LineMetrics
from monitoring.sights import Sight
from service.line.alarm_json import alarm_json, diagnosis_fields, diagnosis_of
from service.line.alarm_memory import Remembered, remember
from storage.alarms import CLEARED, DIAGNOSED, Episode
from storage.drain import encode
from storage.journal import Entry, Journal, JournalBroken
from storage.records import Alarm, AlarmChange, Event

NORMAL_AGAIN, INTENDED_CHANGE, NEW_MODEL, RESTART = "normal_again", "intended_change", "new_model", "restart"
"""Why an alarm stands no more."""

GLITCH_IMAGES: Final = 3
"""With more abnormal images than this an alarm is no glitch, whatever comes."""
PICTURES_LIMIT: Final = 32
"""So many alarms' pictures are kept in memory: by the next one the store has them."""
UNWRITTEN_LIMIT: Final = 200
"""So many entries wait for a disk that takes none."""
PNG_EFFORT: Final = 3
IN_SHORT: Final = ("alarm_id", "camera", "product", "lamp", "state", "cause", "title", "raised_at")

Pixels = NDArray[np.uint8]
Tell = Callable[[str, bytes], None]
log = structlog.get_logger("line")


@dataclass(slots=True, eq=False)
class Standing:
    """An alarm that stands, or that was ended and is about to be recorded so."""

    record: Alarm
    sight: Sight
    at_image: int
    """Which image of its monitor raised it."""
    alarm: optics.Alarm | None = None
    """The monitor's own, whose diagnosis is made surer; None after a restart, until the next image."""
    changes: dict[str, AlarmChange] = field(default_factory=dict)
    is_alerted: bool = False
    """Whether the webhooks have heard of it."""
    abnormal: int = 1
    """Images that were not normal, counted up to one more than a glitch has."""
    is_final: bool = False
    """Whether its final diagnosis is on record, or on its way there."""

    @property
    def episode(self) -> Episode:
        """What is on record."""
        return Episode(self.record, dict(self.changes))

    @property
    def remembered(self) -> Remembered:
        """What shall outlive a restart."""
        return Remembered(self.record, self.at_image, tuple(self.changes.values()), self.is_alerted)


class AlarmBook:
    """Writes alarms and their changes through the journal, and tells of them.

    Each verb takes the alarm and all that stand, itself among them unless it has been ended.

    tell     called with a station and JSON of all that becomes of its alarms
    alert    called with the same, but for glitches: alarms that clear before their cause is final, after a few images
    memory   the file that outlives a restart
    address  under which others reach this server, for links to pictures
    """

    def __init__(
        self, journal: Journal, metrics: LineMetrics, memory: Path, *, tell: Tell, alert: Tell, address: str
    ) -> None:
        self._journal, self._metrics, self._memory = journal, metrics, memory
        self._tell, self._alert, self._address = tell, alert, address
        self._unwritten: list[Entry] = []
        self._pictures: OrderedDict[str, Mapping[str, bytes]] = OrderedDict()

    @property
    def is_behind(self) -> bool:
        """Whether the disk has not taken something."""
        return bool(self._unwritten)

    def picture(self, alarm_id: str, name: str) -> bytes | None:
        """PNG of an alarm of late, before or after; None where the store has to be asked. From any thread."""
        return self._pictures.get(alarm_id, {}).get(name)

    def raised(
        self, standing: Standing, all_standing: Sequence[Standing], pictures: Mapping[str, Pixels | None], version: int
    ) -> None:
        """An alarm was raised: by the baseline of this version, with the pictures before and after."""
        encoded: dict[str, bytes] = {}
        if not self._journal.on_reserve:  # the reserve is for records alone
            encoded = {name: _png(picture) for name, picture in pictures.items() if picture is not None}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in encoded.items()}
        standing.record = record = replace(
            standing.record,
            **_diagnosis(standing),
            before_sha256=hashes.get("before"),
            after_sha256=hashes.get("after"),
            baseline_version=version,
        )
        self._pictures[record.id] = encoded
        while len(self._pictures) > PICTURES_LIMIT:
            self._pictures.popitem(last=False)
        log.warning("optics_alarm", camera=standing.sight.camera, cause=record.cause, ratio=round(record.ratio, 2))
        # Remembered first: an alarm that is ended without having been recorded harms nobody, one that never ends does.
        self._remember(all_standing)
        blobs = {hashes[name]: data for name, data in encoded.items()}
        self.write(Entry(record.id, "alarm", encode("alarm", record), record.raised_at, blobs=blobs))
        self.say(standing, all_standing)

    def diagnosed(
        self, standing: Standing, all_standing: Sequence[Standing], result_id: str | None, at: datetime
    ) -> None:
        """The alarm's cause is final."""
        change = _change(standing, DIAGNOSED, result_id, at)
        log.warning("optics_alarm_diagnosed", camera=standing.sight.camera, cause=change.cause)
        self._metrics.alarmed(standing.sight.camera, change.cause)
        self._remember(all_standing)
        self.write(_entry(change))
        self.say(standing, all_standing)
        self.alert(standing, all_standing)

    def cleared(
        self, standing: Standing, all_standing: Sequence[Standing], reason: str, result_id: str | None, at: datetime
    ) -> None:
        """The alarm stands no more."""
        is_new = DIAGNOSED not in standing.changes
        is_glitch = is_new and reason == NORMAL_AGAIN and standing.abnormal <= GLITCH_IMAGES
        change = _change(standing, CLEARED, result_id, at, reason=reason, is_glitch=is_glitch)
        if is_new:
            self._metrics.alarmed(standing.sight.camera, change.cause)
        detail: dict[str, object] = {"result_id": change.result_id, "alarm": change.alarm_id, "reason": reason}
        log.info("optics_alarm_cleared", camera=standing.sight.camera, **detail)
        event = Event(f"{change.alarm_id}-{CLEARED}", "optics_alarm_cleared", standing.sight.camera, detail, at)
        self.write(_entry(change), Entry(event.id, "event", encode("event", event), at))
        self._remember(all_standing)
        self.say(standing, all_standing)
        if standing.is_alerted:
            self._alert(standing.record.station, self._message(standing, all_standing))

    def say(self, standing: Standing, all_standing: Sequence[Standing]) -> None:
        """Tell what has become of the alarm, and what else stands at its station."""
        self._tell(standing.record.station, self._message(standing, all_standing))

    def alert(self, standing: Standing, all_standing: Sequence[Standing]) -> None:
        """Let the webhooks hear of the alarm."""
        if not standing.is_alerted:
            standing.is_alerted = True
            self._remember(all_standing)
        self._alert(standing.record.station, self._message(standing, all_standing))

    def write(self, *entries: Entry) -> None:
        """Put the entries on record, after those that the disk did not take before."""
        self._unwritten = [*self._unwritten, *entries][-UNWRITTEN_LIMIT:]
        while self._unwritten:
            try:
                self._journal.append(self._unwritten[0])
            except JournalBroken as error:
                log.error("journal_broken", reason=str(error))
                return
            self._unwritten = self._unwritten[1:]

    def _remember(self, all_standing: Sequence[Standing]) -> None:
        remember(self._memory, [one.remembered for one in all_standing])

    def _message(self, standing: Standing, all_standing: Sequence[Standing]) -> bytes:
        station = standing.record.station
        others = [alarm_json(one.episode) for one in all_standing if one.record.station == station]
        stand = [{name: other[name] for name in IN_SHORT} for other in others]
        return orjson.dumps({**alarm_json(standing.episode, self._address), "standing": stand})


def _diagnosis(standing: Standing) -> dict[str, Any]:
    """The fields of a record that hold the alarm's diagnosis as it is now."""
    if standing.alarm is not None:
        return diagnosis_fields(standing.alarm.diagnosis)
    return diagnosis_fields(diagnosis_of(standing.episode.last))


def _change(standing: Standing, kind: str, result_id: str | None, at: datetime, **more: Any) -> AlarmChange:
    fields = _diagnosis(standing)
    change = AlarmChange(
        alarm_id=standing.record.id, kind=kind, changed_at=at, result_id=result_id or None, **fields, **more
    )
    standing.changes[kind] = change
    return change


def _entry(change: AlarmChange) -> Entry:
    entry_id = f"{change.alarm_id}-{change.kind}-change"
    return Entry(entry_id, "alarm_change", encode("alarm_change", change), change.changed_at)


def _png(picture: Pixels) -> bytes:
    effort = [cv2.IMWRITE_PNG_COMPRESSION, PNG_EFFORT]
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), effort)
    assert done, "an overview is a picture"
    return data.tobytes()
