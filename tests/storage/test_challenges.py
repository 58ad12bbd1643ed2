from collections.abc import Iterator

import pytest

from storage import challenges
from storage.database import Connection, Database
from tests.storage.samples import PRODUCT, challenge, later


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def test_a_challenge_is_stored_once(connection: Connection) -> None:
    assert challenges.store(connection, [challenge("1"), challenge("2", station="press-2")]) == 2
    assert challenges.store(connection, [challenge("1", passed=True), challenge("3")]) == 1
    assert challenges.latest(connection)["press-2", PRODUCT] == challenge("2", station="press-2")


def test_each_station_shows_its_newest_challenge_and_the_last_that_it_passed(connection: Connection) -> None:
    rows = [
        challenge("1", passed=True, challenged_at=later(1)),
        challenge("2", passed=True, challenged_at=later(3)),
        challenge("3", passed=False, challenged_at=later(5)),
        challenge("4", station="press-2", passed=False, challenged_at=later(9)),
    ]
    challenges.store(connection, rows)
    assert challenges.latest(connection) == {("press-1", PRODUCT): rows[2], ("press-2", PRODUCT): rows[3]}
    assert challenges.last_passed(connection, "press-1", PRODUCT) == rows[1]
    assert challenges.last_passed(connection, "press-2", PRODUCT) is None
    assert challenges.last_passed(connection, "press-3", PRODUCT) is None


def test_each_product_has_a_challenge_of_its_own(connection: Connection) -> None:
    rows = [challenge("1", passed=False), challenge("2", product="lid", passed=True, challenged_at=later(3))]
    challenges.store(connection, rows)
    assert challenges.latest(connection) == {("press-1", PRODUCT): rows[0], ("press-1", "lid"): rows[1]}
    assert challenges.last_passed(connection, "press-1", PRODUCT) is None


def test_of_two_challenges_at_one_moment_the_same_one_is_always_shown(connection: Connection) -> None:
    challenges.store(connection, [challenge("b", passed=True), challenge("a", passed=True)])
    assert challenges.latest(connection)["press-1", PRODUCT].id == "b"
    found = challenges.last_passed(connection, "press-1", PRODUCT)
    assert found
    assert found.id == "b"


def test_challenges_are_listed_newest_first_for_one_station_or_all(connection: Connection) -> None:
    rows = [
        challenge("1", challenged_at=later(1)),
        challenge("2", station="press-2", challenged_at=later(3)),
        challenge("3", challenged_at=later(5)),
    ]
    challenges.store(connection, rows)
    assert challenges.newest(connection, 10) == rows[::-1]
    assert challenges.newest(connection, 2) == [rows[2], rows[1]]
    assert challenges.newest(connection, 10, "press-1") == [rows[2], rows[0]]
    assert challenges.newest(connection, 10, "press-3") == []
