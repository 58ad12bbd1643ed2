"""A part with a known answer, sent through the whole system: a station is served only while Loupe finds what it is."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client, Response

from models.card import ClassInfo
from service.line.challenging import judged
from service.wiring import Stores
from storage import challenges
from storage.records import Challenge
from tests.service.line.breaking import break_journal
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import (
    PNG,
    drained,
    expect_views,
    is_idle,
    post,
    post_views,
    recorded,
    server_of,
    verdict,
)
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    MADE_AT,
    MIDDLE,
    PRODUCT,
    add_champion,
    change_recipe,
    encoded,
    wait_until,
)
from tests.tiny_model import CLASSES, tiny_card

PATH = "/v1/challenges"


def challenge(
    http: Client, level: int, trigger: str, expected: str | None, accept: str = "*/*", **query: Any
) -> Response:
    """Send a part whose answer is known."""
    asked = {"station": "s1", "trigger_id": trigger, **query}
    if expected is not None:
        asked["expected"] = expected
    return http.post(
        PATH, params=asked, content=encoded(level, len(trigger)), headers={"content-type": PNG, "accept": accept}
    )


def state(http: Client, station: str = "s1") -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/v1/stations/{station}/state").json()
    return found


def last_stored(http: Client) -> Challenge:
    wait_until(lambda: drained(http))
    with server_of(http).database.read() as connection:
        return challenges.latest(connection)["s1", PRODUCT]


@pytest.mark.parametrize(
    ("level", "expected", "passed"),
    [
        (DARK, "ok", True),
        (DARK, "good", True),
        (DARK, "not_ok", False),
        (DARK, "scratch", False),
        (BRIGHT, "not_ok", True),
        (BRIGHT, "scratch", True),
        (BRIGHT, "ok", False),
        (BRIGHT, "good", False),
        (MIDDLE, "not_ok", True),
        (MIDDLE, "scratch", True),
        (MIDDLE, "ok", False),
    ],
)
def test_challenge_is_passed_when_what_is_there_is_found(line: Client, level: int, expected: str, passed: bool) -> None:
    response = challenge(line, level, "c1", expected)
    answer = response.json()
    assert response.status_code == 200
    assert (answer["passed"], answer["expected"], bool(answer["reason"])) == (passed, expected, not passed)
    assert answer["inspection"]["is_simulated"]
    assert (answer["disposition"], answer["result_code"]) == (
        answer["inspection"]["disposition"],
        answer["inspection"]["result_code"],
    )
    stored = last_stored(line)
    assert (stored.id, stored.passed) == (answer["challenge_id"], passed)
    assert stored.result_id == answer["inspection"]["result_id"]
    assert [(i.mode, i.result_id) for i in recorded(line)] == [("challenge", stored.result_id)]
    assert state(line)["state"] == ("ready" if passed else "error")
    assert state(line)["last_challenge"]["passed"] == passed


@pytest.mark.parametrize(
    ("code", "expected", "passed"),
    [(12, "dent", True), (7, "dent", False), (12, "scratch", False), (12, "not_ok", True), (7, "not_ok", True),
     (0, "good", True), (0, "fine", True), (12, "fine", False), (904, "not_ok", False), (900, "not_ok", False),
     (903, "ok", False)],
)  # fmt: skip
def test_class_that_was_expected_is_the_one_that_must_be_found(code: int, expected: str, passed: bool) -> None:
    card = tiny_card(classes=(*CLASSES, ClassInfo("dent", 12, False), ClassInfo("fine", 13, True)))
    answer = {"result_id": "1", "station": "s1", "product": "p", "result_code": code, "evaluation": "not_ok"}
    assert judged(answer, expected, card, MADE_AT).passed == passed


@pytest.mark.parametrize("expected", [None, "", "dent", "OK", "x" * 500, "\x00"])
def test_challenge_that_does_not_say_what_is_there_is_refused(line: Client, expected: str | None) -> None:
    response = challenge(line, DARK, "c1", expected)
    assert verdict(response) == (422, "recheck", 900)
    assert "scratch" in response.json()["remedy"]
    assert verdict(post(line, encoded(DARK))) == (200, "pass", 0)
    assert state(line)["last_challenge"] is None


def test_unreadable_or_late_part_was_not_found(line: Client) -> None:
    for n, expected in enumerate(("ok", "not_ok", "scratch")):
        query = {"station": "s1", "trigger_id": f"u{n}", "expected": expected}
        response = line.post(PATH, params=query, content=b"no image", headers={"content-type": PNG})
        assert (response.json()["passed"], response.json()["result_code"]) == (False, 906)
        wait_until(lambda: is_idle(line))  # a part that can't be in time is turned away while others are at work
        late = challenge(line, BRIGHT, f"l{n}", expected, deadline_ms=0.001).json()
        assert (late["passed"], late["result_code"]) == (False, 901)


def test_station_that_failed_is_not_served_until_it_passes(line: Client) -> None:
    before = post(line, encoded(DARK), "before", part_id="P0")
    assert challenge(line, DARK, "c1", "scratch").json()["passed"] is False
    refused = post(line, encoded(DARK), "2")
    assert verdict(refused) == (503, "recheck", 907)
    assert "challenge" in refused.json()["reasons"][0]
    assert "/v1/challenges" in refused.json()["remedy"]
    assert verdict(post_views(line, {"left": encoded(DARK)}, "3")) == (503, "recheck", 907)
    assert post(line, encoded(DARK), "before", part_id="P0").content == before.content, "what was answered stands"
    assert verdict(post(line, encoded(DARK), "4", mode="shadow")) == (200, "pass", 0)
    assert verdict(post(line, encoded(DARK), "5", mode="challenge")) == (200, "pass", 0)
    assert verdict(post(line, encoded(DARK), "2", station="s2")) == (200, "pass", 0), "another station"
    assert line.get("/health/ready").status_code == 200
    assert verdict(post(line, encoded(DARK), "2")) == (503, "recheck", 907), "shadow and challenge prove nothing"
    assert challenge(line, BRIGHT, "c22", "scratch").json()["passed"] is True
    assert verdict(post(line, encoded(DARK), "2")) == (200, "pass", 0)
    assert state(line)["state"] == "ready"
    assert state(line)["suspects"] is None


def test_parts_since_the_last_good_challenge_are_listed(line: Client) -> None:
    post(line, encoded(DARK), "1", part_id="P1")
    assert challenge(line, BRIGHT, "c1", "scratch").json()["passed"]
    passed = [post(line, encoded(DARK, n), str(n), part_id=f"P{n}").json()["result_id"] for n in (2, 3)]
    post(line, encoded(BRIGHT), "4", part_id="P4")
    post(line, encoded(DARK), "5", mode="shadow")
    assert challenge(line, DARK, "c22", "scratch").json()["passed"] is False
    wait_until(lambda: drained(line))
    suspects = state(line)["suspects"]
    assert suspects["parts"] == [
        {"result_id": result_id, "part_id": f"P{n}", "trigger_id": str(n)}
        for n, result_id in zip((2, 3), passed, strict=True)
    ]
    assert suspects["since"] is not None
    assert suspects["more"] is False


def test_without_any_good_challenge_every_part_is_a_suspect(line: Client) -> None:
    post(line, encoded(DARK), "1")
    challenge(line, DARK, "c1", "scratch")
    wait_until(lambda: drained(line))
    suspects = state(line)["suspects"]
    assert [part["trigger_id"] for part in suspects["parts"]] == ["1"]
    assert suspects["since"] is None


def test_failed_challenge_survives_a_restart(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        challenge(http, DARK, "c1", "scratch")
    with open_line() as http:
        assert state(http)["state"] == "error"
        assert state(http)["last_challenge"]["passed"] is False
        assert verdict(post(http, encoded(DARK))) == (503, "recheck", 907)
        assert challenge(http, BRIGHT, "c22", "scratch").json()["passed"]
    with open_line() as http:
        assert state(http)["state"] == "ready"
        assert verdict(post(http, encoded(DARK))) == (200, "pass", 0)


def test_challenge_is_wanted_every_so_often(line: Client, stores: Stores) -> None:
    every_s = 1.5
    change_recipe(stores, challenge_every_h=every_s / 3600)
    wait_until(lambda: server_of(line).champions.active(None, "s1").recipe.version == 2)
    assert verdict(post(line, encoded(DARK))) == (503, "recheck", 907), "none was ever sent"
    assert challenge(line, BRIGHT, "c1", "scratch").json()["passed"]
    assert verdict(post(line, encoded(DARK))) == (200, "pass", 0)
    assert state(line)["state"] == "ready"
    wait_until(lambda: state(line)["state"] == "error")
    assert verdict(post(line, encoded(DARK), "2")) == (503, "recheck", 907)
    assert challenge(line, BRIGHT, "c22", "scratch").json()["passed"]
    assert verdict(post(line, encoded(DARK), "2")) == (200, "pass", 0)


def test_same_challenge_again_is_no_new_one(line: Client) -> None:
    first = challenge(line, BRIGHT, "c1", "scratch").json()
    wait_until(lambda: drained(line))
    again = challenge(line, BRIGHT, "c1", "scratch").json()
    assert again == first
    at = state(line)["last_challenge"]["at"]
    wait_until(lambda: drained(line))
    with server_of(line).database.read() as connection:
        found = challenges.last_passed(connection, "s1", PRODUCT)
    assert found is not None
    assert (found.id, found.challenged_at.isoformat()) == (first["challenge_id"], at)


def test_failed_challenge_is_not_passed_by_expecting_something_else_of_it(line: Client) -> None:
    assert challenge(line, DARK, "c1", "scratch").json()["passed"] is False
    for _ in range(3):
        challenge(line, DARK, "c1", "ok")
        assert state(line)["state"] == "error"
        assert verdict(post(line, encoded(DARK), "2")) == (503, "recheck", 907)
        server_of(line).stations.follow({("s1", PRODUCT): last_stored(line)})
    assert last_stored(line).passed is False


def test_challenge_is_answered_on_one_line_too(line: Client) -> None:
    response = challenge(line, BRIGHT, "c1", "scratch", accept="text/plain")
    code, disposition, result_id = response.text.split()
    assert (code, disposition) == ("7", "reject")
    assert result_id == last_stored(line).result_id


def test_challenge_of_several_views_is_judged_as_a_part(line: Client, stores: Stores) -> None:
    expect_views(line, stores, "left", "right")
    images = {"left": encoded(DARK), "right": encoded(BRIGHT)}
    response = post_views(line, images, "c1", path=PATH, query={"expected": "scratch"})
    assert response.json()["passed"] is True
    one = challenge(line, BRIGHT, "c22", "scratch", view_id="left")
    assert verdict(one) == (422, "recheck", 900), "one view is not the part"
    assert state(line)["state"] == "ready"


def test_challenge_that_can_not_be_recorded_is_not_passed(line: Client) -> None:
    heal = break_journal(line)
    assert verdict(challenge(line, BRIGHT, "c1", "scratch")) == (503, "recheck", 907)
    assert state(line)["last_challenge"]["passed"] is False, "it was not inspected, and holds all the same"
    heal()
    wait_until(lambda: server_of(line).journal.failure is None)
    assert state(line)["state"] == "error"
    assert challenge(line, BRIGHT, "c1", "scratch").json()["passed"] is True
    assert state(line)["state"] == "ready"


def test_challenges_stay_out_of_counts_and_of_watching_the_light(line: Client) -> None:
    challenge(line, BRIGHT, "c1", "scratch")
    assert state(line)["optics"] == {}
    count = server_of(line).registry.get_sample_value
    labels = {"station": "s1", "evaluation": "not_ok", "disposition": "reject", "result_code": "7"}
    assert count("loupe_inspections_total", {**labels, "mode": "challenge"}) == 1
    assert count("loupe_inspections_total", {**labels, "mode": "production"}) is None


def test_challenge_of_another_process_counts_as_soon_as_it_is_in_the_database(line: Client, stores: Stores) -> None:
    challenge(line, BRIGHT, "c1", "scratch")
    known = last_stored(line)
    later = known.challenged_at + timedelta(seconds=5)
    with stores.database.write() as connection:
        failed = {"id": "elsewhere", "passed": False, "reason": "not found", "challenged_at": later}
        challenges.store(connection, [Challenge(**{**_fields(known), **failed})])
    wait_until(lambda: state(line)["state"] == "error")
    assert verdict(post(line, encoded(DARK))) == (503, "recheck", 907)


def _fields(found: Challenge) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Challenge.__slots__}


def test_missed_defect_is_not_cured_by_a_good_part(line: Client) -> None:
    assert not challenge(line, DARK, "c1", "not_ok").json()["passed"]
    assert challenge(line, DARK, "c22", "ok").json()["passed"]
    assert state(line)["state"] == "error"
    assert verdict(post(line, encoded(DARK), "1")) == (503, "recheck", 907)
    assert challenge(line, BRIGHT, "c333", "not_ok").json()["passed"]
    assert verdict(post(line, encoded(DARK), "1")) == (200, "pass", 0)


def test_challenge_of_another_product_opens_nothing(line: Client, stores: Stores, tmp_path: Path) -> None:
    add_champion(stores, tmp_path, "lid")
    wait_until(lambda: "lid" in server_of(line).champions.loaded)
    assert not challenge(line, DARK, "c1", "not_ok", product=PRODUCT).json()["passed"]
    assert challenge(line, BRIGHT, "c22", "not_ok", product="lid").json()["passed"]
    assert verdict(post(line, encoded(DARK), "1", product=PRODUCT)) == (503, "recheck", 907)
    assert verdict(post(line, encoded(DARK), "2", product="lid")) == (200, "pass", 0)
    assert state(line)["last_challenge"]["product"] == PRODUCT


def test_failed_challenge_outlives_a_restart_without_the_image_store(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    images = stores.settings.data_dir / "images"
    with open_line() as http:
        images.rename(tmp_path / "aside")
        images.write_text("not a folder")
        assert verdict(post(http, encoded(BRIGHT), "kept")) == (200, "reject", 7)
        assert not challenge(http, DARK, "c1", "not_ok").json()["passed"]
    images.unlink()
    (tmp_path / "aside").rename(images)
    with open_line(ready=False) as http:
        wait_until(lambda: bool(server_of(http).champions.loaded))
        assert verdict(post(http, encoded(DARK), "1")) == (503, "recheck", 907)
