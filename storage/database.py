"""The one database: engine, transactions, migrations, and the two ways a record becomes a row."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

# Under its own name: the layers above write this type in their signatures, and SQLAlchemy itself stays in storage.
from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, RowMapping, Table, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x10_0BE
"""PostgreSQL advisory lock: two processes that start together migrate once."""

R = TypeVar("R")


class DatabaseUnavailable(RuntimeError):
    """The database does not answer."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"the database {url} does not answer: {reason}")
        self.url, self.reason = url, reason
        self.remedy = "start it, or correct LOUPE_DATABASE_URL"


class WrongDatabaseUrl(ValueError):
    """LOUPE_DATABASE_URL can't be understood."""

    def __init__(self, url: str) -> None:
        super().__init__(f"'{url}' is not a database address")
        self.remedy = "use sqlite:////var/lib/loupe/loupe.db or postgresql://user@host:5432/name"


class SchemaBehind(RuntimeError):
    """The database holds an older (or newer) schema than this program."""

    def __init__(self, url: str, found: str | None, wanted: str) -> None:
        super().__init__(f"the database {url} is at schema {found}, this program needs {wanted}")
        self.remedy = "stop the other Loupe processes, make a backup, then run `loupe migrate`"


class Database:
    """Connections to SQLite or PostgreSQL; the caller owns the transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.url = engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading."""
        with self._reporting(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back on any error."""
        with self._reporting(), self.engine.connect() as connection:
            connection = connection.execution_options(loupe_write=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise DatabaseUnavailable(self.url, str(error.orig).strip().splitlines()[0]) from error


def open_database(url: str) -> Database:
    """An engine for `sqlite:///…` or `postgresql://…`; nothing connects yet.

    Raises WrongDatabaseUrl.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return Database(_sqlite_engine(parsed.render_as_string(hide_password=False)))
        # A half-open connection after a network cut must not be handed out: pre_ping costs one round trip.
        engine = create_engine(parsed, pool_pre_ping=True, pool_size=5, connect_args={"connect_timeout": 5})
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise WrongDatabaseUrl(url) from error
    return Database(engine)


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # Python's driver opens transactions by guesswork; with None, `_begin` below decides.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once under WAL when another wrote between:
        # writers take the write lock at the start and wait for it.
        write = connection.get_execution_options().get("loupe_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the schema to this program's version; returns (revision before, revision after)."""
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        before = MigrationContext.configure(connection).get_current_revision()
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before, _head()


def ensure_schema(database: Database) -> None:
    """Create the schema in an empty database, move an embedded one forward, refuse a served one that is behind.

    Raises SchemaBehind, DatabaseUnavailable.
    """
    with database.read() as connection:
        # In this order: when another process migrates in between, the revision read last says so. The other way round,
        # tables without a revision would look like somebody else's.
        empty = not inspect(connection).get_table_names()
        found = MigrationContext.configure(connection).get_current_revision()
        if found == _head():
            return
        known = found is None or any(s.revision == found for s in _scripts().walk_revisions())
    embedded = database.engine.dialect.name == "sqlite"
    if not known or not (empty or embedded):
        raise SchemaBehind(database.url, found, _head())
    migrate(database)


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_alembic_config())


def _head() -> str:
    head = _scripts().get_current_head()
    assert head is not None, "the package ships at least one migration"
    return head


def to_row(record: Any, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """The record's fields as a row; not deep: JSON columns take the values as they are."""
    kind: Any = type(record)
    return {name: getattr(record, name) for name in _field_names(kind, tuple(without))}


@functools.cache
def _field_names(kind: Any, without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in without)


def from_row(cls: type[R], row: RowMapping) -> R:
    """The record of a row whose columns are the record's fields."""
    return cls(**row)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose primary or unique key is not there yet; returns how many were new."""
    if not rows:
        return 0
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # Chunks of one statement each: rowcount of an executemany is not dependable. SQLite allows 32766 values.
    chunk = 30_000 // len(rows[0])
    added = 0
    for start in range(0, len(rows), chunk):
        statement = insert(table).values(list(rows[start : start + chunk])).on_conflict_do_nothing()
        # Of an insert SQLAlchemy keeps the driver's count only on request: on PostgreSQL it would be -1.
        added += connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    return added
