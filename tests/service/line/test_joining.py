"""One request a view: they join to a part, which is decided once, whatever comes between."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client, Response

from service.line.joining import OPEN_LIMIT
from service.wiring import Stores
from storage.records import Inspection
from tests.service.line.breaking import break_journal, left_by_a_kill, stalled_disk
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import (
    drained,
    events_of,
    expect_views,
    of_trigger,
    post,
    post_views,
    recorded,
    server_of,
    verdict,
)
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    PRODUCT,
    add_champion,
    encoded,
    promote,
    store_model,
    wait_until,
    write_slow_model,
)

LEFT, RIGHT = encoded(DARK, seed=1), encoded(DARK, seed=2)
IMAGES = {"left": LEFT, "right": RIGHT}
MISSING = (200, "recheck", 903)
LATE = (200, "recheck", 901)
SHORT_MS = 1500
LONG_MS = 60_000


@pytest.fixture
def joined(line: Client, stores: Stores) -> Client:
    """A line whose parts have two views."""
    expect_views(line, stores, "left", "right")
    return line


@pytest.fixture
def asgi_joined(asgi_line: Client, stores: Stores) -> Client:
    """A line whose parts have two views."""
    expect_views(asgi_line, stores, "left", "right")
    return asgi_line


def state_of(response: Response) -> str:
    return str(response.json()["result_state"])


def records(http: Client, count: int = 1) -> list[Inspection]:
    """All inspections, of which there must be so many."""
    wait_until(lambda: drained(http) and len(recorded(http)) >= count)
    found = recorded(http)
    assert len(found) == count
    return found


def standing(http: Client) -> dict[str, Inspection]:
    """The inspection of each trigger that no other one supersedes; there must be one."""
    wait_until(lambda: drained(http))
    replaced = {i.supersedes for i in recorded(http)}
    found = [i for i in recorded(http) if i.result_id not in replaced]
    assert set(Counter(i.trigger_id for i in found).values()) <= {1}
    return {i.trigger_id: i for i in found}


def forgotten(http: Client) -> bool:
    """Whether no part waits for views, in memory or on disk."""
    server = server_of(http)
    return not server.pipeline.open_parts.due(float("inf")) and not server.journal.provisional()


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_last_view_completes_the_part_that_the_first_one_began(joined: Client, order: tuple[str, str]) -> None:
    images = {"left": LEFT, "right": encoded(BRIGHT)}
    first = post(joined, images[order[0]], view_id=order[0], part_id="P1", deadline_ms=LONG_MS)
    answer = first.json()
    assert verdict(first) == MISSING
    assert (answer["result_state"], answer["evaluation"], answer["is_partial"]) == ("processing", "not_decidable", True)
    assert answer["reasons"] == [f"missing: view {order[1]}"]
    assert [view["view_id"] for view in answer["views"]] == [order[0]]
    last = post(joined, images[order[1]], view_id=order[1], deadline_ms=LONG_MS)
    whole = last.json()
    assert verdict(last) == (200, "reject", 7)
    assert (whole["result_state"], whole["is_partial"]) == ("completed", False)
    assert whole["result_id"] == answer["result_id"]
    assert whole["part_id"] == "P1", "as the first view said"
    assert [view["view_id"] for view in whole["views"]] == ["left", "right"]
    (found,) = records(joined)
    assert (found.result_id, found.answer.encode(), found.is_partial) == (whole["result_id"], last.content, False)
    assert [view.view_id for view in found.views] == ["left", "right"]
    assert all(server_of(joined).images.get(v.image_sha256) == images[v.view_id] for v in found.views)
    assert forgotten(joined)


def test_part_of_good_views_passes_only_when_the_last_one_is_there(joined: Client, stores: Stores) -> None:
    expect_views(joined, stores, "left", "right", "top", fail_safe="reject")
    images = {**IMAGES, "top": encoded(DARK, seed=3)}
    told = [verdict(post(joined, image, view_id=name)) for name, image in images.items()]
    assert told == [(200, "reject", 903), (200, "reject", 903), (200, "pass", 0)]


def test_views_may_come_partly_together(joined: Client, stores: Stores) -> None:
    expect_views(joined, stores, "left", "right", "top")
    top = encoded(BRIGHT)
    two = post_views(joined, IMAGES)
    assert (verdict(two), state_of(two)) == (MISSING, "processing")
    last = post_views(joined, {"right": RIGHT, "top": top})
    assert verdict(last) == (200, "reject", 7)
    assert last.json()["result_id"] == two.json()["result_id"]
    assert post_views(joined, IMAGES).content == two.content
    assert post_views(joined, {**IMAGES, "top": top}).content == last.content
    (found,) = records(joined)
    assert [view.view_id for view in found.views] == ["left", "right", "top"]


def test_answer_can_be_had_by_id_and_by_trigger_before_and_after(joined: Client, stores: Stores) -> None:
    first = post(joined, LEFT, view_id="left")
    by_id = f"/v1/inspections/{first.json()['result_id']}"
    assert joined.get(by_id).content == of_trigger(joined, "1").content == first.content
    last = post(joined, RIGHT, view_id="right")
    assert joined.get(by_id).content == of_trigger(joined, "1").content == last.content
    records(joined)
    assert joined.get(by_id).content == of_trigger(joined, "1").content == last.content


def test_view_that_comes_again_gets_the_body_that_it_got(joined: Client) -> None:
    first = post(joined, LEFT, view_id="left")
    assert post(joined, LEFT, view_id="left").content == first.content
    last = post(joined, RIGHT, view_id="right")
    assert post(joined, LEFT, view_id="left").content == first.content
    assert post(joined, RIGHT, view_id="right").content == last.content
    assert post_views(joined, IMAGES).content == last.content, "all views at once are told the last word"
    records(joined)


def test_another_image_of_a_view_is_refused_before_and_after(joined: Client) -> None:
    post(joined, LEFT, view_id="left")
    for trial in (post(joined, RIGHT, view_id="left"), post_views(joined, {"left": RIGHT, "right": LEFT})):
        assert verdict(trial) == (409, "recheck", 900)
    assert verdict(post(joined, RIGHT, view_id="right")) == (200, "pass", 0)
    assert verdict(post(joined, LEFT, view_id="right")) == (409, "recheck", 900)
    records(joined)


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_view_that_never_comes_makes_a_record_of_what_came(joined: Client, order: tuple[str, str]) -> None:
    first = post(joined, IMAGES[order[0]], view_id=order[0], deadline_ms=SHORT_MS)
    result_id = first.json()["result_id"]
    (found,) = records(joined)
    assert (found.result_id, found.result_code, found.is_partial) == (result_id, 903, True)
    assert (found.deadline_met, found.keep_probability) == (True, 1.0)
    assert [(v.view_id, v.image_kept, v.p_defect is not None) for v in found.views] == [(order[0], True, True)]
    assert server_of(joined).images.get(found.views[0].image_sha256) == IMAGES[order[0]]
    final = of_trigger(joined, "1")
    assert (verdict(final), state_of(final)) == (MISSING, "completed")
    assert joined.get(f"/v1/inspections/{result_id}").content == final.content
    # The view comes after all: the part was decided without it.
    late = post(joined, IMAGES[order[1]], view_id=order[1])
    assert late.content == final.content
    assert post(joined, IMAGES[order[1]], view_id=order[1]).content == final.content
    assert verdict(post(joined, encoded(BRIGHT), view_id=order[1])) == (409, "recheck", 900)
    assert post(joined, IMAGES[order[0]], view_id=order[0]).content == first.content
    records(joined)
    (event,) = events_of(joined, "view_late")
    assert (event.subject, event.detail) == ("s1", {"result_id": result_id, "views": [order[1]]})
    assert forgotten(joined)


def test_deadline_of_the_recipe_holds_for_parts_that_wait(joined: Client, stores: Stores) -> None:
    expect_views(joined, stores, "left", "right", deadline_ms=float(SHORT_MS))
    began = time.perf_counter()
    post(joined, LEFT, view_id="left")
    records(joined)
    assert 1000 * (time.perf_counter() - began) >= SHORT_MS


def test_deadline_of_the_settings_holds_for_parts_that_wait(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(deadline_ms=float(SHORT_MS)) as http:
        expect_views(http, stores, "left", "right")
        post(http, LEFT, view_id="left")
        (found,) = records(http)
        assert found.result_code == 903


def post_at_once(http: Client, trigger: str, *views: tuple[str, bytes], **query: Any) -> list[Response]:
    """The views from threads of their own, at the same instant."""
    gate = threading.Barrier(len(views))

    def send(view: tuple[str, bytes]) -> Response:
        gate.wait()
        return post(http, view[1], trigger, view_id=view[0], **query)

    with ThreadPoolExecutor(len(views)) as pool:
        return list(pool.map(send, views))


def test_views_at_the_same_instant_make_one_part(joined: Client) -> None:
    for n in range(60):
        images = {"left": encoded(DARK, 2 * n), "right": encoded(BRIGHT if n % 3 == 0 else DARK, 2 * n + 1)}
        answers = post_at_once(joined, str(n), *images.items())
        assert sorted(state_of(a) for a in answers) == ["completed", "processing"]
        assert len({a.json()["result_id"] for a in answers}) == 1
        told = {state_of(a): verdict(a) for a in answers}
        assert told == {"processing": MISSING, "completed": (200, "reject", 7) if n % 3 == 0 else (200, "pass", 0)}
    found = records(joined, 60)
    assert all([view.view_id for view in i.views] == ["left", "right"] for i in found)
    assert len({i.trigger_id for i in found}) == 60
    assert forgotten(joined)


def test_every_view_many_times_at_once_makes_one_part(joined: Client) -> None:
    for n in range(10):
        answers = post_at_once(joined, str(n), *[*IMAGES.items()] * 4)
        assert {a.status_code for a in answers} == {200}
        for answer_of_view in (answers[0::2], answers[1::2]):
            assert len({a.content for a in answer_of_view}) == 1
        assert len({a.json()["result_id"] for a in answers}) == 1
    assert all(len(i.views) == 2 for i in records(joined, 10))


def test_view_alone_and_with_the_others_at_once_makes_one_part(joined: Client) -> None:
    """They come under different keys, and with images of their own: one of the two stands, whichever."""
    for n in range(20):
        gate = threading.Barrier(2)

        def alone(trigger: str = str(n), gate: threading.Barrier = gate) -> Response:
            gate.wait()
            return post(joined, encoded(BRIGHT), trigger, view_id="left")

        def together(trigger: str = str(n), gate: threading.Barrier = gate) -> Response:
            gate.wait()
            return post_views(joined, IMAGES, trigger)

        with ThreadPoolExecutor(2) as pool:
            one, both = pool.submit(alone), pool.submit(together)
        told = (verdict(one.result()), verdict(both.result()))
        refused = (409, "recheck", 900)
        assert told in {(MISSING, refused), (refused, (200, "pass", 0))}
        if told[1] == refused:
            assert verdict(post(joined, RIGHT, str(n), view_id="right")) == (200, "reject", 7)
            assert post(joined, encoded(BRIGHT), str(n), view_id="left").content == one.result().content
        else:
            assert post_views(joined, IMAGES, str(n)).content == both.result().content
    assert all(len(i.views) == 2 for i in records(joined, 20))


def test_end_of_the_process_between_the_views_leaves_a_record_of_what_came(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        expect_views(http, stores, "left", "right", "top")
        first = post(http, LEFT, view_id="left")
        second = post(http, RIGHT, view_id="right")
        assert recorded(http) == []
    with open_line() as http:
        (found,) = records(http)
        assert found.result_id == first.json()["result_id"] == second.json()["result_id"]
        assert (found.result_code, found.disposition, found.is_partial) == (903, "recheck", True)
        assert [(v.view_id, v.image_kept) for v in found.views] == [("left", True), ("right", True)]
        assert all(server_of(http).images.get(v.image_sha256) == IMAGES[v.view_id] for v in found.views)
        final = of_trigger(http, "1")
        assert {**second.json(), "result_state": "completed"} == final.json()
        assert final.content == found.answer.encode()
        assert http.get(f"/v1/inspections/{found.result_id}").content == final.content
        wait_until(lambda: verdict(post(http, encoded(DARK, 9), view_id="top")) == MISSING)
        assert post(http, encoded(DARK, 9), view_id="top").content == final.content
        assert post(http, LEFT, view_id="left").content == first.content
        assert forgotten(http)
    with open_line() as http:
        records(http)


def test_process_that_is_killed_between_the_views_leaves_a_record_of_what_came(
    joined: Client, tmp_path: Path, open_line: OpenLine
) -> None:
    answers = [post(joined, LEFT, str(n), view_id="left", deadline_ms=LONG_MS) for n in range(3)]
    post(joined, RIGHT, "0", view_id="right")
    copy = left_by_a_kill(joined, tmp_path / "killed")
    with open_line(data_dir=copy) as http:
        found = {i.trigger_id: i for i in records(http, 3)}
        assert {trigger: i.result_code for trigger, i in found.items()} == {"0": 0, "1": 903, "2": 903}
        assert {i.result_id for i in found.values()} == {a.json()["result_id"] for a in answers}
        assert all(server_of(http).images.get(i.views[0].image_sha256) == LEFT for i in found.values() if i.is_partial)


def test_part_keeps_the_model_that_its_first_view_was_judged_by(joined: Client, stores: Stores, tmp_path: Path) -> None:
    champions = server_of(joined).champions
    before = champions.active(None, "s1").model.id
    first = post(joined, encoded(BRIGHT), view_id="left", deadline_ms=LONG_MS)
    blind = add_champion(stores, tmp_path, gain=0.1)
    wait_until(lambda: champions.active(None, "s1").model.id == blind.id)
    last = post(joined, RIGHT, view_id="right", deadline_ms=LONG_MS)
    assert verdict(last) == (200, "reject", 7), "the new model would pass both"
    assert {a.json()["provenance"]["model"] for a in (first, last)} == {before}
    (found,) = records(joined)
    assert found.model_id == before
    assert all(v.p_defect == pytest.approx(level / 255, abs=0.03) for v, level in zip(found.views, (BRIGHT, DARK)))  # noqa: B905 - two each
    assert verdict(post_views(joined, {"left": encoded(BRIGHT), "right": RIGHT}, "2")) == (200, "pass", 0)


def test_part_keeps_the_recipe_that_its_first_view_came_under(joined: Client, stores: Stores) -> None:
    """Else the view that is still to come would be a part of its own, and might pass."""
    first = post(joined, encoded(BRIGHT), view_id="left", deadline_ms=LONG_MS)
    expect_views(joined, stores)
    last = post(joined, RIGHT, view_id="right", deadline_ms=LONG_MS)
    assert verdict(last) == (200, "reject", 7)
    assert last.json()["result_id"] == first.json()["result_id"]
    records(joined)
    assert verdict(post(joined, RIGHT, "2", view_id="right")) == (200, "pass", 0)


def test_last_view_that_is_late_makes_the_part_late(asgi_joined: Client) -> None:
    first = post(asgi_joined, LEFT, view_id="left", deadline_ms=LONG_MS)
    promised = first.json()["result_id"]
    last = post(asgi_joined, RIGHT, view_id="right", deadline_ms=0.001)
    assert verdict(last) == LATE
    (found,) = records(asgi_joined)
    assert found.answer.encode() == last.content
    assert [(v.view_id, v.image_kept, v.p_defect is None) for v in found.views] == [
        ("left", True, False),
        ("right", True, True),
    ]
    for address in (promised, found.result_id):
        assert asgi_joined.get(f"/v1/inspections/{address}").content == last.content
    assert of_trigger(asgi_joined, "1").content == last.content
    assert post(asgi_joined, RIGHT, view_id="right").content == last.content
    assert post(asgi_joined, LEFT, view_id="left").content == first.content
    assert forgotten(asgi_joined)


def test_first_view_that_is_late_makes_the_part_late(asgi_joined: Client) -> None:
    first = post(asgi_joined, LEFT, view_id="left", deadline_ms=0.001)
    assert verdict(first) == LATE
    records(asgi_joined)
    assert post(asgi_joined, RIGHT, view_id="right").content == first.content, "the line has acted on it"
    records(asgi_joined)
    assert forgotten(asgi_joined)


def test_view_that_is_late_for_a_part_that_is_over_is_told_so_and_changes_nothing(asgi_joined: Client) -> None:
    post(asgi_joined, LEFT, view_id="left", deadline_ms=SHORT_MS)
    (found,) = records(asgi_joined)
    late = post(asgi_joined, RIGHT, view_id="right", deadline_ms=0.001)
    assert verdict(late) == LATE
    address = f"/v1/inspections/{late.json()['result_id']}"
    wait_until(lambda: asgi_joined.get(address).status_code == 200)
    assert asgi_joined.get(address).content == late.content
    assert of_trigger(asgi_joined, "1").content == found.answer.encode()
    assert post(asgi_joined, RIGHT, view_id="right").content == found.answer.encode()
    records(asgi_joined)


def test_what_the_line_was_told_is_what_stands_however_tight_the_deadline(asgi_joined: Client) -> None:
    told: dict[str, list[Response]] = {}
    for n in range(60):
        images = (("left", encoded(DARK, 2 * n)), ("right", encoded(DARK, 2 * n + 1)))
        told[str(n)] = post_at_once(asgi_joined, str(n), *images, deadline_ms=2 + n % 14)
    server = server_of(asgi_joined)
    wait_until(lambda: server.registry.get_sample_value("loupe_inspections_in_work") == 0 and forgotten(asgi_joined))
    last_words = standing(asgi_joined)
    for trigger, answers in told.items():
        judged = [a for a in answers if a.status_code == 200]
        if not judged:
            assert trigger not in last_words
            continue
        held = last_words[trigger]
        assert of_trigger(asgi_joined, trigger).content == held.answer.encode()
        if held.disposition == "pass":
            assert {verdict(a) for a in judged} == {MISSING, (200, "pass", 0)}
        assert all(verdict(a) != (200, "pass", 0) or a.content == held.answer.encode() for a in judged)
        for answer in judged:
            result_id = answer.json()["result_id"]
            wait_until(lambda: asgi_joined.get(f"/v1/inspections/{result_id}").status_code == 200)  # noqa: B023 - used up here


def test_verdict_that_reached_the_disk_too_late_does_not_hold(joined: Client) -> None:
    first = post(joined, LEFT, view_id="left", deadline_ms=LONG_MS)
    promised = first.json()["result_id"]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(of_trigger, joined, "1", wait_ms=20_000)
        wait_until(lambda: bool(server_of(joined).waiters._waiting))
        with stalled_disk(joined):
            last = post(joined, RIGHT, view_id="right", deadline_ms=SHORT_MS)
        assert verdict(last) == LATE
        assert asked.result().content == last.content
    decided, late = sorted(records(joined, 2), key=lambda i: i.result_code)
    assert (decided.result_id, decided.disposition, late.supersedes) == (promised, "pass", promised)
    assert late.answer.encode() == last.content
    for address in (promised, late.result_id):
        assert joined.get(f"/v1/inspections/{address}").content == last.content
    assert of_trigger(joined, "1").content == last.content
    assert post(joined, RIGHT, view_id="right").content == last.content
    assert forgotten(joined)


def test_view_that_reached_the_disk_too_late_makes_the_part_late(joined: Client) -> None:
    with stalled_disk(joined):
        first = post(joined, LEFT, view_id="left", deadline_ms=SHORT_MS)
    assert verdict(first) == LATE
    (found,) = records(joined)
    assert found.answer.encode() == first.content
    assert post(joined, RIGHT, view_id="right").content == first.content
    assert post(joined, LEFT, view_id="left").content == first.content
    assert forgotten(joined)


def test_only_what_was_told_is_told_to_others(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    """A verdict that comes after the fail-safe answer reaches nobody, however it was asked for."""
    promote(stores, store_model(stores, write_slow_model(tmp_path / "slow.onnx", 60)))
    with open_line() as http, ThreadPoolExecutor(2) as pool:
        expect_views(http, stores, "left", "right")
        post(http, LEFT, view_id="left", deadline_ms=LONG_MS)
        pace = server_of(http).champions.loaded[PRODUCT].pace
        for _ in range(300):
            pace.took(0.0)
        asked = pool.submit(of_trigger, http, "1", wait_ms=20_000)
        wait_until(lambda: bool(server_of(http).waiters._waiting))
        last = post(http, RIGHT, view_id="right", deadline_ms=30)
        assert verdict(last) == LATE
        assert asked.result().content == last.content
        assert [i.answer.encode() for i in standing(http).values()] == [last.content]
        count = server_of(http).registry.get_sample_value
        name, common = "loupe_inspections_total", {"station": "s1", "mode": "production"}
        late = {**common, "evaluation": "not_decidable", "disposition": "recheck", "result_code": "901"}
        assert count(name, late) == 1
        assert count(name, {**common, "evaluation": "ok", "disposition": "pass", "result_code": "0"}) is None


def test_view_that_could_not_be_recorded_may_come_again(joined: Client) -> None:
    first = post(joined, LEFT, view_id="left", deadline_ms=LONG_MS)
    heal = break_journal(joined)
    for _ in range(2):
        response = post(joined, RIGHT, view_id="right", deadline_ms=LONG_MS)
        assert verdict(response) == (200, "recheck", 908)
    assert verdict(post(joined, LEFT, "2", view_id="left", deadline_ms=LONG_MS)) == (200, "recheck", 908)
    assert post(joined, LEFT, view_id="left").content == first.content
    heal()
    wait_until(lambda: server_of(joined).journal.failure is None)
    last = post(joined, RIGHT, view_id="right", deadline_ms=LONG_MS)
    assert verdict(last) == (200, "pass", 0)
    assert last.json()["result_id"] == first.json()["result_id"]
    (found,) = records(joined)
    assert [v.view_id for v in found.views] == ["left", "right"]
    assert forgotten(joined), "else its segments could never be used again"


def test_part_whose_time_is_up_while_the_disk_is_full_is_recorded_when_it_can_be(joined: Client) -> None:
    post(joined, LEFT, view_id="left", deadline_ms=SHORT_MS)
    heal = break_journal(joined)
    time.sleep(SHORT_MS / 1000)
    heal()
    (found,) = records(joined)
    assert found.result_code == 903
    assert forgotten(joined)


def test_station_may_not_have_any_number_of_parts_waiting(joined: Client) -> None:
    for n in range(OPEN_LIMIT):
        assert verdict(post(joined, LEFT, str(n), view_id="left", deadline_ms=LONG_MS)) == MISSING
    assert verdict(post(joined, LEFT, "more", view_id="left")) == (503, "recheck", 902)
    assert verdict(post(joined, LEFT, "more", station="s2", view_id="left")) == MISSING
    assert verdict(post(joined, RIGHT, "7", view_id="right")) == (200, "pass", 0)
    assert verdict(post(joined, LEFT, "more", view_id="left")) == MISSING


def test_parts_of_two_epochs_do_not_join(joined: Client) -> None:
    post(joined, LEFT, view_id="left", trigger_epoch="a")
    other = post(joined, RIGHT, view_id="right", trigger_epoch="b")
    assert (verdict(other), state_of(other)) == (MISSING, "processing")
    assert verdict(of_trigger(joined, "1")) == (404, "recheck", 900)
    assert of_trigger(joined, "1", trigger_epoch="b").content == other.content


def test_processing_is_said_on_one_line_too(joined: Client) -> None:
    response = post(joined, LEFT, view_id="left", headers={"accept": "text/plain"})
    code, disposition, result_id = response.text.split()
    assert (code, disposition) == ("903", "recheck")
    assert joined.get(f"/v1/inspections/{result_id}").json()["result_state"] == "processing"


@pytest.fixture
def no_retention(joined: Client, stores: Stores) -> Client:
    expect_views(joined, stores, "left", "right", keep_ok_share=0.0)
    return joined


def test_views_of_a_good_part_are_not_kept_because_it_waited(no_retention: Client) -> None:
    post(no_retention, LEFT, view_id="left")
    post(no_retention, RIGHT, view_id="right")
    (found,) = records(no_retention)
    assert (found.disposition, found.keep_probability) == ("pass", 0.0)
    assert not any(v.image_kept or server_of(no_retention).images.has(v.image_sha256) for v in found.views)


def test_share_of_good_parts_that_is_kept_does_not_grow_with_their_views(joined: Client, stores: Stores) -> None:
    share = 0.3
    names = ("a", "b", "c", "d")
    expect_views(joined, stores, *names, keep_ok_share=share)
    for n in range(120):
        post_views(joined, {name: encoded(DARK, 1000 + 4 * n + k) for k, name in enumerate(names)}, str(n))
    found = records(joined, 120)
    kept = sum(i.views[0].image_kept for i in found)
    assert all(len({v.image_kept for v in i.views}) == 1 for i in found)
    # Three standard deviations; a draw for each view would keep 76 %.
    assert abs(kept / 120 - share) < 3 * (share * (1 - share) / 120) ** 0.5
