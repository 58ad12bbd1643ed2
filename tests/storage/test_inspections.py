from collections.abc import Iterator

import pytest

from storage import inspections, pictures
from storage.database import Connection, Database
from tests.storage.samples import NOW, PRODUCT, hash_of, image, inspection, later, view


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def test_an_inspection_comes_back_with_its_views(connection: Connection) -> None:
    assert inspections.store(connection, [inspection("r1"), inspection("r2", views=())]) == 2
    assert inspections.find(connection, "r1") == inspection("r1")
    assert inspections.find(connection, "r2") == inspection("r2", views=())
    assert inspections.find(connection, "none") is None


def test_what_is_there_already_is_skipped_and_stays(connection: Connection) -> None:
    inspections.store(connection, [inspection("r1")])
    assert inspections.store(connection, [inspection("r1", disposition="pass"), inspection("r2")]) == 1
    assert inspections.find(connection, "r1") == inspection("r1")
    assert inspections.store(connection, []) == 0


def test_the_newest_come_first_and_can_be_narrowed(connection: Connection) -> None:
    rows = [
        inspection("a", received_at=later(1), station="press-1"),
        inspection("b", received_at=later(2), station="press-2"),
        inspection("c", received_at=later(3), station="press-1", disposition="pass"),
    ]
    inspections.store(connection, rows)
    assert [found.result_id for found in inspections.latest(connection, 2)] == ["c", "b"]
    assert [found.result_id for found in inspections.latest(connection, 9, station="press-1")] == ["c", "a"]
    narrowed = inspections.latest(connection, 9, station="press-1", disposition="reject")
    assert [found.result_id for found in narrowed] == ["a"]


def test_a_part_has_its_inspections_oldest_first(connection: Connection) -> None:
    rows = [inspection(str(n), part_id="P", received_at=later(-n)) for n in range(3)]
    inspections.store(connection, [*rows, inspection("other")])
    assert [found.result_id for found in inspections.of_part(connection, "P")] == ["2", "1", "0"]


def test_yield_counts_production_once_and_since_a_time(connection: Connection) -> None:
    rows = [
        inspection("before", received_at=later(-1)),
        inspection("shadow", mode="shadow"),
        inspection("challenge", mode="challenge"),
        inspection("fail-safe", disposition="recheck", received_at=NOW),
        inspection("late", disposition="pass", supersedes="fail-safe"),
        inspection("good", disposition="pass"),
        inspection("elsewhere", station="press-2"),
    ]
    inspections.store(connection, rows)
    assert inspections.counts(connection, NOW) == {"press-1": {"pass": 2}, "press-2": {"reject": 1}}
    assert inspections.superseding(connection, "fail-safe") == "late"
    assert inspections.superseding(connection, "late") is None


def test_each_station_was_last_seen_with_its_newest_part(connection: Connection) -> None:
    rows = [
        inspection("1", received_at=later(1)),
        inspection("2", received_at=later(5), mode="challenge"),
        inspection("3", station="press-2", received_at=later(3)),
    ]
    inspections.store(connection, rows)
    assert inspections.last_seen(connection) == {"press-1": later(5), "press-2": later(3)}


def test_only_kept_images_of_production_wait_for_a_label(connection: Connection) -> None:
    def seen(name: str, kept: bool = True, **changes: object) -> None:
        shown = view(name, image_sha256=hash_of(name), image_kept=kept)
        inspections.store(connection, [inspection(name, views=(shown,), **changes)])

    seen("kept")
    seen("dropped", kept=False)
    seen("golden part", mode="challenge")
    seen("other product", product="lid")
    seen("known")
    pictures.store(connection, [image("known", sha256=hash_of("known"))])
    twice = view("again", image_sha256=hash_of("kept"))
    inspections.store(connection, [inspection("again", views=(twice,))])
    assert inspections.unlabelled(connection, PRODUCT, 9) == [(hash_of("kept"), "image/jpeg")]
    assert inspections.unlabelled(connection, PRODUCT, 9, hash_of("kept")) == [(hash_of("kept"), "image/jpeg")]
    assert inspections.unlabelled(connection, PRODUCT, 9, "g") == []
    assert inspections.kept_media_type(connection, hash_of("kept")) == "image/jpeg"
    assert inspections.kept_media_type(connection, hash_of("dropped")) is None


def test_a_kept_view_is_found_by_product_and_hash(connection: Connection) -> None:
    first, second = view("r1", "0"), view("r1", "1", image_kept=False)
    inspections.store(connection, [inspection("r1", views=(first, second))])
    found = inspections.kept_view(connection, PRODUCT, first.image_sha256)
    assert found == (inspection("r1", views=(first, second)), first)
    assert inspections.kept_view(connection, PRODUCT, second.image_sha256) is None
    assert inspections.kept_view(connection, "lid", first.image_sha256) is None


def test_a_failed_challenge_calls_in_doubt_what_passed_since_the_last_good_one(connection: Connection) -> None:
    rows = [
        inspection("before", disposition="pass", received_at=later(0)),
        inspection("second", disposition="pass", received_at=later(3)),
        inspection("first", disposition="pass", received_at=later(2)),
        inspection("rejected", received_at=later(2)),
        inspection("golden", disposition="pass", mode="challenge", received_at=later(2)),
        inspection("elsewhere", disposition="pass", station="press-2", received_at=later(2)),
        inspection("fail-safe", disposition="recheck", received_at=later(4)),
        inspection("late", disposition="pass", supersedes="fail-safe", received_at=later(4)),
        inspection("withdrawn", disposition="pass", received_at=later(5)),
        inspection("instead", disposition="recheck", supersedes="withdrawn", received_at=later(5)),
    ]
    inspections.store(connection, rows)
    found = inspections.since_challenge(connection, "press-1", PRODUCT, later(0), 9)
    assert [one.result_id for one in found] == ["first", "second", "late"]
    assert found[0] == rows[2]
    assert [i.result_id for i in inspections.since_challenge(connection, "press-1", PRODUCT, later(0), 1)] == ["first"]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_a_trigger_the_record_holds_that_none_has_superseded(connection: Connection, names: tuple[str, str]) -> None:
    told, late = names
    holds = inspection(late, supersedes=told, trigger_id="7", received_at=NOW)
    inspections.store(connection, [inspection(told, trigger_id="7", received_at=NOW), inspection("other"), holds])
    assert inspections.of_trigger(connection, "press-1", "boot-7", "7") == holds
    inspections.store(connection, [inspection("newest", trigger_id="7", received_at=later(1))])
    newest = inspections.of_trigger(connection, "press-1", "boot-7", "7")
    assert newest
    assert newest.result_id == "newest"
    assert inspections.of_trigger(connection, "press-1", "boot-8", "7") is None
