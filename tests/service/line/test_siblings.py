"""What dead line servers left in the shared data folder reaches the database without them."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.line.siblings import Siblings, _changed_ns
from storage import inspections
from storage.database import DatabaseUnavailable, ensure_schema, open_database
from storage.drain import drain_once, encode
from storage.images import open_image_store
from storage.images.content import ImageStoreUnavailable
from storage.journal import Entry, Journal, JournalBroken
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


def left_behind(tmp_path: Path, *folders: str) -> None:
    """Dead line servers' journals, each with an entry named as its folder."""
    for folder in folders:
        journal = Journal(tmp_path / folder / "journal", reserve_bytes=1 << 20)
        journal.append(entry(folder))
        journal.close()


def drained_ids(tmp_path: Path) -> set[str]:
    database = open_database(f"sqlite:///{tmp_path}/loupe.db")
    try:
        with database.read() as connection:
            return {found.result_id for found in inspections.latest(connection, 100)}
    finally:
        database.close()


def test_journals_of_dead_line_servers_are_drained(siblings: Siblings, tmp_path: Path) -> None:
    left_behind(tmp_path, "line", "line-c", "line-b")
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


@pytest.mark.parametrize(
    "failure",
    [
        ImageStoreUnavailable("file:///images", "full"),
        JournalBroken(Path("journal"), "gone"),
        DatabaseUnavailable("postgresql://host", "away"),
    ],
)
def test_journal_that_can_not_be_drained_is_told_once_and_stops_nothing(tmp_path: Path, failure: Exception) -> None:
    tried: list[str] = []
    failing = {"line"}

    def drain(journal: Journal, until: float) -> None:
        tried.append(journal.folder.parent.name)
        if journal.folder.parent.name in failing:
            raise failure
        journal.mark_drained([waiting.id for waiting in journal.waiting(10)])

    left_behind(tmp_path, "line", "line-c")
    siblings = Siblings(tmp_path / "line-b", 1 << 20, drain)
    with capture_logs() as logs:
        siblings.look()
        siblings.look()
    assert tried == ["line", "line-c", "line"]
    assert [log["path"] for log in logs if log["log_level"] == "error"] == [str(tmp_path / "line" / "journal")]
    failing.clear()
    siblings.look()
    assert tried == ["line", "line-c", "line", "line"]


def test_folder_whose_files_are_renamed_meanwhile_is_looked_at(tmp_path: Path) -> None:
    folder, ended = tmp_path / "segments", threading.Event()
    folder.mkdir()
    for n in range(200):
        (folder / f"{n}.seg").touch()

    def rename() -> None:
        while not ended.is_set():
            for n in range(200):
                (folder / f"{n}.seg").rename(folder / f"{n}.part")
            for n in range(200):
                (folder / f"{n}.part").rename(folder / f"{n}.seg")

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        assert all(_changed_ns(tmp_path) > 0 for _ in range(100))
    finally:
        ended.set()
        thread.join()
