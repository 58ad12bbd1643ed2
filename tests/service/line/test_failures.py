"""Something breaks: a part never passes by default, and nothing that was answered is lost."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from httpx2 import Client

from models.card import ClassInfo
from service.wiring import Stores
from storage.journal import Journal, JournalLocked
from tests.service.line.breaking import break_journal, no_large_files
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, events_of, is_idle, post, recorded, server_of, verdict
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    add_champion,
    change_recipe,
    encoded,
    promote,
    store_model,
    wait_until,
)
from tests.tiny_model import CLASSES, tiny_card, write_tiny_model


def test_part_is_rechecked_while_the_journal_can_not_be_written(line: Client) -> None:
    break_journal(line)
    response = post(line, encoded(DARK))
    assert verdict(response) == (200, "recheck", 908)
    assert response.json()["evaluation"] == "not_decidable"
    assert response.json()["image_uri"] is None
    assert verdict(post(line, encoded(BRIGHT), "2")) == (200, "recheck", 908)
    assert line.get("/health/live").status_code == 200


def test_line_goes_on_when_the_disk_takes_records_again(line: Client) -> None:
    assert verdict(post(line, encoded(DARK))) == (200, "pass", 0)
    heal = break_journal(line)
    assert verdict(post(line, encoded(DARK, seed=2), "2")) == (200, "recheck", 908)
    assert line_state(line) == "error"
    assert line.get("/health/ready").status_code == 503
    heal()
    wait_until(lambda: line_state(line) == "ready")
    assert verdict(post(line, encoded(DARK, seed=2), "2")) == (200, "pass", 0), "what is not on record is judged anew"
    wait_until(lambda: drained(line))
    assert {i.trigger_id for i in recorded(line)} == {"1", "2"}


def test_while_there_is_room_for_records_only_no_image_is_kept(line: Client, stores: Stores) -> None:
    change_recipe(stores, keep_ok_share=1.0)
    wait_until(lambda: server_of(line).champions.active(None, "s1").recipe.version == 2)
    with no_large_files():
        wait_until(lambda: server_of(line).journal.on_reserve)
        answers = [post(line, encoded(level), str(level)) for level in (DARK, BRIGHT)]
        assert [verdict(a) for a in answers] == [(200, "pass", 0), (200, "reject", 7)]
        assert [a.json()["image_uri"] for a in answers] == [None, None]
        assert line.get("/v1/stations/s1/state").json()["journal_on_reserve"]
        assert server_of(line).registry.get_sample_value("loupe_journal_on_reserve") == 1
    wait_until(lambda: not server_of(line).journal.on_reserve)
    assert post(line, encoded(BRIGHT, seed=3), "after").json()["image_uri"]
    wait_until(lambda: drained(line))
    kept = {i.trigger_id: (i.keep_probability, i.views[0].image_kept) for i in recorded(line)}
    assert kept == {str(DARK): (0.0, False), str(BRIGHT): (0.0, False), "after": (1.0, True)}
    images = server_of(line).images
    assert not any(images.has(i.views[0].image_sha256) for i in recorded(line) if i.trigger_id != "after")


def test_part_is_rechecked_after_the_journal_was_closed_under_the_line(line: Client) -> None:
    assert verdict(post(line, encoded(DARK), "1")) == (200, "pass", 0)
    wait_until(lambda: drained(line))
    server_of(line).journal.close()
    for n in range(2, 8):
        assert verdict(post(line, encoded(DARK, seed=n), str(n))) == (200, "recheck", 908)
    assert [i.trigger_id for i in recorded(line)] == ["1"]


def test_late_part_is_rechecked_while_the_journal_can_not_be_written(line: Client) -> None:
    break_journal(line)
    for n, deadline_ms in enumerate((0.001, 3, 5, 10)):
        wait_until(lambda: is_idle(line))  # else it may be turned away for the part before, whose answer left early
        status, disposition, code = verdict(post(line, encoded(DARK, seed=n), str(n), deadline_ms=deadline_ms))
        assert (status, disposition) == (200, "recheck")
        assert code in (901, 908)


def test_model_that_gives_no_number_never_passes(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    promote(stores, store_model(stores, write_tiny_model(tmp_path / "nan.onnx", gain=float("nan"))))
    with open_line() as http:
        for n, level in enumerate((0, DARK, BRIGHT)):
            response = post(http, encoded(level), str(n))
            assert verdict(response) == (200, "recheck", 900)
            assert response.json()["views"][0]["p_defect"] is None
        wait_until(lambda: drained(http))
        assert {(i.disposition, i.result_code) for i in recorded(http)} == {("recheck", 900)}


def test_start_without_a_database_serves_as_soon_as_it_is_there(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    stores.database.close()
    place = stores.settings.data_dir / "loupe.db"
    with_data, away = tmp_path / "away.db", tmp_path / "nowhere" / "loupe.db"
    shutil.move(place, with_data)
    with open_line(ready=False, database_url=f"sqlite:///{away}") as http:
        assert verdict(post(http, encoded(DARK))) == (503, "recheck", 907)
        assert http.get("/health/live").status_code == 200
        assert verdict(http.get("/v1/inspections/unheard")) == (503, "recheck", 907)
        away.parent.mkdir()
        shutil.move(with_data, away)
        wait_until(lambda: http.get("/health/ready").status_code == 200)
        assert verdict(post(http, encoded(DARK))) == (200, "pass", 0)
        wait_until(lambda: drained(http))
        assert len(recorded(http)) == 1


def test_start_on_a_port_where_no_database_answers_is_not_ready(open_line: OpenLine) -> None:
    with open_line(ready=False, database_url="postgresql://nobody@127.0.0.1:1/none") as http:
        assert verdict(post(http, encoded(DARK))) == (503, "recheck", 907)
        assert http.get("/health/ready").json()["result_code"] == 907
        assert verdict(http.get("/v1/parts/P1")) == (503, "recheck", 907)


def test_parts_are_decided_while_the_database_is_away_and_recorded_when_it_is_back(
    line: Client, stores: Stores
) -> None:
    server = server_of(line)
    with stores.database.write():
        answers = [post(line, encoded(DARK, seed=n), str(n)) for n in range(5)]
        assert {verdict(a) for a in answers} == {(200, "pass", 0)}
        assert server.journal.waiting_count >= 5
        assert recorded(line) == []
    wait_until(lambda: drained(line))
    assert {i.result_id for i in recorded(line)} == {a.json()["result_id"] for a in answers}


def test_image_store_that_is_away_keeps_records_waiting_also_across_a_restart(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    images = stores.settings.data_dir / "images"
    with open_line() as http:
        images.rename(tmp_path / "aside")
        images.write_text("not a folder")
        answer = post(http, encoded(BRIGHT))
        assert verdict(answer) == (200, "reject", 7)
        time.sleep(0.3)
        assert not drained(http)
    images.unlink()
    (tmp_path / "aside").rename(images)
    with open_line() as http:
        wait_until(lambda: drained(http))
        (found,) = recorded(http)
        assert found.answer.encode() == answer.content
        assert server_of(http).images.get(found.views[0].image_sha256) == encoded(BRIGHT)


def test_second_line_server_on_one_data_folder_does_not_start(line: Client, open_line: OpenLine) -> None:
    with pytest.raises(JournalLocked), open_line(ready=False):
        pass
    assert verdict(post(line, encoded(DARK))) == (200, "pass", 0)


def test_optics_state_that_can_not_be_read_does_not_stop_the_line(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    state = stores.settings.data_dir / "line" / "optics.json"
    state.parent.mkdir()
    for text in ("", "{", "[]", '{"s1/0": {}}', '{"s1/0": null}', '{"s1/0": {"commission": 1}}'):
        state.write_text(text)
        with open_line() as http:
            assert verdict(post(http, encoded(DARK))) == (200, "pass", 0)


def test_end_of_the_app_ends_its_threads_and_frees_the_journal(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        folder = server_of(http).journal.folder
    assert not {t.name for t in threading.enumerate()} & {
        "follow",
        "load",
        "drain",
        "tidy",
        "expire",
        "save_optics",
        "inspect-0",
        "inspect-1",
    }
    Journal(folder).close()


@pytest.mark.parametrize("name", ["scratch", "unheard"])
def test_card_with_other_class_numbers_gives_them(
    name: str, stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    card = tiny_card(classes=(CLASSES[0], ClassInfo(name, 899, False)))
    promote(stores, store_model(stores, write_tiny_model(tmp_path / "m.onnx", card), card=card))
    with open_line() as http:
        assert verdict(post(http, encoded(BRIGHT))) == (200, "reject", 899)


def test_model_refusal_is_on_record(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    promote(stores, store_model(stores, broken))
    with open_line(ready=False) as http:
        wait_until(lambda: bool(events_of(http, "model_refused")))
        assert verdict(post(http, encoded(DARK))) == (503, "recheck", 907)
        assert line_state(http) == "error"


def line_state(http: Client) -> str:
    return str(http.get("/v1/stations/s1/state").json()["state"])
