"""Label books over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.console.app import create_app
from service.wiring import Stores
from tests.service.console.filled_store import PRODUCT, add_book, add_images, add_labels, label_of, pictures_of

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def client(stores: Stores) -> Iterator[TestClient]:
    with TestClient(create_app(stores)) as opened:
        yield opened


def book(client: TestClient, **parameters: Any) -> dict[str, Any]:
    response = client.get("/api/label-book", params={"product": PRODUCT, **parameters})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def changed(client: TestClient, classes: list[dict[str, Any]], made_from: int = 1, **more: Any) -> Any:
    body = {"product": PRODUCT, "made_from": made_from, "author": "lea", "note": "why", "classes": classes, **more}
    return client.put("/api/label-book", json=body)


def test_what_is_read_can_be_changed_and_written_back(client: TestClient, stores: Stores) -> None:
    add_book(stores, AT)
    (part,) = pictures_of(1, seed=3)
    add_images(stores, [part], AT)
    add_labels(stores, label_of(part.sha256, "mira", "scratch", AT))
    classes = book(client)["classes"]
    scratch = next(entry for entry in classes if entry["name"] == "scratch")
    scratch |= {"description": "longer than 1 mm", "reject": [{"image_sha256": part.sha256, "caption": "1.1 mm"}]}
    response = changed(client, classes)
    assert response.status_code == 200, response.text
    assert response.json() == {
        "product": PRODUCT,
        "version": 2,
        "written": True,
        "changed": [
            "scratch: definition '' -> 'longer than 1 mm'",
            f"scratch: reject sample {part.sha256[:12]} added",
        ],
        "judge_again": 1,
    }
    now = book(client)
    assert (now["version"], now["author"], now["note"]) == (2, "lea", "why")
    assert now["classes"] == classes
    assert book(client, version=1)["classes"] != classes
    assert changed(client, classes, 2).json()["written"] is False
    history = client.get("/api/label-book/history", params={"product": PRODUCT}).json()
    assert [(version["version"], len(version["changed"])) for version in history] == [(2, 2), (1, len(classes))]


def test_two_who_change_the_same_version_do_not_overwrite_each_other(client: TestClient, stores: Stores) -> None:
    add_book(stores, AT)
    classes = book(client)["classes"]
    assert changed(client, [*classes, {"name": "burr"}]).status_code == 200
    late = changed(client, [*classes, {"name": "chip"}])
    assert late.status_code == 409
    assert "version 2" in late.json()["remedy"]
    assert {entry["name"] for entry in book(client)["classes"]} >= {"burr"}


def test_a_product_can_begin_with_its_label_book(client: TestClient) -> None:
    response = changed(client, [{"name": "ok", "ok": True}, {"name": "dent"}], made_from=0)
    assert response.json()["version"] == 1
    assert [entry["number"] for entry in book(client)["classes"]] == [0, 1]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "scratch", "number": 77}, "has number"),
        ({"name": "a|b"}, "'a|b'"),
        ({"name": "burr", "colour": "red"}, "colour"),
        ({"name": "burr", "ok": "yes"}, "ok"),
        ({"name": "burr", "reject": [{"image_sha256": "f" * 64}]}, "limit sample"),
    ],
)
def test_a_wrong_class_is_refused_with_a_remedy(
    client: TestClient, stores: Stores, entry: dict[str, Any], said: str
) -> None:
    add_book(stores, AT)
    before = book(client)
    response = changed(client, [*before["classes"], entry])
    assert response.status_code == 422
    assert said in response.json()["what"]
    assert response.json()["remedy"]
    assert book(client) == before


@pytest.mark.parametrize("address", ["?product=x", f"?product={PRODUCT}&version=9", "/history?product=x"])
def test_a_book_or_version_that_there_is_not_is_not_found(client: TestClient, stores: Stores, address: str) -> None:
    add_book(stores, AT)
    response = client.get(f"/api/label-book{address}")
    assert response.status_code == 404
    assert response.json()["remedy"]
