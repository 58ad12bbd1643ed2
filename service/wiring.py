"""Builds the stores from the settings; nothing opens at import."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from service.settings import Settings, WrongSetting
from storage.database import Database, ensure_schema, open_database
from storage.images import open_image_store
from storage.images.content import ContentStore


@dataclass(frozen=True, slots=True)
class Stores:
    """What every process of Loupe shares."""

    settings: Settings
    database: Database
    images: ContentStore
    """Images and model files by content."""


def now() -> datetime:
    """The clock: the only place outside the line server where time is read."""
    return datetime.now(UTC)


def data_folder(settings: Settings) -> Path:
    """The data folder, made when it is not there.

    Raises WrongSetting when it can't be made or written.
    """
    folder = settings.data_dir.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise WrongSetting(
            f"LOUPE_DATA_DIR={folder} can't be written: {error.strerror}", "name a folder that this user may write"
        ) from error
    return folder


@contextmanager
def open_stores(settings: Settings) -> Iterator[Stores]:
    """The stores with their schema in place; closed at the end of the block.

    Raises WrongSetting, WrongDatabaseUrl, DatabaseUnavailable, SchemaBehind, UnknownImageStore.
    """
    data_folder(settings)
    database = open_database(settings.database_address)
    try:
        ensure_schema(database)
        yield Stores(settings, database, open_image_store(settings.image_store_address))
    finally:
        database.close()


def configure_logging(settings: Settings) -> None:
    """Event names with fields, on standard error."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
