"""Every station gets its share of the threads, and what is queued is always worked off."""

import asyncio
import functools
import sys
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.line.dispatch import Dispatcher, Pace
from tests.service.line.stocked import wait_until

Job = tuple[str, float]
"""Station and cost (ms)."""

jobs_of_stations = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0.1, 20) | st.sampled_from([1.0, 5.0])),
    min_size=1,
    max_size=60,
)


def played(play: Coroutine[Any, Any, Any]) -> Any:
    """What a test does on an event loop; one that hangs fails."""

    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await play

    return asyncio.run(limited())


class Held:
    """A dispatcher all of whose threads are busy until it is released."""

    def __init__(self, threads: int = 1) -> None:
        self.dispatcher, self._go = Dispatcher(threads), threading.Event()
        self.work = [self.dispatcher.submit(f"holding {n}", 0.0, self._go.wait) for n in range(threads)]
        self.order: list[tuple[str, int]] = []

    def queue(self, jobs: list[Job]) -> None:
        """Queue jobs that note when it is their turn."""
        counts: Counter[str] = Counter()
        for station, cost_ms in jobs:
            noted = functools.partial(self.order.append, (station, counts[station]))
            self.work.append(self.dispatcher.submit(station, cost_ms, noted))
            counts[station] += 1

    async def begun(self) -> None:
        """Return when the threads hold."""
        while len(self.dispatcher._running) < len(self.dispatcher._threads):
            await asyncio.sleep(0.001)

    async def release(self) -> list[tuple[str, int]]:
        """Let the threads go; returns (station, number in its station) in the order in which jobs were begun."""
        self._go.set()
        await asyncio.gather(*self.work)
        await asyncio.to_thread(self.dispatcher.close)
        return self.order


async def order_of(jobs: list[Job]) -> list[tuple[str, int]]:
    held = Held()
    await held.begun()
    held.queue(jobs)
    return await held.release()


def test_single_part_of_a_station_does_not_wait_for_the_burst_of_another() -> None:
    order = played(order_of([*[("busy", 5.0)] * 100, ("calm", 5.0)]))
    assert order.index(("calm", 0)) <= 1
    assert len(order) == 101


def test_station_that_was_away_gets_no_credit_for_it() -> None:
    """Else its burst would push everybody else back."""

    async def play() -> list[tuple[str, int]]:
        held = Held()
        await held.begun()
        for _ in range(50):
            held.queue([("steady", 5.0)])
        held.queue([("back", 5.0)] * 50)
        return await held.release()

    order = played(play())
    first = order[:20]
    assert 8 <= sum(station == "steady" for station, _ in first) <= 12


@settings(max_examples=40, deadline=None)
@given(jobs_of_stations)
def test_parts_of_a_station_stay_in_their_order(jobs: list[Job]) -> None:
    order = played(order_of(jobs))
    for station in {name for name, _ in jobs}:
        numbers = [number for name, number in order if name == station]
        assert numbers == list(range(sum(name == station for name, _ in jobs)))


@settings(max_examples=40, deadline=None)
@given(jobs_of_stations)
def test_stations_that_wait_get_equal_shares_of_time(jobs: list[Job]) -> None:
    """The bound of Goyal, Vin and Cheng: two that both wait differ by no more than the longest part of each."""
    order = played(order_of(jobs))
    costs = {name: [cost for station, cost in jobs if station == name] for name, _ in jobs}
    got, done = dict.fromkeys(costs, 0.0), Counter[str]()
    for station, number in order:
        got[station] += costs[station][number]
        done[station] += 1
        waiting = [name for name in costs if done[name] < len(costs[name])]
        for one in waiting:
            for other in waiting:
                assert got[one] - got[other] <= max(costs[one]) + max(costs[other]) + 1e-6


def test_station_with_a_slow_model_gets_fewer_parts_done() -> None:
    order = played(order_of([*[("slow", 8.0)] * 40, *[("fast", 2.0)] * 40]))
    first = Counter(station for station, _ in order[:30])
    assert 3 <= first["fast"] / first["slow"] <= 5


@settings(max_examples=40, deadline=None)
@given(jobs_of_stations, st.integers(1, 3))
def test_the_longer_the_queue_the_longer_the_wait_that_is_expected(jobs: list[Job], threads: int) -> None:
    async def play() -> None:
        held = Held(threads)
        await held.begun()
        before = {name: held.dispatcher.wait_ms(name, 5.0) for name in ("a", "b", "c", "new")}
        assert set(before.values()) == {0.0}
        for job in jobs:
            held.queue([job])
            after = {name: held.dispatcher.wait_ms(name, 5.0) for name in before}
            assert all(after[name] >= before[name] - 1e-6 for name in before)
            before = after
        total_ms = sum(cost for _, cost in jobs) / threads
        assert all(wait_ms <= total_ms + 1e-6 for wait_ms in before.values())
        stations = len({name for name, _ in jobs})
        assert before["new"] <= stations * 5.0 / threads + 1e-6, "nobody gets more ahead of it than it gets itself"
        await held.release()

    played(play())


def test_nobody_waits_where_a_thread_is_free() -> None:
    async def play() -> float:
        dispatcher = Dispatcher(2)
        await dispatcher.submit("s1", 1000.0, lambda: None)
        wait_ms = dispatcher.wait_ms("s1", 1000.0)
        await asyncio.to_thread(dispatcher.close)
        return wait_ms

    assert played(play()) == 0.0


def test_error_reaches_whoever_waits_and_the_thread_goes_on() -> None:
    def broken() -> None:
        raise LookupError("nothing there")

    async def play() -> str:
        dispatcher = Dispatcher(1)
        with pytest.raises(LookupError, match="nothing there"):
            await dispatcher.submit("s1", 1.0, broken)
        found = await dispatcher.submit("s1", 1.0, lambda: "still here")
        await asyncio.to_thread(dispatcher.close)
        return str(found)

    assert played(play()) == "still here"


def test_nobody_waits_for_the_answer_any_more_and_the_thread_goes_on() -> None:
    async def play() -> str:
        held = Held()
        await held.begun()
        left = held.dispatcher.submit("s1", 1.0, lambda: "unheard")
        left.cancel()
        after = held.dispatcher.submit("s1", 1.0, lambda: "still here")
        await held.release()
        return str(after.result())

    assert played(play()) == "still here"


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns thousands of times more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_closing_works_off_what_is_queued_and_ends_the_threads() -> None:
    async def play() -> None:
        for n in range(200):
            done: list[int] = []
            dispatcher = Dispatcher(3)
            work = [dispatcher.submit(f"s{k % 3}", 1.0, functools.partial(done.append, k)) for k in range(n % 12)]
            await asyncio.to_thread(dispatcher.close)
            await asyncio.gather(*work)
            assert sorted(done) == list(range(n % 12))

    played(play())


def test_estimate_follows_what_parts_take_and_falls_when_none_is_begun() -> None:
    pace = Pace(100.0)
    for _ in range(100):
        pace.took(10.0)
    assert pace.mean_ms == pytest.approx(10.0, abs=0.1)
    slow = Pace(1000.0)
    for _ in range(30):
        slow.skipped()
    assert slow.mean_ms < 50


def test_what_is_queued_is_worked_off_though_its_loop_is_closed() -> None:
    done: list[int] = []
    held: list[Held] = []

    async def queue() -> None:
        held.append(Held())
        held[0].dispatcher.submit("s1", 1.0, functools.partial(done.append, 1))
        held[0].dispatcher.submit("s1", 1.0, functools.partial(done.append, 2))

    asyncio.run(queue())
    held[0]._go.set()
    held[0].dispatcher.close()
    assert done == [1, 2]


def test_thread_that_rested_last_takes_the_next_part_and_the_others_rest_on() -> None:
    dispatcher, took = Dispatcher(3), list[str]()
    for n in range(20):
        wait_until(lambda: len(dispatcher._resting) == 3)
        dispatcher.queue(f"s{n % 4}", 1.0, lambda: took.append(threading.current_thread().name))
        wait_until(lambda n=n: len(took) == n + 1)  # type: ignore[misc]  # mypy infers no lambda with a default
    dispatcher.close()
    assert len(set(took)) == 1


@pytest.mark.usefixtures("hasty_threads")
def test_parts_that_come_while_threads_go_to_rest_are_all_taken() -> None:
    dispatcher, done, together = Dispatcher(3), list[int](), 0
    for n in range(1, 600):
        together = n % 5 or 1
        before = len(done)
        for k in range(together):
            dispatcher.queue("s1", 1.0, functools.partial(done.append, k))
        wait_until(lambda: len(done) == before + together)  # noqa: B023 - it is called in this turn only
    dispatcher.close()


def test_work_that_breaks_ends_no_thread() -> None:
    def broken() -> None:
        raise LookupError("nothing there")

    dispatcher, done = Dispatcher(1), list[int]()
    dispatcher.queue("s1", 1.0, broken)
    dispatcher.queue("s1", 1.0, functools.partial(done.append, 1))
    dispatcher.close()
    assert done == [1]
