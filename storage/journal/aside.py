"""Entries that can't be moved to the database, kept for a person: a folder for each."""

import json
import os
from pathlib import Path
from urllib.parse import quote

from storage.journal.entries import Waiting
from storage.journal.segments import sync_folder


def keep_aside(folder: Path, entry: Waiting) -> Path:
    """Write the entry's record, answer and images durably below `folder`; returns where.

    Raises OSError.
    """
    target = folder / (quote(entry.id, safe="").replace(".", "%2E") or "%")
    target.mkdir(parents=True, exist_ok=True)
    about = {
        "id": entry.id,
        "kind": entry.kind,
        "written_at": entry.written_at.isoformat(),
        "keys": dict(entry.keys),
        "damaged_images": list(entry.damaged),
    }
    _write(target / "entry.json", json.dumps(about, indent=2).encode())
    _write(target / "record", entry.record)
    if entry.answer is not None:
        _write(target / "answer", entry.answer)
    for sha256, data in entry.blobs.items():
        _write(target / quote(sha256, safe=""), data)
    for changed in (target, folder, folder.parent):
        sync_folder(changed)
    return target


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
