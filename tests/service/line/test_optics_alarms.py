"""What a line server does with an optics alarm: it can be looked up, it is told, and it outlives a restart."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from httpx2 import Client

from service.line.publishing import VerdictPublisher
from service.wiring import Stores
from storage import alarms, keys
from storage.alarms import Episode
from storage.keys import secret_hash
from storage.records import Key
from tests.service.line.breaking import left_by_a_kill
from tests.service.line.brokers import Listener, Mosquitto
from tests.service.line.conftest import OpenLine
from tests.service.line.lighting import COMMISSION, DIMMED, USUAL, commission, dim, restore, show
from tests.service.line.posting import drained, server_of
from tests.service.line.receiving import Receiver, receiving
from tests.service.line.stocked import MADE_AT, add_champion, wait_until


@pytest.fixture
def watched_line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[Client]:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        yield http


def episodes(http: Client) -> list[Episode]:
    """All alarms that are on record, newest first."""
    wait_until(lambda: drained(http))
    with server_of(http).database.read() as connection:
        return alarms.latest(connection, 1000)


def reached(http: Client, state: str, count: int = 1) -> None:
    """Wait until so many alarms are on record, and the newest in this state."""
    wait_until(lambda: [found.state for found in episodes(http)][:1] == [state] and len(episodes(http)) == count)


def alarms_of(http: Client, **query: Any) -> list[dict[str, Any]]:
    response = http.get("/v1/optics/alarms", params=query)
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json()["alarms"]
    return found


def test_an_alarm_can_be_looked_up_with_its_pictures_and_what_to_do(watched_line: Client) -> None:
    http = watched_line
    commission(http)
    answers = dim(http, "dark", 16)
    reached(http, "diagnosed")
    (alarm,) = alarms_of(http)
    raising = next(answer for answer in answers if answer["result_code"] == 904)
    assert (alarm["state"], alarm["cause"], alarm["title"]) == ("diagnosed", "lamp_dim", "The light is weaker")
    assert alarm["changed"] == "scene"
    assert re.match(r"The whole picture is about \d\d % darker: ", alarm["advice"])
    assert (alarm["station"], alarm["camera"], alarm["product"]) == ("s1", "0", "housing")
    assert (alarm["result_id"], alarm["baseline_version"]) == (raising["result_id"], 1)
    assert alarm["ratio"] > 1
    assert alarm["diagnosed_at"] > alarm["raised_at"]
    levels = {}
    for name, link in alarm["images"].items():
        answer = http.get(link)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        decoded = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        levels[name] = float(decoded.mean())
    assert levels["after"] == pytest.approx(DIMMED * levels["before"], rel=0.02)
    restore(http, "light")
    reached(http, "cleared")
    (alarm,) = alarms_of(http)
    assert (alarm["state"], alarm["cleared_by"], alarm["is_glitch"]) == ("cleared", "normal_again", False)


def test_a_heat_map_comes_when_it_is_asked_for(watched_line: Client) -> None:
    commission(watched_line)
    dim(watched_line, "dark", 14)
    reached(watched_line, "diagnosed")
    assert "heat_map" not in alarms_of(watched_line)[0]
    heat_map = np.array(alarms_of(watched_line, heat_map=True)[0]["heat_map"])
    assert heat_map.shape == (28, 28)
    assert 1.1 * np.log(DIMMED) < np.median(heat_map) < 0.5 * np.log(DIMMED)


def test_alarms_are_listed_by_station_and_camera(watched_line: Client) -> None:
    http = watched_line
    for station, camera in (("s1", "top"), ("s2", "top")):
        commission(http, station=station, camera=camera)
        dim(http, "dark", 6, station=station, camera=camera)
    wait_until(lambda: len(episodes(http)) == 2)
    assert {alarm["station"] for alarm in alarms_of(http)} == {"s1", "s2"}
    assert [alarm["station"] for alarm in alarms_of(http, limit=1)] == ["s2"]
    for query in (
        {"camera": "s1/top"},
        {"station": "s1"},
        {"station": "s1", "camera": "top"},
        {"station": "s1", "camera": "s1/top"},
    ):
        assert [alarm["station"] for alarm in alarms_of(http, **query)] == ["s1"], query
    assert len(alarms_of(http, camera="top")) == 2
    assert alarms_of(http, camera="side") == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"camera": "a\0"},
        {"station": "a\n"},
        {"station": "s1", "camera": "s2/0"},
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_a_remedy(line: Client, query: dict[str, Any]) -> None:
    answer = line.get("/v1/optics/alarms", params=query)
    assert answer.status_code == 422
    assert answer.json()["remedy"]


@pytest.mark.parametrize("path", ["unknown/before", "unknown/after", "%00/before"])
def test_a_picture_that_is_not_there_is_not_found(line: Client, path: str) -> None:
    assert line.get(f"/v1/optics/alarms/{path}").status_code == 404
    assert line.get("/v1/optics/alarms/unknown/between").status_code == 422


def test_every_camera_is_listed_with_how_it_is_watched(watched_line: Client) -> None:
    http = watched_line
    assert http.get("/v1/optics").json() == {"sights": []}
    show(http, "1", camera="new")
    commission(http)
    sights = {sight["camera"]: sight for sight in http.get("/v1/optics").json()["sights"]}
    assert (sights["new"]["phase"], sights["new"]["images"], sights["new"]["false_alarms"]) == (
        "commissioning",
        1,
        None,
    )
    found = sights["0"]
    assert (found["station"], found["product"], found["phase"], found["baseline_version"]) == (
        "s1",
        "housing",
        "calibrated",
        1,
    )
    assert found["images"] >= COMMISSION + USUAL
    assert (found["images_learnt"], found["images_to_learn"]) == (COMMISSION, COMMISSION)
    rate = found["false_alarms"]
    assert rate["wanted_per_10k"] == 1.0
    assert rate["low"] <= rate["rate_per_10k"] <= rate["high"]
    assert found["is_seen_now"]
    assert found["standing"] is None
    assert all(0 < chart["ratio"] <= 1 for chart in found["worst"])
    dim(http, "dark", 6)
    wait_until(lambda: http.get("/v1/optics").json()["sights"][0]["standing"] is not None)
    found = http.get("/v1/optics", params={"station": "s1"}).json()["sights"][0]
    assert found["standing"]["cause"] == "lamp_dim"
    assert found["worst"][0]["ratio"] > 1
    assert http.get("/v1/optics", params={"station": "s2"}).json() == {"sights": []}


def test_metrics_show_by_which_baseline_a_camera_is_watched(watched_line: Client) -> None:
    http = watched_line
    commission(http)
    text = http.get("/metrics").text
    for line in (
        'loupe_optics_baseline_version{camera="s1/0"} 1.0',
        'loupe_optics_phase{camera="s1/0",phase="calibrated"} 1.0',
        'loupe_optics_phase{camera="s1/0",phase="commissioning"} 0.0',
        'loupe_optics_false_alarm_rate{camera="s1/0"} 0.0',
    ):
        assert line in text
    assert http.post("/v1/stations/s1/cameras/0/intended-change").status_code == 200
    text = http.get("/metrics").text
    assert 'loupe_optics_baseline_version{camera="s1/0"} 2.0' in text
    assert 'loupe_optics_phase{camera="s1/0",phase="commissioning"} 1.0' in text


def test_an_intended_change_ends_the_alarm_that_stands(watched_line: Client) -> None:
    http = watched_line
    commission(http)
    dim(http, "dark", 14)
    reached(http, "diagnosed")
    assert http.post("/v1/stations/s1/cameras/0/intended-change").status_code == 200
    assert 'loupe_optics_alarm_standing{camera="s1/0"} 0.0' in http.get("/metrics").text
    reached(http, "cleared")
    assert alarms_of(http)[0]["cleared_by"] == "intended_change"
    assert http.get("/v1/optics").json()["sights"][0]["standing"] is None


def test_keys_guard_alarms_and_pictures_as_they_guard_their_neighbours(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with stores.database.write() as connection:
        keys.add(connection, Key("k1", "s1", secret_hash("secret"), MADE_AT, None))
    with open_line() as http:
        wait_until(lambda: http.get("/v1/spc").status_code == 401)
        for path in ("/v1/optics", "/v1/optics/alarms", "/v1/optics/alarms/x/before"):
            assert http.get(path).status_code == 401, path
            allowed = http.get(path, headers={"authorization": "Bearer secret"})
            assert allowed.status_code in (200, 404), path
            other = http.get(path, params={"station": "s2"}, headers={"authorization": "Bearer secret"})
            assert other.status_code == 403, path


def test_an_alarm_that_stands_keeps_its_id_over_a_restart(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
        dim(http, "dark", 6)
    with open_line(commission_images=COMMISSION) as http:
        reached(http, "raised")
        standing = http.get("/v1/optics").json()["sights"][0]["standing"]
        assert standing["alarm_id"] == episodes(http)[0].alarm.id
        assert http.get(standing["images"]["after"]).status_code == 200, "from the store: memory is new"
        assert 'loupe_optics_alarm_standing{camera="s1/0"} 1.0' in http.get("/metrics").text, "before any image"
        dim(http, "darker", 12)
        reached(http, "diagnosed")
    with open_line(commission_images=COMMISSION) as http:
        restore(http, "light")
        reached(http, "cleared")
        found = episodes(http)[0]
        assert (found.changes["cleared"].reason, found.changes["diagnosed"].cause) == ("normal_again", "lamp_dim")


def test_an_alarm_ends_with_a_baseline_that_is_gone_after_a_restart(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
        dim(http, "dark", 6)
        folder = server_of(http).baselines
    for path in folder.glob("*.json"):
        path.unlink()
    with open_line(commission_images=COMMISSION) as http:
        reached(http, "cleared")
        assert episodes(http)[0].changes["cleared"].reason == "restart"


def test_an_alarm_stands_on_under_its_id_after_a_kill(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
        dim(http, "dark", 14)
        reached(http, "diagnosed")
        (alarm,) = alarms_of(http)
        copy = left_by_a_kill(http, tmp_path / "killed")
    with open_line(commission_images=COMMISSION, data_dir=copy) as http:
        assert dim(http, "darker", 1)[0]["result_code"] == 904
        (after,) = alarms_of(http)
        assert (after["alarm_id"], after["cleared_at"]) == (alarm["alarm_id"], None)
        assert http.get(after["images"]["before"]).status_code == 200


def test_an_alarm_on_record_whose_camera_forgot_it_is_ended_after_a_restart(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
        dim(http, "dark", 14)
        reached(http, "diagnosed")
        (alarm,) = alarms_of(http)
        learnt = server_of(http).baselines
    for path in learnt.iterdir():
        path.unlink()
    with open_line(commission_images=COMMISSION) as http:
        reached(http, "cleared")
        (after,) = alarms_of(http)
        assert (after["alarm_id"], after["cleared_by"]) == (alarm["alarm_id"], "restart")


def test_an_intended_change_outlives_a_kill_right_after_it(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
        assert http.post("/v1/stations/s1/cameras/0/intended-change").status_code == 200
        copy = left_by_a_kill(http, tmp_path / "killed")
    with open_line(commission_images=COMMISSION, data_dir=copy) as http:
        (sight,) = http.get("/v1/optics").json()["sights"]
        assert (sight["baseline_version"], sight["phase"]) == (2, "commissioning")


def test_an_alarm_of_which_only_the_monitor_knows_is_recorded_after_a_restart(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
        dim(http, "dark", 6)
        memory = server_of(http).baselines.parent / "alarms.json"
    memory.unlink()
    with open_line(commission_images=COMMISSION) as http:
        wait_until(lambda: len(episodes(http)) == 2)
        newest = episodes(http)[0].alarm
        assert (newest.cause, newest.result_id, newest.after_sha256) == ("lamp_dim", "", None)


def test_the_broker_retains_what_stands(
    mosquitto: Mosquitto, stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    mosquitto.start()
    listener = Listener(mosquitto.port, "loupe/+/optics")
    add_champion(stores, tmp_path)
    address = f"mqtt://127.0.0.1:{mosquitto.port}"
    with open_line(commission_images=COMMISSION, mqtt_url=address, line_url="http://line:8080") as http:
        commission(http)
        dim(http, "dark", 16)
        wait_until(lambda: len(listener.bodies) == 2)
        late = Listener(mosquitto.port, "loupe/s1/optics")
        wait_until(lambda: len(late.bodies) == 1)
        restore(http, "light")
        wait_until(lambda: len(listener.bodies) == 3)
        reached(http, "cleared")
        (alarm,) = alarms_of(http)
    messages = [json.loads(body) for body in listener.bodies]
    assert [message["state"] for message in messages] == ["raised", "diagnosed", "cleared"]
    assert [len(message["standing"]) for message in messages] == [1, 1, 0]
    assert json.loads(late.bodies[0]) == messages[1]
    assert late.messages[0].retain
    assert {message["alarm_id"] for message in messages} == {alarm["alarm_id"]}
    assert messages[1]["images"]["after"] == f"http://line:8080/v1/optics/alarms/{alarm['alarm_id']}/after"
    assert (messages[1]["cause"], messages[1]["title"]) == (alarm["cause"], alarm["title"])
    listener.close()
    late.close()


def test_an_alarm_of_a_glitch_reaches_the_broker_and_no_webhook(
    mosquitto: Mosquitto, stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    mosquitto.start()
    listener = Listener(mosquitto.port, "loupe/+/optics")
    add_champion(stores, tmp_path)
    receiver = Receiver()
    settings = {"commission_images": COMMISSION, "mqtt_url": f"mqtt://127.0.0.1:{mosquitto.port}"}
    with receiving(receiver) as address, open_line(webhook_url=address, **settings) as http:
        commission(http)
        show(http, "flash", 0.3)
        wait_until(lambda: len(listener.bodies) == 1)
        restore(http, "light")
        wait_until(lambda: len(listener.bodies) == 2)
        (found,) = episodes(http)
        assert found.changes["cleared"].is_glitch
    assert receiver.asked == 0
    assert [json.loads(body)["state"] for body in listener.bodies] == ["raised", "cleared"]
    listener.close()


def test_webhooks_hear_of_an_alarm_that_lasts_although_they_were_away(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    receivers = Receiver([500]), Receiver()
    sent = {"result": "sent"}
    with (
        receiving(receivers[0]) as first,
        receiving(receivers[1]) as second,
        open_line(commission_images=COMMISSION, webhook_url=f"{first}, {second}") as http,
    ):
        commission(http)
        dim(http, "dark", 16)
        restore(http, "light")
        wait_until(lambda: all(len(receiver.taken) == 3 for receiver in receivers))
        wait_until(lambda: server_of(http).registry.get_sample_value("loupe_webhook_messages_total", sent) == 6)
    for receiver in receivers:
        assert [json.loads(body)["state"] for body in receiver.taken] == ["raised", "diagnosed", "cleared"]


def test_a_station_of_which_the_broker_lost_all_is_told_again(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, extra="persistence false")
    broker.start()
    sent: list[bool] = []
    opened = VerdictPublisher(f"mqtt://127.0.0.1:{broker.port}", counted=sent.append, client="test")
    opened.publish_optics("s1", b"1")
    opened.publish_optics("s2", b"2")
    opened.publish_optics("s1", b"3")
    wait_until(lambda: len(sent) == 3)
    broker.stop(kill=True)
    for stale in tmp_path.glob("mosquitto.db"):
        stale.unlink()
    broker.start()
    wait_until(lambda: opened.is_connected)
    listener = Listener(broker.port, "loupe/+/optics")
    wait_until(lambda: sorted(listener.bodies) == [b"2", b"3"])
    assert sent == [True] * 3, "a reminder is no message"
    listener.close()
    opened.close()
    broker.stop()
