"""What became of alarms, and the images that one calls into question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from storage.database import from_row, insert_new, to_row
from storage.inspections import JUDGEABLE
from storage.records import Alarm, AlarmChange
from storage.tables import alarm_changes, alarms, inspections, labels, views

DIAGNOSED, CLEARED, ASKED, ASKED_AGAIN = "diagnosed", "cleared", "asked", "asked_again"


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm as it was raised, and what became of it by kind."""

    alarm: Alarm
    changes: Mapping[str, AlarmChange]

    @property
    def last(self) -> Alarm | AlarmChange:
        """What holds the newest diagnosis."""
        return self.changes.get(CLEARED) or self.changes.get(DIAGNOSED) or self.alarm

    @property
    def state(self) -> str:
        """raised, diagnosed or cleared."""
        return next((kind for kind in (CLEARED, DIAGNOSED) if kind in self.changes), "raised")


def store_changes(connection: Connection, new: Sequence[AlarmChange]) -> int:
    """Store the changes that are not there yet; returns how many were new."""
    return insert_new(connection, alarm_changes, [to_row(change) for change in new])


def find(connection: Connection, alarm_id: str) -> Episode | None:
    """One alarm with what became of it."""
    found = _episodes(connection, select(alarms).where(alarms.c.id == alarm_id))
    return found[0] if found else None


def latest(
    connection: Connection, limit: int, *, station: str | None = None, camera: str | None = None
) -> list[Episode]:
    """The newest alarms with what became of them, newest first."""
    query = select(alarms).order_by(alarms.c.raised_at.desc(), alarms.c.id.desc()).limit(limit)
    if station is not None:
        query = query.where(alarms.c.station == station)
    if camera is not None:
        query = query.where(alarms.c.camera == camera)
    return _episodes(connection, query)


def diagnosed_without(connection: Connection, kind: str, since: datetime) -> list[Episode]:
    """Alarms that were diagnosed since then and that had no change of this kind, oldest diagnosis first."""
    other = alarm_changes.alias("other")
    query = (
        select(alarms)
        .join(alarm_changes, alarm_changes.c.alarm_id == alarms.c.id)
        .where(
            alarm_changes.c.kind == DIAGNOSED,
            alarm_changes.c.changed_at >= since,
            ~exists().where(other.c.alarm_id == alarms.c.id, other.c.kind == kind),
        )
        .order_by(alarm_changes.c.changed_at, alarms.c.id)
    )
    return _episodes(connection, query)


def images_in_question(connection: Connection, episode: Episode, most: int, after: datetime | None = None) -> list[str]:
    """SHA-256 of at most `most` images of the alarm's camera and product since its onset, in the order of time.

    Images that were kept, can be judged and have no label, and that came after `after`; spread evenly over all of
    those. An alarm that stands no more calls nothing into question that came after it.
    """
    of_camera = _of_camera(episode.alarm)
    at = inspections.c.received_at
    parts = select(at).where(of_camera, at <= episode.alarm.raised_at)
    if episode.alarm.camera:  # it counts its images, and a part may have several
        parts = parts.join(views, views.c.result_id == inspections.c.result_id)
    before = parts.order_by(at.desc()).limit(episode.alarm.images_since_onset + 1).subquery()
    since = connection.execute(select(func.min(before.c.received_at))).scalar()
    if since is None or most <= 0:
        return []
    concerned = and_(of_camera, JUDGEABLE, at >= since, ~_labelled(episode.alarm.product))
    if after is not None:
        concerned = and_(concerned, at > after)
    if (cleared := episode.changes.get(CLEARED)) is not None:
        concerned = and_(concerned, at <= cleared.changed_at)
    first_seen = (
        select(views.c.image_sha256, func.min(at).label("at"))
        .join(inspections, inspections.c.result_id == views.c.result_id)
        .where(concerned)
        .group_by(views.c.image_sha256)
        .subquery()
    )
    count = connection.execute(select(func.count()).select_from(first_seen)).scalar_one()
    number = func.row_number().over(order_by=(first_seen.c.at, first_seen.c.image_sha256)).label("number")
    numbered = select(first_seen.c.image_sha256, number).subquery()
    chosen = {1 + k * (count - 1) // max(1, min(most, count) - 1) for k in range(min(most, count))}
    query = select(numbered.c.image_sha256).where(numbered.c.number.in_(chosen)).order_by(numbered.c.number)
    return list(connection.execute(query).scalars())


def _of_camera(alarm: Alarm) -> ColumnElement[bool]:
    found = and_(
        inspections.c.station == alarm.station,
        inspections.c.product == alarm.product,
        inspections.c.mode == "production",
    )
    return and_(found, views.c.camera == alarm.camera, views.c.lamp == alarm.lamp) if alarm.camera else found


def _labelled(product: str) -> ColumnElement[bool]:
    return exists().where(labels.c.product == product, labels.c.image_sha256 == views.c.image_sha256)


def _episodes(connection: Connection, query: Select[tuple[object, ...]]) -> list[Episode]:
    found = [from_row(Alarm, row) for row in connection.execute(query).mappings()]
    changes: dict[str, dict[str, AlarmChange]] = {alarm.id: {} for alarm in found}
    of_these = select(alarm_changes).where(alarm_changes.c.alarm_id.in_(changes))
    for row in connection.execute(of_these).mappings():
        change = from_row(AlarmChange, row)
        changes[change.alarm_id][change.kind] = change
    return [Episode(alarm, changes[alarm.id]) for alarm in found]
