"""Whoever did not post the image is told the verdict as soon as it is there."""

import functools
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from httpx2 import Client, Response
from starlette.testclient import TestClient

from service.line.waiting import WAITER_LIMIT
from service.wiring import Stores
from tests.service.line.posting import drained, expect_views, of_trigger, post, post_views, server_of, verdict
from tests.service.line.stocked import BRIGHT, DARK, encoded, wait_until

LONG_MS = 30_000


@contextmanager
def asked(http: Client, trigger: str, count: int = 1) -> Iterator[list[Future[Response]]]:
    """So many requests wait for the verdict on a trigger within this block."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(of_trigger, http, trigger, wait_ms=LONG_MS) for _ in range(count)]
        wait_until(lambda: server_of(http).waiters._count == count)
        yield futures


def test_everybody_who_waits_is_told_the_body_that_was_sent(line: Client) -> None:
    with asked(line, "1", 5) as waiting:
        answer = post(line, encoded(BRIGHT))
        assert {future.result().content for future in waiting} == {answer.content}
    assert server_of(line).waiters._count == 0


def test_only_the_trigger_that_was_asked_for_is_told(line: Client) -> None:
    with asked(line, "2") as waiting:
        post(line, encoded(DARK))
        post(line, encoded(DARK), "2", station="s2")
        post(line, encoded(DARK), "2", trigger_epoch="boot")
        assert not waiting[0].done()
        answer = post(line, encoded(BRIGHT), "2")
        assert waiting[0].result().content == answer.content


def test_verdict_that_is_there_is_told_at_once(line: Client) -> None:
    answer = post(line, encoded(DARK))
    began = time.monotonic()
    assert of_trigger(line, "1", wait_ms=LONG_MS).content == answer.content
    assert of_trigger(line, "1").content == answer.content
    wait_until(lambda: drained(line))
    assert of_trigger(line, "1", wait_ms=LONG_MS).content == answer.content
    assert 1000 * (time.monotonic() - began) < LONG_MS


def test_trigger_that_nobody_sends_is_not_found_when_the_time_is_up(line: Client) -> None:
    began = time.monotonic()
    assert verdict(of_trigger(line, "1", wait_ms=200)) == (404, "recheck", 900)
    assert time.monotonic() - began >= 0.2
    for wait_ms in (0, -5):
        assert verdict(of_trigger(line, "1", wait_ms=wait_ms)) == (404, "recheck", 900)
    assert server_of(line).waiters._count == 0


@pytest.mark.parametrize("wait_ms", ["nan", "soon", "inf", "-inf", ""])
def test_time_that_is_none_is_refused(line: Client, wait_ms: str) -> None:
    assert verdict(of_trigger(line, "1", wait_ms=wait_ms)) == (422, "recheck", 900)


def test_part_that_waits_for_a_view_is_told_as_it_is_when_the_time_is_up(line: Client, stores: Stores) -> None:
    expect_views(line, stores, "left", "right")
    first = post(line, encoded(DARK), view_id="left")
    assert of_trigger(line, "1", wait_ms=100).content == first.content
    with asked(line, "1") as waiting:
        last = post(line, encoded(BRIGHT), view_id="right")
        assert waiting[0].result().content == last.content


def test_part_whose_view_never_comes_is_told_when_its_time_is_up(line: Client, stores: Stores) -> None:
    expect_views(line, stores, "left", "right")
    with asked(line, "1") as waiting:
        post(line, encoded(DARK), view_id="left", deadline_ms=200)
        told = waiting[0].result()
    assert verdict(told) == (200, "recheck", 903)
    assert told.json()["result_state"] == "completed"


def test_late_part_and_part_of_several_views_are_told_too(line: Client) -> None:
    with asked(line, "1") as waiting:
        late = post(line, encoded(DARK), deadline_ms=0.001)
        assert waiting[0].result().content == late.content
    with asked(line, "2") as waiting:
        whole = post_views(line, {"left": encoded(DARK), "right": encoded(BRIGHT)}, "2")
        assert waiting[0].result().content == whole.content


def test_no_more_may_wait_than_the_line_can_bear(asgi_line: TestClient) -> None:
    waiters = server_of(asgi_line).waiters
    held = ExitStack()

    async def hold() -> None:
        for n in range(WAITER_LIMIT):
            held.enter_context(waiters.waiting(f"another {n}"))

    portal = asgi_line.portal
    assert portal is not None
    portal.call(hold)
    assert verdict(of_trigger(asgi_line, "1", wait_ms=10)) == (503, "recheck", 907)
    assert verdict(post(asgi_line, encoded(DARK))) == (200, "pass", 0), "parts need no place among those who wait"
    portal.call(functools.partial(held.__exit__, None, None, None))
    assert verdict(of_trigger(asgi_line, "1", wait_ms=10)) == (200, "pass", 0)


@pytest.mark.parametrize("query", [{"trigger_id": "\x00"}, {"station": "a\nb"}, {"trigger_epoch": "\u202e"}])
def test_name_that_can_not_be_printed_is_not_found(line: Client, query: dict[str, str]) -> None:
    response = line.get("/v1/inspections", params={"station": "s1", "trigger_id": "1", **query})
    assert verdict(response) == (404, "recheck", 900)


def test_station_and_trigger_are_needed(line: Client) -> None:
    for query in ({}, {"station": "s1"}, {"trigger_id": "1"}):
        assert verdict(line.get("/v1/inspections", params=query)) == (422, "recheck", 900)


def test_who_waits_while_the_database_is_away_is_told(line: Client, stores: Stores) -> None:
    with stores.database.write(), asked(line, "1") as waiting:
        answer = post(line, encoded(DARK))
        assert waiting[0].result().content == answer.content
