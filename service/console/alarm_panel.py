"""Alarms as the line page shows them: those that stand with what to do, and the last ones that are over."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitoring.advice import advise, title_of
from monitoring.diagnosis import Diagnosis
from monitoring.features import GRID
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, unpacked
from service.console.alarm_routes import WHICH, picture_url
from service.console.frame import anchor, hint, tag
from service.console.words import age, moment
from storage import alarms
from storage.alarms import CLEARED, Episode
from storage.database import Connection
from storage.records import Alarm, AlarmChange

MOST_STANDING = 50
OVER = 6
LOOKED_THROUGH = 100
"""So many of the newest alarms are looked through for those that are over, and for those that have no final cause."""
EVER = datetime(1970, 1, 1, tzinfo=UTC)
WHY_OVER = {
    "normal_again": "all is normal again",
    "intended_change": "somebody declared an intended change",
    "new_model": "a new model decides",
    "restart": "the line server was restarted and forgot it",
}


@dataclass(frozen=True, slots=True)
class Alarms:
    """What is known of alarms at one moment."""

    standing: tuple[Episode, ...]
    """All that stand, newest first."""
    over: tuple[Episode, ...]
    """The last that ended, newest end first."""

    def by_station(self) -> dict[str, list[Alarm]]:
        """The alarms that stand at each station, newest first."""
        found = defaultdict(list)
        for episode in self.standing:
            found[episode.alarm.station].append(episode.alarm)
        return dict(found)


def read_alarms(connection: Connection) -> Alarms:
    """The alarms that stand, and the last that are over."""
    newest = alarms.latest(connection, LOOKED_THROUGH)
    # An alarm that stands for long has its final cause, however many came after it.
    standing = {episode.alarm.id: episode for episode in alarms.diagnosed_without(connection, CLEARED, EVER)}
    standing |= {episode.alarm.id: episode for episode in newest if episode.state != CLEARED}
    over = sorted(
        (episode for episode in newest if episode.state == CLEARED),
        key=lambda episode: episode.changes[CLEARED].changed_at,
        reverse=True,
    )
    by_age = sorted(standing.values(), key=lambda episode: (episode.alarm.raised_at, episode.alarm.id), reverse=True)
    return Alarms(tuple(by_age), tuple(over[:OVER]))


def show_alarms(found: Alarms, at: datetime) -> None:
    """The panel's content."""
    count = len(found.standing)
    if not found.standing and not found.over:
        hint("No alarms. Light and optics are watched once a camera has been commissioned.")
        return
    if not count:
        tag("p", text="No alarm stands.")
    elif count > MOST_STANDING:
        tag("p", text=f"{count} alarms stand. These are the newest {MOST_STANDING}:")
    for episode in found.standing[:MOST_STANDING]:
        _standing(episode, at)
    if found.over:
        tag("h3", text="Over")
    for episode in found.over:
        _over(episode, at)


def station_mark(station: str, standing: Sequence[Alarm]) -> None:
    """That alarms stand at a station, as a link to the newest of them; nothing where none does."""
    if not standing:
        return
    told = "1 alarm stands" if len(standing) == 1 else f"{len(standing)} alarms stand"
    with anchor(f"#{_place(standing[0])}", "alarmed") as link:
        link.props["aria-label"] = f"{told} at {station}"
        tag("span", "bang", "!")
        tag("span", text=str(len(standing)))


def _standing(episode: Episode, at: datetime) -> None:
    alarm, advice = episode.alarm, advise(_diagnosis(episode.last))
    with tag("article", "alarm") as drawn:
        drawn.props["id"] = _place(alarm)
        with tag("div", "told"):
            with tag("p", "alarmtitle"):
                tag("span", "bang", "!").props('aria-hidden="true"')
                tag("strong", text=advice.title)
                tag("span", text=f"stands, raised {age(alarm.raised_at, at)}")
            with tag("p", "where"):
                for part in (*_where(alarm), f"since {moment(alarm.raised_at)}"):
                    tag("span", text=part)
            tag("p", "advice", advice.text)
            if episode.state == "raised":
                tag("p", "quiet", "The cause is not certain yet: the next images make it surer.")
        if any(picture_url(alarm, which) for which in WHICH):
            with tag("div", "pictures"):
                for which in WHICH:
                    _picture(alarm, which)


def _over(episode: Episode, at: datetime) -> None:
    alarm, ended = episode.alarm, episode.changes[CLEARED]
    with tag("div", "happening"):
        tag("strong", text=title_of(ended.cause))
        with tag("p", "where"):
            for part in _where(alarm):
                tag("span", text=part)
        why = WHY_OVER.get(ended.reason, ended.reason.replace("_", " "))
        told = tag("span", "quiet", f"ended {age(ended.changed_at, at)}: {why}")
        told.props["title"] = f"{moment(alarm.raised_at)} to {moment(ended.changed_at)}"


def _where(alarm: Alarm) -> list[str]:
    place = f"{alarm.station}, camera {alarm.camera}" if alarm.camera else f"{alarm.station}, parts"
    product = [f"product {alarm.product}"] if alarm.product else []
    return [place, *product, *([f"lamp {alarm.lamp}"] if alarm.lamp else [])]


def _picture(alarm: Alarm, which: str) -> None:
    address = picture_url(alarm, which)
    with tag("figure"):
        if address is None:
            tag("span", "nopicture", "not kept")
        else:
            with anchor(address):
                image = tag("img").props('decoding="sync"')  # redrawn every few seconds, it must not flicker
                image.props["src"] = address
                image.props["alt"] = f"picture {which} the alarm"
        tag("figcaption", text=which)


def _place(alarm: Alarm) -> str:
    return f"alarm-{alarm.id}"


def _diagnosis(record: Alarm | AlarmChange) -> Diagnosis:
    """What a record says of the cause; the heat map is 0 where it was not kept."""
    try:
        heat_map = unpacked("heat_map", record.heat_map, np.float32, GRID, GRID)
    except StateDamaged:
        heat_map = np.zeros((GRID, GRID), np.float32)
    motion = Motion.from_state(record.motion) if record.motion else None
    side: Any = record.side  # a column of text holds any side, a diagnosis one of four
    return Diagnosis(record.cause, heat_map, 0, record.size or 0.0, side, record.x, record.y, motion)
