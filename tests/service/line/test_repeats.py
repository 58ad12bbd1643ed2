"""The same part again gets the same answer, byte for byte; one record is made."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from httpx2 import Client

from service.wiring import Stores
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, post, recorded, server_of, verdict
from tests.service.line.stocked import BRIGHT, DARK, add_champion, encoded, wait_until


def test_sixteen_posts_of_one_part_at_once_get_one_answer_and_one_record(line: Client) -> None:
    body = encoded(DARK)
    for trigger in ("1", "2", "3"):
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: post(line, body, trigger), range(16)))  # noqa: B023 - used up in this turn
        assert len({answer.content for answer in answers}) == 1
    wait_until(lambda: drained(line))
    assert Counter(i.trigger_id for i in recorded(line)) == {"1": 1, "2": 1, "3": 1}
    assert server_of(line).registry.get_sample_value("loupe_repeats_total") == 45


def test_of_two_images_under_one_trigger_at_once_one_is_answered_and_one_refused(line: Client) -> None:
    bodies = [encoded(DARK), encoded(BRIGHT)]
    for n in range(10):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda k: post(line, bodies[k % 2], f"t{n}"), range(8)))  # noqa: B023 - as above
        assert Counter(a.status_code for a in answers) == {200: 4, 409: 4}
        assert len({a.content for a in answers if a.status_code == 200}) == 1
        assert len({k % 2 for k, a in enumerate(answers) if a.status_code == 200}) == 1
    wait_until(lambda: drained(line))
    assert len(recorded(line)) == 10


def test_many_parts_at_once_are_each_recorded_once(line: Client) -> None:
    bodies = [encoded(DARK if n % 3 else BRIGHT, seed=n) for n in range(60)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: post(line, bodies[n], str(n)), range(60)))
    assert [a.json()["disposition"] for a in answers] == ["pass" if n % 3 else "reject" for n in range(60)]
    wait_until(lambda: drained(line))
    assert sorted(i.result_id for i in recorded(line)) == sorted(a.json()["result_id"] for a in answers)


def test_answer_stays_across_a_restart(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        first = post(http, encoded(DARK))
    add_champion(stores, tmp_path, gain=4.0)
    with open_line() as http:
        assert post(http, encoded(DARK)).content == first.content
        assert verdict(post(http, encoded(BRIGHT))) == (409, "recheck", 900)
        assert http.get(f"/v1/inspections/{first.json()['result_id']}").content == first.content


def test_trigger_is_free_again_after_the_window(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(idempotency_window_h=0.5 / 3600) as http:
        first = post(http, encoded(DARK)).json()
        assert post(http, encoded(DARK)).json() == first
        wait_until(lambda: post(http, encoded(BRIGHT)).status_code == 200)
        server = server_of(http)
        wait_until(lambda: drained(http))
        for _ in range(2):  # what is in memory only is indexed first
            server.journal.tidy(server.clock(), timedelta(0))
        assert server.journal.find(first["result_id"]) is None
        assert http.get(f"/v1/inspections/{first['result_id']}").json() == first


def test_part_shows_everything_known_of_it(line: Client) -> None:
    post(line, encoded(DARK), "1", part_id="P1")
    post(line, encoded(BRIGHT), "2", part_id="P1", station="s2")
    post(line, encoded(BRIGHT), "3", part_id="P2")
    wait_until(lambda: drained(line))
    found = line.get("/v1/parts/P1").json()["inspections"]
    assert [(i["station"], i["disposition"]) for i in found] == [("s1", "pass"), ("s2", "reject")]


@pytest.mark.parametrize("mode", ["shadow", "challenge"])
def test_trigger_of_a_shadow_or_a_challenge_is_no_verdict_for_production(line: Client, mode: str) -> None:
    assert verdict(post(line, encoded(DARK), "1", mode=mode)) == (200, "pass", 0)
    assert verdict(post(line, encoded(DARK), "1")) == (409, "recheck", 900)
    assert verdict(post(line, encoded(DARK), "2")) == (200, "pass", 0)
    assert verdict(post(line, encoded(DARK), "2", mode=mode)) == (409, "recheck", 900)


def test_good_view_does_not_speak_for_a_part_of_which_another_was_rejected(line: Client) -> None:
    """Without `expected_views` every view is answered for itself; who asks for the trigger gets the worst."""
    assert verdict(post(line, encoded(BRIGHT), view_id="left")) == (200, "reject", 7)
    assert verdict(post(line, encoded(DARK), view_id="right")) == (200, "pass", 0)
    found = line.get("/v1/inspections", params={"station": "s1", "trigger_id": "1"})
    assert verdict(found) == (200, "reject", 7)
