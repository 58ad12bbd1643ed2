"""What tests of every package share: a database of their own, on SQLite and on PostgreSQL."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.database import Database, DatabaseUnavailable, WrongDatabaseUrl, ensure_schema, open_database

POSTGRESQL = "postgresql://127.0.0.1:5432"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    """The server on this machine: its database `test`, from which databases are made; skips where none answers."""
    try:
        server = open_database(f"{POSTGRESQL}/test")
        with server.read() as connection:
            connection.execute(text("SELECT 1"))
    except (DatabaseUnavailable, WrongDatabaseUrl) as error:
        if "postgres" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
            pytest.fail(f"PostgreSQL is required and can't be used: {error}")
        pytest.skip(f"PostgreSQL can't be used: {error}")
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a new database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'loupe.db'}"
        return
    name = f"loupe_test_{secrets.token_hex(6)}"
    server: Database = request.getfixturevalue("postgresql")
    _administer(server, f"CREATE DATABASE {name}")
    try:
        yield f"{POSTGRESQL}/{name}"
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new database with its schema."""
    opened = open_database(database_url)
    ensure_schema(opened)
    yield opened
    opened.close()


def _administer(server: Database, statement: str) -> None:
    with server.read() as connection:
        # Databases can't be made or dropped inside a transaction.
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))
