"""What leads see and decide over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from labeling.settle import settle
from service.console.app import create_app
from service.wiring import Stores
from tests.service.console.filled_store import (
    PRODUCT,
    Picture,
    add_book,
    add_images,
    add_labels,
    label_of,
    pictures_of,
)

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def client(stores: Stores) -> Iterator[TestClient]:
    with TestClient(create_app(stores)) as opened:
        yield opened


@pytest.fixture
def parts(stores: Stores) -> list[Picture]:
    """Three images: agreed on, split two to one, split evenly."""
    found = pictures_of(3, seed=3)
    add_book(stores, AT)
    add_images(stores, found, AT)
    said = {0: ("ok", "ok", "ok"), 1: ("ok", "ok", "dent"), 2: ("ok", "dent", "scratch")}
    for n, classes in said.items():
        for inspector, class_name in zip(("mira", "olaf", "jo"), classes, strict=True):
            add_labels(stores, label_of(found[n].sha256, inspector, class_name, AT))
    return found


def disagreements(client: TestClient, **parameters: Any) -> dict[str, Any]:
    response = client.get("/api/disagreements", params={"product": PRODUCT, **parameters})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def decision(sha256: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": "decision-1",
        "product": PRODUCT,
        "image_sha256": sha256,
        "class_name": "dent",
        "reason": "deeper than the limit sample",
        "adjudicator": "lea",
        **changes,
    }


def test_disagreements_are_the_least_certain_images_with_all_that_was_said(
    client: TestClient, parts: list[Picture]
) -> None:
    found = disagreements(client)
    assert found["total"] == 2
    assert [image["image_sha256"] for image in found["images"]] == [parts[2].sha256, parts[1].sha256]
    first, second = found["images"]
    assert first["uncertainty"] > second["uncertainty"] > 0
    assert sum(first["probability"].values()) == pytest.approx(1, abs=1e-5)
    assert [(label["inspector"], label["class_name"]) for label in first["labels"]] == [
        ("jo", "scratch"),
        ("mira", "ok"),
        ("olaf", "dent"),
    ]
    assert client.get(first["image_url"]).content == parts[2].data
    page = disagreements(client, offset=1, limit=1)
    assert (page["total"], page["images"]) == (2, [second])


def test_an_image_that_a_lead_has_decided_is_no_disagreement_until_the_decision_is_taken_back(
    client: TestClient, parts: list[Picture]
) -> None:
    first = client.post("/api/adjudications", json=decision(parts[2].sha256))
    again = client.post("/api/adjudications", json=decision(parts[2].sha256))
    assert (first.status_code, again.status_code) == (201, 200)
    assert [image["image_sha256"] for image in disagreements(client)["images"]] == [parts[1].sha256]
    shown = disagreements(client, adjudicated=True)["images"]
    assert shown[0]["adjudication"]["class_name"] == "dent"
    assert shown[0]["adjudication"]["reason"] == "deeper than the limit sample"
    back = decision(parts[2].sha256, id="decision-2", class_name=None, reason="measured anew")
    assert client.post("/api/adjudications", json=back).status_code == 201
    assert disagreements(client)["total"] == 2
    assert client.post("/api/adjudications", json={**back, "id": "decision-3"}).status_code == 409


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"class_name": "rust"}, 422),
        ({"reason": " "}, 422),
        ({"image_sha256": "0" * 64}, 422),
        ({"product": "lid"}, 404),
        ({"decided_at": "2026-03-02T09:00:00"}, 422),
    ],
)
def test_a_wrong_decision_is_refused_with_a_remedy(
    client: TestClient, parts: list[Picture], changes: dict[str, Any], status: int
) -> None:
    response = client.post("/api/adjudications", json=decision(parts[0].sha256, **changes))
    assert response.status_code == status, response.text
    assert response.json()["remedy"]


def test_the_newest_settling_is_read_page_by_page(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    address = "/api/consensus"
    unsettled = client.get(address, params={"product": PRODUCT})
    assert unsettled.status_code == 404
    assert "loupe consensus" in unsettled.json()["remedy"]
    assert client.get(address, params={"product": "lid"}).status_code == 404
    with stores.database.write() as connection:
        run = settle(connection, PRODUCT, AT).run
        settle_later = settle(connection, PRODUCT, AT + timedelta(hours=1)).run
    assert settle_later == run
    found = client.get(address, params={"product": PRODUCT, "limit": 2}).json()
    rest = client.get(address, params={"product": PRODUCT, "offset": 2}).json()
    assert (found["run"], found["method"], found["total"], found["labels"]) == (run.id, run.method, 3, 9)
    rows = [*found["images"], *rest["images"]]
    assert [row["image_sha256"] for row in rows] == sorted(part.sha256 for part in parts)
    by_image = {row["image_sha256"]: row for row in rows}
    assert by_image[parts[0].sha256]["class_name"] == "ok"
    assert by_image[parts[0].sha256]["effective_votes"] > 0


def test_a_product_without_labels_has_no_disagreements(client: TestClient, stores: Stores) -> None:
    add_book(stores, AT)
    assert disagreements(client) == {"total": 0, "images": []}
    assert client.get("/api/disagreements", params={"product": "lid"}).status_code == 404
