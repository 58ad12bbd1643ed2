from collections.abc import Iterator

import pytest

from storage import inspections, kept_views
from storage.database import Connection, Database
from storage.kept_views import KeptView
from storage.records import Inspection
from tests.storage.samples import PRODUCT, hash_of, inspection, later, view


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def good(result_id: str, at: float, **changes: object) -> Inspection:
    fields = {"evaluation": "ok", "disposition": "pass", "drift_state": "ok", "received_at": later(at)}
    return inspection(result_id, **{**fields, "views": (view(result_id, "0"),), **changes})


def found(connection: Connection, limit: int = 99, product: str | None = None) -> list[str]:
    views = kept_views.normal(connection, "press-1", "top", limit, product)
    return [one.image_sha256 for one in views]


def test_the_newest_come_in_the_order_they_were_taken(connection: Connection) -> None:
    inspections.store(connection, [good(f"r{n}", n) for n in range(5)])
    assert found(connection) == [hash_of(f"r{n}/0") for n in range(5)]
    assert found(connection, limit=2) == [hash_of("r3/0"), hash_of("r4/0")]
    assert kept_views.normal(connection, "press-1", "top", 1) == [KeptView(hash_of("r4/0"), "image/jpeg", PRODUCT)]
    assert found(connection, product=PRODUCT) == found(connection)
    assert found(connection, product="another") == []


def test_only_normal_images_of_that_camera_are_taken(connection: Connection) -> None:
    rows = [
        good("good", 0),
        good("rejected", 1, evaluation="not_ok"),
        good("undecided", 2, evaluation="not_decidable"),
        good("under an alarm", 3, drift_state="alarm"),
        good("shadow", 4, mode="shadow"),
        good("elsewhere", 5, station="press-2"),
        good("other camera", 6, views=(view("other camera", "0", camera="side"),)),
        good("not kept", 7, views=(view("not kept", "0", image_kept=False),)),
        good("unreadable", 8, views=(view("unreadable", "0", p_defect=None),)),
        good("late", 9, supersedes="good"),
    ]
    inspections.store(connection, rows)
    assert found(connection) == [hash_of("late/0")]
