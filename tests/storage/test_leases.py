import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import leases
from storage.database import Connection, Database
from storage.records import Lease

A, B = "host-a", "host-b"


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def test_a_station_without_a_lease_is_taken_once(connection: Connection) -> None:
    first = leases.take(connection, "s1", A, "a:1", None)
    assert first == Lease("s1", A, "a:1", token=1, beat=0)
    assert leases.take(connection, "s1", B, "b:1", None) is None
    assert leases.listing(connection) == {"s1": first}


def test_a_lease_is_taken_over_as_it_was_seen_and_moves(connection: Connection) -> None:
    first = leases.take(connection, "s1", A, "a:1", None)
    taken = leases.take(connection, "s1", B, "b:1", first)
    assert taken == Lease("s1", B, "b:1", token=2, beat=1)
    assert leases.take(connection, "s1", "host-c", "c:1", first) is None, "it is no longer as it was seen"
    assert leases.listing(connection) == {"s1": taken}


def test_a_sign_of_life_saves_the_lease(connection: Connection) -> None:
    seen = leases.take(connection, "s1", A, "a:1", None)
    assert leases.beat(connection, A) == {"s1": Lease("s1", A, "a:1", token=1, beat=1)}
    assert leases.take(connection, "s1", B, "b:1", seen) is None


def test_a_sign_of_life_tells_which_stations_are_left(connection: Connection) -> None:
    for station in ("s1", "s2", "s3"):
        leases.take(connection, station, A, "a:1", None)
    leases.take(connection, "s2", B, "b:1", leases.listing(connection)["s2"])
    assert {station: lease.beat for station, lease in leases.beat(connection, A).items()} == {"s1": 1, "s3": 1}
    assert leases.listing(connection)["s2"] == Lease("s2", B, "b:1", token=2, beat=1)
    assert leases.beat(connection, "nobody") == {}


def test_what_is_given_back_is_free_at_once(connection: Connection) -> None:
    for station, owner in (("s1", A), ("s2", A), ("s3", B)):
        leases.take(connection, station, owner, "a:1", None)
    leases.release(connection, A)
    assert {s: lease.owner for s, lease in leases.listing(connection).items()} == {"s1": "", "s2": "", "s3": B}
    assert leases.beat(connection, A) == {}
    free = leases.listing(connection)["s1"]
    assert (free.address, free.token) == ("", 1)
    taken = leases.take(connection, "s1", B, "b:1", free)
    assert taken
    assert taken.token == 2
    leases.release(connection, A)
    assert {s: lease.owner for s, lease in leases.listing(connection).items()} == {"s1": B, "s2": "", "s3": B}


@pytest.mark.parametrize("is_held", [False, True])
def test_of_several_that_take_at_once_one_wins(database: Database, is_held: bool) -> None:
    seen: dict[str, Lease | None] = {f"s{n}": None for n in range(8)}
    if is_held:
        with database.write() as connection:
            seen = {station: leases.take(connection, station, "gone", "", None) for station in seen}
    together = threading.Barrier(4)

    def take_all(owner: str) -> list[Lease]:
        won = []
        for station, lease in seen.items():
            together.wait()
            with database.write() as connection:
                won.append(leases.take(connection, station, owner, f"{owner}:1", lease))
        return [lease for lease in won if lease]

    with ThreadPoolExecutor(4) as pool:
        won = [lease for found in pool.map(take_all, ("a", "b", "c", "d")) for lease in found]
    assert sorted(lease.station for lease in won) == sorted(seen)
    with database.read() as connection:
        assert leases.listing(connection) == {lease.station: lease for lease in won}


def test_a_sign_of_life_and_a_taking_at_once_never_both_hold(database: Database) -> None:
    """Whoever comes second sees what the first one did."""
    together = threading.Barrier(2)

    for n in range(10):
        station = f"s{n}"
        with database.write() as connection:
            seen = leases.take(connection, station, A, "a:1", None)

        def live(station: str = station) -> bool:
            together.wait()
            with database.write() as connection:
                return station in leases.beat(connection, A)

        def rob(station: str = station, seen: Lease | None = seen) -> bool:
            together.wait()
            with database.write() as connection:
                return leases.take(connection, station, B, "b:1", seen) is not None

        with ThreadPoolExecutor(2) as pool:
            lived, robbed = pool.submit(live), pool.submit(rob)
            assert lived.result() != robbed.result()
