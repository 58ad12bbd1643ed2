"""From one released schema to the next, with rows in it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from pydantic import TypeAdapter
from sqlalchemy import insert, inspect, select, text

from storage import labels, tables
from storage.database import MIGRATIONS, Connection, Database, from_row, migrate, open_database, to_row
from storage.records import Alarm, ImageClass, Inspection, Label, LabelBook, Recipe, Task, View
from tests.storage import samples

NEW_SINCE: dict[str, dict[type[Any], dict[str, Any]]] = {
    "0001": {Recipe: {"expected_views": (), "challenge_every_h": None}, Inspection: {"is_partial": False}},
    "0002": {Label: {"shift": ""}, LabelBook: {"author": "", "note": ""}},
    "0003": {
        Alarm: {
            **dict.fromkeys(("side", "x", "y", "motion", "size", "before_sha256", "after_sha256")),
            "heat_map": "",
            "baseline_version": 0,
            "lamp": "",
        },
        Recipe: {"lamps": {}},
        Task: {"reason": ""},
        View: {"lamp": ""},
    },
}
"""What rows of before say in the columns that came after a schema."""
NEW_TABLES = {
    "0001": {"outcomes", "challenges", "leases"},
    "0002": {"withdrawals", "adjudications", "tasks", "opinions"},
    "0003": {"alarm_changes"},
}


def since(schema: str, kind: type[Any]) -> dict[str, Any]:
    """What rows of the schema say in all columns that came after it."""
    after = [new.get(kind, {}) for found, new in NEW_SINCE.items() if found >= schema]
    return {name: value for new in after for name, value in new.items()}


def as_before(record: Any, schema: str) -> Any:
    """The record as the former schema could hold it."""
    new = since(schema, type(record))
    return type(record)(**{name: new.get(name, value) for name, value in to_row(record).items()})


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


def filled(database_url: str, schema: str) -> Database:
    """A database as a former release left it, filled."""
    opened = open_database(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with opened.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, schema)
        fill(connection)
    return opened


@pytest.fixture
def first_schema(database_url: str) -> Iterator[Database]:
    """A database as the first release left it, filled."""
    opened = filled(database_url, "0001")
    yield opened
    opened.close()


@pytest.mark.parametrize("schema", ["0001", "0002", "0003"])
def test_every_row_of_a_former_release_outlives_the_migration(database_url: str, schema: str) -> None:
    database = filled(database_url, schema)
    absent = {name for found, new in NEW_TABLES.items() if found >= schema for name in new}
    assert migrate(database) == (schema, "0004")
    with database.read() as connection:
        for name, records in samples.RECORDS:
            rows = connection.execute(select(tables.metadata.tables[name])).mappings()
            found = sorted(repr(from_row(type(records[0]), row)) for row in rows)
            expected = [] if name in absent else sorted(repr(as_before(record, schema)) for record in records)
            assert found == expected, name
    database.close()


def test_a_label_book_of_the_second_schema_is_read_with_the_defaults_of_today(database_url: str) -> None:
    database = filled(database_url, "0002")
    entries = '[{"name": "good", "number": 0, "ok": true, "description": ""}]'
    with database.write() as connection:
        connection.execute(text("UPDATE label_books SET classes = :entries"), {"entries": entries})
    migrate(database)
    with database.read() as connection:
        book = labels.newest_book(connection, samples.PRODUCT)
    assert book is not None
    assert book.classes == (ImageClass("good", 0, True),)
    database.close()


def test_after_the_migration_new_records_find_their_place(first_schema: Database) -> None:
    migrate(first_schema)
    recipe = samples.recipe(7)
    with first_schema.write() as connection:
        connection.execute(insert(tables.recipes).values(to_row(recipe)))
        connection.execute(insert(tables.outcomes).values(to_row(samples.outcome())))
    with first_schema.read() as connection:
        row = connection.execute(select(tables.recipes).where(tables.recipes.c.version == 7)).mappings().one()
        assert from_row(Recipe, row) == recipe


def test_an_alarm_that_waited_in_the_journal_since_the_first_release_is_read() -> None:
    written = json.loads(TypeAdapter(Alarm).dump_json(samples.bare_alarm()))
    of_before = {name: value for name, value in written.items() if name not in NEW_SINCE["0003"][Alarm]}
    assert len(of_before) == 10
    assert TypeAdapter(Alarm).validate_python(of_before) == samples.bare_alarm()


def test_a_record_that_waited_in_the_journal_since_the_first_release_is_read() -> None:
    adapter = TypeAdapter(Inspection)
    written = adapter.dump_json(samples.inspection(is_partial=False))
    of_before = written.replace(b'"is_partial":false,', b"")
    assert of_before != written
    assert adapter.validate_json(of_before) == samples.inspection(is_partial=False)
