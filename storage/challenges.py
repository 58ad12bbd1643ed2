"""Parts with a known answer, and how they were judged."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, func, select

from storage.database import from_row, insert_new, to_row
from storage.records import Challenge
from storage.tables import challenges


def store(connection: Connection, new: Sequence[Challenge]) -> int:
    """Store the challenges that are not there yet; returns how many were new."""
    return insert_new(connection, challenges, [to_row(challenge) for challenge in new])


def newest(connection: Connection, limit: int, station: str | None = None) -> list[Challenge]:
    """At most so many challenges, of all stations or of one, newest first."""
    query = select(challenges).order_by(challenges.c.challenged_at.desc(), challenges.c.id.desc()).limit(limit)
    if station is not None:
        query = query.where(challenges.c.station == station)
    return [from_row(Challenge, row) for row in connection.execute(query).mappings()]


def latest(connection: Connection) -> dict[tuple[str, str], Challenge]:
    """The newest challenge by (station, product), passed or not."""
    place = (challenges.c.station, challenges.c.product)
    at = select(*place, func.max(challenges.c.challenged_at).label("at")).group_by(*place).subquery()
    is_newest = and_(
        at.c.station == challenges.c.station,
        at.c.product == challenges.c.product,
        at.c.at == challenges.c.challenged_at,
    )
    query = select(challenges).join(at, is_newest).order_by(*place, challenges.c.id)
    found = (from_row(Challenge, row) for row in connection.execute(query).mappings())
    return {(challenge.station, challenge.product): challenge for challenge in found}


def last_passed(connection: Connection, station: str, product: str) -> Challenge | None:
    """The newest challenge with this product that the station passed, if any."""
    query = (
        select(challenges)
        .where(challenges.c.station == station, challenges.c.product == product, challenges.c.passed)
        .order_by(challenges.c.challenged_at.desc(), challenges.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else from_row(Challenge, row)
