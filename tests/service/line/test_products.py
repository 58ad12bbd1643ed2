"""A product is watched by its scores: what is raised, told, looked up, and withheld."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client

from monitoring.expected import FEWEST
from service.line.alarm_book import INTENDED_CHANGE, NEW_MODEL
from service.wiring import Stores
from storage import alarms
from storage.alarms import Episode
from tests.service.line.conftest import OpenLine
from tests.service.line.lighting import commission, dim, show
from tests.service.line.posting import drained, server_of
from tests.service.line.stocked import add_champion, wait_until

PARTS = 100
DEFECT = 2.2
"""How much brighter a defect is, for the model that takes brightness for one."""
NOT_CALIBRATED = 10_000
"""Images that teach a camera its light: more than any of these tests has."""


@pytest.fixture
def product_line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[Client]:
    add_champion(stores, tmp_path)
    with open_line(commission_images=NOT_CALIBRATED, commission_parts=PARTS) as http:
        yield http


def episodes(http: Client) -> list[Episode]:
    wait_until(lambda: drained(http))
    with server_of(http).database.read() as connection:
        return alarms.latest(connection, 100)


def product(http: Client) -> dict[str, Any]:
    (found,) = http.get("/v1/products", params={"station": "s1"}).json()["products"]
    assert isinstance(found, dict)
    return found


def learn(http: Client) -> None:
    for n in range(PARTS):
        show(http, f"n-{n}", DEFECT if n % 33 == 9 else 1.0)
    wait_until(lambda: product(http)["phase"] == "calibrated")


def many_defects(http: Client, name: str, count: int = 40) -> list[dict[str, Any]]:
    return [show(http, f"{name}-{n}", DEFECT if n % 2 else 1.0) for n in range(count)]


def test_a_rising_defect_rate_is_raised_told_and_cleared_by_nothing_but_parts(product_line: Client) -> None:
    http = product_line
    learn(http)
    answers = many_defects(http, "bad")
    wait_until(lambda: [found.state for found in episodes(http)] == ["diagnosed"])
    (found,) = http.get("/v1/optics/alarms").json()["alarms"]
    assert (found["station"], found["camera"], found["product"]) == ("s1", None, "housing")
    assert (found["cause"], found["changed"], found["chart"]) == ("defect_rate", "product", "defect_rate")
    assert found["advice"].startswith("More parts than usual look defective")
    assert found["images"] == {"before": None, "after": None}
    assert found["result_id"] in {answer["result_id"] for answer in answers}
    # It is the process that changed: parts are judged as ever.
    assert {answer["result_code"] for answer in answers} <= {0, *range(1, 900)}
    standing = product(http)["standing"]
    assert standing["alarm_id"] == found["alarm_id"]
    assert product(http)["withheld"] == "an alarm of the product itself stands"
    metrics = http.get("/metrics").text
    assert 'loupe_product_alarm_standing{product="housing",station="s1"} 1.0' in metrics
    assert 'loupe_product_score_ratio{chart="defect_rate",product="housing",station="s1"}' in metrics


def test_inspectors_are_asked_about_the_parts_of_all_cameras(product_line: Client, stores: Stores) -> None:
    http = product_line
    learn(http)
    many_defects(http, "bad")
    wait_until(lambda: [found.state for found in episodes(http)] == ["diagnosed"])
    (episode,) = episodes(http)
    with server_of(http).database.read() as connection:
        asked = alarms.images_in_question(connection, episode, 10)
    assert len(asked) == 10


def test_what_was_learnt_and_what_stands_outlive_a_restart(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=NOT_CALIBRATED, commission_parts=PARTS) as http:
        learn(http)
        many_defects(http, "bad")
        before = product(http)
    with open_line(commission_images=NOT_CALIBRATED, commission_parts=PARTS) as http:
        wait_until(lambda: product(http)["standing"] is not None)
        after = product(http)
        assert (after["phase"], after["parts"], after["charts"]) == (
            before["phase"],
            before["parts"],
            before["charts"],
        )
        assert after["standing"]["alarm_id"] == before["standing"]["alarm_id"]


def test_another_model_and_an_intended_change_end_the_alarm(
    product_line: Client, stores: Stores, tmp_path: Path
) -> None:
    http = product_line
    learn(http)
    many_defects(http, "bad")
    assert http.post("/v1/stations/s1/cameras/0/intended-change").status_code == 200
    wait_until(lambda: [found.state for found in episodes(http)] == ["cleared"])
    learn_again(http, "again")
    many_defects(http, "worse")
    wait_until(lambda: product(http)["standing"] is not None)
    other = add_champion(stores, tmp_path, gain=1.01)
    wait_until(lambda: http.get("/v1/stations/s1/state").json()["products"]["housing"]["model"] == other.id)
    show(http, "swap")
    wait_until(lambda: [found.state for found in episodes(http)] == ["cleared", "cleared"])
    assert [found.changes["cleared"].reason for found in episodes(http)] == [NEW_MODEL, INTENDED_CHANGE]
    assert (product(http)["model"], product(http)["baseline_version"]) == (other.id, 3)


def learn_again(http: Client, name: str) -> None:
    for n in range(PARTS):
        show(http, f"{name}-{n}", DEFECT if n % 33 == 9 else 1.0)
    wait_until(lambda: product(http)["phase"] == "calibrated")


def test_errors_are_expected_from_enough_parts_and_withheld_under_an_optics_alarm(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(commission_images=PARTS, commission_parts=PARTS) as http:
        show(http, "first")
        assert product(http)["withheld"] == f"fewer than {FEWEST} parts were decided under this model since the start"
        commission(http)
        for n in range(FEWEST):
            show(http, f"more-{n}")
        found = product(http)
        assert found["withheld"] is None
        escapes = found["expected"]["escapes"]
        assert escapes["low"] < escapes["expected"] < escapes["high"]
        assert found["expected"]["overkill"] is None
        assert 'loupe_expected_escape_share{bound="high",' in http.get("/metrics").text
        parts = found["parts"]
        assert dim(http, "dark", 5)[-1]["result_code"] == 904
        found = product(http)
        assert (found["expected"], found["withheld"]) == (None, "an alarm stands: camera s1/0")
        assert found["parts"] < parts + 5
        assert "loupe_expected_escape_share{" not in http.get("/metrics").text
