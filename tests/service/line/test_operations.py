"""What whoever supervises the line can see: state, health, metrics, records."""

import time
from pathlib import Path

import numpy as np
from httpx2 import Client

from service.wiring import Stores
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, post, server_of
from tests.service.line.stocked import BRIGHT, DARK, PRODUCT, add_champion, encoded, wait_until


def test_life_of_a_station(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    with open_line(ready=False) as http:
        state = http.get("/v1/stations/s1/state").json()
        assert (state["state"], state["parts_since_start"], state["last_part_at"]) == ("preoperational", 0, None)
        assert http.get("/v1/stations").json() == []
        ready = http.get("/health/ready")
        assert (ready.status_code, ready.json()["result_code"], ready.json()["disposition"]) == (503, 907, "recheck")
        model = add_champion(stores, tmp_path)
        wait_until(lambda: http.get("/health/ready").status_code == 200)
        post(http, encoded(DARK), "1")
        post(http, encoded(DARK), "1")
        post(http, encoded(BRIGHT), "2", camera="top")
        state = http.get("/v1/stations/s1/state").json()
        assert (state["station"], state["state"], state["parts_since_start"]) == ("s1", "ready", 3)
        assert state["products"] == {
            PRODUCT: {
                "model": model.id,
                "execution_provider": "CPUExecutionProvider",
                "recipe_fits": True,
                "resting": False,
                "refused": None,
            }
        }
        assert set(state["optics"]) == {"0", "top"}
        assert [s["station"] for s in http.get("/v1/stations").json()] == ["s1"]


def test_heartbeat_counts(line: Client) -> None:
    first = line.get("/v1/stations/s1/state").json()["heartbeat"]
    began = time.monotonic()
    wait_until(lambda: line.get("/v1/stations/s1/state").json()["heartbeat"] > first)
    assert time.monotonic() - began < 2


def test_process_that_serves_nothing_yet_is_alive(open_line: OpenLine) -> None:
    with open_line(ready=False) as http:
        assert http.get("/health/live").json() == {"status": "live"}


def test_health_and_metrics_need_no_key(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(client=("192.0.2.7", 1)) as http:
        assert [http.get(path).status_code for path in ("/health/live", "/health/ready", "/metrics")] == [200] * 3


def test_metrics_count_every_answer_refusal_and_repeat(line: Client) -> None:
    post(line, encoded(DARK), "1")
    post(line, encoded(DARK), "1")
    post(line, encoded(BRIGHT), "2", mode="shadow")
    post(line, b"no image", "3")
    post(line, encoded(DARK), "2")
    registry = server_of(line).registry
    name = "loupe_inspections_total"
    common = {"station": "s1", "mode": "production"}
    assert (
        registry.get_sample_value(name, {**common, "evaluation": "ok", "disposition": "pass", "result_code": "0"}) == 1
    )
    assert (
        registry.get_sample_value(
            name, {**common, "evaluation": "not_decidable", "disposition": "recheck", "result_code": "906"}
        )
        == 1
    )
    assert (
        registry.get_sample_value(
            name,
            {"station": "s1", "mode": "shadow", "evaluation": "not_ok", "disposition": "reject", "result_code": "7"},
        )
        == 1
    )
    assert registry.get_sample_value("loupe_repeats_total") == 1
    assert registry.get_sample_value("loupe_refusals_total", {"reason": "OtherImage"}) == 1
    assert registry.get_sample_value("loupe_ready") == 1
    assert registry.get_sample_value("loupe_inspection_stage_seconds_count", {"stage": "infer"}) == 2
    text = line.get("/metrics").text
    assert 'loupe_champion_info{model="' in text
    wait_until(lambda: drained(line) and registry.get_sample_value("loupe_journal_waiting") == 0)
    assert (registry.get_sample_value("loupe_last_drain_timestamp_seconds") or 0) > time.time() - 5


def test_names_from_outside_do_not_fill_the_memory(line: Client) -> None:
    server = server_of(line)
    for n in range(300):
        server.metrics.watched(f"s{n}/0", (), np.empty(0), standing=False)
        server.stations.seen(f"s{n}", server.clock(), None)
    assert len(server.stations.names()) == 256
    assert line.get("/metrics").text.count("loupe_optics_alarm_standing{") == 257


def test_answer_can_be_had_again_before_and_after_it_reached_the_database(line: Client, stores: Stores) -> None:
    with stores.database.write():
        answer = post(line, encoded(BRIGHT))
        address = f"/v1/inspections/{answer.json()['result_id']}"
        assert line.get(address).content == answer.content
    wait_until(lambda: drained(line))
    assert line.get(address).content == answer.content
