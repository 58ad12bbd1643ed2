"""What the optics monitors have learnt outlives a restart: one file a camera."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from monitoring.watch import Watch
from storage.journal.segments import sync_folder

SUFFIX = ".json"
ASIDE = ".unreadable"
FORMER = "optics.json"
"""Beside the folder: all cameras in one file, as version 0.1 wrote them."""
log = structlog.get_logger("line")


def restore(watch: Watch, folder: Path) -> None:
    """Go on with what was saved; a camera whose file is damaged learns anew, and the file is kept aside.

    A baseline that can't be read is no reason to refuse to serve: that would stop the line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _take_up_former(watch, folder)
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    for path, camera, state in _saved(paths):
        if watch.restore({camera: state}):
            log.error("baseline_damaged", camera=camera, path=str(path))
            path.replace(path.with_suffix(ASIDE))


def save(watch: Watch, folder: Path) -> None:
    """Write what has changed since the last time, one camera after the other.

    Raises OSError.
    """
    for camera, state in watch.changed_states():
        _write(folder, camera, state)


def _write(folder: Path, camera: str, state: Mapping[str, Any]) -> None:
    # Names come from outside and may be longer than a file's name, so they stand in the file.
    path = folder / f"{hashlib.sha256(camera.encode()).hexdigest()[:24]}{SUFFIX}"
    partial = path.with_suffix(".part")
    # A power cut must not cost what a commissioning has learnt: the file first, then its name.
    with partial.open("w") as file:
        json.dump({"camera": camera, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(folder)


def _saved(paths: list[Path]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for path in paths:
        try:
            found = json.loads(path.read_text())
            yield path, str(found["camera"]), dict(found["state"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.error("baseline_unreadable", path=str(path), reason=str(error))
            path.replace(path.with_suffix(ASIDE))


def _take_up_former(watch: Watch, folder: Path) -> None:
    former = folder.parent / FORMER
    if not former.exists():
        return
    try:
        states = {str(camera): dict(state) for camera, state in json.loads(former.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        log.error("baseline_unreadable", path=str(former), reason=str(error))
        states = {}
    for camera in watch.restore(states):
        log.error("baseline_damaged", camera=camera, path=str(former))
    for camera, state in watch.states().items():
        _write(folder, camera, state)
    former.replace(former.with_suffix(ASIDE if not states else ".taken-over"))
