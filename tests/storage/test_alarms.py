"""Alarms with what became of them, and the images that they call into question."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from storage import alarms, happenings, inspections, labels, tasks
from storage.database import Connection, Database
from storage.drain import decode, encode
from storage.journal import Waiting
from storage.records import Alarm
from tests.storage import samples
from tests.storage.samples import NOW, PRODUCT, alarm, alarm_change, hash_of, later


def store(connection: Connection, *raised: Alarm) -> None:
    happenings.store_alarms(connection, raised)


def see(connection: Connection, n: int, at: datetime, **changes: Any) -> str:
    """A part of the alarm's camera; returns the hash of its image."""
    of_view = {name: changes.pop(name) for name in ("camera", "image_kept", "p_defect") if name in changes}
    result_id = f"part-{n}"
    view = samples.view(result_id, **{"camera": "top", **of_view})
    found = samples.inspection(result_id, received_at=at, views=(view,), **changes)
    inspections.store(connection, [found])
    return view.image_sha256


def test_a_change_is_stored_once_and_the_first_one_stands(database: Database) -> None:
    with database.write() as connection:
        assert alarms.store_changes(connection, [alarm_change(), alarm_change(kind="cleared")]) == 2
        assert alarms.store_changes(connection, [alarm_change(cause="haze")]) == 0
        store(connection, alarm())
        found = alarms.find(connection, "alarm-1")
    assert found is not None
    assert found.changes["diagnosed"] == alarm_change()


def test_an_alarm_waits_in_the_journal_without_loss() -> None:
    for kind, record in (("alarm", alarm()), ("alarm", samples.bare_alarm()), ("alarm_change", alarm_change())):
        entry = Waiting("1", kind, encode(kind, record), None, NOW, {}, {})
        assert decode(entry) == record


def test_what_became_of_an_alarm_is_told_by_the_newest_change(database: Database) -> None:
    with database.write() as connection:
        store(connection, alarm("1"), alarm("2", raised_at=later(1)), alarm("3", raised_at=later(2)))
        alarms.store_changes(
            connection, [alarm_change("2"), alarm_change("3"), alarm_change("3", "cleared", cause="haze")]
        )
        found = alarms.latest(connection, 9)
    assert [(episode.alarm.id, episode.state, episode.last.cause) for episode in found] == [
        ("3", "cleared", "haze"),
        ("2", "diagnosed", "bump"),
        ("1", "raised", "lamp_off"),
    ]


def test_alarms_are_found_by_station_and_camera_newest_first(database: Database) -> None:
    with database.write() as connection:
        store(connection, alarm("1"), alarm("2", camera="side", raised_at=later(1)), alarm("3", station="press-2"))
        assert [e.alarm.id for e in alarms.latest(connection, 9, station="press-1")] == ["2", "1"]
        assert [e.alarm.id for e in alarms.latest(connection, 9, station="press-1", camera="top")] == ["1"]
        assert [e.alarm.id for e in alarms.latest(connection, 1)] == ["2"]
        assert alarms.find(connection, "4") is None


def test_diagnosed_alarms_without_a_change_of_a_kind_are_found_oldest_first(database: Database) -> None:
    with database.write() as connection:
        store(connection, *(alarm(str(n), raised_at=later(n)) for n in range(5)))
        alarms.store_changes(
            connection,
            [
                alarm_change("1", changed_at=later(20)),
                alarm_change("2", changed_at=later(10)),
                alarm_change("2", "cleared"),
                alarm_change("3"),
                alarm_change("3", "asked"),
                alarm_change("4", changed_at=NOW),
                alarm_change("nobody knows it", changed_at=later(10)),
            ],
        )
        found = alarms.diagnosed_without(connection, "asked", later(5))
    assert [episode.alarm.id for episode in found] == ["2", "1"]


def test_images_since_the_onset_are_chosen_evenly_and_in_order(database: Database) -> None:
    with database.write() as connection:
        raised = alarm(images_since_onset=10, raised_at=later(30))
        store(connection, raised)
        seen = [see(connection, n, later(n)) for n in range(100)]
        episode = alarms.Episode(raised, {})
        assert alarms.images_in_question(connection, episode, 1000) == seen[20:]
        chosen = alarms.images_in_question(connection, episode, 5)
        assert alarms.images_in_question(connection, episode, 1) == seen[20:21]
        assert alarms.images_in_question(connection, episode, 0) == []
        assert alarms.images_in_question(connection, episode, 1000, later(97)) == seen[98:]
    assert [seen.index(sha256) for sha256 in chosen] == [20, 39, 59, 79, 99]


def test_what_came_after_the_clearing_is_not_called_into_question(database: Database) -> None:
    raised = alarm(images_since_onset=0, raised_at=later(3))
    cleared = alarm_change(kind="cleared", changed_at=later(5))
    with database.write() as connection:
        seen = [see(connection, n, later(n)) for n in range(9)]
        assert alarms.images_in_question(connection, alarms.Episode(raised, {"cleared": cleared}), 99) == seen[3:6]


def test_only_images_that_a_person_can_judge_and_has_not_are_chosen(database: Database) -> None:
    raised = alarm(images_since_onset=99, raised_at=later(50))
    with database.write() as connection:
        wanted = see(connection, 0, later(0))
        see(connection, 1, later(1), image_kept=False)
        see(connection, 2, later(2), p_defect=None)
        see(connection, 3, later(3), camera="side")
        see(connection, 4, later(4), station="press-2")
        see(connection, 5, later(5), mode="challenge")
        see(connection, 6, later(6), product="lid")
        judged = see(connection, 7, later(7))
        labels.store(connection, [samples.label(image_sha256=judged)])
        assert alarms.images_in_question(connection, alarms.Episode(raised, {}), 99) == [wanted]
        unseen = replace(raised, station="press-9")
        assert alarms.images_in_question(connection, alarms.Episode(unseen, {}), 99) == []


@pytest.mark.parametrize("changes", [{"label_id": "label-1"}, {"expires_at": NOW}, {"reason": ""}, {"product": "lid"}])
def test_only_tasks_that_wait_for_ever_count_towards_their_reason(database: Database, changes: dict[str, Any]) -> None:
    open_one = samples.task(expires_at=None, label_id=None, reason="optics: a")
    with database.write() as connection:
        for n in range(3):
            tasks.ask(connection, [replace(open_one, id=f"a{n}", image_sha256=hash_of(str(n)))], None)
        tasks.ask(connection, [replace(open_one, id="b", reason="optics: b")], None)
        tasks.ask(connection, [replace(open_one, id="c", **changes)], None)
        assert tasks.open_reasons(connection, PRODUCT) == {"optics: a": 3, "optics: b": 1}
