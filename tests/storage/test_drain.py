import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import func, select

from storage import challenges, happenings, inspections, outcomes, tables
from storage.database import Database, DatabaseUnavailable, ensure_schema, open_database
from storage.drain import BATCH, SLICE, decode, drain_once, encode
from storage.images import open_image_store
from storage.images.content import ContentStore, ImageStoreUnavailable
from storage.journal import Entry, Journal
from storage.records import Inspection
from tests.storage import samples
from tests.storage.appender import blob_of, open_journal

ROOT = Path(__file__).parents[2]
IMAGES = (b"left image", b"right image")
HASHES = tuple(hashlib.sha256(data).hexdigest() for data in IMAGES)
BY_HASH = MappingProxyType(dict(zip(HASHES, IMAGES, strict=True)))


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


def append(journal: Journal, record: Inspection, blobs: Mapping[str, bytes] = BY_HASH) -> None:
    journal.append(
        Entry(
            record.result_id,
            "inspection",
            encode("inspection", record),
            record.received_at,
            {record.result_id: "d"},
            answer=record.answer.encode(),
            blobs=blobs,
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


@pytest.mark.parametrize(
    "record", [samples.inspection(), samples.alarm(), samples.event(), samples.outcome(), samples.challenge()]
)
def test_a_record_waits_in_the_journal_without_loss(journal: Journal, record: Any) -> None:
    kind = type(record).__name__.lower()
    answer = record.answer.encode() if kind == "inspection" else None
    journal.append(Entry("1", kind, encode(kind, record), samples.NOW, answer=answer))
    (waiting,) = journal.waiting(9)
    assert decode(waiting) == record
    assert b"answer" not in waiting.record, "an answer is long; it is kept once"


def test_every_kind_of_record_reaches_its_table(journal: Journal, database: Database, images: ContentStore) -> None:
    outcome, challenge = samples.outcome(), samples.challenge()
    journal.append(Entry("1", "outcome", encode("outcome", outcome), samples.NOW))
    journal.append(Entry("2", "challenge", encode("challenge", challenge), samples.NOW))
    assert drain_once(journal, database, images) == 2
    with database.read() as connection:
        assert outcomes.of_inspection(connection, outcome.result_id) == [outcome]
        assert challenges.latest(connection) == {(challenge.station, challenge.product): challenge}


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
    images.put_all(data for waiting in journal.waiting(BATCH) for data in waiting.blobs.values())
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


def test_a_drain_pauses_after_every_slice_and_moves_all(
    journal: Journal, database: Database, images: ContentStore
) -> None:
    count, pauses = 3 * SLICE + 1, list[int]()
    for n in range(count):
        append(journal, samples.inspection(f"r{n:03}"), {})
    assert drain_once(journal, database, images, lambda: pauses.append(journal.waiting_count)) == count
    assert len(pauses) >= 2 * 3, "three while they are decoded, as many while they are stored"
    assert set(pauses) == {count}, "the journal lets go of nothing before all is stored"
    assert journal.waiting_count == 0
    with database.read() as connection:
        assert len(inspections.latest(connection, 1000)) == count


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
    journal, images = open_journal(folder), open_image_store(store)
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
    journal: Journal, folder: Path, database: Database, images: ContentStore
) -> None:
    unreadable = {
        "empty": b"",
        "broken": b'{"signals": null}',
        "list": b"[1]",
        "text": b"\xff\xfe",
        "not an answer": b"{}",
    }
    for name, record in unreadable.items():
        journal.append(
            Entry(name, "inspection", record, samples.NOW, answer=b"\xff" if name == "not an answer" else None)
        )
    journal.append(Entry("stranger", "kind of another version", b"{}", samples.NOW))
    fill(journal)
    drain_once(journal, database, images)
    assert_all_there_once(database, images)
    assert journal.waiting_count == 0
    assert drain_once(journal, database, images) == 0
    assert (folder / "aside" / "broken" / "record").read_bytes() == b'{"signals": null}'
    assert len(list((folder / "aside").iterdir())) == 6


def test_a_record_that_the_database_refuses_is_set_aside_and_the_others_go_on(
    journal: Journal, database: Database, images: ContentStore
) -> None:
    # Times without a zone and numbers beyond 64 bits are refused by both, a NUL in a text by PostgreSQL.
    naive = encode("event", samples.event("naive")).replace(b"Z", b"")
    large = encode("inspection", samples.inspection("large", result_code=2**70))
    nul = encode("event", samples.event("nul", subject="a\0b"))
    for n in range(5):
        append(journal, samples.inspection(f"before-{n}"), {})
    journal.append(Entry("naive", "event", naive, samples.NOW), Entry("large", "inspection", large, samples.NOW))
    journal.append(Entry("nul", "event", nul, samples.NOW))
    fill(journal)
    while drain_once(journal, database, images):
        pass
    with database.read() as connection:
        stored = {i.result_id for i in inspections.latest(connection, 100)}
        events = {e.id for e in happenings.latest_events(connection, 100)}
    assert stored == {"r1", "r2", *(f"before-{n}" for n in range(5))}
    assert events - {"nul"} == {samples.event().id}
    assert ("nul" in events) == (database.engine.dialect.name == "sqlite")
    assert journal.waiting_count == 0


def test_a_schema_that_is_missing_sets_nothing_aside(
    journal: Journal, folder: Path, images: ContentStore, tmp_path: Path
) -> None:
    fill(journal)
    empty = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(DatabaseUnavailable):
        drain_once(journal, empty, images)
    empty.close()
    assert journal.waiting_count == 4
    assert not (folder / "aside").exists()


def test_a_record_goes_on_without_an_image_that_the_disk_has_damaged(
    folder: Path, database: Database, images: ContentStore
) -> None:
    journal = Journal(folder)
    append(journal, inspected("r1"))
    journal.close()
    (segment,) = (path for path in folder.glob("segments/*.seg") if IMAGES[0] in path.read_bytes())
    segment.write_bytes(segment.read_bytes().replace(IMAGES[0], b"LEFT image"))
    journal = Journal(folder)
    drain_once(journal, database, images)
    with database.read() as connection:
        assert inspections.find(connection, "r1") == inspected("r1")
    assert [images.has(sha256) for sha256 in HASHES] == [False, True]
    journal.close()
