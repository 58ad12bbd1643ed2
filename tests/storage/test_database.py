import dataclasses
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, Column, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from storage import tables
from storage.database import (
    Database,
    DatabaseUnavailable,
    SchemaBehind,
    WrongDatabaseUrl,
    ensure_schema,
    from_row,
    insert_new,
    migrate,
    open_database,
    to_row,
)
from storage.records import Inspection
from tests.storage import samples

ROOT = Path(__file__).parents[2]
MIGRATE = "import sys; from storage.database import *; ensure_schema(open_database(sys.argv[1]))"


def other_json_default(
    _context: object, _found: object, column: Column[Any], found: str | None, _clause: object, expected: str | None
) -> bool | None:
    """Whether JSON columns have other defaults, as text: PostgreSQL has no `=` for JSON. None: alembic knows."""
    if not isinstance(column.type, JSON):
        return None
    return (found.removesuffix("::json") if found else None) != expected


def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    with database.read() as connection:
        compared = {"compare_type": True, "compare_server_default": other_json_default}
        context = MigrationContext.configure(connection, opts=compared)
        assert compare_metadata(context, tables.metadata) == []


def test_the_migrations_keep_the_names_of_constraints(database: Database) -> None:
    """What autogenerate doesn't compare: a later migration finds a constraint by its name."""
    with database.read() as connection:
        found = inspect(connection)
        for table in tables.metadata.sorted_tables:
            assert found.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"
            for foreign in found.get_foreign_keys(table.name):
                assert foreign["name"] == f"fk_{table.name}_{foreign['constrained_columns'][0]}"


def test_ensuring_the_schema_twice_keeps_what_is_stored(database: Database) -> None:
    with database.write() as connection:
        insert_new(connection, tables.alarms, [to_row(samples.alarm())])
    ensure_schema(database)
    assert migrate(database) == ("0004", "0004")
    with database.read() as connection:
        assert len(connection.execute(select(tables.alarms)).all()) == 1


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, database_url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    endings = [(child.communicate()[1], child.returncode) for child in children]
    assert endings == [("", 0)] * len(children)


def test_threads_that_start_together_migrate_once(database_url: str) -> None:
    """Closer together than processes can be brought."""
    together = threading.Barrier(6)

    def start() -> None:
        database = open_database(database_url)
        together.wait()
        ensure_schema(database)
        database.close()

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(start) for _ in range(6)]:
            future.result()


def test_an_unknown_schema_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaBehind, match="9999") as refused:
        ensure_schema(database)
    assert "loupe migrate" in refused.value.remedy
    with database.read() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "9999"


def test_a_served_database_with_foreign_tables_is_refused(database_url: str) -> None:
    database = open_database(database_url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE somebody_elses (id INTEGER)"))
    if database.engine.dialect.name == "sqlite":
        ensure_schema(database)  # a file of Loupe's own, whatever lies in it
    else:
        with pytest.raises(SchemaBehind):
            ensure_schema(database)
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "", "oracle-of-delphi://x/y", "sqlite:/\\x"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(WrongDatabaseUrl) as refused:
        open_database(url)
    assert f"'{url}'" in str(refused.value)
    assert "postgresql://" in refused.value.remedy


def test_a_database_that_is_away_is_reported_without_its_password() -> None:
    database = open_database("postgresql://someone:very-secret@127.0.0.1:1/test")
    with pytest.raises(DatabaseUnavailable) as away, database.read():
        pass
    assert "very-secret" not in str(away.value)
    assert "127.0.0.1" in str(away.value)


def test_an_sqlite_file_in_no_folder_is_reported(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'absent' / 'loupe.db'}")
    with pytest.raises(DatabaseUnavailable, match="unable to open"), database.write():
        pass


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as connection:
            insert_new(connection, tables.alarms, [to_row(samples.alarm())])
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    with database.read() as connection:
        assert connection.execute(select(tables.alarms)).all() == []


def test_writers_wait_for_each_other_when_they_read_first(database: Database) -> None:
    """SQLite refuses a transaction that began as a reader and writes after somebody else did."""
    together = threading.Barrier(4)

    def add(name: str) -> int:
        together.wait()
        for n in range(5):
            with database.write() as connection:
                connection.execute(select(tables.alarms)).all()
                insert_new(connection, tables.alarms, [to_row(samples.alarm(f"{name}-{n}"))])
        return 5

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(add, "abcd")) == 20
    with database.read() as connection:
        assert len(connection.execute(select(tables.alarms)).all()) == 20


def test_every_record_has_a_table_of_its_fields() -> None:
    by_table = {name: type(records[0]) for name, records in samples.RECORDS}
    assert set(by_table) == set(tables.metadata.tables)
    for name, cls in by_table.items():
        views_apart = {"views"} if cls is Inspection else set()
        assert {f.name for f in dataclasses.fields(cls)} - views_apart == set(tables.metadata.tables[name].c.keys())


def test_records_come_back_as_they_went_in(database: Database) -> None:
    for name, records in samples.RECORDS:
        table = tables.metadata.tables[name]
        with database.write() as connection:
            if name == "views":  # the inspections that they belong to
                others = [samples.inspection(view.result_id, views=()) for view in records]
                insert_new(connection, tables.inspections, [to_row(other, without=["views"]) for other in others])
            without = ["views"] if name == "inspections" else []
            assert insert_new(connection, table, [to_row(record, without=without) for record in records]) == len(
                records
            )
        with database.read() as connection:
            found = [from_row(type(records[0]), row) for row in connection.execute(select(table)).mappings()]
        assert sorted(map(repr, found)) == sorted(map(repr, records)), name


def test_a_row_that_belongs_to_nothing_is_refused_on_both(database: Database) -> None:
    """SQLite holds foreign keys only when it is told to."""
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(tables.views).values(to_row(samples.view("nobody"))))


def test_only_new_rows_are_counted(database: Database) -> None:
    first = [to_row(samples.alarm(str(n))) for n in range(3)]
    with database.write() as connection:
        assert insert_new(connection, tables.alarms, []) == 0
        assert insert_new(connection, tables.alarms, first) == 3
        assert insert_new(connection, tables.alarms, first) == 0
        assert insert_new(connection, tables.alarms, [*first, to_row(samples.alarm("new"))]) == 1
        twins = [to_row(samples.alarm("twin")), to_row(samples.alarm("twin", ratio=9.0))]
        assert insert_new(connection, tables.alarms, twins) == 1
        assert insert_new(connection, tables.keys, [to_row(samples.key())]) == 1
        same_secret = to_row(samples.key("other", secret_sha256=samples.key().secret_sha256))
        assert insert_new(connection, tables.keys, [same_secret]) == 0


def test_more_rows_than_one_statement_may_hold_are_all_stored(database: Database) -> None:
    rows = [to_row(samples.alarm(f"{n}")) for n in range(3300)]  # 10 values each; SQLite takes 32766 in a statement
    with database.write() as connection:
        assert insert_new(connection, tables.alarms, rows[:1]) == 1
        assert insert_new(connection, tables.alarms, rows) == 3299


def test_two_that_insert_the_same_rows_at_once_count_each_row_once(database: Database) -> None:
    together = threading.Barrier(2)
    rows = [[to_row(samples.alarm(f"{n:04d}")) for n in numbers] for numbers in (range(300), range(100, 400))]

    def add(mine: list[dict[str, Any]]) -> int:
        together.wait()
        with database.write() as connection:
            return insert_new(connection, tables.alarms, mine)

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(add, rows)) == 400
