"""A process that appends to a journal for ever, to be killed: python -m tests.storage.appender FOLDER [DATABASE IMAGES]

It prints the id of an entry after its append has returned. With a database it also drains, as the line server does.
"""

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage.journal import Entry, Journal

THREADS = 3
SEGMENT_BYTES = 256 << 10
"""Small, so that segments come to be used again while it lives."""
RESERVE_BYTES = 1 << 20
DAY = timedelta(hours=24)

RecordOf = Callable[[str, str], bytes]
"""(entry id, SHA-256 of its image) -> record"""


def blob_of(entry_id: str) -> bytes:
    return entry_id.encode() * 2000


def open_journal(folder: Path) -> Journal:
    return Journal(folder, reserve_bytes=RESERVE_BYTES, segment_bytes=SEGMENT_BYTES)


def append_for_ever(journal: Journal, thread: int, record_of: RecordOf) -> None:
    n = 0
    while True:
        entry_id = f"{os.getpid()}-{thread}-{n}"
        data = blob_of(entry_id)
        sha256 = hashlib.sha256(data).hexdigest()
        record = record_of(entry_id, sha256)
        at = datetime.now(UTC)
        journal.append(Entry(entry_id, "inspection", record, at, {entry_id: "d"}, b"{}", {sha256: data}))
        os.write(1, f"{entry_id}\n".encode())  # one call, so that lines of several threads never mix
        n += 1


def tidy_for_ever(journal: Journal) -> None:
    while True:
        journal.tidy(datetime.now(UTC), DAY)


def start(journal: Journal, record_of: RecordOf) -> None:
    for thread in range(THREADS):
        threading.Thread(target=append_for_ever, args=(journal, thread, record_of), daemon=True).start()
    threading.Thread(target=tidy_for_ever, args=(journal,), daemon=True).start()


def drain_for_ever(journal: Journal, database_url: str, image_store: str) -> None:
    # Only here: a process that appends alone starts in a fifth of the time without them.
    from storage.database import open_database
    from storage.drain import drain_once, encode
    from storage.images import open_image_store
    from tests.storage import samples

    def record_of(entry_id: str, sha256: str) -> bytes:
        view = samples.view(entry_id, image_sha256=sha256)
        return encode("inspection", samples.inspection(entry_id, views=(view,)))

    database, images = open_database(database_url), open_image_store(image_store)
    start(journal, record_of)
    while True:
        drain_once(journal, database, images)


if __name__ == "__main__":
    opened = open_journal(Path(sys.argv[1]))
    if sys.argv[2:]:
        drain_for_ever(opened, *sys.argv[2:])
    start(opened, lambda entry_id, sha256: b"{}")
    threading.Event().wait()
