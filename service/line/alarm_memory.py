"""The optics alarms that stand outlive a restart, so that one that stands on keeps its id: one small file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from storage.journal.segments import sync_folder
from storage.records import Alarm, AlarmChange

log = structlog.get_logger("line")


@dataclass(frozen=True, slots=True)
class Remembered:
    """An alarm that stands."""

    record: Alarm
    at_image: int
    """Which image of its monitor raised it: by this the monitor's own alarm is known again."""
    changes: tuple[AlarmChange, ...]
    is_alerted: bool
    """Whether the webhooks have heard of it."""


_FILE = TypeAdapter(tuple[Remembered, ...])


def remember(path: Path, standing: Sequence[Remembered]) -> None:
    """Write down what stands; that it can't be written is logged: an alarm then gets another id at the next start."""
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as file:
            file.write(_FILE.dump_json(tuple(standing)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        log.error("alarms_not_remembered", path=str(path), reason=str(error))


def recall(path: Path) -> Sequence[Remembered]:
    """What stood when it was last written down; nothing where that can't be read, which is logged."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        log.error("alarms_unreadable", path=str(path), reason=str(error))
        return ()
