"""The answer leaves before the deadline, decided or not; what the line was told is what the record says."""

import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from httpx2 import Client

from service.wiring import Stores
from tests.service.line.breaking import stalled_disk
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, is_idle, own, post, recorded, server_of, settled, verdict
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    PRODUCT,
    add_champion,
    change_recipe,
    encoded,
    promote,
    store_model,
    wait_until,
    write_slow_model,
)

PASSED, LATE, TURNED_AWAY = (200, "pass", 0), (200, "recheck", 901), (503, "recheck", 902)
DEADLINE_MS = 120
SLOW_TURNS = 250
"""Matrix products that take longer than the deadline on any machine."""


@pytest.fixture
def slow_line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[Client]:
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", SLOW_TURNS)))
    with open_line() as http:
        own(http)
        yield http


def underestimate(http: Client) -> None:
    """Let the line take its model for faster than it is: then parts are begun, or wait, that can't be in time."""
    pace = server_of(http).champions.loaded[PRODUCT].pace
    for _ in range(300):
        pace.took(0.0)


def test_late_part_gets_the_fail_safe_in_time_and_it_is_recorded(slow_line: Client) -> None:
    response = post(slow_line, encoded(BRIGHT), deadline_ms=DEADLINE_MS)
    answer = response.json()
    assert verdict(response) == (200, "recheck", 901)
    assert (answer["evaluation"], answer["deadline_met"]) == ("not_decidable", False)
    assert answer["views"][0]["p_defect"] is None
    assert answer["provenance"]["model_sha256"]
    (found,) = settled(slow_line, 1)
    assert found.answer.encode() == response.content
    assert (found.result_code, found.deadline_met, found.supersedes) == (901, False, None)
    assert server_of(slow_line).images.get(found.views[0].image_sha256) == encoded(BRIGHT)


def test_fail_safe_leaves_at_the_deadline(line: Client) -> None:
    """A busy machine may be late with one answer, but not with each."""
    own(line)
    took_ms = []
    for n in range(8):
        with stalled_disk(line):
            began = time.perf_counter()
            assert verdict(post(line, encoded(DARK, seed=n), str(n), deadline_ms=DEADLINE_MS)) == LATE
            took_ms.append(1000 * (time.perf_counter() - began))
        wait_until(lambda: is_idle(line))
    assert min(took_ms) < DEADLINE_MS + 20


def test_retry_of_a_late_part_gets_the_fail_safe(slow_line: Client) -> None:
    first = post(slow_line, encoded(DARK), deadline_ms=DEADLINE_MS)
    meanwhile = post(slow_line, encoded(DARK))
    settled(slow_line, 1)
    later = post(slow_line, encoded(DARK))
    assert first.content == meanwhile.content == later.content
    assert len(recorded(slow_line)) == 1


def test_deadline_of_the_recipe_holds_where_the_request_names_none(slow_line: Client, stores: Stores) -> None:
    change_recipe(stores, deadline_ms=float(DEADLINE_MS), fail_safe="reject")
    wait_until(lambda: server_of(slow_line).champions.active(None, "s1").recipe.version == 2)
    assert verdict(post(slow_line, encoded(DARK))) == (200, "reject", 901)


def test_deadline_of_the_settings_holds_where_nobody_names_one(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", SLOW_TURNS)))
    with open_line(deadline_ms=float(DEADLINE_MS)) as http:
        assert verdict(post(http, encoded(DARK))) == (200, "recheck", 901)
        assert verdict(post(http, encoded(DARK), "2", deadline_ms=60_000)) == (200, "pass", 0)


def test_deadline_that_can_not_be_met_never_passes(line: Client) -> None:
    for n, deadline_ms in enumerate([0.001, 0.5, 1, 2, 2.5, 3, 4, 6, 10] * 4):
        response = post(line, encoded(DARK, seed=n), str(n), deadline_ms=deadline_ms)
        told = verdict(response)
        assert told in {LATE, PASSED, TURNED_AWAY}
        assert told == TURNED_AWAY or response.json()["deadline_met"] == (told == PASSED)
    wait_until(lambda: is_idle(line))
    assert verdict(post(line, encoded(DARK), "tiny", deadline_ms=0.001)) == LATE


def test_every_answer_at_the_edge_of_its_deadline_is_the_one_that_holds(asgi_line: Client) -> None:
    """Commit and deadline race here: whoever wins, the last word in the database is what the line was told."""
    bodies = [encoded(DARK, seed=n) for n in range(80)]
    told = {}
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda n: post(asgi_line, bodies[n], str(n), deadline_ms=3 + n % 12), range(80))
        told = {str(n): answer for n, answer in enumerate(answers) if verdict(answer) != TURNED_AWAY}
    wait_until(lambda: is_idle(asgi_line))
    wait_until(lambda: drained(asgi_line))
    found = recorded(asgi_line)
    replaced = {i.supersedes for i in found}
    standing = {i.trigger_id: i for i in found if i.result_id not in replaced}
    assert {trigger: i.answer.encode() for trigger, i in standing.items()} == {
        trigger: answer.content for trigger, answer in told.items()
    }
    assert all(i.result_code == 901 for i in found if i.supersedes)
    assert all(
        post(asgi_line, bodies[int(trigger)], trigger).content == answer.content for trigger, answer in told.items()
    )


def test_late_word_on_a_good_part_keeps_its_image(line: Client, stores: Stores) -> None:
    change_recipe(stores, keep_ok_share=0.0)
    wait_until(lambda: server_of(line).champions.active(None, "s1").recipe.version == 2)
    for n in range(40):
        post(line, encoded(DARK, seed=n), str(n), deadline_ms=3 + n % 10)
    wait_until(lambda: is_idle(line))
    wait_until(lambda: drained(line))
    late = [i for i in recorded(line) if i.result_code == 901]
    images = server_of(line).images
    assert late
    assert all(i.views[0].image_kept and images.has(i.views[0].image_sha256) for i in late)


def is_found(line: Client, address: str) -> bool:
    return line.get(address).status_code == 200


def test_retries_that_are_late_before_anybody_looked_are_each_on_record(slow_line: Client) -> None:
    """Whichever fail-safe a retry was told, its result can be found, and the first one stands."""
    body = encoded(DARK)
    underestimate(slow_line)
    with ThreadPoolExecutor(6) as pool:
        busy = [pool.submit(post, slow_line, encoded(DARK, seed=n), f"busy-{n}") for n in range(2)]
        wait_until(lambda: len(server_of(slow_line).dispatcher._running) == 2)
        late = [pool.submit(post, slow_line, body, deadline_ms=60) for _ in range(4)]
        answers = [future.result() for future in late]
        assert {verdict(future.result()) for future in busy} == {(200, "pass", 0)}
    assert {verdict(a) for a in answers} == {(200, "recheck", 901)}
    told = {a.json()["result_id"] for a in answers}
    (standing,) = [i for i in settled(slow_line, 3) if i.trigger_id == "1"]
    assert standing.result_id in told
    for result_id in told:
        address = f"/v1/inspections/{result_id}"
        wait_until(functools.partial(is_found, slow_line, address))
        assert slow_line.get(address).json()["result_code"] == 901
    assert post(slow_line, body).json()["result_id"] == standing.result_id


def test_work_that_can_no_longer_be_in_time_is_not_started(slow_line: Client) -> None:
    """Twelve parts behind two threads: judging them all would take many times longer."""
    underestimate(slow_line)
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda n: post(slow_line, encoded(DARK, seed=n), str(n), deadline_ms=DEADLINE_MS), range(12))
        )
    assert {verdict(a) for a in answers} == {(200, "recheck", 901)}
    found = settled(slow_line, 12)
    looked = [i for i in found if i.views[0].width is not None]
    assert len(looked) <= 4


def test_parts_above_the_queue_limit_are_turned_away_and_may_come_again(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", SLOW_TURNS)))
    with open_line(queue_limit=2) as http:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: post(http, encoded(DARK, seed=n), str(n)), range(8)))
        told = [verdict(a) for a in answers]
        assert set(told) == {(200, "pass", 0), (503, "recheck", 902)}
        assert told.count((200, "pass", 0)) >= 2
        turned_away = told.index((503, "recheck", 902))
        assert verdict(post(http, encoded(DARK, seed=turned_away), str(turned_away))) == (200, "pass", 0)
        wait_until(lambda: drained(http))
        assert len(recorded(http)) == told.count((200, "pass", 0)) + 1


def test_parts_whose_answer_has_left_still_take_a_place(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(queue_limit=2) as http:
        own(http)
        with stalled_disk(http):
            for n in range(2):
                assert verdict(post(http, encoded(DARK, seed=n), str(n), deadline_ms=200)) == LATE
            # Without a deadline nothing but the places can turn it away.
            assert verdict(post(http, encoded(DARK, seed=2), "2")) == TURNED_AWAY
        wait_until(lambda: is_idle(http))
        assert verdict(post(http, encoded(DARK, seed=2), "2")) == PASSED


def test_verdict_that_reached_the_disk_too_late_does_not_hold(line: Client) -> None:
    with stalled_disk(line):
        response = post(line, encoded(DARK), deadline_ms=300)
    assert verdict(response) == LATE
    decided, late = sorted(settled(line, 2), key=lambda i: i.result_code)
    assert (decided.disposition, late.supersedes) == ("pass", decided.result_id)
    assert late.answer.encode() == response.content
    assert post(line, encoded(DARK)).content == response.content
    query = {"station": "s1", "trigger_id": "1"}
    assert line.get("/v1/inspections", params=query).content == response.content


def test_part_that_can_not_be_in_time_is_told_so_at_once(slow_line: Client) -> None:
    began = time.perf_counter()
    assert verdict(post(slow_line, encoded(DARK), deadline_ms=100_000)) == PASSED
    takes_ms = 1000 * (time.perf_counter() - began)
    began = time.perf_counter()
    assert verdict(post(slow_line, encoded(DARK), "2", deadline_ms=takes_ms / 4)) == LATE
    assert 1000 * (time.perf_counter() - began) < takes_ms / 4
    (found, _) = settled(slow_line, 2)
    assert found.views[0].width is None, "nobody looked at it"


def test_part_that_would_wait_until_it_is_late_is_turned_away_and_may_come_again(slow_line: Client) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: post(slow_line, encoded(DARK, seed=n), str(n), deadline_ms=2000), range(12)))
        told = [verdict(answer) for answer in answers]
    assert set(told) <= {PASSED, LATE, TURNED_AWAY}
    assert TURNED_AWAY in told
    n = told.index(TURNED_AWAY)
    wait_until(lambda: is_idle(slow_line))
    assert verdict(post(slow_line, encoded(DARK, seed=n), str(n))) == PASSED
    wait_until(lambda: drained(slow_line))
    taken_on = {str(k) for k, answer in enumerate(told) if answer != TURNED_AWAY}
    assert {i.trigger_id for i in recorded(slow_line)} == {*taken_on, str(n)}
