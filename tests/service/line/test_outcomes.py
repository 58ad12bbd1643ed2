"""A person's word on an inspection: added, never changed, and kept whatever is away."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from httpx2 import Client, Response

from service.wiring import Stores
from storage import outcomes
from storage.records import Outcome
from tests.service.line.breaking import break_journal
from tests.service.line.posting import drained, expect_views, post, server_of, verdict
from tests.service.line.stocked import DARK, MIDDLE, encoded, wait_until


def say(http: Client, result_id: str, disposition: str = "rework", by: str = "anna", **more: Any) -> Response:
    return http.post(f"/v1/inspections/{result_id}/disposition", json={"disposition": disposition, "by": by, **more})


def inspected(http: Client, trigger: str = "1", **query: Any) -> str:
    return str(post(http, encoded(MIDDLE, len(trigger)), trigger, **query).json()["result_id"])


def stored(http: Client, result_id: str) -> Sequence[Outcome]:
    wait_until(lambda: drained(http))
    with server_of(http).database.read() as connection:
        return outcomes.of_inspection(connection, result_id)


def test_every_word_is_added_and_none_is_changed(line: Client) -> None:
    result_id = inspected(line, part_id="P1")
    answer = line.get(f"/v1/inspections/{result_id}").content
    first = say(line, result_id, **{"class": "scratch"}, comment="by hand")
    second = say(line, result_id, "reject", "ben")
    assert (first.status_code, first.json()["disposition"], first.json()["result_id"]) == (200, "rework", result_id)
    assert first.json()["id"] != second.json()["id"]
    found = [(o.disposition, o.class_name, o.comment, o.decided_by) for o in stored(line, result_id)]
    assert found == [("rework", "scratch", "by hand", "anna"), ("reject", None, "", "ben")]
    assert line.get(f"/v1/inspections/{result_id}").content == answer, "the verdict is what it was"


def test_words_are_shown_with_the_part(line: Client) -> None:
    result_id = inspected(line, part_id="P1")
    other = inspected(line, "22", part_id="P1", station="s2")
    wait_until(lambda: drained(line))
    say(line, result_id, "pass", comment="only dust", **{"class": "good"})
    wait_until(lambda: drained(line))
    found = {i["result_id"]: i["outcomes"] for i in line.get("/v1/parts/P1").json()["inspections"]}
    (word,) = found[result_id]
    assert {k: word[k] for k in ("disposition", "class", "comment", "by")} == {
        "disposition": "pass",
        "class": "good",
        "comment": "only dust",
        "by": "anna",
    }
    assert found[other] == []


def test_word_that_is_sent_twice_is_stored_once(line: Client) -> None:
    result_id = inspected(line)
    for _ in range(3):
        assert say(line, result_id, id="page-7").json()["id"] == "page-7"
    assert verdict(say(line, result_id, id="page-7", disposition="pass")) == (409, "recheck", 900)
    other = inspected(line, "other")
    assert verdict(say(line, other, id="page-7")) == (409, "recheck", 900), "nothing is dropped in silence"
    assert [(o.id, o.disposition) for o in stored(line, result_id)] == [("page-7", "rework")], "the first one stands"


@pytest.mark.parametrize("result_id", ["unheard", "0", "a%00b", "%F0%9F", "x" * 3000])
def test_inspection_that_is_not_there_is_not_found(line: Client, result_id: str) -> None:
    assert verdict(say(line, result_id)) == (404, "recheck", 900)


WRONG: list[dict[str, Any]] = [
    {},
    {"disposition": "rework"},
    {"by": "anna"},
    {"disposition": "destroy", "by": "anna"},
    {"disposition": "PASS", "by": "anna"},
    {"disposition": None, "by": "anna"},
    {"disposition": "pass", "by": ""},
    {"disposition": "pass", "by": "x" * 201},
    {"disposition": "pass", "by": 7},
    {"disposition": "pass", "by": "anna", "comment": "x" * 2001},
    {"disposition": "pass", "by": "anna", "comment": "\ud800"},
    {"disposition": "pass", "by": "anna", "id": ["a"]},
    {"disposition": "pass", "by": "anna", "class": {}},
]


@pytest.mark.parametrize("word", WRONG, ids=repr)
def test_word_that_can_not_be_read_is_refused(line: Client, word: dict[str, Any]) -> None:
    result_id = inspected(line)
    address, headers = f"/v1/inspections/{result_id}/disposition", {"content-type": "application/json"}
    response = line.post(address, content=json.dumps(word), headers=headers)
    assert verdict(response) == (422, "recheck", 900)
    assert stored(line, result_id) == []


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000], ids=lambda body: repr(body[:5]))
def test_body_that_is_no_word_is_refused(line: Client, body: bytes) -> None:
    address = f"/v1/inspections/{inspected(line)}/disposition"
    response = line.post(address, content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    assert verdict(response)[1:] == ("recheck", 900)


def test_control_characters_do_not_reach_the_database(line: Client) -> None:
    result_id = inspected(line)
    for more in ({"by": "an\x00na"}, {"class": "a\x00"}, {"id": "\x00"}):
        assert 400 <= say(line, result_id, **more).status_code < 500
    assert say(line, result_id, comment="line one\nline\x00 two").status_code == 200
    assert [o.comment for o in stored(line, result_id)] == ["line one\nline two"]


def test_word_is_taken_while_the_database_is_away(line: Client, stores: Stores) -> None:
    with stores.database.write():
        result_id = inspected(line)
        assert say(line, result_id).status_code == 200
    assert [o.disposition for o in stored(line, result_id)] == ["rework"]


def test_word_on_a_part_that_waits_for_views_is_taken(line: Client, stores: Stores) -> None:
    expect_views(line, stores, "left", "right")
    result_id = inspected(line, view_id="left")
    assert say(line, result_id).status_code == 200
    assert post(line, encoded(DARK), view_id="right").json()["result_id"] == result_id
    assert [o.disposition for o in stored(line, result_id)] == ["rework"]


def test_word_that_can_not_be_put_on_disk_is_not_taken(line: Client) -> None:
    result_id = inspected(line)
    wait_until(lambda: drained(line))
    break_journal(line)
    assert verdict(say(line, result_id)) == (503, "recheck", 907)
