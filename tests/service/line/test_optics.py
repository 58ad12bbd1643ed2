"""The light changes: an alarm reaches the database, the metrics, the log and the verdicts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from annotated_types import Ge
from httpx2 import Client

from service.settings import Settings
from service.wiring import Stores
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import alarms_of, drained, events_of, post, recorded, server_of
from tests.service.line.stocked import add_champion, change_recipe, picture, wait_until

COMMISSION = 100
LEVEL, DIMMED = 70, 0.7
SIZE = (240, 320)


@pytest.fixture
def watched_line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[Client]:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        yield http


def show(http: Client, n: int, light: float = 1.0, trigger: str = "", **query: str) -> dict[str, Any]:
    """The answer to a part as raw pixels; small pictures have too few of them to tell noise from focus."""
    pixels = (picture(LEVEL, n, *SIZE) * light).astype(np.uint8)
    headers = {"x-pixel-format": "RGB8", "x-width": str(SIZE[1]), "x-height": str(SIZE[0])}
    response = post(
        http, pixels.tobytes(), trigger or f"n-{n}", media_type="application/octet-stream", headers=headers, **query
    )
    answer: dict[str, Any] = response.json()
    return answer


def commission(http: Client) -> None:
    calibrated = 0
    for n in range(20 * COMMISSION):
        assert show(http, n)["disposition"] == "pass"
        # While what keeps still is being learnt, images teach nothing else: how many these are is up to the machine.
        calibrated += server_of(http).watch.summary() == {"s1/0": "ok"}
        if calibrated == 20:
            return
    raise AssertionError(f"the camera is not commissioned: {server_of(http).watch.summary()}")


def dim(http: Client, count: int = 6) -> list[tuple[str, int]]:
    """Disposition and result code of parts under a lamp that has lost light."""
    answers = [show(http, 1000 + n, DIMMED, f"d-{n}") for n in range(count)]
    return [(a["disposition"], a["result_code"]) for a in answers]


def sample(http: Client, name: str, **labels: str) -> float | None:
    return server_of(http).registry.get_sample_value(name, labels)


def test_dimmed_lamp_alarms_everywhere_and_nothing_passes_until_it_clears(
    watched_line: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    http = watched_line
    commission(http)
    assert alarms_of(http) == []
    told = dim(http, 20)
    first = told.index(("recheck", 904))
    assert first <= 3
    assert set(told[first:]) == {("recheck", 904)}
    wait_until(lambda: drained(http) and len(alarms_of(http)) == 1)
    (alarm,) = alarms_of(http)
    raising = next(i for i in recorded(http) if i.trigger_id == f"d-{first}")
    assert (alarm.station, alarm.camera, alarm.product, alarm.cause) == ("s1", "0", "housing", "lamp_dim")
    assert alarm.ratio > 1
    assert alarm.result_id == raising.result_id
    assert alarm.images_since_onset <= 3
    assert raising.drift_state == "alarm"
    assert "lamp_dim" in raising.reasons[0]
    wait_until(lambda: sample(http, "loupe_optics_alarms_total", camera="s1/0", cause="lamp_dim") == 1)
    assert sample(http, "loupe_optics_alarm_standing", camera="s1/0") == 1
    text = http.get("/metrics").text
    assert 'loupe_optics_alarm_standing{camera="s1/0"} 1.0' in text
    assert 'loupe_optics_score_ratio{camera="s1/0",chart=' in text
    assert http.get("/v1/stations/s1/state").json()["optics"] == {"0": "alarm"}
    logged = capsys.readouterr()
    assert logged.out.count("optics_alarm ") + logged.err.count("optics_alarm ") == 1

    told_after = [show(http, 2000 + n, 1.0, f"r-{n}")["result_code"] for n in range(40)]
    cleared = told_after.index(0)
    assert set(told_after[:cleared]) == {904}
    assert set(told_after[cleared:]) == {0}
    wait_until(lambda: drained(http) and len(events_of(http, "optics_alarm_cleared")) == 1)
    (event,) = events_of(http, "optics_alarm_cleared")
    assert event.subject == "s1/0"
    assert event.detail["result_id"] == next(i for i in recorded(http) if i.trigger_id == f"r-{cleared}").result_id
    assert sample(http, "loupe_optics_alarm_standing", camera="s1/0") == 0


def test_recipe_may_let_the_line_go_on_under_an_alarm(watched_line: Client, stores: Stores) -> None:
    change_recipe(stores, on_optics_alarm="continue")
    wait_until(lambda: server_of(watched_line).champions.active(None, "s1").recipe.version == 2)
    commission(watched_line)
    assert set(dim(watched_line)) == {("pass", 0)}
    wait_until(lambda: len(alarms_of(watched_line)) == 1)
    assert recorded(watched_line)[0].drift_state == "alarm"


def test_challenges_and_shadows_neither_raise_an_alarm_nor_suffer_from_one(watched_line: Client) -> None:
    commission(watched_line)
    for n in range(10):
        assert show(watched_line, n, 0.3, f"c-{n}", mode="challenge")["disposition"] == "pass"
    assert server_of(watched_line).watch.summary() == {"s1/0": "ok"}
    dim(watched_line)
    assert show(watched_line, 5, 1.0, "golden", mode="challenge")["disposition"] == "pass"


def test_alarm_of_one_camera_leaves_the_others_alone(watched_line: Client) -> None:
    commission(watched_line)
    dim(watched_line)
    assert show(watched_line, 1, 1.0, "x", camera="side")["disposition"] == "pass"
    assert show(watched_line, 1, 1.0, "x", station="s2")["disposition"] == "pass"
    assert server_of(watched_line).watch.summary() == {
        "s1/0": "alarm",
        "s1/side": "commissioning",
        "s2/0": "commissioning",
    }


def test_intended_change_learns_anew(watched_line: Client) -> None:
    http = watched_line
    commission(http)
    dim(http)
    answer = http.post("/v1/stations/s1/cameras/0/intended-change")
    assert (answer.status_code, answer.json()) == (200, {"camera": "s1/0", "state": "commissioning"})
    assert show(http, 1, DIMMED, "after")["disposition"] == "pass"
    wait_until(lambda: [e.subject for e in events_of(http, "intended_change")] == ["s1/0"])
    assert http.post("/v1/stations/s1/cameras/unheard/intended-change").status_code == 404


def test_what_was_learnt_stays_across_a_restart(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=COMMISSION) as http:
        commission(http)
    with open_line(commission_images=COMMISSION) as http:
        assert server_of(http).watch.summary() == {"s1/0": "ok"}
        assert ("recheck", 904) in dim(http)
    with open_line(commission_images=COMMISSION) as http:
        assert server_of(http).watch.summary() == {"s1/0": "alarm"}
        assert show(http, 3000, DIMMED, "again")["result_code"] == 904


def test_unreadable_images_teach_nothing(watched_line: Client) -> None:
    for n in range(20):
        post(watched_line, b"no image", str(n))
    assert server_of(watched_line).watch.summary() == {}


def test_flat_synthetic_frames_are_answered(watched_line: Client) -> None:
    """Frames without any noise: no spread to divide by."""
    flat = [np.full((48, 64, 3), level, np.uint8) for level in (0, 60, 255)]
    for n in range(2 * COMMISSION):
        done, data = cv2.imencode(".png", flat[0 if n < COMMISSION + 20 else n % 3])
        assert done
        assert post(watched_line, bytes(data), str(n)).status_code == 200


def test_shortest_commissioning_that_the_settings_allow_can_watch(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    limit = next(m for m in Settings.model_fields["commission_images"].metadata if isinstance(m, Ge))
    add_champion(stores, tmp_path)
    with open_line(commission_images=limit.ge) as http:
        assert show(http, 1)["disposition"] == "pass"
