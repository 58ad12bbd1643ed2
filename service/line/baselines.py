"""What monitors of light, optics and parts have learnt outlives a restart: one file a sight."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Protocol

import structlog

from monitoring.sights import Saved, Sight
from storage.journal.segments import sync_folder

SUFFIX = ".json"
ASIDE = ".unreadable"
FORMER = ".former"
"""Suffix of a baseline that an intended change replaced."""
log = structlog.get_logger("line")
_writing = Lock()
"""Two writers of one file would share its unfinished copy."""


class Kept(Protocol):
    """What has states to be kept, such as a `monitoring.watch.Watch`."""

    def changed_states(self) -> Iterator[Saved]:
        """The states that changed since this was last run through."""
        ...

    def saved(self, sight: Sight) -> Saved | None:
        """One state as it is now; None where that sight is not watched."""
        ...

    def restore(self, saved: Saved) -> bool:
        """Go on from a saved state; False where it is damaged."""
        ...


def restore(watch: Kept, folder: Path) -> None:
    """Go on with what was saved; what has a damaged file learns anew, and the file is kept aside.

    A baseline that can't be read is no reason to refuse to serve: that would stop the line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        saved = _read(path)
        if saved is not None and not watch.restore(saved):
            log.error("baseline_damaged", camera=saved.sight.camera, path=str(path))
            _put_aside(path)


def save(watch: Kept, folder: Path) -> None:
    """Write what has changed since the last time, one sight after the other.

    Raises OSError.
    """
    for saved in watch.changed_states():
        with _writing:
            _write(folder / _name(saved.sight), saved)


def save_now(watch: Kept, sight: Sight, folder: Path) -> None:
    """Write what one sight's monitor knows, out of turn: what was just decided must outlive a power cut.

    That it can't be written is logged: the next save tries again.
    """
    try:
        with _writing:  # the newest state is the one that stays
            found = watch.saved(sight)
            if found is not None:
                _write(folder / _name(sight), found)
    except OSError as error:
        log.error("baseline_not_saved", camera=sight.camera, reason=str(error))


def keep(folder: Path, former: Saved) -> None:
    """Keep a baseline that is used no more, beside the present one, under its version. Raises OSError."""
    name = Path(_name(former.sight))
    _write(folder / f"{name.stem}.v{former.version}{FORMER}", former)


def _name(sight: Sight) -> str:
    # Names come from outside and may be longer than a file's name, so they stand in the file.
    named = json.dumps(sight)
    return f"{hashlib.sha256(named.encode()).hexdigest()[:24]}{SUFFIX}"


def _write(path: Path, saved: Saved) -> None:
    partial = path.with_suffix(".part")
    # A power cut must not cost what a commissioning has learnt: the file first, then its name.
    with partial.open("w") as file:
        json.dump({**saved.sight._asdict(), "version": saved.version, "state": saved.state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def _read(path: Path) -> Saved | None:
    try:
        found = json.loads(path.read_text())
        sight = Sight(*(str(found[name]) for name in Sight._fields))
        return Saved(sight, int(found["version"]), dict(found["state"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        log.error("baseline_unreadable", path=str(path), reason=str(error))
        _put_aside(path)
        return None


def _put_aside(path: Path) -> None:
    try:
        path.replace(path.with_suffix(ASIDE))
    except OSError as error:
        log.error("baseline_not_put_aside", path=str(path), reason=str(error))
