"""The pictures of alarms over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from service.console.app import create_app
from service.wiring import Stores
from tests.service.console.filled_store import add_alarms, alarm_of, pictures_of_alarm

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def client(stores: Stores) -> Iterator[TestClient]:
    with TestClient(create_app(stores)) as opened:
        yield opened


def test_pictures_of_an_alarm_are_served_as_stored_and_cacheable(client: TestClient, stores: Stores) -> None:
    before, after = pictures_of_alarm(stores)
    add_alarms(stores, [alarm_of("a1", AT, before_sha256=before, after_sha256=after)])
    for which, sha256 in (("before", before), ("after", after)):
        response = client.get(f"/api/alarms/a1/{which}")
        assert response.content == stores.images.get(sha256)
        assert response.headers["content-type"] == "image/png"
        assert "immutable" in response.headers["cache-control"]


@pytest.mark.parametrize("address", ["bare/before", "lost/after", "nobody/before"])
def test_picture_that_is_not_there_is_not_found_with_a_reason(client: TestClient, stores: Stores, address: str) -> None:
    add_alarms(stores, [alarm_of("bare", AT), alarm_of("lost", AT, after_sha256="0" * 64)])
    response = client.get(f"/api/alarms/{address}")
    assert response.status_code == 404
    assert response.json()["remedy"]


def test_an_alarm_has_no_other_pictures(client: TestClient, stores: Stores) -> None:
    add_alarms(stores, [alarm_of("a1", AT)])
    assert client.get("/api/alarms/a1/heat").status_code == 422
