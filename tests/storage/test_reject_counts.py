from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from storage import inspections
from storage.database import Connection, Database
from storage.records import Inspection
from storage.reject_counts import (
    MAYBE,
    RejectCount,
    TooManySubgroups,
    Wanted,
    parts_seen,
    reject_counts,
    reject_counts_by,
)
from tests.storage.samples import NOW, PRODUCT, inspection

LIMIT = 1000


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


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


def asked(per: str | int, hours: float = 48, **changes: Any) -> Wanted:
    said = {
        "station": "press-1",
        "since": NOW,
        "until": FULL + timedelta(hours=hours),
        "decided_only": False,
        **changes,
    }
    return Wanted(per=per, **said)


def count(connection: Connection, per: str | int, hours: float = 48, **changes: Any) -> list[RejectCount]:
    return reject_counts(connection, asked(per, hours, **changes), LIMIT)


def split(connection: Connection, by: str, per: str | int, **changes: Any) -> dict[Any, list[tuple[int, int, int]]]:
    """Parts, defects and rechecks of each subgroup."""
    found = reject_counts_by(connection, asked(per, **{"station": None, **changes}), by, LIMIT)
    return {key: [(c.parts, c.not_ok, c.rechecks) for c in counts] for key, counts in found.items()}


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
        RejectCount(at(0), at(1), 2, 1, 0, {}),
        RejectCount(at(1), at(2), 1, 0, 1, {MAYBE: 1}),
        RejectCount(at(5), at(6), 1, 1, 1, {}),
        RejectCount(at(8), at(9), 1, 1, 0, {}),
        RejectCount(at(24), at(25), 1, 0, 0, {}),
    ]
    assert [(c.start, c.parts, c.not_ok) for c in count(connection, "shift")] == [
        (at(0), 4, 2),
        (at(8), 1, 1),
        (at(24), 1, 0),
    ]
    assert count(connection, "day") == [
        RejectCount(at(0), at(24), 5, 3, 2, {MAYBE: 1}),
        RejectCount(at(24), at(48), 1, 0, 0, {}),
    ]
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


@pytest.mark.parametrize("per", ["hour", 2])
def test_defects_of_one_class_are_counted_among_all_parts(connection: Connection, per: str | int) -> None:
    rows = [
        part("1", 1, "not_ok", result_code=1),
        part("2", 2, "not_ok", result_code=2),
        part("3", 3, "not_decidable", result_code=2),
        part("4", 4, "not_decidable", result_code=901),
    ]
    inspections.store(connection, rows)

    def sums(**changes: Any) -> tuple[int, int, int]:
        found = count(connection, per, **changes)
        return sum(c.parts for c in found), sum(c.not_ok for c in found), sum(c.rechecks for c in found)

    assert sums() == (4, 2, 2)
    assert sums(class_number=2) == (4, 1, 1)
    assert sums(class_number=3) == (4, 0, 0)


def test_products_and_stations_have_subgroups_of_their_own(connection: Connection) -> None:
    rows = [
        part(f"{n}", n, "not_ok" if n == 4 else "ok", product="lid" if n % 2 else PRODUCT, station=f"press-{n % 3}")
        for n in range(12)
    ]
    inspections.store(connection, rows)
    assert split(connection, "product", "hour") == {PRODUCT: [(6, 1, 0)], "lid": [(6, 0, 0)]}
    assert split(connection, "product", 2) == {PRODUCT: [(2, 0, 0), (2, 1, 0), (2, 0, 0)], "lid": [(2, 0, 0)] * 3}
    assert split(connection, "station", 3) == {
        "press-0": [(3, 0, 0)],
        "press-1": [(3, 1, 0)],
        "press-2": [(3, 0, 0)],
    }, "the last part of each is too few"
    assert split(connection, "station", "hour", product="lid")["press-1"] == [(2, 0, 0)]


def test_classes_share_their_subgroups_and_codes_of_the_system_are_none(connection: Connection) -> None:
    codes = [0, 1, 1, 2, 0, 901, 0, 2]
    rows = [
        part(f"{n}", n, {0: "ok", 901: "not_decidable"}.get(code, "not_ok"), result_code=code)
        for n, code in enumerate(codes)
    ]
    inspections.store(connection, rows)
    assert split(connection, "class", "hour") == {1: [(8, 2, 0)], 2: [(8, 2, 0)]}
    assert split(connection, "class", 3) == {1: [(3, 2, 0), (3, 0, 0)], 2: [(3, 0, 0), (3, 1, 0)]}
    found = reject_counts_by(connection, asked(3), "class", LIMIT)
    assert [(c.start, c.end) for c in found[2]] == [
        (FULL + timedelta(seconds=first), FULL + timedelta(seconds=last)) for first, last in ((0, 2), (3, 5))
    ]


def told(counts: list[RejectCount]) -> list[tuple[int, int, int, dict[int, int]]]:
    return [(c.parts, c.not_ok, c.rechecks, dict(c.undecided)) for c in counts]


def test_what_was_not_decided_is_told_beside_the_parts_by_its_cause(connection: Connection) -> None:
    rows = [
        part("good", 1, result_code=0),
        part("bad", 2, "not_ok", result_code=2),
        part("maybe", 3, "not_decidable", result_code=2),
        part("dark", 4, "not_decidable", result_code=904),
        part("dark again", 5, "not_decidable", result_code=904, disposition="reject"),
        part("all dark", HOUR, "not_decidable", result_code=904),
        part("late", 2 * HOUR, "not_decidable", result_code=901),
        part("light", 2 * HOUR + 1, result_code=0),
    ]
    inspections.store(connection, rows)
    causes = [{MAYBE: 1, 904: 2}, {904: 1}, {901: 1}]
    assert told(count(connection, "hour", decided_only=True)) == [
        (2, 1, 2, causes[0]),
        (0, 0, 1, causes[1]),
        (1, 0, 1, causes[2]),
    ]
    assert told(count(connection, "hour")) == [(5, 1, 2, causes[0]), (1, 0, 1, causes[1]), (2, 0, 1, causes[2])]
    shared = reject_counts_by(connection, asked("hour", decided_only=True), "class", LIMIT)
    assert {key: told(counts) for key, counts in shared.items()} == {
        2: [(2, 1, 1, causes[0]), (0, 0, 0, causes[1]), (1, 0, 0, causes[2])]
    }


@pytest.mark.parametrize("by", [None, "station", "class"])
def test_only_decided_parts_fill_a_subgroup_and_what_comes_before_the_next_is_told_with_it(
    connection: Connection, by: str | None
) -> None:
    rows = [part("defect", 0, "not_ok", result_code=1)]
    rows += [part(f"dark-{n}", n, "not_decidable", result_code=904) for n in range(1, 10)]
    rows += [part(f"good-{n}", n, result_code=0) for n in range(10, 14)]
    inspections.store(connection, rows)

    def found(**changes: Any) -> list[RejectCount]:
        wanted = asked(2, **changes)
        if by is None:
            return reject_counts(connection, wanted, LIMIT)
        (counts,) = reject_counts_by(connection, wanted, by, LIMIT).values()
        return counts

    assert [(c.parts, c.not_ok, dict(c.undecided)) for c in found(decided_only=True)] == [(2, 1, {904: 9}), (2, 0, {})]
    assert [(c.start, c.end) for c in found(decided_only=True)] == [
        (FULL + timedelta(seconds=first), FULL + timedelta(seconds=last)) for first, last in ((0, 10), (11, 12))
    ]
    assert [(c.parts, c.not_ok) for c in found()] == [(2, 1), *[(2, 0)] * 6]
    inspections.store(connection, [part("dark at last", 14, "not_decidable", result_code=904)])
    assert told(found(decided_only=True))[2:] == [(0, 0, 0, {904: 1})], "in no subgroup, but not forgotten"
    assert len(found()) == 7


@pytest.mark.parametrize("per", ["hour", 1])
def test_causes_of_one_subgroup_are_no_subgroups_of_their_own(connection: Connection, per: str | int) -> None:
    codes = [MAYBE, *range(900, 909)]
    rows = [part(f"{code}", n, "not_decidable", result_code=code) for n, code in enumerate(codes)]
    inspections.store(connection, [*rows, part("good", HOUR - 1)])
    (found,) = reject_counts(connection, asked(per, decided_only=True), 1)
    assert (found.parts, found.undecided) == (1, dict.fromkeys(codes, 1))


@pytest.mark.parametrize("per", ["hour", 1])
@pytest.mark.parametrize("by", [None, "product", "station", "class"])
def test_more_subgroups_than_asked_for_are_never_read(connection: Connection, by: str | None, per: str | int) -> None:
    inspections.store(connection, [part(f"{n}", HOUR * n, "not_ok") for n in range(9)])

    def read(limit: int) -> object:
        wanted = asked(per)
        if by is None:
            return reject_counts(connection, wanted, limit)
        return reject_counts_by(connection, wanted, by, limit)

    assert read(9)
    with pytest.raises(TooManySubgroups, match="6 subgroups or more") as refused:
        read(5)
    assert (refused.value.at_least, bool(refused.value.remedy)) == (6, True)


def test_how_much_there_is_to_count_is_known_within_a_bound(connection: Connection) -> None:
    inspections.store(connection, [part(f"{n}", n, station=f"press-{n % 2}") for n in range(10)])
    assert parts_seen(connection, asked("hour", station=None), 100) == 10
    assert parts_seen(connection, asked("hour", station="press-1"), 100) == 5
    assert parts_seen(connection, asked("hour", station=None), 4) == 4
    assert parts_seen(connection, asked("hour", hours=0, station=None), 4) == 0
