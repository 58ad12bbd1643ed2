from datetime import timedelta
from typing import Any

import pytest

from service.line.process_control import POINT_LIMIT, spc
from service.line.requests import WrongRequest
from storage import inspections
from storage.database import Database
from storage.records import Inspection
from tests.storage.samples import NOW, PRODUCT, inspection

FULL = NOW.replace(minute=0, second=0, microsecond=0)
SINCE = FULL.isoformat()


def asked(database: Database, **query: Any) -> dict[str, Any]:
    said = {"chart": "p", "station": None, "product": None, "since": SINCE, "until": None, "per": "hour"}
    return spc(database, **{**said, **query, "now": FULL + timedelta(hours=30)})


def part(name: str, at: timedelta, is_ok: bool, **changes: Any) -> Inspection:
    judged = {"evaluation": "ok", "disposition": "pass"} if is_ok else {}
    return inspection(name, views=(), **{**judged, "received_at": FULL + at, **changes})


@pytest.fixture
def stocked(database: Database) -> Database:
    """Twenty hours of 50 parts with 2 defects each, but 14 in the last hour; another product's parts at press-2."""
    rows = []
    for hour in range(20):
        bad = 14 if hour == 19 else 2
        rows += [part(f"{hour}-{n}", timedelta(hours=hour, minutes=n), is_ok=n >= bad) for n in range(50)]
    rows.append(part("lid", timedelta(minutes=1), is_ok=False, product="lid", station="press-2", disposition="recheck"))
    with database.write() as connection:
        inspections.store(connection, rows)
    return database


def test_an_hour_of_many_rejects_is_told(stocked: Database) -> None:
    found = asked(stocked, station="press-1")
    assert (found["chart"], found["of"], found["station"], found["per"]) == ("p", "not_ok", "press-1", "hour")
    assert found["centre"]["value"] == pytest.approx(52 / 1000)
    assert found["centre"]["low"] < 0.052 < found["centre"]["high"]
    assert not found["in_control"]
    points = found["points"]
    assert [(p["parts"], p["not_ok"]) for p in points] == [(50, 2)] * 19 + [(50, 14)]
    last = points[-1]
    assert "beyond_3_sigma" in last["rules"]
    assert last["value"] == pytest.approx(0.28)
    assert last["low"] < 0.28 < last["high"]
    assert last["upper_limit"] == pytest.approx(0.052 + 3 * (0.052 * 0.948 / 50) ** 0.5)
    assert set().union(*(p["rules"] for p in points)) <= found["rules"].keys()
    assert last["start"] == (FULL + timedelta(hours=19)).isoformat()


def test_np_chart_counts_parts_in_subgroups_of_equal_size(stocked: Database) -> None:
    found = asked(stocked, chart="np", per="100", station="press-1")
    assert found["per"] == 100
    assert [p["value"] for p in found["points"]] == [4] * 9 + [16]
    assert found["centre"]["value"] == pytest.approx(5.2)


def test_a_chart_can_be_narrowed_and_count_rechecks(stocked: Database) -> None:
    found = asked(stocked, product="lid", of="recheck")
    assert [(p["parts"], p["rechecks"], p["value"]) for p in found["points"]] == [(1, 1, 1.0)]
    assert asked(stocked)["points"][0]["parts"] == 51
    assert asked(stocked, station="", product=PRODUCT)["points"][0]["parts"] == 50


def test_limits_are_drawn_around_a_given_share(stocked: Database) -> None:
    found = asked(stocked, station="press-1", centre=0.04)
    assert found["centre"] == {"value": 0.04, "low": 0.04, "high": 0.04}
    assert [n for n, p in enumerate(found["points"]) if p["rules"]] == [19]


def test_without_parts_there_is_nothing_to_draw(database: Database) -> None:
    found = asked(database)
    assert (found["points"], found["centre"], found["in_control"]) == ([], None, None)


@pytest.mark.parametrize(
    ("per", "since"),
    [
        ("hour", timedelta(hours=6)),
        ("50", timedelta(hours=6)),
        ("shift", timedelta(days=-9)),
        ("day", timedelta(days=-29)),
    ],
)
def test_without_a_since_the_chart_begins_at_a_whole_hour_or_day(
    database: Database, per: str, since: timedelta
) -> None:
    begins = FULL + since if per in ("hour", "50") else FULL.replace(hour=0) + since
    assert asked(database, since=None, per=per)["since"] == begins.isoformat()


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ({"chart": "c"}, "chart="),
        ({"per": "week"}, "per="),
        ({"per": "1"}, "per="),
        ({"per": "-5"}, "per="),
        ({"per": "٣"}, "per="),
        ({"per": "9" * 5000}, "per="),
        ({"per": ""}, "per="),
        ({"chart": "np"}, "equal size"),
        ({"of": "scrap"}, "of="),
        ({"centre": 1.5}, "centre="),
        ({"centre": float("nan")}, "centre="),
        ({"since": "yesterday"}, "since="),
        ({"until": "soon"}, "until="),
        ({"until": SINCE}, "not before"),
        ({"since": "2000-01-01"}, "subgroups"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_give(database: Database, query: dict[str, Any], what: str) -> None:
    with pytest.raises(WrongRequest, match=what) as refused:
        asked(database, **query)
    assert refused.value.remedy
    assert len(str(refused.value)) < 400


def test_more_subgroups_of_parts_than_can_be_shown_are_refused(database: Database) -> None:
    rows = [part(str(n), timedelta(seconds=n), is_ok=True) for n in range(2 * POINT_LIMIT + 2)]
    with database.write() as connection:
        inspections.store(connection, rows)
    with pytest.raises(WrongRequest, match="2001 subgroups"):
        asked(database, per="2")
    assert len(asked(database, per="3")["points"]) == 1334
