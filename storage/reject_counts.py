"""How many production parts were rejected, in subgroups of time or of a number of parts: what control charts count."""

from collections.abc import Mapping, Sequence
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
CAUSES_MOST = 12
"""No more causes than this in one subgroup: the codes from LEAST_SYSTEM_CODE on, MAYBE, and none."""
MAYBE = 0
"""The cause where the scores alone could not tell: they lay between the thresholds, whatever class the code names."""
DECIDED = ("ok", "not_ok")
"""Evaluations of a part that was inspected and told good or bad."""

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
    """All of them; with `decided_only` those that were decided: none where nothing was."""
    not_ok: int
    """Parts with a defect (evaluation `not_ok`), whatever their disposition."""
    rechecks: int
    """Parts that a person has to look at (disposition `recheck`), decided or not."""
    undecided: Mapping[int, int]
    """How many parts came and were not decided, by cause: a result code from LEAST_SYSTEM_CODE on, or MAYBE."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parts are counted, and in which subgroups."""

    since: datetime
    until: datetime
    per: str | int
    """One of PERIODS, counted from `since` (its whole second), or a number of parts."""
    decided_only: bool
    """Subgroups are of parts that were decided; what was not is told beside them, with the subgroup that was being
    filled when it came. Else subgroups are of all parts."""
    station: str | None = None
    product: str | None = None
    """None: all of them."""
    class_number: int | None = None
    """Of defects and rechecks, count those whose verdict names this class; the others stay in `parts`."""


def parts_seen(connection: Connection, wanted: Wanted, limit: int) -> int:
    """How many records lie in the time, at the station; `limit` where it is that many or more: bounded work."""
    query = select(literal(1)).where(*_time_and_station(wanted)).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(query)).scalar_one()


def reject_counts(connection: Connection, wanted: Wanted, limit: int) -> list[RejectCount]:
    """Subgroups of production parts, oldest first; superseded records are left out.

    Periods without a part are left out; the last parts, too few for a subgroup, are left out as well. What was not
    decided is not: where it is in no subgroup, it stands in a count of no `parts`.

    Raises TooManySubgroups where there are more than `limit`.
    """
    rows = _rows(connection, wanted, None, limit)
    found = _filled(_gathered(rows, wanted), wanted)
    _bound(found, limit)
    return list(found.values())


def reject_counts_by(connection: Connection, wanted: Wanted, split: str, limit: int) -> dict[Key, list[RejectCount]]:
    """The same for each product, station or class (one of SPLITS), by its name or number.

    Products and stations have subgroups of their own. Classes share them: of each, `parts` and `undecided` are those
    of all, and only classes that a verdict names are there. `limit` is for all subgroups together.

    Raises TooManySubgroups.
    """
    rows = _rows(connection, wanted, split, limit)
    own = _gathered(rows, wanted)
    found: dict[Key, list[RejectCount]] = {}
    if split != "class":
        filled = _filled(own, wanted)
        _bound(filled, limit)
        for (key, _), count in filled.items():
            found.setdefault(key, []).append(count)
        return found
    _bound(own, limit)
    in_time = sorted((replace(row, key=None) for row in rows), key=lambda row: row.subgroup)
    shared = _filled(_gathered(in_time, wanted), wanted)
    for number in dict.fromkeys(row.key for row in rows):
        if isinstance(number, int) and 0 < number < LEAST_SYSTEM_CODE:
            found[number] = [_of_class(count, own.get((number, at))) for (_, at), count in shared.items()]
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    key: Key
    subgroup: int
    cause: int | None
    """Why its parts were not decided; None: they were."""
    first: datetime
    last: datetime
    parts: int
    not_ok: int
    rechecks: int


Place = tuple[Key, int]
"""The key of a subgroup and its number among those of the key."""


def _rows(connection: Connection, wanted: Wanted, split: str | None, limit: int) -> list[_Row]:
    """Ordered by key and subgroup; more than enough for `limit` subgroups.

    Raises TooManySubgroups where they are more for sure.
    """
    since = _whole_second(wanted.since)
    where = [*_time_and_station(wanted), in_production()]
    where += [inspections.c.product == wanted.product] if wanted.product is not None else []
    key = SPLITS[split] if split is not None else null()
    place = _place(connection, wanted, since, None if split in (None, "class") else SPLITS[str(split)])
    code = inspections.c.result_code
    counted = (
        select(
            key.label("key"),
            place.label("subgroup"),
            case((_decided(), null()), (code >= LEAST_SYSTEM_CODE, code), else_=MAYBE).label("cause"),
            inspections.c.received_at,
            _flag(inspections.c.evaluation == "not_ok", wanted.class_number).label("not_ok"),
            _flag(inspections.c.disposition == "recheck", wanted.class_number).label("recheck"),
        )
        .where(*where)
        .subquery()
    )
    columns = [counted.c.key, counted.c.subgroup, counted.c.cause]
    bound = (limit + 1) * CAUSES_MOST
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
        .limit(bound)
    )
    rows = [_Row(*tuple(row)) for row in connection.execute(query)]
    if len(rows) == bound:
        raise TooManySubgroups(limit + 1)
    return rows


def _gathered(rows: Sequence[_Row], wanted: Wanted) -> dict[Place, RejectCount]:
    """The subgroups: of each, its rows of all causes together."""
    found: dict[Place, RejectCount] = {}
    for row in rows:
        place = (row.key, row.subgroup)
        start, end = _span(row, wanted)
        before = found.get(place, RejectCount(start, end, 0, 0, 0, {}))
        undecided = dict(before.undecided)
        if row.cause is not None:
            undecided[row.cause] = undecided.get(row.cause, 0) + row.parts
        found[place] = RejectCount(
            min(before.start, start),
            max(before.end, end),
            before.parts + (row.parts if row.cause is None or not wanted.decided_only else 0),
            before.not_ok + row.not_ok,
            before.rechecks + row.rechecks,
            undecided,
        )
    return found


def _filled(found: Mapping[Place, RejectCount], wanted: Wanted) -> dict[Place, RejectCount]:
    """Without subgroups of too few parts; what was not decided since the last full one stays, as a count of no part."""
    if isinstance(wanted.per, str):
        return dict(found)
    kept = {}
    for place, count in found.items():
        if count.parts == wanted.per:
            kept[place] = count
        elif wanted.decided_only and count.undecided:
            kept[place] = replace(count, parts=0, not_ok=0, rechecks=0)
    return kept


def _bound(found: Mapping[Place, RejectCount], limit: int) -> None:
    if len(found) > limit:
        raise TooManySubgroups(limit + 1)


def _of_class(shared: RejectCount, own: RejectCount | None) -> RejectCount:
    """What all classes share, with the defects and rechecks of one, where it has any."""
    if own is None or not shared.parts:
        return replace(shared, not_ok=0, rechecks=0)
    return replace(shared, not_ok=own.not_ok, rechecks=own.rechecks)


def _span(row: _Row, wanted: Wanted) -> tuple[datetime, datetime]:
    if isinstance(wanted.per, int):
        return row.first, row.last
    start = _whole_second(wanted.since) + row.subgroup * PERIODS[wanted.per]
    return start, min(start + PERIODS[wanted.per], wanted.until.astimezone(UTC))


def _whole_second(since: datetime) -> datetime:
    return since.astimezone(UTC).replace(microsecond=0)


def _time_and_station(wanted: Wanted) -> list[ColumnElement[bool]]:
    found = [
        inspections.c.received_at >= _whole_second(wanted.since),
        inspections.c.received_at < wanted.until.astimezone(UTC),
    ]
    return found + ([inspections.c.station == wanted.station] if wanted.station is not None else [])


def _decided() -> ColumnElement[bool]:
    return inspections.c.evaluation.in_(DECIDED)


def _flag(condition: ColumnElement[bool], class_number: int | None) -> ColumnElement[int]:
    if class_number is not None:
        condition = and_(condition, inspections.c.result_code == class_number)
    return case((condition, 1), else_=0)


def _place(
    connection: Connection, wanted: Wanted, since: datetime, apart: Column[str] | Column[int] | None
) -> ColumnElement[int]:
    """The number of a part's subgroup, from 0; `apart`: subgroups of parts that agree in this column."""
    per = wanted.per
    if isinstance(per, int):
        order = (inspections.c.received_at, inspections.c.result_id)
        if not wanted.decided_only:
            return (func.row_number().over(partition_by=apart, order_by=order) - 1) // per
        fills = _flag(_decided(), None)
        return (func.sum(fills).over(partition_by=apart, order_by=order, rows=(None, 0)) - fills) // per
    # Each database has its own way from a time to its second.
    if connection.dialect.name == "postgresql":
        second = cast(func.floor(extract("epoch", inspections.c.received_at)), BigInteger)
    else:
        # Without the fraction: SQLite would round 06:59:59.999999 up.
        second = cast(func.strftime("%s", func.substr(inspections.c.received_at, 1, 19)), BigInteger)
    return (second - int(since.timestamp())) // int(PERIODS[per].total_seconds())
