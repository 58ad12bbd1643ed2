from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from storage import inspections, pictures
from storage.database import Connection, Database
from storage.inspections import RejectCount
from storage.records import Inspection
from tests.storage.samples import NOW, PRODUCT, hash_of, image, inspection, later, view


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def test_an_inspection_comes_back_with_its_views(connection: Connection) -> None:
    assert inspections.store(connection, [inspection("r1"), inspection("r2", views=())]) == 2
    assert inspections.find(connection, "r1") == inspection("r1")
    assert inspections.find(connection, "r2") == inspection("r2", views=())
    assert inspections.find(connection, "none") is None


def test_what_is_there_already_is_skipped_and_stays(connection: Connection) -> None:
    inspections.store(connection, [inspection("r1")])
    assert inspections.store(connection, [inspection("r1", disposition="pass"), inspection("r2")]) == 1
    assert inspections.find(connection, "r1") == inspection("r1")
    assert inspections.store(connection, []) == 0


def test_the_newest_come_first_and_can_be_narrowed(connection: Connection) -> None:
    rows = [
        inspection("a", received_at=later(1), station="press-1"),
        inspection("b", received_at=later(2), station="press-2"),
        inspection("c", received_at=later(3), station="press-1", disposition="pass"),
    ]
    inspections.store(connection, rows)
    assert [found.result_id for found in inspections.latest(connection, 2)] == ["c", "b"]
    assert [found.result_id for found in inspections.latest(connection, 9, station="press-1")] == ["c", "a"]
    narrowed = inspections.latest(connection, 9, station="press-1", disposition="reject")
    assert [found.result_id for found in narrowed] == ["a"]


def test_a_part_has_its_inspections_oldest_first(connection: Connection) -> None:
    rows = [inspection(str(n), part_id="P", received_at=later(-n)) for n in range(3)]
    inspections.store(connection, [*rows, inspection("other")])
    assert [found.result_id for found in inspections.of_part(connection, "P")] == ["2", "1", "0"]


def test_yield_counts_production_once_and_since_a_time(connection: Connection) -> None:
    rows = [
        inspection("before", received_at=later(-1)),
        inspection("shadow", mode="shadow"),
        inspection("challenge", mode="challenge"),
        inspection("fail-safe", disposition="recheck", received_at=NOW),
        inspection("late", disposition="pass", supersedes="fail-safe"),
        inspection("good", disposition="pass"),
        inspection("elsewhere", station="press-2"),
    ]
    inspections.store(connection, rows)
    assert inspections.counts(connection, NOW) == {"press-1": {"pass": 2}, "press-2": {"reject": 1}}
    assert inspections.superseding(connection, "fail-safe") == "late"
    assert inspections.superseding(connection, "late") is None


def test_each_station_was_last_seen_with_its_newest_part(connection: Connection) -> None:
    rows = [
        inspection("1", received_at=later(1)),
        inspection("2", received_at=later(5), mode="challenge"),
        inspection("3", station="press-2", received_at=later(3)),
    ]
    inspections.store(connection, rows)
    assert inspections.last_seen(connection) == {"press-1": later(5), "press-2": later(3)}


def test_only_kept_images_of_production_wait_for_a_label(connection: Connection) -> None:
    def seen(name: str, kept: bool = True, **changes: object) -> None:
        shown = view(name, image_sha256=hash_of(name), image_kept=kept)
        inspections.store(connection, [inspection(name, views=(shown,), **changes)])

    seen("kept")
    seen("dropped", kept=False)
    seen("golden part", mode="challenge")
    seen("other product", product="lid")
    seen("known")
    pictures.store(connection, [image("known", sha256=hash_of("known"))])
    twice = view("again", image_sha256=hash_of("kept"))
    inspections.store(connection, [inspection("again", views=(twice,))])
    assert inspections.unlabelled(connection, PRODUCT, 9) == [(hash_of("kept"), "image/jpeg")]
    assert inspections.unlabelled(connection, PRODUCT, 9, hash_of("kept")) == [(hash_of("kept"), "image/jpeg")]
    assert inspections.unlabelled(connection, PRODUCT, 9, "g") == []
    assert inspections.kept_media_type(connection, hash_of("kept")) == "image/jpeg"
    assert inspections.kept_media_type(connection, hash_of("dropped")) is None


def test_a_kept_view_is_found_by_product_and_hash(connection: Connection) -> None:
    first, second = view("r1", "0"), view("r1", "1", image_kept=False)
    inspections.store(connection, [inspection("r1", views=(first, second))])
    found = inspections.kept_view(connection, PRODUCT, first.image_sha256)
    assert found == (inspection("r1", views=(first, second)), first)
    assert inspections.kept_view(connection, PRODUCT, second.image_sha256) is None
    assert inspections.kept_view(connection, "lid", first.image_sha256) is None


def test_a_failed_challenge_calls_in_doubt_what_passed_since_the_last_good_one(connection: Connection) -> None:
    rows = [
        inspection("before", disposition="pass", received_at=later(0)),
        inspection("second", disposition="pass", received_at=later(3)),
        inspection("first", disposition="pass", received_at=later(2)),
        inspection("rejected", received_at=later(2)),
        inspection("golden", disposition="pass", mode="challenge", received_at=later(2)),
        inspection("elsewhere", disposition="pass", station="press-2", received_at=later(2)),
        inspection("fail-safe", disposition="recheck", received_at=later(4)),
        inspection("late", disposition="pass", supersedes="fail-safe", received_at=later(4)),
        inspection("withdrawn", disposition="pass", received_at=later(5)),
        inspection("instead", disposition="recheck", supersedes="withdrawn", received_at=later(5)),
    ]
    inspections.store(connection, rows)
    found = inspections.since_challenge(connection, "press-1", PRODUCT, later(0), 9)
    assert [one.result_id for one in found] == ["first", "second", "late"]
    assert found[0] == rows[2]
    assert [i.result_id for i in inspections.since_challenge(connection, "press-1", PRODUCT, later(0), 1)] == ["first"]


HOUR = 3600.0
FULL = NOW.replace(microsecond=0)
"""Periods begin at whole seconds; NOW does not."""


def part(name: str, seconds: float, judged: str = "ok", **changes: Any) -> Inspection:
    """A production part received so many seconds after FULL."""
    disposition = {"ok": "pass", "not_ok": "reject", "not_decidable": "recheck"}[judged]
    at = FULL + timedelta(seconds=seconds)
    return inspection(
        name, views=(), **{"evaluation": judged, "disposition": disposition, "received_at": at, **changes}
    )


def count(connection: Connection, per: str | int, hours: float = 48, **changes: Any) -> list[RejectCount]:
    query = {"station": "press-1", "product": None, "since": NOW, "until": FULL + timedelta(hours=hours), **changes}
    return inspections.reject_counts(connection, per=per, **query)


def test_rejects_are_counted_by_periods_from_the_beginning(connection: Connection) -> None:
    rows = [
        part("early", -0.000001, "not_ok"),
        part("1", 0),
        part("2", HOUR - 0.000001, "not_ok"),
        part("3", HOUR, "not_decidable"),
        part("4", 5 * HOUR + 1, "not_ok", disposition="recheck"),
        part("5", 8 * HOUR, "not_ok"),
        part("6", 24 * HOUR),
        part("7", 48 * HOUR, "not_ok"),
    ]
    inspections.store(connection, rows)

    def at(hours: float) -> datetime:
        return FULL + timedelta(hours=hours)

    assert count(connection, "hour") == [
        RejectCount(at(0), at(1), 2, 1, 0),
        RejectCount(at(1), at(2), 1, 0, 1),
        RejectCount(at(5), at(6), 1, 1, 1),
        RejectCount(at(8), at(9), 1, 1, 0),
        RejectCount(at(24), at(25), 1, 0, 0),
    ]
    assert [(c.start, c.parts, c.not_ok) for c in count(connection, "shift")] == [
        (at(0), 4, 2),
        (at(8), 1, 1),
        (at(24), 1, 0),
    ]
    assert count(connection, "day") == [RejectCount(at(0), at(24), 5, 3, 2), RejectCount(at(24), at(48), 1, 0, 0)]
    assert count(connection, "day", hours=30)[-1].end == at(30), "a period that goes on ends where the query does"
    assert count(connection, "hour", hours=0) == []


def test_subgroups_of_parts_are_of_equal_size_and_in_the_order_of_time(connection: Connection) -> None:
    inspections.store(connection, [part(f"{n}", 60 * n, "not_ok" if n % 5 == 0 else "ok") for n in range(11)])
    found = count(connection, 4)
    assert [(c.parts, c.not_ok) for c in found] == [(4, 1), (4, 1)], "the last three are too few"
    ends = [(0, 180), (240, 420)]
    assert [(c.start, c.end) for c in found] == [
        (FULL + timedelta(seconds=first), FULL + timedelta(seconds=last)) for first, last in ends
    ]
    assert [(c.parts, c.not_ok) for c in count(connection, 1)] == [(1, int(n % 5 == 0)) for n in range(11)]


@pytest.mark.parametrize("per", ["hour", 1])
def test_only_what_production_was_told_last_is_counted(connection: Connection, per: str | int) -> None:
    rows = [
        part("shadow", 1, mode="shadow"),
        part("golden", 2, "not_ok", mode="challenge"),
        part("fail-safe", 3, "not_decidable"),
        part("late", 3, supersedes="fail-safe"),
        part("elsewhere", 4, "not_ok", station="press-2"),
        part("other", 5, "not_ok", product="lid", station="press-2"),
    ]
    inspections.store(connection, rows)

    def sums(**changes: Any) -> tuple[int, int, int]:
        found = count(connection, per, **changes)
        return sum(c.parts for c in found), sum(c.not_ok for c in found), sum(c.rechecks for c in found)

    assert sums() == (1, 0, 0)
    assert sums(station=None) == (3, 2, 0)
    assert sums(station=None, product=PRODUCT) == (2, 1, 0)


def test_subgroups_are_the_same_whatever_zone_asks(connection: Connection) -> None:
    inspections.store(connection, [part("1", 0), part("2", HOUR)])
    in_india = FULL.astimezone(timezone(timedelta(hours=5, minutes=30)))
    found = count(connection, "hour", since=in_india)
    assert found == count(connection, "hour")
    assert found[0].start.tzinfo is UTC


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_a_trigger_the_record_holds_that_none_has_superseded(connection: Connection, names: tuple[str, str]) -> None:
    told, late = names
    holds = inspection(late, supersedes=told, trigger_id="7", received_at=NOW)
    inspections.store(connection, [inspection(told, trigger_id="7", received_at=NOW), inspection("other"), holds])
    assert inspections.of_trigger(connection, "press-1", "boot-7", "7") == holds
    inspections.store(connection, [inspection("newest", trigger_id="7", received_at=later(1))])
    newest = inspections.of_trigger(connection, "press-1", "boot-7", "7")
    assert newest
    assert newest.result_id == "newest"
    assert inspections.of_trigger(connection, "press-1", "boot-8", "7") is None
