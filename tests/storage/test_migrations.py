"""From one released schema to the next, with rows in it."""

from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from pydantic import TypeAdapter
from sqlalchemy import insert, inspect, select

from storage import tables
from storage.database import MIGRATIONS, Connection, Database, from_row, migrate, open_database, to_row
from storage.records import Inspection, Recipe
from tests.storage import samples

NEW_IN_0002 = {"expected_views": (), "challenge_every_h": None, "is_partial": False}
"""What rows of before say in the columns that were added."""


def as_before(record: Any) -> Any:
    """The record as the former schema could hold it."""
    return type(record)(**{name: NEW_IN_0002.get(name, value) for name, value in to_row(record).items()})


def fill(connection: Connection) -> None:
    """A record or two in every table that there is, in the columns that there are."""
    found = inspect(connection)
    for name, records in samples.RECORDS:
        if not found.has_table(name):
            continue
        columns = {column["name"] for column in found.get_columns(name)}
        for record in records:
            row = {field: value for field, value in to_row(record).items() if field in columns}
            connection.execute(insert(tables.metadata.tables[name]).values(row))


@pytest.fixture
def first_schema(database_url: str) -> Iterator[Database]:
    """A database as the first release left it, filled."""
    opened = open_database(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with opened.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        fill(connection)
    yield opened
    opened.close()


def test_every_row_of_the_first_release_outlives_the_migration(first_schema: Database) -> None:
    assert migrate(first_schema) == ("0001", "0002")
    with first_schema.read() as connection:
        for name, records in samples.RECORDS:
            rows = connection.execute(select(tables.metadata.tables[name])).mappings()
            found = sorted(repr(from_row(type(records[0]), row)) for row in rows)
            was_there = name not in {"outcomes", "challenges", "leases"}
            assert found == (sorted(repr(as_before(record)) for record in records) if was_there else []), name


def test_after_the_migration_new_records_find_their_place(first_schema: Database) -> None:
    migrate(first_schema)
    recipe = samples.recipe(7)
    with first_schema.write() as connection:
        connection.execute(insert(tables.recipes).values(to_row(recipe)))
        connection.execute(insert(tables.outcomes).values(to_row(samples.outcome())))
    with first_schema.read() as connection:
        row = connection.execute(select(tables.recipes).where(tables.recipes.c.version == 7)).mappings().one()
        assert from_row(Recipe, row) == recipe


def test_a_record_that_waited_in_the_journal_since_the_first_release_is_read() -> None:
    adapter = TypeAdapter(Inspection)
    written = adapter.dump_json(samples.inspection(is_partial=False))
    of_before = written.replace(b'"is_partial":false,', b"")
    assert of_before != written
    assert adapter.validate_json(of_before) == samples.inspection(is_partial=False)
