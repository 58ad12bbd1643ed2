"""A part that was admitted gets one answer, whoever is faster."""

import threading
import time

import pytest
from httpx2 import Client

from service.line.answers import Reply
from service.line.judging import BODY_WAIT_S, Judging
from service.line.requests import Overloaded, PartRequest, WrongRequest, read_request
from service.wiring import Stores
from tests.service.line.breaking import stalled_disk
from tests.service.line.posting import expect_views, server_of
from tests.service.line.stocked import BRIGHT, DARK, PRODUCT, encoded, wait_until

Outcome = Reply | Exception


def part_of(trigger: str, **query: str) -> PartRequest:
    return read_request({"station": "s1", "trigger_id": trigger, **query}, {"content-type": "image/png"})


def judging_of(http: Client, trigger: str, **query: str) -> Judging:
    return Judging(server_of(http), part_of(trigger, **query), None, time.perf_counter())


def begin(http: Client, judging: Judging, body: bytes) -> list[Outcome]:
    """What is told, now and later."""
    told: list[Outcome] = []
    judging.begin({"0": body}, server_of(http).admission.enter("s1"), told.append)
    return told


def is_idle(http: Client) -> bool:
    return server_of(http).admission.total == 0


def codes(told: list[Outcome]) -> list[int]:
    return [one.result_code for one in told if isinstance(one, Reply)]


def test_deadline_and_thread_race_for_the_one_answer(line: Client) -> None:
    first = set()
    for n in range(60):
        judging = judging_of(line, str(n), deadline_ms="5000")
        told = begin(line, judging, encoded(DARK, seed=n))
        time.sleep(n % 6 / 1000)
        threads = [threading.Thread(target=judging.expire) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: is_idle(line))
        assert len(told) == 1
        first.update(codes(told))
    assert first <= {0, 901}


def test_thread_that_is_late_tells_nothing_and_gives_its_place_back(line: Client) -> None:
    judging = judging_of(line, "1", deadline_ms="5000")
    with stalled_disk(line):
        told = begin(line, judging, encoded(DARK))
        judging.expire()
        assert codes(told) == [901]
        assert not is_idle(line), "the thread is at work on it"
    wait_until(lambda: is_idle(line))
    judging.expire()
    assert codes(told) == [901]


def test_deadline_that_comes_before_the_image_tells_nothing(line: Client) -> None:
    judging = judging_of(line, "1", deadline_ms="5000")
    judging.expire()
    assert judging.without_body().result_code == 901
    told = begin(line, judging, encoded(DARK))
    wait_until(lambda: is_idle(line))
    assert codes(told) == [0]


def test_what_keeps_the_answer_from_coming_is_told(line: Client) -> None:
    begin(line, judging_of(line, "1"), encoded(DARK))
    wait_until(lambda: is_idle(line))
    told = begin(line, judging_of(line, "1"), encoded(BRIGHT))
    wait_until(lambda: is_idle(line))
    assert [type(one).__name__ for one in told] == ["OtherImage"]


def test_time_that_is_left_ends_before_the_deadline(line: Client) -> None:
    assert judging_of(line, "1").left_s == BODY_WAIT_S
    assert 4.9 < judging_of(line, "1", deadline_ms="5000").left_s < 5.0
    assert judging_of(line, "1", deadline_ms="0.001").left_s == 0.0


def test_part_that_would_only_wait_until_it_is_late_keeps_its_place_with_whoever_asked(line: Client) -> None:
    server = server_of(line)
    judging = judging_of(line, "1", deadline_ms="5000")
    go = threading.Event()

    def hold() -> None:
        go.wait()

    threads = len(server.dispatcher._threads)
    for n in range(threads):
        server.dispatcher.queue(f"other {n}", 60_000.0, hold)
    wait_until(lambda: len(server.dispatcher._running) == threads)
    try:
        with pytest.raises(Overloaded):
            judging_of(line, "2", deadline_ms="5000")
        with server.admission.enter("s1") as place, pytest.raises(Overloaded):
            judging.begin({"0": encoded(DARK)}, place, lambda outcome: None)
        assert is_idle(line)
    finally:
        go.set()


def test_view_that_the_recipe_does_not_expect_is_refused(line: Client, stores: Stores) -> None:
    assert judging_of(line, "1", product=PRODUCT).active.model.product == PRODUCT
    expect_views(line, stores, "left", "right")
    with pytest.raises(WrongRequest, match="view top"):
        judging_of(line, "1", view_id="top")
