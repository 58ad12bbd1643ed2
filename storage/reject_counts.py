"""How many production parts were rejected, in subgroups of time or of a number of parts: what control charts count."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    null,
    select,
)

from storage.inspections import in_production
from storage.tables import inspections

PERIODS = MappingProxyType({"hour": timedelta(hours=1), "shift": timedelta(hours=8), "day": timedelta(days=1)})
"""How long a subgroup of a control chart may be."""

SPLITS: dict[str, Column[str] | Column[int]] = {
    "product": inspections.c.product,
    "station": inspections.c.station,
    "class": inspections.c.result_code,
}
"""What subgroups can be split by; a class is the number that the verdict names."""

LEAST_SYSTEM_CODE = 900
"""From here on a result code names no class of the label book."""

Key = str | int | None


class TooManySubgroups(ValueError):
    """There are more subgroups than were asked for."""

    def __init__(self, at_least: int) -> None:
        super().__init__(f"these are {at_least} subgroups or more")
        self.at_least = at_least
        self.remedy = "ask for a shorter time, or for larger subgroups"


@dataclass(frozen=True, slots=True)
class RejectCount:
    """One subgroup of production parts and how they were judged."""

    start: datetime
    end: datetime
    """Not among the subgroup where it is a period; the time of its last part where it is a number of parts."""
    parts: int
    not_ok: int
    """Parts with a defect (evaluation `not_ok`), whatever their disposition."""
    rechecks: int
    """Parts that a person has to look at (disposition `recheck`)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parts are counted, and in which subgroups."""

    since: datetime
    until: datetime
    per: str | int
    """One of PERIODS, counted from `since` (its whole second), or a number of parts."""
    station: str | None = None
    product: str | None = None
    """None: all of them."""
    class_number: int | None = None
    """Of defects and rechecks, count those whose verdict names this class; all parts stay in `parts`."""


def parts_seen(connection: Connection, wanted: Wanted, limit: int) -> int:
    """How many records lie in the time, at the station; `limit` where it is that many or more: bounded work."""
    query = select(literal(1)).where(*_time_and_station(wanted)).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(query)).scalar_one()


def reject_counts(connection: Connection, wanted: Wanted, limit: int) -> list[RejectCount]:
    """Subgroups of production parts, oldest first; superseded records are left out.

    Periods without a part are left out; the last parts, too few for a subgroup, are left out as well.

    Raises TooManySubgroups where there are more than `limit`.
    """
    found = _pivoted(_rows(connection, wanted, None, limit), wanted)
    return found.get(None, [])


def reject_counts_by(connection: Connection, wanted: Wanted, split: str, limit: int) -> dict[Key, list[RejectCount]]:
    """The same for each product, station or class (one of SPLITS), by its name or number.

    Products and stations have subgroups of their own. Classes share them: of each, `parts` are all parts, and only
    classes that a verdict names are there. `limit` is for all subgroups together.

    Raises TooManySubgroups.
    """
    rows = _rows(connection, wanted, split, limit)
    found = _pivoted(rows, wanted, shared=split == "class")
    if split == "class":
        return {key: counts for key, counts in found.items() if isinstance(key, int) and 0 < key < LEAST_SYSTEM_CODE}
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    key: Key
    subgroup: int
    first: datetime
    last: datetime
    parts: int
    not_ok: int
    rechecks: int


def _rows(connection: Connection, wanted: Wanted, split: str | None, limit: int) -> list[_Row]:
    since = _whole_second(wanted.since)
    where = [*_time_and_station(wanted), in_production()]
    where += [inspections.c.product == wanted.product] if wanted.product is not None else []
    key = SPLITS[split] if split is not None else null()
    place = _place(connection, wanted.per, since, None if split in (None, "class") else SPLITS[str(split)])
    counted = (
        select(
            key.label("key"),
            place.label("subgroup"),
            inspections.c.received_at,
            _flag(inspections.c.evaluation == "not_ok", wanted.class_number).label("not_ok"),
            _flag(inspections.c.disposition == "recheck", wanted.class_number).label("recheck"),
        )
        .where(*where)
        .subquery()
    )
    columns = [counted.c.key, counted.c.subgroup]
    query = (
        select(
            *columns,
            func.min(counted.c.received_at),
            func.max(counted.c.received_at),
            func.count(),
            func.sum(counted.c.not_ok),
            func.sum(counted.c.recheck),
        )
        .group_by(*columns)
        .order_by(*columns)
        .limit(limit + 1)
    )
    if isinstance(wanted.per, int) and split != "class":
        query = query.having(func.count() == wanted.per)
    rows = [_Row(*tuple(row)) for row in connection.execute(query)]
    if len(rows) > limit:
        raise TooManySubgroups(len(rows))
    return rows


def _pivoted(rows: Sequence[_Row], wanted: Wanted, shared: bool = False) -> dict[Key, list[RejectCount]]:
    """The subgroups of each key; where they are shared, those of a key have the parts of all keys."""
    found: dict[Key, list[RejectCount]] = {}
    if not shared:
        for row in rows:
            found.setdefault(row.key, []).append(_count(row, wanted))
        return found
    whole: dict[int, _Row] = {}
    for row in rows:
        so_far = whole.get(row.subgroup, replace(row, parts=0))
        first, last = min(so_far.first, row.first), max(so_far.last, row.last)
        whole[row.subgroup] = replace(so_far, first=first, last=last, parts=so_far.parts + row.parts)
    complete = [at for at, row in sorted(whole.items()) if not isinstance(wanted.per, int) or row.parts == wanted.per]
    judged = {(row.key, row.subgroup): row for row in rows}
    for key in dict.fromkeys(row.key for row in rows):
        counts = []
        for at in complete:
            own = judged.get((key, at))
            not_ok, rechecks = (own.not_ok, own.rechecks) if own is not None else (0, 0)
            counts.append(_count(replace(whole[at], not_ok=not_ok, rechecks=rechecks), wanted))
        found[key] = counts
    return found


def _count(row: _Row, wanted: Wanted) -> RejectCount:
    if isinstance(wanted.per, int):
        return RejectCount(row.first, row.last, row.parts, row.not_ok, row.rechecks)
    start = _whole_second(wanted.since) + row.subgroup * PERIODS[wanted.per]
    end = min(start + PERIODS[wanted.per], wanted.until.astimezone(UTC))
    return RejectCount(start, end, row.parts, row.not_ok, row.rechecks)


def _whole_second(since: datetime) -> datetime:
    return since.astimezone(UTC).replace(microsecond=0)


def _time_and_station(wanted: Wanted) -> list[ColumnElement[bool]]:
    found = [
        inspections.c.received_at >= _whole_second(wanted.since),
        inspections.c.received_at < wanted.until.astimezone(UTC),
    ]
    return found + ([inspections.c.station == wanted.station] if wanted.station is not None else [])


def _flag(condition: ColumnElement[bool], class_number: int | None) -> ColumnElement[int]:
    if class_number is not None:
        condition = and_(condition, inspections.c.result_code == class_number)
    return case((condition, 1), else_=0)


def _place(
    connection: Connection, per: str | int, since: datetime, apart: Column[str] | Column[int] | None
) -> ColumnElement[int]:
    """The number of a part's subgroup, from 0; `apart`: subgroups of parts that agree in this column."""
    if isinstance(per, int):
        order = (inspections.c.received_at, inspections.c.result_id)
        return (func.row_number().over(partition_by=apart, order_by=order) - 1) // per
    # Each database has its own way from a time to its second.
    if connection.dialect.name == "postgresql":
        second = cast(func.floor(extract("epoch", inspections.c.received_at)), BigInteger)
    else:
        # Without the fraction: SQLite would round 06:59:59.999999 up.
        second = cast(func.strftime("%s", func.substr(inspections.c.received_at, 1, 19)), BigInteger)
    return (second - int(since.timestamp())) // int(PERIODS[per].total_seconds())
