"""Whether a station rejects more or less than chance explains: control charts over the stored inspections."""

from datetime import datetime, timedelta
from typing import Any

from monitoring.spc import CONFIDENCE, RULES, ControlChart, np_chart, p_chart
from service.line.requests import FIELD_LIMIT, WrongRequest, read_time
from storage.database import Database
from storage.inspections import PERIODS, RejectCount, reject_counts

CHARTS = {"p": p_chart, "np": np_chart}
COUNTED = ("not_ok", "recheck")
POINT_LIMIT = 2000
PARTS_LIMIT = 1_000_000
SPANS = {"hour": timedelta(days=1), "shift": timedelta(days=10), "day": timedelta(days=30)}
"""How far back a chart goes where nobody says since when; subgroups of a number of parts: as by the hour."""


def spc(
    database: Database,
    *,
    chart: str,
    station: str | None,
    product: str | None,
    since: str | None,
    until: str | None,
    per: str,
    now: datetime,
    of: str = "not_ok",
    centre: float | None = None,
) -> dict[str, Any]:
    """A control chart of production parts: limits, and for every subgroup its value, interval and broken rules.

    `chart` is `p` or `np`; `since` and `until` are ISO 8601 (default: the last day, ten days or thirty, up to `now`);
    `per` is hour, shift (8 hours), day, all counted from `since`, or a number of parts, which an np chart needs. `of`
    says what is counted: `not_ok` or `recheck`. `centre` is the share that the limits are drawn around; None: that of
    the parts shown. What is left out: see `storage.inspections.reject_counts`.

    Raises WrongRequest, DatabaseUnavailable.
    """
    size = _size(per)
    _expect(chart in CHARTS, f"chart={chart[:FIELD_LIMIT]!r} is unknown", f"use {' or '.join(CHARTS)}")
    _expect(of in COUNTED, f"of={of[:FIELD_LIMIT]!r} is unknown", f"use {' or '.join(COUNTED)}")
    _expect(
        chart == "p" or isinstance(size, int),
        f"an np chart needs subgroups of equal size, per={per} has as many parts as come",
        "give per=N, a number of parts, or chart=p",
    )
    _expect(centre is None or 0 <= centre <= 1, f"centre={centre} is no share", "give a number from 0 to 1")
    start, end = _times(since, until, size, now)
    with database.read() as connection:
        counts = reject_counts(
            connection, station=station or None, product=product or None, since=start, until=end, per=size
        )
    _expect(
        len(counts) <= POINT_LIMIT, f"these are {len(counts)} subgroups", f"ask for at most {POINT_LIMIT}: a larger per"
    )
    counted = [count.not_ok if of == "not_ok" else count.rechecks for count in counts]
    drawn = CHARTS[chart](counted, [count.parts for count in counts], centre=centre) if counts else None
    return {
        "chart": chart,
        "of": of,
        "station": station or None,
        "product": product or None,
        "since": start.isoformat(),
        "until": end.isoformat(),
        "per": size,
        "confidence": CONFIDENCE,
        "centre": {"value": drawn.centre, "low": drawn.centre_low, "high": drawn.centre_high} if drawn else None,
        "in_control": not any(drawn.rules) if drawn else None,
        "points": [_point(drawn, n, count) for n, count in enumerate(counts)] if drawn else [],
        "rules": dict(RULES),
    }


def _point(drawn: ControlChart, n: int, count: RejectCount) -> dict[str, Any]:
    return {
        "start": count.start.isoformat(),
        "end": count.end.isoformat(),
        "parts": count.parts,
        "not_ok": count.not_ok,
        "rechecks": count.rechecks,
        "value": float(drawn.value[n]),
        "low": float(drawn.low[n]),
        "high": float(drawn.high[n]),
        "lower_limit": float(drawn.lower_limit[n]),
        "upper_limit": float(drawn.upper_limit[n]),
        "rules": list(drawn.rules[n]),
    }


def _size(per: str) -> str | int:
    if per in PERIODS:
        return per
    number = int(per) if per.isascii() and per.isdigit() and len(per) <= 9 else 0
    _expect(
        2 <= number <= PARTS_LIMIT,
        f"per={per[:FIELD_LIMIT]!r} is no subgroup",
        f"use {', '.join(PERIODS)}, or a number of parts from 2 to {PARTS_LIMIT}",
    )
    return number


def _times(since: str | None, until: str | None, size: str | int, now: datetime) -> tuple[datetime, datetime]:
    given = {name: text for name, text in (("since", since), ("until", until)) if text is not None}
    end = read_time(given, "until") or now
    start = read_time(given, "since") or _some_time_before(end, size)
    _expect(start < end, f"since {start.isoformat()} is not before until {end.isoformat()}", "give an earlier since")
    if isinstance(size, str):
        points = (end - start) / PERIODS[size]
        _expect(
            points <= POINT_LIMIT, f"these are {points:.0f} subgroups", f"ask for at most {POINT_LIMIT}: a larger per"
        )
    return start, end


def _some_time_before(end: datetime, size: str | int) -> datetime:
    """At a whole hour or at midnight UTC, so that subgroups stay where they are while time goes on."""
    span = SPANS[size if isinstance(size, str) else "hour"]
    start = (end - span).replace(minute=0, second=0, microsecond=0)
    return start.replace(hour=0) if size in ("shift", "day") else start


def _expect(holds: bool, what: str, remedy: str) -> None:
    if not holds:
        raise WrongRequest(what, remedy)
