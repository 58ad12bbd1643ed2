"""What dead line servers left in the shared data folder reaches the database without them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.line.siblings import Siblings
from storage import inspections
from storage.database import ensure_schema, open_database
from storage.drain import drain_once, encode
from storage.images import open_image_store
from storage.journal import Entry, Journal
from tests.storage import samples

NOW = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


def entry(name: str) -> Entry:
    found = replace(samples.inspection(name), views=())
    return Entry(name, "inspection", encode("inspection", found), NOW, {name: "d"}, found.answer.encode())


@pytest.fixture
def siblings(tmp_path: Path) -> Iterator[Siblings]:
    database = open_database(f"sqlite:///{tmp_path}/loupe.db")
    ensure_schema(database)
    images = open_image_store(f"file://{tmp_path}/images")

    def drain(journal: Journal, until: float) -> None:
        while time.monotonic() < until and drain_once(journal, database, images):
            pass

    yield Siblings(tmp_path / "line-b", 1 << 20, drain)
    database.close()


def drained_ids(tmp_path: Path) -> set[str]:
    database = open_database(f"sqlite:///{tmp_path}/loupe.db")
    try:
        with database.read() as connection:
            return {found.result_id for found in inspections.latest(connection, 100)}
    finally:
        database.close()


def test_journals_of_dead_line_servers_are_drained(siblings: Siblings, tmp_path: Path) -> None:
    for folder in ("line", "line-c", "line-b"):
        journal = Journal(tmp_path / folder / "journal", reserve_bytes=1 << 20)
        journal.append(entry(folder))
        journal.close()
    siblings.look()
    assert drained_ids(tmp_path) == {"line", "line-c"}, "its own it drains itself"


def test_journal_of_a_living_line_server_is_left_alone(siblings: Siblings, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "line" / "journal", reserve_bytes=1 << 20)
    journal.append(entry("r1"))
    siblings.look()
    assert drained_ids(tmp_path) == set()
    assert journal.waiting_count == 1
    journal.close()
    siblings.look()
    assert drained_ids(tmp_path) == {"r1"}


def test_empty_journal_is_opened_again_only_when_it_has_changed(siblings: Siblings, tmp_path: Path) -> None:
    folder = tmp_path / "line" / "journal"
    Journal(folder, reserve_bytes=1 << 20).close()
    siblings.look()
    changed = [path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))]
    siblings.look()
    assert [path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))] == changed
    journal = Journal(folder, reserve_bytes=1 << 20)
    journal.append(entry("r2"))
    journal.close()
    siblings.look()
    assert drained_ids(tmp_path) == {"r2"}


def test_journal_that_nobody_can_open_stops_nothing(siblings: Siblings, tmp_path: Path) -> None:
    (tmp_path / "line" / "journal" / "index.sqlite").mkdir(parents=True)
    journal = Journal(tmp_path / "line-c" / "journal", reserve_bytes=1 << 20)
    journal.append(entry("r1"))
    journal.close()
    siblings.look()
    assert drained_ids(tmp_path) == {"r1"}
