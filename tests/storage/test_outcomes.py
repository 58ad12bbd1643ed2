from collections.abc import Iterator

import pytest

from storage import outcomes
from storage.database import Connection, Database
from tests.storage.samples import later, outcome


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def test_an_outcome_sent_twice_is_stored_once_and_stays(connection: Connection) -> None:
    assert outcomes.store(connection, [outcome("1"), outcome("2")]) == 2
    assert outcomes.store(connection, [outcome("1", disposition="pass"), outcome("3", result_id="r2")]) == 1
    assert outcomes.of_inspection(connection, "r1") == [outcome("1"), outcome("2")]
    assert outcomes.store(connection, []) == 0


def test_outcomes_may_come_before_their_inspection_and_are_read_oldest_first(connection: Connection) -> None:
    outcomes.store(connection, [outcome("a", decided_at=later(5)), outcome("b", decided_at=later(1))])
    assert [found.id for found in outcomes.of_inspection(connection, "r1")] == ["b", "a"]
    assert outcomes.of_inspection(connection, "r2") == []
