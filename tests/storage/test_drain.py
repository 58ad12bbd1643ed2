import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from storage import happenings, inspections, tables
from storage.database import Database, DatabaseUnavailable, ensure_schema, open_database
from storage.drain import BATCH, KINDS, drain_once, encode
from storage.images import open_image_store
from storage.images.content import ContentStore, ImageStoreUnavailable
from storage.journal import Entry, Journal
from storage.records import Inspection
from tests.storage import samples
from tests.storage.appender import blob_of

ROOT = Path(__file__).parents[2]
IMAGES = (b"left image", b"right image")
HASHES = tuple(hashlib.sha256(data).hexdigest() for data in IMAGES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    opened = Journal(folder)
    yield opened
    opened.close()


@pytest.fixture
def images(tmp_path: Path) -> ContentStore:
    return open_image_store(f"file://{tmp_path / 'images'}")


def inspected(result_id: str = "r1") -> Inspection:
    views = tuple(samples.view(result_id, str(n), image_sha256=sha256) for n, sha256 in enumerate(HASHES))
    return samples.inspection(result_id, views=views)


def append(journal: Journal, record: Inspection) -> None:
    journal.append(
        Entry(
            record.result_id,
            "inspection",
            encode("inspection", record),
            record.received_at,
            key=record.result_id,
            digest="d",
            answer=record.answer.encode(),
            blobs=dict(zip(HASHES, IMAGES, strict=True)),
        )
    )


def fill(journal: Journal) -> None:
    append(journal, inspected("r1"))
    alarm, event = samples.alarm(), samples.event()
    journal.append(Entry(alarm.id, "alarm", encode("alarm", alarm), alarm.raised_at))
    journal.append(Entry(event.id, "event", encode("event", event), event.happened_at))
    append(journal, inspected("r2"))


def assert_all_there_once(database: Database, images: ContentStore) -> None:
    with database.read() as connection:
        assert [inspections.find(connection, name) for name in ("r1", "r2")] == [inspected("r1"), inspected("r2")]
        assert len(inspections.latest(connection, 10)) == 2
        assert connection.execute(select(func.count()).select_from(tables.views)).scalar() == 4
        assert happenings.latest_alarms(connection, 10) == [samples.alarm()]
        assert happenings.latest_events(connection, 10) == [samples.event()]
    assert tuple(images.get(sha256) for sha256 in HASHES) == IMAGES


def test_everything_arrives_once_and_as_it_was(journal: Journal, database: Database, images: ContentStore) -> None:
    fill(journal)
    assert drain_once(journal, database, images) == 4
    assert drain_once(journal, database, images) == 0
    assert journal.waiting_count == 0
    assert_all_there_once(database, images)


@pytest.mark.parametrize("record", [samples.inspection(), samples.alarm(), samples.event()])
def test_a_record_waits_in_the_journal_without_loss(record: object) -> None:
    kind = type(record).__name__.lower()
    assert KINDS[kind].adapter.validate_json(encode(kind, record)) == record  # type: ignore[arg-type]


def test_more_than_a_batch_takes_several_rounds(journal: Journal, database: Database, images: ContentStore) -> None:
    for n in range(BATCH + 5):
        event = samples.event(f"e{n}")
        journal.append(Entry(event.id, "event", encode("event", event), event.happened_at))
    assert [drain_once(journal, database, images) for _ in range(3)] == [BATCH, 5, 0]
    with database.read() as connection:
        assert len(happenings.latest_events(connection, 1000)) == BATCH + 5


def test_dying_between_images_and_records_doubles_nothing(
    folder: Path, database: Database, images: ContentStore
) -> None:
    journal = Journal(folder)
    fill(journal)
    images.put_all(data for waiting in journal.waiting(BATCH) for _, data in journal.blobs(waiting.id))
    journal.close()
    journal = Journal(folder)
    assert drain_once(journal, database, images) == 4
    assert_all_there_once(database, images)
    journal.close()


def test_dying_between_the_commit_and_the_journal_doubles_nothing(
    folder: Path, database: Database, images: ContentStore
) -> None:
    journal = Journal(folder)
    fill(journal)
    images.put_all(IMAGES)
    with database.write() as connection:
        inspections.store(connection, [inspected("r1"), inspected("r2")])
        happenings.store_alarms(connection, [samples.alarm()])
        happenings.store_events(connection, [samples.event()])
    journal.close()
    journal = Journal(folder)
    assert journal.waiting_count == 4
    assert drain_once(journal, database, images) == 4
    assert journal.waiting_count == 0
    assert_all_there_once(database, images)
    journal.close()


def test_a_database_that_is_away_loses_nothing(journal: Journal, database: Database, images: ContentStore) -> None:
    fill(journal)
    away = open_database("postgresql://127.0.0.1:1/test")
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            drain_once(journal, away, images)
    assert journal.waiting_count == 4
    assert drain_once(journal, database, images) == 4
    assert_all_there_once(database, images)


def test_an_image_store_that_is_away_loses_nothing(journal: Journal, database: Database, tmp_path: Path) -> None:
    images = open_image_store(f"file://{tmp_path / 'mount'}")
    fill(journal)
    (tmp_path / "mount").rmdir()
    (tmp_path / "mount").write_text("a mount point whose share is gone")
    with pytest.raises(ImageStoreUnavailable, match="mount"):
        drain_once(journal, database, images)
    with database.read() as connection:
        assert inspections.latest(connection, 10) == [], "no record may name an image that is not there"
    (tmp_path / "mount").unlink()
    (tmp_path / "mount").mkdir()
    assert drain_once(journal, database, images) == 4
    assert_all_there_once(database, images)


@pytest.mark.parametrize("seed", [1])
def test_a_process_killed_while_draining_delivers_each_part_once(
    folder: Path, database_url: str, tmp_path: Path, seed: int
) -> None:
    database = open_database(database_url)
    ensure_schema(database)
    store = f"file://{tmp_path / 'images'}"
    command = [sys.executable, "-m", "tests.storage.appender", str(folder), database_url, store]
    promised: list[bytes] = []
    for life in range(2):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        promised.append(child.stdout.readline())
        time.sleep(random.Random(10 * seed + life).uniform(0.0, 0.6))
        os.kill(child.pid, signal.SIGKILL)
        promised += child.stdout.readlines()
        child.wait()
        child.stdout.close()
    journal, images = Journal(folder), open_image_store(store)
    while drain_once(journal, database, images):
        pass
    journal.close()
    with database.read() as connection:
        stored = [row[0] for row in connection.execute(select(tables.inspections.c.result_id))]
        with_views = connection.execute(select(func.count()).select_from(tables.views)).scalar_one()
    assert len(stored) == len(set(stored)) == with_views
    for entry_id in (line.decode().strip() for line in promised if line.endswith(b"\n")):
        assert entry_id in stored
        data = blob_of(entry_id)
        assert images.get(hashlib.sha256(data).hexdigest()) == data
    database.close()


def test_an_entry_that_nobody_can_read_is_set_aside_and_the_others_go_on(
    journal: Journal, database: Database, images: ContentStore
) -> None:
    journal.append(Entry("broken", "inspection", b'{"signals": null}', samples.NOW))
    journal.append(Entry("stranger", "kind of another version", b"{}", samples.NOW))
    fill(journal)
    drain_once(journal, database, images)
    assert_all_there_once(database, images)
    assert journal.waiting_count == 0
    assert drain_once(journal, database, images) == 0


def test_a_record_goes_on_without_an_image_that_the_disk_has_damaged(
    journal: Journal, folder: Path, database: Database, images: ContentStore
) -> None:
    append(journal, inspected("r1"))
    segment = next((folder / "segments").glob("*.seg"))
    segment.write_bytes(b"LEFT" + segment.read_bytes()[4:])
    drain_once(journal, database, images)
    with database.read() as connection:
        assert inspections.find(connection, "r1") == inspected("r1")
    assert [images.has(sha256) for sha256 in HASHES] == [False, True]
