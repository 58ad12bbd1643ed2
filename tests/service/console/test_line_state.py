"""What the line page reads."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.console.alarm_panel import LOOKED_THROUGH, OVER, WHY_OVER
from service.console.pages.line import COUNT_EVERY, DayCounts, read_line
from service.line.alarm_book import INTENDED_CHANGE, NEW_MODEL, NORMAL_AGAIN, RESTART
from service.wiring import Stores
from storage import inspections
from tests.service.console.filled_store import add_alarms, add_inspections, alarm_of, change_of, pictures_of

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


def test_every_alarm_that_stands_is_read_newest_first_however_many_came_after_it(stores: Stores) -> None:
    old = alarm_of("old", AT - timedelta(days=9))
    new = alarm_of("new", AT, station="press-1")
    between = [alarm_of(f"b{n}", AT - timedelta(hours=n + 1)) for n in range(LOOKED_THROUGH)]
    ended = [change_of(alarm, "cleared", alarm.raised_at, reason="normal_again") for alarm in between]
    diagnosed = change_of(old, "diagnosed", old.raised_at, cause="haze")
    add_alarms(stores, [old, new, *between], [diagnosed, *ended])
    found = read_line(stores, DayCounts(), AT).alarms
    assert [(episode.alarm.id, episode.last.cause) for episode in found.standing] == [
        ("new", "lamp_dim"),
        ("old", "haze"),
    ]
    assert {name: [alarm.id for alarm in standing] for name, standing in found.by_station().items()} == {
        "press-1": ["new"],
        "press-2": ["old"],
    }


def test_of_alarms_that_are_over_the_last_to_end_come_first(stores: Stores) -> None:
    raised = [alarm_of(f"a{n}", AT - timedelta(hours=n)) for n in range(OVER + 2)]
    ends = [AT + timedelta(minutes=n) for n in range(OVER + 2)]
    add_alarms(stores, raised, [change_of(alarm, "cleared", end) for alarm, end in zip(raised, ends, strict=True)])
    found = read_line(stores, DayCounts(), AT).alarms
    assert found.standing == ()
    assert [episode.alarm.id for episode in found.over] == ["a7", "a6", "a5", "a4", "a3", "a2"]


def test_every_reason_for_which_an_alarm_ends_has_its_words() -> None:
    assert set(WHY_OVER) == {NORMAL_AGAIN, INTENDED_CHANGE, NEW_MODEL, RESTART}
