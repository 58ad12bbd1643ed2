"""What the line page reads."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.console.pages.line import COUNT_EVERY, DayCounts, read_line
from service.wiring import Stores
from storage import inspections
from tests.service.console.filled_store import add_inspections, pictures_of

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_parts_are_counted_by_station_and_the_newest_is_named(stores: Stores) -> None:
    inspected = add_inspections(stores, pictures_of(6, seed=2), AT, kept=False)
    state = read_line(stores, DayCounts(), AT)
    assert {station: sum(found.values()) for station, found in state.counts.items()} == {"press-1": 3, "press-2": 3}
    assert state.last_seen == {"press-1": AT - timedelta(seconds=3), "press-2": AT}
    assert [i.result_id for i in state.strip] == [i.result_id for i in inspected]


def test_station_that_stands_still_stays_visible(stores: Stores) -> None:
    add_inspections(stores, pictures_of(2, seed=2), AT - timedelta(days=3), kept=False)
    state = read_line(stores, DayCounts(), AT)
    assert state.counts == {}
    assert list(state.last_seen) == ["press-1", "press-2"]


def test_replaced_verdict_is_left_out_of_the_strip(stores: Stores) -> None:
    replaced, *_ = add_inspections(stores, pictures_of(2, seed=2), AT, kept=False)
    late = replace(replaced, result_id="late", supersedes=replaced.result_id, views=())
    with stores.database.write() as connection:
        inspections.store(connection, [late])
    with stores.database.read() as connection:
        assert inspections.superseding(connection, replaced.result_id) == "late"
    assert replaced.result_id not in [i.result_id for i in read_line(stores, DayCounts(), AT).strip]


def test_counts_are_read_anew_after_a_while_only(stores: Stores) -> None:
    day_counts = DayCounts()
    assert read_line(stores, day_counts, AT).counts == {}
    add_inspections(stores, pictures_of(1, seed=2), AT, kept=False)
    assert read_line(stores, day_counts, AT + COUNT_EVERY / 2).counts == {}
    assert sum(read_line(stores, day_counts, AT + COUNT_EVERY).counts["press-1"].values()) == 1
