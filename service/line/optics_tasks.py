"""What an optics alarm calls into question goes to the inspectors: a few images of each alarm wait to be labelled."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

import structlog

from monitoring.advice import PRODUCT, SCENE, Kind, advise
from service.line.alarm_json import diagnosis_of
from storage import alarms, labels, tasks
from storage.alarms import ASKED, ASKED_AGAIN, CLEARED, DIAGNOSED, Episode
from storage.database import Connection, Database
from storage.records import AlarmChange, Task

MOST: Final[dict[Kind, int]] = {PRODUCT: 20, SCENE: 5}
"""Images of an alarm. Of a changed scene a few show whether the model still judges rightly until it is put right."""
MOST_OF_A_CAUSE: Final = 60
"""So many images that one cause asks for wait at a time: a lamp that fails every hour does not fill the queue."""
SECOND_AFTER: Final = timedelta(minutes=30)
"""An alarm that stands for so long shows what its images look like."""
NEWS_FOR: Final = timedelta(days=7)
"""Alarms that were diagnosed longer ago are asked about no more, if nobody could be asked before."""

log = structlog.get_logger("line")


def ask_inspectors(database: Database, now: datetime) -> int:
    """Ask about the alarms whose cause is final; returns about how many images.

    About half of the images as soon as that is so, and about the others once the alarm is over, or has stood for a
    while. Each time once, whichever line server comes first. Raises DatabaseUnavailable.
    """
    with database.read() as connection:
        found = alarms.diagnosed_without(connection, ASKED_AGAIN, now - NEWS_FOR)
    count = 0
    for episode in found:
        if not _due(episode, now):
            continue
        with database.write() as connection:
            # Another line server may be at it: who comes second finds that it has been asked.
            labels.hold(connection, episode.alarm.product)
            fresh = alarms.find(connection, episode.alarm.id)
            if fresh is not None:
                count += _ask(connection, fresh, _due(fresh, now), now)
    return count


def _due(episode: Episode, now: datetime) -> tuple[str, ...]:
    """Which of the two times to ask it is time for."""
    changes = episode.changes
    is_over = CLEARED in changes or now - changes[DIAGNOSED].changed_at >= SECOND_AFTER
    times = (ASKED, ASKED_AGAIN) if is_over else (ASKED,)
    return tuple(kind for kind in times if kind not in changes)


def _ask(connection: Connection, episode: Episode, due: tuple[str, ...], now: datetime) -> int:
    alarm, last = episode.alarm, episode.last
    advice = advise(diagnosis_of(last))
    reason = f"optics: {advice.title}"
    book = labels.newest_book(connection, alarm.product)
    chosen: list[str] = []
    if book is not None:  # without one nobody could say what an image shows
        first = MOST[advice.kind] // 2
        wanted = sum({ASKED: first, ASKED_AGAIN: MOST[advice.kind] - first}[kind] for kind in due)
        waiting = tasks.open_reasons(connection, alarm.product).get(reason, 0)
        asked = episode.changes.get(ASKED)
        chosen = alarms.images_in_question(
            connection, episode, min(wanted, MOST_OF_A_CAUSE - waiting), asked.changed_at if asked else None
        )
        tasks.ask(connection, [_task(alarm.product, sha256, reason, book.version, now) for sha256 in chosen], None)
    told = f"{len(chosen)} images"
    alarms.store_changes(connection, [AlarmChange(alarm.id, kind, now, last.cause, reason=told) for kind in due])
    if due:
        log.info("inspectors_asked", alarm=alarm.id, product=alarm.product, images=len(chosen), reason=reason)
    return len(chosen)


def _task(product: str, sha256: str, reason: str, book_version: int, now: datetime) -> Task:
    # One task an image, whatever number of alarms it was under.
    content = f"{product}\0{sha256}"
    return Task(
        id=f"{tasks.OPTICS}-{hashlib.sha256(content.encode()).hexdigest()[:32]}",
        product=product,
        image_sha256=sha256,
        inspector="",
        kind=tasks.OPTICS,
        book_version=book_version,
        created_at=now,
        expires_at=None,
        reason=reason,
    )
