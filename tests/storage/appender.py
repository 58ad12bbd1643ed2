"""A process that appends to a journal for ever, to be killed: python -m tests.storage.appender FOLDER [DATABASE IMAGES]

It prints the id of an entry after its append has returned. With a database it also drains, as the line server does.
"""

import hashlib
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from storage.journal import Entry, Journal

THREADS = 3


def blob_of(entry_id: str) -> bytes:
    return entry_id.encode() * 2000


def append_for_ever(journal: Journal, thread: int) -> None:
    from storage.drain import encode
    from tests.storage import samples

    n = 0
    while True:
        entry_id = f"{os.getpid()}-{thread}-{n}"
        data = blob_of(entry_id)
        view = samples.view(entry_id, image_sha256=hashlib.sha256(data).hexdigest())
        record = encode("inspection", samples.inspection(entry_id, views=(view,)))
        journal.append(
            Entry(
                entry_id, "inspection", record, datetime.now(UTC), key=entry_id, digest="d", answer=record,
                blobs={view.image_sha256: data},
            )
        )  # fmt: skip
        os.write(1, f"{entry_id}\n".encode())  # one call, so that lines of several threads never mix
        n += 1


def main(folder: Path, database_url: str | None = None, image_store: str | None = None) -> None:
    journal = Journal(folder)
    for thread in range(THREADS):
        threading.Thread(target=append_for_ever, args=(journal, thread), daemon=True).start()
    if database_url is None or image_store is None:
        threading.Event().wait()
        return
    from storage.database import open_database
    from storage.drain import drain_once
    from storage.images import open_image_store

    database, images = open_database(database_url), open_image_store(image_store)
    while True:
        drain_once(journal, database, images)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
