"""The status table of the line API, row by row; every body carries `disposition` and `result_code`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from httpx2 import Client

from models.preprocess import PIXEL_FORMATS
from service.wiring import Stores
from storage import keys
from storage.keys import secret_hash
from storage.records import Key
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, post, recorded, server_of, verdict
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    MADE_AT,
    MIDDLE,
    PRODUCT,
    add_champion,
    change_recipe,
    encoded,
    picture,
    wait_until,
)

ANSWER_FIELDS = {
    "result_id", "part_id", "trigger_id", "station", "product", "result_state", "evaluation", "disposition",
    "result_code", "reasons", "deadline_met", "is_partial", "is_simulated", "views", "provenance", "image_uri",
}  # fmt: skip
VIEW_FIELDS = {"view_id", "class", "p_defect", "thresholds", "class_probability", "novelty", "regions", "optics"}
PROVENANCE_FIELDS = {"recipe", "recipe_version", "model", "model_sha256", "execution_provider", "drift_state"}


def add_key(stores: Stores, station: str, secret: str) -> None:
    with stores.database.write() as connection:
        keys.add(connection, Key(f"key-{secret}", station, secret_hash(secret), MADE_AT, None))


@pytest.mark.parametrize(
    ("level", "evaluation", "disposition", "code", "name"),
    [
        (DARK, "ok", "pass", 0, "good"),
        (MIDDLE, "not_decidable", "recheck", 7, "scratch"),
        (BRIGHT, "not_ok", "reject", 7, "scratch"),
    ],
)
def test_answer_has_every_field_of_the_contract(
    line: Client, level: int, evaluation: str, disposition: str, code: int, name: str
) -> None:
    response = post(line, encoded(level), "41", part_id="P1", lot="L1", camera="top", view_id="v")
    answer = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert set(answer) == ANSWER_FIELDS
    assert set(answer["provenance"]) == PROVENANCE_FIELDS
    (view,) = answer["views"]
    assert set(view) == VIEW_FIELDS
    assert (answer["evaluation"], answer["disposition"], answer["result_code"]) == (evaluation, disposition, code)
    assert (answer["station"], answer["trigger_id"], answer["part_id"]) == ("s1", "41", "P1")
    assert (answer["product"], answer["result_state"]) == (PRODUCT, "completed")
    assert (answer["deadline_met"], answer["is_partial"], answer["is_simulated"]) == (True, False, False)
    assert view["view_id"] == "v"
    assert view["thresholds"] == {"pass": 0.3, "reject": 0.7}
    assert set(view["class_probability"]) == {"good", "scratch"}
    assert view["p_defect"] == pytest.approx(picture(level).mean() / 255, abs=0.01)
    assert view["p_defect"] == pytest.approx(view["class_probability"]["scratch"], abs=1e-6)
    assert view["novelty"] is view["regions"] is None
    assert view["optics"]["state"] == "commissioning"
    assert answer["provenance"]["execution_provider"] == "CPUExecutionProvider"
    assert (view["class"] == name) or disposition == "recheck"


def test_record_holds_what_was_answered_and_its_image(line: Client) -> None:
    body = encoded(BRIGHT)
    response = post(
        line,
        body,
        "5",
        part_id="P1",
        lot="L1",
        camera="top",
        captured_at="2026-03-01T06:30:00Z",
        trigger_epoch="boot-3",
    )
    wait_until(lambda: drained(line))
    (found,) = recorded(line)
    answer = response.json()
    assert found.answer.encode() == response.content
    assert found.result_id == answer["result_id"]
    assert (found.station, found.trigger_epoch, found.trigger_id) == ("s1", "boot-3", "5")
    assert (found.part_id, found.lot, found.captured_at) == ("P1", "L1", MADE_AT)
    assert (found.mode, found.keep_probability, found.supersedes) == ("production", 1.0, None)
    (view,) = found.views
    assert (view.camera, view.media_type, view.width, view.height) == ("top", "image/png", 64, 48)
    assert view.image_kept
    assert server_of(line).images.get(view.image_sha256) == body
    assert answer["image_uri"].endswith(view.image_sha256)


def test_plain_text_is_one_line_for_a_plc(line: Client) -> None:
    response = post(line, encoded(BRIGHT), headers={"accept": "text/plain"})
    code, disposition, result_id = response.text.removesuffix("\n").split(" ")
    assert response.headers["content-type"].startswith("text/plain")
    assert (code, disposition) == ("7", "reject")
    assert line.get(f"/v1/inspections/{result_id}").json()["result_id"] == result_id


def test_refusal_in_plain_text_has_the_same_form(line: Client) -> None:
    response = post(line, encoded(DARK), station="", headers={"accept": "text/plain"})
    assert (response.status_code, response.text) == (422, "900 recheck -\n")


def test_timing_travels_in_its_header(line: Client) -> None:
    stages = [entry.partition(";dur=") for entry in post(line, encoded(DARK)).headers["server-timing"].split(", ")]
    assert {"decode", "queue", "infer", "commit", "total"} == {name for name, _, _ in stages}
    assert all(float(ms) >= 0 for _, _, ms in stages)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff"])
def test_every_file_type_is_inspected(line: Client, suffix: str) -> None:
    media_type = {".jpg": "image/jpeg"}.get(suffix, f"image/{suffix[1:]}")
    assert verdict(post(line, encoded(BRIGHT, suffix=suffix), media_type=media_type)) == (200, "reject", 7)


@pytest.mark.parametrize("name", sorted(PIXEL_FORMATS))
def test_every_pixel_format_is_inspected(line: Client, name: str) -> None:
    pixel_format = PIXEL_FORMATS[name]
    deep = pixel_format.bits > 8
    channels = 3 if pixel_format.bytes_per_pixel == 3 else 1
    level = BRIGHT << (pixel_format.bits - 8)
    raw = np.full((48, 64, channels), level, "<u2" if deep else np.uint8).tobytes()
    headers = {"x-pixel-format": name, "x-width": "64", "x-height": "48"}
    assert verdict(post(line, raw, media_type="application/octet-stream", headers=headers)) == (200, "reject", 7)


def test_rows_with_a_stride_are_inspected(line: Client) -> None:
    raw = np.zeros((48, 80), np.uint8)
    raw[:, :64] = BRIGHT
    headers = {"x-pixel-format": "Mono8", "x-width": "64", "x-height": "48", "x-stride": "80"}
    answer = post(line, raw.tobytes(), media_type="application/octet-stream", headers=headers).json()
    assert answer["views"][0]["p_defect"] == pytest.approx(BRIGHT / 255, abs=1e-3)


@pytest.mark.parametrize("mode", ["shadow", "challenge"])
def test_other_modes_are_recorded_as_simulated_and_not_watched(line: Client, mode: str) -> None:
    answer = post(line, encoded(DARK), mode=mode).json()
    assert answer["is_simulated"] is True
    assert answer["provenance"]["drift_state"] == "unwatched"
    assert answer["disposition"] == "pass"
    assert server_of(line).watch.summary() == {}
    wait_until(lambda: drained(line))
    assert [found.mode for found in recorded(line)] == [mode]


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({"station": ""}, {}, 422),
        ({"trigger_id": ""}, {}, 422),
        ({"mode": "test"}, {}, 422),
        ({"deadline_ms": "soon"}, {}, 422),
        ({"captured_at": "yesterday"}, {}, 422),
        ({"lot": "x" * 201}, {}, 422),
        ({}, {"x-width": "wide"}, 422),
        ({}, {"content-type": "text/plain"}, 415),
        ({}, {"content-type": ""}, 415),
        ({}, {"content-type": "multipart/form-data; boundary=x"}, 422),
        ({}, {"content-type": "image/webp"}, 415),
    ],
)
def test_requests_that_name_no_part_or_no_type_are_refused_and_not_recorded(
    line: Client, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    refused = server_of(line).registry
    response = post(line, encoded(DARK), **{"trigger": "9", "headers": headers, **_renamed(query)})
    assert verdict(response) == (status, "recheck", 900)
    assert response.json()["remedy"]
    wait_until(lambda: drained(line))
    assert recorded(line) == []
    assert sum(s.value for m in refused.collect() for s in m.samples if s.name == "loupe_refusals_total") == 1


def _renamed(query: dict[str, str]) -> dict[str, Any]:
    return {"trigger" if name == "trigger_id" else name: value for name, value in query.items()}


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1000):
        yield bytes(1000)


def test_body_over_the_limit_is_refused(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(max_image_mb=0.1) as http:
        assert verdict(post(http, bytes(100_001))) == (413, "recheck", 900)
        assert verdict(post(http, bytes(100_000), "2")) == (200, "recheck", 906)


def test_body_over_the_limit_that_does_not_say_its_length_is_refused(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    query = {"station": "s1", "trigger_id": "1"}
    with open_line(max_image_mb=0.1) as http:
        response = http.post(
            "/v1/inspections", params=query, content=chunks(200_000), headers={"content-type": "image/png"}
        )
        assert "content-length" not in response.request.headers
        assert verdict(response) == (413, "recheck", 900)


def test_another_image_under_the_same_trigger_is_refused_and_the_first_stands(line: Client) -> None:
    first = post(line, encoded(DARK))
    assert verdict(post(line, encoded(BRIGHT))) == (409, "recheck", 900)
    assert post(line, encoded(DARK)).content == first.content


@pytest.mark.parametrize("changed", [{"station": "s2"}, {"trigger_epoch": "boot-2"}, {"view_id": "side"}])
def test_trigger_of_another_station_epoch_or_view_is_another_part(line: Client, changed: dict[str, Any]) -> None:
    first = post(line, encoded(DARK)).json()
    assert verdict(post(line, encoded(BRIGHT), **changed)) == (200, "reject", 7)
    assert post(line, encoded(DARK)).json()["result_id"] == first["result_id"]


def test_without_a_champion_nothing_is_ready(open_line: OpenLine) -> None:
    with open_line(ready=False) as http:
        assert verdict(post(http, encoded(DARK))) == (503, "recheck", 907)
        assert verdict(post(http, encoded(DARK), product="unheard")) == (503, "recheck", 907)


def test_product_may_be_left_out_only_while_there_is_one(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        assert post(http, encoded(DARK)).json()["product"] == PRODUCT
        add_champion(stores, tmp_path, "lid", gain=0.5)
        wait_until(lambda: len(server_of(http).champions.summary()) == 2)
        assert verdict(post(http, encoded(DARK), "2")) == (503, "recheck", 907)
        assert verdict(post(http, encoded(BRIGHT), "3", product=PRODUCT)) == (200, "reject", 7)
        assert verdict(post(http, encoded(BRIGHT), "4", product="lid")) == (200, "recheck", 7)


def test_without_keys_another_machine_is_refused(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(client=("192.0.2.7", 1)) as http:
        assert verdict(post(http, encoded(DARK))) == (401, "recheck", 900)
        assert verdict(http.get("/v1/stations/s1/state")) == (401, "recheck", 900)


def test_keys_are_followed_and_hold_per_station(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        assert verdict(post(http, encoded(DARK), "1"))[0] == 200
        add_key(stores, "s1", "secret")
        wait_until(lambda: http.get("/v1/stations").status_code == 401)
        bearer = {"authorization": "Bearer secret"}
        assert verdict(post(http, encoded(DARK), "2")) == (401, "recheck", 900)
        assert verdict(post(http, encoded(DARK), "2", headers={"authorization": "Bearer x"})) == (401, "recheck", 900)
        assert verdict(post(http, encoded(DARK), "2", headers=bearer)) == (200, "pass", 0)
        assert verdict(post(http, encoded(DARK), "2", headers=bearer, station="s2")) == (403, "recheck", 900)
        assert http.get("/v1/stations/s1/state", headers=bearer).status_code == 200
        assert http.get("/v1/stations/s2/state", headers=bearer).status_code == 403


def test_keys_hold_from_the_first_answer_after_a_start(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    add_key(stores, "s1", "secret")
    with open_line(ready=False) as http:
        seen = set()
        while http.get("/health/ready").status_code != 200:
            seen.add(post(http, encoded(DARK)).status_code)
        seen.add(post(http, encoded(DARK)).status_code)
    assert 200 not in seen


def test_other_addresses_and_verbs_answer_in_the_same_form(line: Client) -> None:
    assert verdict(line.get("/nothing")) == (404, "recheck", 900)
    assert verdict(line.put("/v1/inspections")) == (405, "recheck", 900)
    assert verdict(line.get("/v1/inspections/unheard")) == (404, "recheck", 900)
    assert verdict(line.get("/v1/parts/unheard")) == (404, "recheck", 900)


@pytest.mark.parametrize("fail_safe", ["recheck", "reject"])
def test_fail_safe_of_the_recipe_is_followed_live(line: Client, stores: Stores, fail_safe: str) -> None:
    change_recipe(stores, fail_safe=fail_safe, class_disposition={"scratch": "rework"})
    wait_until(lambda: server_of(line).champions.active(None, "s1").recipe.version == 2)
    assert verdict(post(line, b"no image", "1")) == (200, fail_safe, 906)
    assert verdict(post(line, encoded(MIDDLE), "2")) == (200, fail_safe, 7)
    assert verdict(post(line, encoded(BRIGHT), "3")) == (200, "rework", 7)
    assert json.loads(post(line, encoded(BRIGHT), "3").content)["provenance"]["recipe_version"] == 2


def test_share_of_good_parts_is_kept_and_everything_else(line: Client, stores: Stores) -> None:
    change_recipe(stores, keep_ok_share=0.5)
    wait_until(lambda: server_of(line).champions.active(None, "s1").recipe.version == 2)
    for n in range(40):
        post(line, encoded(DARK, seed=n), f"ok-{n}")
    for n in range(5):
        post(line, encoded(BRIGHT, seed=n), f"bad-{n}")
        post(line, encoded(DARK, seed=n)[:-20], f"torn-{n}")
    wait_until(lambda: drained(line))
    found = recorded(line)
    images = server_of(line).images
    good = [i for i in found if i.disposition == "pass"]
    assert len(good) == 40
    assert 8 <= sum(i.views[0].image_kept for i in good) <= 32
    assert {i.keep_probability for i in good} == {0.5}
    assert all(i.views[0].image_kept and i.keep_probability == 1.0 for i in found if i not in good)
    assert all(images.has(i.views[0].image_sha256) == i.views[0].image_kept for i in found)


def test_tall_and_tiny_images_are_inspected(line: Client) -> None:
    for n, shape in enumerate([(1, 1), (1, 500), (500, 1), (3, 2)]):
        done, data = cv2.imencode(".png", np.full((*shape, 3), BRIGHT, np.uint8))
        assert done
        assert verdict(post(line, bytes(data), str(n))) == (200, "reject", 7)
