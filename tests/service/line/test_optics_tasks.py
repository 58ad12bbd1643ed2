"""A few images of each alarm are asked about, fairly shared among causes, each of them once."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from labeling.submitting import Judgement, submit
from service.console.rankings import Rankings
from service.console.tasks import Worklist, worklist
from service.line.optics_tasks import MOST, MOST_OF_A_CAUSE, NEWS_FOR, SECOND_AFTER, ask_inspectors
from storage import alarms, happenings, inspections, labels, pictures, tasks
from storage.database import Database
from storage.records import Alarm, Task
from tests.storage.samples import (
    NOW,
    PRODUCT,
    alarm,
    alarm_change,
    book,
    hash_of,
    image,
    inspection,
    label,
    later,
    view,
)

PARTS = "optics: The parts look different"
SPOT = "optics: A spot in the picture"


@pytest.fixture(autouse=True)
def _label_book(database: Database) -> None:
    with database.write() as connection:
        labels.add_book(connection, book())


def see(database: Database, count: int, start: datetime = NOW, name: str = "part", **changes: Any) -> list[str]:
    """Parts of the alarms' camera, one a second; returns the hashes of their images."""
    found = []
    with database.write() as connection:
        for n in range(count):
            result_id = f"{name}-{n}"
            of_view = view(result_id, camera="top")
            at = start + timedelta(seconds=n)
            inspections.store(connection, [inspection(result_id, received_at=at, views=(of_view,), **changes)])
            found.append(of_view.image_sha256)
    return found


def diagnose(
    database: Database, cause: str, name: str = "alarm-1", at: datetime = NOW, cleared_at: datetime | None = None
) -> Alarm:
    """An alarm whose cause is final."""
    raised = alarm(name, cause=cause, raised_at=at, images_since_onset=0)
    changes = [alarm_change(name, cause=cause, changed_at=at + timedelta(seconds=12))]
    if cleared_at is not None:
        changes.append(alarm_change(name, "cleared", cause=cause, changed_at=cleared_at))
    with database.write() as connection:
        happenings.store_alarms(connection, [raised])
        alarms.store_changes(connection, changes)
    return raised


def waiting(database: Database) -> list[Task]:
    with database.read() as connection:
        return tasks.waiting(connection, PRODUCT, "mira")


def test_half_of_the_images_are_asked_about_at_once_and_the_others_when_it_is_over(database: Database) -> None:
    seen = see(database, 101)
    diagnose(database, "new_batch")
    assert ask_inspectors(database, later(100)) == MOST["product"] // 2
    assert ask_inspectors(database, later(101)) == 0
    seen += see(database, 90, later(101), "more")
    with database.write() as connection:
        cleared = alarm_change(kind="cleared", cause="new_batch", changed_at=later(180))
        alarms.store_changes(connection, [cleared])
    assert ask_inspectors(database, later(190)) == MOST["product"] - MOST["product"] // 2
    assert ask_inspectors(database, later(9999)) == 0
    found = waiting(database)
    assert len(found) == MOST["product"]
    places = sorted(seen.index(task.image_sha256) for task in found)
    assert max(b - a for a, b in pairwise(places)) < 40, "spread over the alarm"
    assert (places[0], places[-1]) == (0, 180)
    assert {(task.kind, task.inspector, task.reason, task.expires_at) for task in found} == {
        ("optics", "", PARTS, None)
    }
    assert {task.book_version for task in found} == {1}


def test_an_alarm_that_stands_for_long_is_asked_about_again(database: Database) -> None:
    see(database, 100)
    diagnose(database, "new_batch")
    assert ask_inspectors(database, later(50)) == 10
    assert ask_inspectors(database, later(60) + SECOND_AFTER) == 10


def test_an_alarm_of_before_a_long_outage_is_asked_about_once_in_full(database: Database) -> None:
    see(database, 100)
    diagnose(database, "new_batch")
    assert ask_inspectors(database, NOW + NEWS_FOR) == 20
    diagnose(database, "haze", "old")
    assert ask_inspectors(database, NOW + NEWS_FOR + timedelta(hours=1)) == 0


@pytest.mark.parametrize(("cause", "most"), [("new_batch", 20), ("defect_rate", 20), ("soiling", 5), ("other", 5)])
def test_a_changed_scene_needs_fewer_labels_than_a_changed_product(database: Database, cause: str, most: int) -> None:
    see(database, 100)
    diagnose(database, cause, cleared_at=later(90))
    assert ask_inspectors(database, later(99)) == most


def test_a_glitch_and_an_alarm_that_may_be_one_ask_nobody(database: Database) -> None:
    see(database, 100)
    with database.write() as connection:
        happenings.store_alarms(connection, [alarm("glitch"), alarm("fresh")])
        alarms.store_changes(connection, [alarm_change("glitch", "cleared", is_glitch=True)])
    assert ask_inspectors(database, later(99)) == 0


def test_a_cause_that_comes_again_and_again_does_not_fill_the_queue(database: Database) -> None:
    for n in range(6):
        start = NOW + timedelta(hours=n)
        see(database, 30, start, f"batch-{n}")
        diagnose(database, "new_batch", f"a{n}", start, start + timedelta(seconds=30))
        ask_inspectors(database, start + timedelta(seconds=40))
    see(database, 30, NOW + timedelta(hours=9), "spot")
    diagnose(database, "soiling", "spot", NOW + timedelta(hours=9), NOW + timedelta(hours=10))
    ask_inspectors(database, NOW + timedelta(hours=11))
    counts = Counter(task.reason for task in waiting(database))
    assert counts == {PARTS: MOST_OF_A_CAUSE, SPOT: MOST["scene"]}


def test_an_image_under_two_alarms_is_asked_about_once(database: Database) -> None:
    see(database, 5)
    for name in ("1", "2"):
        diagnose(database, "new_batch", name, cleared_at=later(9))
    ask_inspectors(database, later(10))
    assert len(waiting(database)) == 5


def test_two_line_servers_ask_once(database: Database) -> None:
    see(database, 100)
    diagnose(database, "new_batch", cleared_at=later(90))
    assert [ask_inspectors(database, later(99)) for _ in range(2)] == [20, 0]


def test_without_a_label_book_nobody_can_be_asked(database: Database) -> None:
    see(database, 9, product="unknown")
    with database.write() as connection:
        happenings.store_alarms(connection, [alarm(product="unknown", images_since_onset=0)])
        alarms.store_changes(connection, [alarm_change(cause="new_batch")])
    assert ask_inspectors(database, later(20)) == 0
    assert ask_inspectors(database, later(21)) == 0


def shown(database: Database, inspector: str, n: int, at: datetime) -> Worklist:
    return worklist(database, Rankings(database), PRODUCT, inspector, n, at)


def judge(database: Database, sha256: str, inspector: str, at: datetime) -> None:
    judgement = Judgement(f"{inspector}-{sha256}", PRODUCT, sha256, inspector, "good", judged_at=at)
    with database.write() as connection:
        submit(connection, judgement, "console", at)


def test_inspectors_are_shown_what_an_alarm_calls_into_question(database: Database) -> None:
    seen = see(database, 3)
    see(database, 40, later(500), "after")
    diagnose(database, "new_batch", cleared_at=later(20))
    ask_inspectors(database, later(30))
    first = [task.image_sha256 for task in shown(database, "mira", 12, later(600)).tasks]
    assert set(seen) & set(first), "they come among the others"
    for sha256 in seen:
        judge(database, sha256, "mira", later(700))
    assert waiting(database) == []
    with database.read() as connection:
        done = [task for task in tasks.waiting(connection, PRODUCT, "olaf") if task.kind == "optics"]
    assert done == [], "one judgement of anybody does it"
    with database.read() as connection:
        assert labels.withdrawn(connection, PRODUCT) == [], "nothing was judged again"


def test_reasons_take_turns(database: Database) -> None:
    plain = Task("", PRODUCT, "", "", "optics", 1, NOW, None)
    names = {PARTS: [f"p{n}" for n in range(8)], SPOT: ["s0", "s1"], "": ["again"]}
    with database.write() as connection:
        pictures.store(connection, [image(name) for found in names.values() for name in found])
        for reason, found in names.items():
            new = [replace(plain, id=name, image_sha256=hash_of(name), reason=reason) for name in found]
            tasks.ask(connection, new, None)
            # She has just judged them all: nothing else is left to show her.
            labels.store(connection, [label(name, image_sha256=hash_of(name), judged_at=NOW) for name in found])
    order = [task.image_sha256 for task in shown(database, "mira", 11, later(60)).tasks]
    place = {hash_of(name): reason for reason, found in names.items() for name in found}
    assert len(order) == 11
    assert Counter(place[sha256] for sha256 in order[:5]) == {PARTS: 2, SPOT: 2, "": 1}


def test_what_another_inspector_is_being_asked_about_is_not_shown_to_a_second_one(database: Database) -> None:
    see(database, 4)
    diagnose(database, "new_batch", cleared_at=later(20))
    ask_inspectors(database, later(30))
    mira = {task.image_sha256 for task in shown(database, "mira", 2, later(40)).tasks}
    olaf = {task.image_sha256 for task in shown(database, "olaf", 2, later(41)).tasks}
    assert len(mira) == len(olaf) == 2
    assert not mira & olaf
