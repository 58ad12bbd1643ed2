"""The console's JSON API against a real database and image store."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from labeling.settle import settle
from service.console.app import create_app
from service.wiring import Stores, now
from storage import labels, pictures
from storage.records import Label
from tests.service.console.filled_store import (
    PRODUCT,
    Picture,
    add_book,
    add_images,
    add_inspections,
    add_labels,
    label_of,
    pictures_of,
)

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def client(stores: Stores) -> Iterator[TestClient]:
    with TestClient(create_app(stores)) as opened:
        yield opened


@pytest.fixture(scope="module")
def parts() -> list[Picture]:
    return pictures_of(8, seed=3)


def body(sha256: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"00000000-{sha256[:8]}",
        "product": PRODUCT,
        "image_sha256": sha256,
        "inspector": "mira",
        "class_name": "scratch",
        **changes,
    }


def stored(stores: Stores) -> list[Label]:
    with stores.database.read() as connection:
        return labels.of_product(connection, PRODUCT)


def tasks(client: TestClient, inspector: str = "mira", n: int = 50) -> list[str]:
    response = client.get("/api/tasks", params={"product": PRODUCT, "inspector": inspector, "n": n})
    assert response.status_code == 200, response.text
    return [task["image_sha256"] for task in response.json()["tasks"]]


def test_image_is_served_as_stored_and_cacheable(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_images(stores, parts[:1], AT)
    response = client.get(f"/api/images/{parts[0].sha256}")
    assert response.content == parts[0].data
    assert response.headers["content-type"] == "image/jpeg"
    assert "immutable" in response.headers["cache-control"]


def test_image_kept_on_the_line_is_served(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_inspections(stores, parts[:1], AT)
    assert client.get(f"/api/images/{parts[0].sha256}").content == parts[0].data


def test_image_that_was_not_kept_is_not_found_with_a_reason(
    client: TestClient, stores: Stores, parts: list[Picture]
) -> None:
    add_inspections(stores, parts[:1], AT, kept=False)
    response = client.get(f"/api/images/{parts[0].sha256}")
    assert response.status_code == 404
    assert parts[0].sha256 in response.json()["what"]
    assert "retention" in response.json()["remedy"]


def test_content_that_is_no_image_is_not_served(client: TestClient, stores: Stores) -> None:
    sha256 = stores.images.put(b"a model file")
    assert client.get(f"/api/images/{sha256}").status_code == 404


def test_preview_is_a_smaller_jpeg(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_images(stores, parts[:1], AT)
    response = client.get(f"/api/images/{parts[0].sha256}/preview", params={"side": 80})
    decoded = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert response.headers["content-type"] == "image/jpeg"
    assert decoded.shape == (60, 80, 3)


def test_unreadable_image_has_no_preview(client: TestClient, stores: Stores) -> None:
    broken = Picture(b"not a jpeg", "ok")
    add_images(stores, [broken], AT)
    response = client.get(f"/api/images/{broken.sha256}/preview")
    assert response.status_code == 415
    assert response.json()["remedy"]


def test_products_and_label_book(client: TestClient, stores: Stores) -> None:
    assert client.get("/api/products").json() == []
    add_book(stores, AT)
    assert client.get("/api/products").json() == [{"product": PRODUCT, "book_version": 1}]
    book = client.get("/api/label-book", params={"product": PRODUCT}).json()
    assert (book["version"], book["author"], book["note"]) == (1, "", "")
    assert book["classes"][0] == {
        "name": "ok",
        "number": 0,
        "ok": True,
        "description": "",
        "severity_rank": None,
        "expected_share": None,
        "retired": False,
        "accept": [],
        "reject": [],
    }


@pytest.mark.parametrize(
    "address",
    [
        "/api/tasks?product=a%00b&inspector=mira",
        "/api/tasks?product=cap&inspector=mi%00ra",
        "/api/label-book?product=%00",
        "/api/label-book/history?product=%00",
        "/api/withdrawals?product=%00",
        "/api/withdrawals?product=cap&offset=100000000000000000000",
        "/api/disagreements?product=cap%00",
        "/api/disagreements?product=cap&offset=9223372036854775808",
        "/api/consensus?product=cap%00",
        "/api/consensus?product=cap&offset=9223372036854775807",
    ],
)
def test_what_no_database_can_look_up_is_refused(client: TestClient, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 422
    assert set(response.json()) == {"what", "remedy"}


def test_a_label_that_no_database_can_look_up_is_refused(client: TestClient) -> None:
    assert client.post("/api/labels/a%00b/withdraw", json={"inspector": "mira"}).status_code == 422


@pytest.mark.parametrize("address", ["/api/label-book?product=x", "/api/tasks?product=x&inspector=mira", "/api/x"])
def test_what_does_not_exist_is_said_with_a_remedy(client: TestClient, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert set(response.json()) == {"what", "remedy"}


def test_label_is_stored_once_however_often_it_is_sent(
    client: TestClient, stores: Stores, parts: list[Picture]
) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:1], AT)
    more = {"also": ["dent"], "severity": 2, "shift": "late"}
    sent = body(parts[0].sha256, unsure=True, comment=" near the gate ", seconds=2.5, region=[1, 2, 30, 40], **more)
    first, again = client.post("/api/labels", json=sent), client.post("/api/labels", json=sent)
    assert (first.status_code, first.json()["stored"]) == (201, True)
    assert (again.status_code, again.json()["stored"]) == (200, False)
    (label,) = stored(stores)
    assert (label.class_name, label.unsure, label.comment, label.seconds) == ("scratch", True, "near the gate", 2.5)
    assert (label.also, label.severity, label.shift) == (("dent",), 2, "late")
    assert (label.region, label.occasion, label.source, label.book_version) == ((1, 2, 30, 40), 0, "console", 1)


def test_another_judgement_or_decision_under_a_taken_id_is_a_conflict(
    client: TestClient, stores: Stores, parts: list[Picture]
) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:1], AT)
    sent = body(parts[0].sha256)
    decided = {**{name: sent[name] for name in ("id", "product", "image_sha256", "class_name")}}
    decided |= {"reason": "deep", "adjudicator": "lea"}
    for address, one in (("/api/labels", sent), ("/api/adjudications", decided)):
        assert client.post(address, json=one).status_code == 201
        refused = client.post(address, json={**one, "class_name": "dent"})
        assert (refused.status_code, set(refused.json())) == (409, {"what", "remedy"})
        assert client.post(address, json=one).status_code == 200


def test_second_look_of_an_inspector_is_counted(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:1], AT)
    sha256 = parts[0].sha256
    for number, inspector in enumerate(("mira", "mira", "jo")):
        response = client.post("/api/labels", json=body(sha256, id=f"label-id-{number}", inspector=inspector))
        assert response.status_code == 201
    assert {(label.inspector, label.occasion) for label in stored(stores)} == {("mira", 0), ("mira", 1), ("jo", 0)}


def test_label_is_taken_back_by_who_gave_it(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:1], AT)
    sent = body(parts[0].sha256)
    address = f"/api/labels/{sent['id']}/withdraw"
    assert client.post(address, json={"inspector": "mira"}).status_code == 404
    client.post("/api/labels", json=sent)
    refused = client.post(address, json={"inspector": "jo"})
    assert (refused.status_code, set(refused.json())) == (403, {"what", "remedy"})
    assert tasks(client) == []
    first = client.post(address, json={"inspector": "mira", "reason": "wrong key"})
    again = client.post(address, json={"inspector": "mira"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == {"id": sent["id"], "withdrawn": True}
    assert stored(stores) == []
    assert tasks(client) == [parts[0].sha256], "the image comes again"
    (kept,) = (listed := client.get("/api/withdrawals", params={"product": PRODUCT}).json())["withdrawals"]
    assert (listed["total"], kept["id"], kept["withdrawn_by"], kept["reason"]) == (1, sent["id"], "mira", "wrong key")
    assert client.get("/api/withdrawals", params={"product": "nothing"}).status_code == 404


def test_label_of_a_kept_line_image_can_be_settled(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_book(stores, AT)
    (inspection,) = add_inspections(stores, parts[:1], AT)
    assert client.post("/api/labels", json=body(parts[0].sha256)).status_code == 201
    with stores.database.write() as connection:
        (image,) = pictures.of_product(connection, PRODUCT)
        settled = settle(connection, PRODUCT, AT)
    assert (image.source, image.part_group) == ("line", inspection.part_id)
    assert settled.images == (parts[0].sha256,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_name": "rust"}, "rust"),
        ({"image_sha256": "0" * 64}, "0" * 64),
        ({"product": "lid"}, "lid"),
        ({"inspector": " "}, "inspector"),
        ({"seconds": -1}, "seconds"),
        ({"also": ["rust"]}, "rust"),
        ({"also": ["ok"]}, "'ok'"),
        ({"severity": -1}, "severity"),
        ({"region": [1, 2, 0, 4]}, "region"),
        ({"comment": "a\0b"}, "comment"),
        ({"shift": "x" * 121}, "shift"),
        ({"judged_at": "2026-03-02T09:00:00"}, "judged_at"),
        ({"judged_at": "0001-01-01T00:00:00+14:00"}, "judged_at: a time from 1970 to 2099"),
        ({"judged_at": "9999-12-31T23:59:59-14:00"}, "judged_at: a time from 1970 to 2099"),
        ({"inspector": "mi\0ra"}, "inspector: a name has no characters that nobody sees"),
        ({"inspector": "mira\u200b"}, "inspector"),
        ({"inspector": "\u202eraim"}, "inspector"),
        ({"product": "li\nd"}, "product"),
        ({"comment": "a\x1bb"}, "comment"),
        ({"model": "x"}, "model"),
    ],
)
def test_wrong_label_is_refused_with_a_remedy(
    client: TestClient, stores: Stores, parts: list[Picture], changes: dict[str, Any], said: str
) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:1], AT)
    response = client.post("/api/labels", json=body(parts[0].sha256, **changes))
    assert response.status_code == 422
    assert said in response.json()["what"]
    assert response.json()["remedy"]
    assert stored(stores) == []


def test_images_that_nobody_judged_come_first_wherever_they_come_from(
    client: TestClient, stores: Stores, parts: list[Picture]
) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:4], AT)
    add_inspections(stores, parts[4:6], AT)
    add_inspections(stores, parts[6:], AT, kept=False)
    add_labels(stores, label_of(parts[0].sha256, "jo", "ok", AT))
    found = tasks(client)
    assert set(found[:5]) == {part.sha256 for part in parts[1:6]}
    assert found[5:] == [parts[0].sha256]
    client.post("/api/labels", json=body(found[0]))
    assert found[0] not in tasks(client)


def test_task_shows_nothing_that_sways_a_judgement(client: TestClient, stores: Stores, parts: list[Picture]) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:1], AT)
    add_labels(stores, label_of(parts[0].sha256, "jo", parts[0].truth, AT))
    response = client.get("/api/tasks", params={"product": PRODUCT, "inspector": "mira"}).json()
    assert response == {
        "tasks": [{"image_sha256": parts[0].sha256, "image_url": f"/api/images/{parts[0].sha256}"}],
        "unlabelled": 0,
        "judged": 0,
    }


def test_inspector_is_asked_again_only_once_and_only_after_hours(
    client: TestClient, stores: Stores, parts: list[Picture]
) -> None:
    add_book(stores, AT)
    add_images(stores, parts[:2], AT)
    recent, long_ago = parts[0].sha256, parts[1].sha256
    add_labels(
        stores,
        label_of(recent, "mira", "ok", now() - timedelta(hours=1)),
        label_of(long_ago, "mira", "ok", now() - timedelta(hours=5)),
    )
    assert tasks(client) == [long_ago]
    add_labels(stores, label_of(long_ago, "mira", "dent", now() - timedelta(hours=5), occasion=1))
    assert tasks(client) == []


def test_tiff_is_offered_in_a_form_that_browsers_show(client: TestClient, stores: Stores) -> None:
    done, encoded = cv2.imencode(".tiff", np.full((20, 30, 3), 90, np.uint8))
    assert done
    picture = Picture(encoded.tobytes(), "ok")
    add_book(stores, AT)
    add_images(stores, [picture], AT, media_type="image/tiff")
    (task,) = client.get("/api/tasks", params={"product": PRODUCT, "inspector": "mira"}).json()["tasks"]
    shown = client.get(task["image_url"])
    assert shown.headers["content-type"] == "image/jpeg"
    decoded = cv2.imdecode(np.frombuffer(shown.content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (20, 30, 3)


def test_labelling_page_and_its_files_are_checked_for_updates(client: TestClient) -> None:
    for address in ("/label", "/static/label.js", "/static/console.css"):
        response = client.get(address)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-cache"
