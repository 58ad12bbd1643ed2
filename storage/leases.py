"""Which process a station belongs to.

Taking is compare-and-swap, so that of several only one wins, whatever their clocks say. A lease holds no time: who
wants to know whether its owner lives watches by its own monotonic clock whether `beat` moves.
"""

from sqlalchemy import Connection, select, update

from storage.database import from_row, insert_new, to_row
from storage.records import Lease
from storage.tables import leases


def listing(connection: Connection) -> dict[str, Lease]:
    """All leases by station, those that were given back too."""
    rows = connection.execute(select(leases).order_by(leases.c.station)).mappings()
    return {row["station"]: from_row(Lease, row) for row in rows}


def take(connection: Connection, station: str, owner: str, address: str, seen: Lease | None) -> Lease | None:
    """Make the station this owner's if its lease is still as it was `seen` (None: there was none).

    Token and beat both go up by one: whoever watches the beat sees a lease that has just moved. Returns the new lease,
    or None when somebody was quicker or the owner gave a sign of life after all.
    """
    if seen is None:
        first = Lease(station, owner, address, token=1, beat=0)
        return first if insert_new(connection, leases, [to_row(first)]) else None
    taken = Lease(station, owner, address, token=seen.token + 1, beat=seen.beat + 1)
    found = connection.execute(
        update(leases)
        .where(leases.c.station == station, leases.c.token == seen.token, leases.c.beat == seen.beat)
        .values(to_row(taken, without=["station"]))
    )
    return taken if found.rowcount else None


def beat(connection: Connection, owner: str) -> dict[str, Lease]:
    """Give a sign of life for all stations of the owner; returns their leases as they are now, by station.

    What is missing in the answer has been taken by somebody else.
    """
    rows = connection.execute(
        update(leases).where(leases.c.owner == owner).values(beat=leases.c.beat + 1).returning(*leases.c)
    ).mappings()
    return {row["station"]: from_row(Lease, row) for row in rows}


def release(connection: Connection, owner: str) -> None:
    """Give back all stations of the owner, so that anyone may take them at once."""
    connection.execute(update(leases).where(leases.c.owner == owner).values(owner="", address=""))
