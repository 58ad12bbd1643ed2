"""Which of several line servers a station belongs to; clocks are the test's, databases are real."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.line import ownership
from service.line.ownership import (
    ASK_WAIT_S,
    EARLIER_WAIT_S,
    STATION_LIMIT,
    TAKEOVER_S,
    Ownership,
    owner_id,
)
from service.line.requests import Overloaded, PartRequest, ViewRequest
from storage import inspections, leases
from storage.database import Database, DatabaseUnavailable, open_database
from tests.storage import samples

NOW = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
WINDOW = timedelta(hours=24)
STEP_S = 1.0


class Clock:
    """Monotonic seconds that all processes of a test share."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Process:
    """One line server's ownership, without its threads."""

    def __init__(self, name: str, database: Database, clock: Clock, folder: Path, **changes: Any) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []
        self.owned = 0
        self.drained: list[str] = []
        given: dict[str, Any] = {
            "clock": lambda: NOW,
            "tell": lambda *event: self.events.append(event),
            "before_taking": lambda: self.drained.append("drained"),
            "count": self._count,
            "monotonic": clock,
        }
        self.ownership = Ownership(database, name, f"http://{name}", folder / f"{name}.json", **(given | changes))

    def _count(self, owned: int) -> None:
        self.owned = owned

    def look(self) -> None:
        self.ownership.look()
        self.ownership.take()

    def owner(self, station: str) -> str | None:
        return asyncio.run(self.ownership.owner_of(station))


Start = Callable[..., Process]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(database: Database, clock: Clock, tmp_path: Path) -> Iterator[Start]:
    """Starts a process on the test's database."""
    started: list[Process] = []

    def begun(name: str, *, on: Database = database, **changes: Any) -> Process:
        started.append(Process(name, on, clock, tmp_path, **changes))
        return started[-1]

    yield begun
    for process in started:
        process.ownership.close()
        process.ownership._pool.shutdown()  # a question that is still out holds a connection, beyond the database's end


def live(clock: Clock, seconds: float, *processes: Process) -> None:
    """These processes look every second; others are dead."""
    for _ in range(int(seconds / STEP_S)):
        clock.now += STEP_S
        for process in processes:
            process.look()


@contextmanager
def away(database: Database, tmp_path: Path) -> Iterator[Database]:
    """The database as somebody sees it to whom it does not answer."""
    opened = open_database(f"sqlite:///{tmp_path}/nowhere/loupe.db")
    yield opened
    opened.close()


def test_station_belongs_to_whoever_gets_its_first_part(start: Start) -> None:
    a, b = start("a"), start("b")
    assert not a.ownership.is_ours("s1")
    assert a.owner("s1") is None
    assert a.ownership.is_ours("s1")
    assert b.owner("s1") == "http://a"
    assert not b.ownership.is_ours("s1")
    assert b.owner("s2") is None
    a.look()
    b.look()
    assert (a.owned, b.owned) == (1, 1)
    assert a.ownership.known_elsewhere("s2") == "http://b"
    assert a.ownership.others() == ["http://b"]
    assert a.events == b.events == []


def test_of_two_that_ask_at_once_one_gets_the_station(start: Start) -> None:
    a, b = start("a"), start("b")
    together = threading.Barrier(2)

    def ask(process: Process, found: list[str | None]) -> None:
        for n in range(10):
            together.wait()
            found.append(process.owner(f"s{n}"))

    told: tuple[list[str | None], list[str | None]] = ([], [])
    threads = [threading.Thread(target=ask, args=pair) for pair in zip((a, b), told, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(x is None) != (y is None) for x, y in zip(*told, strict=True)] == [True] * 10


def test_stations_of_a_living_owner_stay_with_it(start: Start, clock: Clock) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 60, a, b)
    assert a.ownership.is_ours("s1")
    assert b.owner("s1") == "http://a"
    assert b.drained == []


def test_stations_of_a_dead_owner_are_taken_within_seconds(start: Start, clock: Clock) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    a.owner("s2")
    live(clock, 3, a, b)
    live(clock, TAKEOVER_S - 1, b)
    assert b.owner("s1") == "http://a", "too early"
    live(clock, 3, b)
    assert b.owner("s1") is None
    assert b.ownership.is_ours("s2")
    assert sorted(b.events) == [
        ("station_taken", "s1", {"token": 2, "from": "a"}),
        ("station_taken", "s2", {"token": 2, "from": "a"}),
    ]
    assert b.owned == 2
    assert b.drained, "what the dead one left comes first"


def test_of_several_survivors_one_takes_each_station(start: Start, clock: Clock) -> None:
    a, b, c = start("a"), start("b"), start("c")
    for n in range(6):
        a.owner(f"s{n}")
    live(clock, 2, a, b, c)
    live(clock, 10, b, c)
    for n in range(6):
        owners = [process.ownership.is_ours(f"s{n}") for process in (b, c)]
        assert sorted(owners) == [False, True]


def test_owner_that_was_cut_off_gives_way_to_who_took_its_station(start: Start, clock: Clock) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 2, a, b)
    live(clock, 8, b)  # `a` was stopped, or could not reach the database
    assert not a.ownership.is_ours("s1"), "it may not trust what it knew"
    assert a.owner("s1") == "http://b"
    live(clock, 1, a)
    assert a.events == [("station_lost", "s1", {"token": 2, "to": "b"})]
    assert a.owned == 0


def test_who_did_not_look_itself_says_nothing_of_others(start: Start, clock: Clock) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 2, a, b)
    clock.now += 60  # the whole machine slept
    b.look()
    b.look()
    assert b.owner("s1") == "http://a"
    live(clock, 10, a, b)
    assert a.ownership.is_ours("s1")


def test_what_is_released_can_be_taken_at_once(start: Start) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    assert b.owner("s1") == "http://a"
    a.ownership.release()
    b.look()
    assert b.owner("s1") is None
    assert b.events == [("station_taken", "s1", {"token": 2, "from": None})]


def test_owner_that_can_not_be_reached_is_asked_for_again(start: Start) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    assert b.owner("s1") == "http://a"
    a.ownership.release()
    b.ownership.doubt("s1")
    assert b.owner("s1") is None


def test_restart_keeps_its_stations_and_asks_for_no_earlier_answers(start: Start, clock: Clock) -> None:
    start("a").owner("s1")
    again = start("a")
    assert again.owner("s1") is None
    again.look()
    assert again.owned == 1
    assert again.events == []
    again.ownership.release()
    third = start("a")
    assert third.owner("s1") is None
    assert third.ownership._ours["s1"].token == 2
    assert third.ownership._ours["s1"].since is None, "nobody had it between"
    assert third.events == []


def test_restart_under_another_address_is_found_there(start: Start, database: Database) -> None:
    start("a").owner("s1")
    again = start("a")
    again.ownership.address = "http://elsewhere"
    again.look()
    with database.read() as connection:
        assert leases.listing(connection)["s1"].address == "http://elsewhere"
    assert again.events == []
    assert start("b").owner("s1") == "http://elsewhere"


def test_without_the_database_stations_are_served_and_taken_when_it_is_back(
    start: Start, clock: Clock, database: Database, tmp_path: Path
) -> None:
    with away(database, tmp_path) as gone:
        a = start("a", on=gone)
        with pytest.raises(DatabaseUnavailable):
            a.ownership.look()
        assert a.owner("s1") is None
        assert a.owner("s2") is None
        clock.now += 3600
        assert a.ownership.is_ours("s1")
        b = start("b")
        b.owner("s2")
        a.ownership._database = database
        live(clock, 1, a, b)
        assert a.ownership.is_ours("s1")
        assert a.owner("s2") == "http://b", "who holds the row wins"
        assert b.owner("s1") == "http://a"
        assert [kind for kind, *_ in a.events] == ["station_lost"]


def test_database_that_goes_away_costs_no_station(
    start: Start, clock: Clock, database: Database, tmp_path: Path
) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 2, a, b)
    with away(database, tmp_path) as gone:
        for process in (a, b):
            process.ownership._database = gone
        for _ in range(30):
            clock.now += 1
            for process in (a, b):
                with pytest.raises(DatabaseUnavailable):
                    process.ownership.look()
        assert a.ownership.is_ours("s1")
        assert b.owner("s1") == "http://a"
        for process in (a, b):
            process.ownership._database = database
    live(clock, 10, b, a)
    assert a.ownership.is_ours("s1")


def test_database_that_hangs_holds_up_a_part_only_for_a_while(start: Start) -> None:
    a = start("a")
    with a.ownership._database_lock:  # as if a look waited for ever
        began = time.monotonic()
        assert asyncio.run(a.ownership.owner_of("s1", wait_s=0.05)) is None
        assert time.monotonic() - began < 5


def test_database_that_hangs_holds_up_no_part_of_a_station_that_is_ours(start: Start, clock: Clock) -> None:
    """Whose it is is asked before nobody can be sure any more."""
    a = start("a")
    assert a.owner("s1") is None
    a.look()

    async def play() -> float:
        with a.ownership._database_lock:  # as if a look waited for ever
            clock.now += TAKEOVER_S - ASK_WAIT_S
            assert a.ownership.is_ours("s1")
            clock.now += 2 * ASK_WAIT_S
            assert not a.ownership.is_ours("s1")
            began = time.monotonic()
            assert await a.ownership.owner_of("s1") is None
            took_s = time.monotonic() - began
            assert a.ownership.is_ours("s1")
        await asyncio.gather(*(asked for asked, _ in a.ownership._asked.values()))
        return took_s

    assert asyncio.run(play()) < ASK_WAIT_S / 2


def test_strange_names_do_not_grow_without_end(start: Start) -> None:
    a = start("a")
    a.ownership._sure_until = float("inf")
    for n in range(STATION_LIMIT):
        a.owner(f"s{n}")
    with pytest.raises(Overloaded):
        a.owner("one more")
    assert a.owner("s1") is None


def test_memory_that_is_damaged_is_done_without(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"s1": 3}')
    assert start("a").owner("s1") is None


def test_own_station_costs_no_question(start: Start) -> None:
    a = start("a")
    a.owner("s1")
    with a.ownership._database_lock:
        assert a.ownership.is_ours("s1")
        assert a.owner("s1") is None


def part_of(station: str, trigger: str, *views: str) -> PartRequest:
    requested = tuple(ViewRequest(view, "top", "image/png") for view in views or ("0",))
    return PartRequest(station, trigger, "", None, None, None, None, None, "production", requested)


def stored_part(database: Database, station: str, trigger: str, at: datetime) -> bytes:
    view = samples.view("r1", view_id="0", image_sha256="d" * 64)
    found = samples.inspection(
        "r1", station=station, trigger_id=trigger, trigger_epoch="", views=(view,), received_at=at, answer='{"a": 1}'
    )
    with database.write() as connection:
        inspections.store(connection, [found])
    return found.answer.encode()


def test_answers_of_the_owner_before_are_found(start: Start, clock: Clock, database: Database) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 2, a, b)
    body = stored_part(database, "s1", "7", NOW)
    part = part_of("s1", "7", "0", "1")
    assert a.ownership.earlier(part, NOW - WINDOW) == {}, "its own journal knows"
    live(clock, 8, b)
    found = b.ownership.earlier(part, NOW - WINDOW)
    assert {key: (told.digest, told.answer) for key, told in found.items()} == {
        part.key(part.views[0]): ("d" * 64, body),
        part.part_key: ("", body),
    }
    assert b.ownership.earlier(part_of("s1", "8"), NOW - WINDOW) == {}
    assert b.ownership.earlier(part, NOW + timedelta(seconds=1)) == {}, "out of the window"


def test_what_is_to_be_looked_up_is_known_after_a_restart(start: Start, clock: Clock, database: Database) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 2, a, b)
    stored_part(database, "s1", "7", NOW)
    live(clock, 8, b)
    again = start("b")
    again.owner("s1")
    assert again.ownership.earlier(part_of("s1", "7"), NOW - WINDOW)
    assert again.events == []


def test_database_that_does_not_answer_holds_up_a_part_once(start: Start, clock: Clock, database: Database) -> None:
    a, b = start("a"), start("b")
    a.owner("s1")
    live(clock, 2, a, b)
    live(clock, 8, b)
    stored_part(database, "s1", "7", NOW)
    part = part_of("s1", "7")
    hang = threading.Event()
    try:
        for _ in range(2):
            b.ownership._pool.submit(hang.wait)
        assert b.ownership.earlier(part, NOW - WINDOW) == {}
        began = time.monotonic()
        for _ in range(50):
            assert b.ownership.earlier(part, NOW - WINDOW) == {}
        assert time.monotonic() - began < 50 * EARLIER_WAIT_S / 2
    finally:
        hang.set()
    clock.now += 2 * ownership.EARLIER_PAUSE_S
    b.look()
    assert b.ownership.earlier(part, NOW - WINDOW)


def test_owner_id_outlives_a_restart(tmp_path: Path) -> None:
    made = owner_id(tmp_path / "owner")
    assert made == owner_id(tmp_path / "owner")
    assert made != owner_id(tmp_path / "another")


def test_stations_that_come_and_go_meanwhile_break_no_look(start: Start, database: Database) -> None:
    a, b = start("a"), start("b")
    with database.write() as connection:
        for n in range(500):
            leases.take(connection, f"s{n}", "b", "http://b", None)
    a.look()
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for n in range(STATION_LIMIT - 600):
                a.ownership._serve_unasked(f"new {n}")
            for n in range(500):
                a.ownership.doubt(f"s{n}")
            for n in range(STATION_LIMIT - 600):
                a.ownership._ours.pop(f"new {n}", None)

    thread, before = threading.Thread(target=come_and_go), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(40):
            a.ownership.look()
            for _ in range(20):
                assert a.ownership.others() in ([], ["http://b"])
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(before)
    b.look()
