"""Whether stations reject more or less than chance explains: control charts over the stored inspections."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitoring.spc import (
    CHARTS,
    CONFIDENCE,
    EWMA_RULES,
    RULE_SETS,
    WEIGHT,
    WEIGHT_LEAST,
    WESTERN_ELECTRIC,
    ControlChart,
)
from service.line.requests import FIELD_LIMIT, WrongRequest, read_time
from storage import labels
from storage.database import Connection, Database
from storage.records import ImageClass
from storage.reject_counts import (
    MAYBE,
    PERIODS,
    SPLITS,
    RejectCount,
    TooManySubgroups,
    Wanted,
    parts_seen,
    reject_counts,
    reject_counts_by,
)

COUNTED = ("not_ok", "recheck")
POINT_LIMIT = 2000
"""So many points a chart."""
CHART_LIMIT = 50
ALL_POINTS_LIMIT = 20_000
"""So many charts in one answer, and so many points on all of them."""
PARTS_LIMIT = 1_000_000
"""So many parts a subgroup."""
SEEN_LIMIT = 1_000_000
"""So many parts are counted for one answer: a few seconds of a database."""
FIRST_YEAR, LAST_YEAR = 1970, 2099
UNDECIDED_MOST = 0.1
"""A subgroup of whose parts more than this share was not decided is told: what came then may be of another kind."""
CAUSES = {
    MAYBE: "a score between the thresholds",
    900: "not inspected (900)",
    901: "deadline (901)",
    902: "overload (902)",
    903: "missing view (903)",
    904: "optics alarm (904)",
    905: "unfamiliar part (905)",
    906: "unreadable image (906)",
    907: "not ready (907)",
    908: "storage (908)",
}
"""Why a part was not decided: the codes of `service.line.verdicts`, which would load the models."""
SPANS = {"hour": timedelta(days=1), "shift": timedelta(days=10), "day": timedelta(days=30)}
"""How far back a chart goes where nobody says since when; subgroups of a number of parts: as by the hour."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """A question that makes sense."""

    chart: str
    of: str
    by: str | None
    class_name: str | None
    baseline_until: datetime | None
    wanted: Wanted
    settings: Mapping[str, Any]
    """Of the chart: centre, and rules or weight."""
    seen_limit: int


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
    by: str | None = None,
    class_name: str | None = None,
    baseline_until: str | None = None,
    rules: str | None = None,
    weight: float | None = None,
    seen_limit: int = SEEN_LIMIT,
) -> dict[str, Any]:
    """A control chart of production parts: limits, and for every subgroup its value, interval and broken rules.

    `chart` is one of CHARTS; `since` and `until` are ISO 8601 (default: the last day, ten days or thirty, up to `now`);
    `per` is hour, shift (8 hours), day, all counted from `since`, or a number of parts, which an np chart needs. `of`
    says what is counted: `not_ok`, among the parts that were decided, or `recheck`, among all; `class_name` (a name or
    a number) only those of one class. `by` (product, station or class) adds `charts`, one for each.
    `baseline_until`: subgroups that end by then draw the limits and are not judged. `centre` is the share that the
    limits are drawn around. With neither, the limits are those of the parts shown. `rules` is one of RULE_SETS; an ewma
    chart has a rule of its own and a `weight`. What is left out: see `storage.reject_counts`.

    Raises WrongRequest, DatabaseUnavailable.
    """
    size = _size(per)
    _choice("of", of, COUNTED)
    _expect(centre is None or 0 <= centre <= 1, f"centre={centre} is no share", "give a number from 0 to 1")
    settings = {"centre": centre, **_settings(chart, size, rules, weight)}
    if by is not None:
        _choice("by", by, SPLITS)
    _expect(not (by == "class" and class_name), "by=class and class=… exclude each other", "leave one of them out")
    for field, name in (("station", station), ("product", product), ("class", class_name)):
        # PostgreSQL knows no text with a NUL.
        _expect((name or "").isprintable(), f"{field} holds control characters", "use printable characters")
    start, end, baseline = _times(since, until, baseline_until, size, now)
    wanted = Wanted(start, end, size, of == "not_ok", station or None, product or None)
    ask = _Ask(chart, of, by, class_name or None, baseline, wanted, settings, seen_limit)
    with database.read() as connection:
        return _answer(connection, ask)


def _answer(connection: Connection, ask: _Ask) -> dict[str, Any]:
    ask, classes = _with_class(connection, ask)
    wanted = ask.wanted
    seen = parts_seen(connection, wanted, ask.seen_limit + 1)
    _expect(
        seen <= ask.seen_limit,
        f"these are more than {ask.seen_limit} parts",
        "ask for a shorter time (since, until), or for one station",
    )
    drawn = _drawn(_counts(connection, ask), ask)
    charts = _charts(connection, ask, classes) if ask.by is not None else []
    left_out = drawn["counted"] - sum(one["counted"] for one in charts) if ask.by == "class" else 0
    if left_out:
        drawn["cautions"].append(f"{left_out} of those counted name no class of the label book and are in no chart")
    known = EWMA_RULES if ask.chart == "ewma" else RULE_SETS[ask.settings["rules"]]
    return {
        "chart": ask.chart,
        "of": ask.of,
        "station": wanted.station,
        "product": wanted.product,
        "class": _named(wanted.class_number, classes) if wanted.class_number is not None else None,
        "by": ask.by,
        "since": wanted.since.isoformat(),
        "until": wanted.until.isoformat(),
        "baseline_until": ask.baseline_until.isoformat() if ask.baseline_until else None,
        "per": wanted.per,
        "weight": ask.settings.get("weight"),
        "confidence": CONFIDENCE,
        **drawn,
        "rule_set": ask.settings.get("rules"),
        "rules": dict(known),
        "charts": charts,
    }


def _counts(connection: Connection, ask: _Ask) -> list[RejectCount]:
    try:
        return reject_counts(connection, ask.wanted, POINT_LIMIT)
    except TooManySubgroups as error:
        raise WrongRequest(str(error), f"ask for at most {POINT_LIMIT}: a larger per") from error


def _charts(connection: Connection, ask: _Ask, classes: Mapping[int, ImageClass]) -> list[dict[str, Any]]:
    """One chart a product, station or class: classes by how often they are found, the others by name."""
    split = str(ask.by)
    try:
        found = reject_counts_by(connection, ask.wanted, split, ALL_POINTS_LIMIT)
    except TooManySubgroups as error:
        raise WrongRequest(str(error), f"ask for at most {ALL_POINTS_LIMIT} on all charts: a larger per") from error
    _expect(
        len(found) <= CHART_LIMIT,
        f"these are {len(found)} charts",
        f"ask for at most {CHART_LIMIT}: without by, and for one {split} at a time",
    )
    charts = []
    for key, counts in found.items():
        name = _named(key, classes) if isinstance(key, int) else key
        drawn = _drawn(counts, ask)
        if drawn["points"] or drawn["cautions"]:
            charts.append({split: name, **drawn})
    if split == "class":
        return sorted(charts, key=lambda one: -one["counted"])
    return sorted(charts, key=lambda one: str(one[split]))


def _drawn(counts: Sequence[RejectCount], ask: _Ask) -> dict[str, Any]:
    """The chart of these subgroups; where nothing was decided there is no point, and a caution."""
    undecided = _undecided(counts, ask)
    of_all = sum(_undecided_of(count) for count in counts)
    counts = [count for count in counts if count.parts]
    counted = [count.not_ok if ask.of == "not_ok" else count.rechecks for count in counts]
    sums = {"parts": sum(count.parts for count in counts), "undecided": of_all, "counted": sum(counted)}
    if not counts:
        nothing = dict.fromkeys(("centre", "in_control", "sigma_z", "dispersion", "chance_outside"))
        return {**nothing, **sums, "cautions": undecided, "points": []}
    baseline, said = _baseline(counts, ask)
    drawn = CHARTS[ask.chart](counted, [count.parts for count in counts], baseline=baseline, **ask.settings)
    judged = drawn.rules[drawn.baseline :]
    return {
        "centre": {"value": drawn.centre, "low": drawn.centre_low, "high": drawn.centre_high},
        "in_control": not any(judged) if judged else None,
        "sigma_z": drawn.dispersion.sigma_z,
        "dispersion": {name: value for name, value in asdict(drawn.dispersion).items() if name != "sigma_z"},
        "chance_outside": drawn.chance_outside,
        **sums,
        "cautions": [*undecided, *said, *drawn.cautions],
        "points": [_point(drawn, n, count, counted[n]) for n, count in enumerate(counts)],
    }


def _undecided(counts: Sequence[RejectCount], ask: _Ask) -> list[str]:
    """What a chart of rejects can't say, for too few parts were decided; rechecks are mostly just these parts."""
    if ask.of != "not_ok":
        return []
    said = []
    shown = [count for count in counts if count.parts]
    poor = [count for count in shown if _is_poor(count, count.parts)]
    if poor:
        have = "has more than a tenth of its" if len(poor) == 1 else "have more than a tenth of their"
        said.append(
            f"{len(poor)} of {len(shown)} subgroups {have} parts undecided, {_cause(poor)}: what the chart says of "
            f"{'it' if len(poor) == 1 else 'them'} rests on the others"
        )
    # Of a number of parts the last subgroup is still to be filled, so that one part undecided is no news.
    room = ask.wanted.per if isinstance(ask.wanted.per, int) else 0
    nowhere = [count for count in counts if not count.parts and _is_poor(count, room)]
    if nowhere:
        parts = sum(_undecided_of(count) for count in nowhere)
        have = "undecided part is" if parts == 1 else "undecided parts are"
        said.append(
            f"{parts} {have} in no subgroup, {_cause(nowhere)}: the chart says nothing of the time when too few parts "
            "were decided"
        )
    return said


def _undecided_of(count: RejectCount) -> int:
    return sum(count.undecided.values())


def _is_poor(count: RejectCount, decided: int) -> bool:
    undecided = _undecided_of(count)
    return undecided > UNDECIDED_MOST * (decided + undecided)


def _cause(counts: Sequence[RejectCount]) -> str:
    """What kept most of these subgroups' undecided parts from being decided."""
    causes = sum((Counter(count.undecided) for count in counts), Counter[int]())
    code, times = causes.most_common(1)[0]
    return f"{'mostly' if 2 * times > causes.total() else 'most often'} {CAUSES.get(code, code)}"


def _baseline(counts: Sequence[RejectCount], ask: _Ask) -> tuple[int | None, list[str]]:
    """How many first subgroups are not judged, and what to be careful about."""
    until = ask.baseline_until
    if until is None:
        return None, []
    number = sum(1 for count in counts if count.end <= until)
    if number:
        return number, []
    if ask.settings["centre"] is not None:
        return None, []
    return len(counts), [
        f"no subgroup ends by {until.isoformat()}, so there is no baseline: the limits are drawn from the points "
        "themselves and nothing is judged; let the baseline begin earlier, or give the centre that is wanted"
    ]


def _point(drawn: ControlChart, n: int, count: RejectCount, counted: int) -> dict[str, Any]:
    return {
        "start": count.start.isoformat(),
        "end": count.end.isoformat(),
        "phase": "baseline" if n < drawn.baseline else "judged",
        "parts": count.parts,
        "undecided": _undecided_of(count),
        "not_ok": count.not_ok,
        "rechecks": count.rechecks,
        "share": counted / count.parts,
        "value": float(drawn.value[n]),
        "low": float(drawn.low[n]),
        "high": float(drawn.high[n]),
        "lower_limit": float(drawn.lower_limit[n]),
        "upper_limit": float(drawn.upper_limit[n]),
        "rules": list(drawn.rules[n]),
    }


def _with_class(connection: Connection, ask: _Ask) -> tuple[_Ask, dict[int, ImageClass]]:
    """The question with the class's number and its product, and the classes of the product by their numbers."""
    if ask.by != "class" and ask.class_name is None:
        return ask, {}
    product = ask.wanted.product
    if product is None:
        books = labels.newest_books(connection)
        _expect(
            len(books) == 1,
            f"classes are those of a product's label book, of which there are {len(books)}",
            "add product=NAME" if books else "add product=NAME; without a label book classes have numbers only",
        )
        product = next(iter(books))
    history = labels.book_history(connection, product)
    classes = {entry.number: entry for entry in history[0].classes} if history else {}
    number = None
    if ask.class_name is not None:
        # A name of before counts where no class is called so now: the first that is found is the newest.
        former = [(entry.name, entry.number) for book in reversed(history) for entry in book.classes]
        number = _class_number(ask.class_name, dict(former), product)
    return replace(ask, wanted=replace(ask.wanted, product=product, class_number=number)), classes


def _class_number(text: str, numbers: Mapping[str, int], product: str) -> int:
    if text in numbers:
        return numbers[text]
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    names = ", ".join(sorted(numbers)[:20]) or "a number: it has no label book"
    raise WrongRequest(f"class={text[:FIELD_LIMIT]!r} is none of {product}", f"use {names}")


def _named(number: int, classes: Mapping[int, ImageClass]) -> dict[str, Any]:
    return {"number": number, "name": classes[number].name if number in classes else None}


def _settings(chart: str, size: str | int, rules: str | None, weight: float | None) -> dict[str, Any]:
    """What the chart takes beside counts and centre."""
    _choice("chart", chart, CHARTS)
    _expect(
        chart != "np" or isinstance(size, int),
        f"an np chart needs subgroups of equal size, per={size} has as many parts as come",
        "give per=N, a number of parts, or chart=p",
    )
    if chart == "ewma":
        _expect(
            rules is None,
            "an ewma chart has no run rules: neighbouring averages share most of their parts",
            "leave rules out, or use chart=p",
        )
        given = WEIGHT if weight is None else weight
        _expect(WEIGHT_LEAST <= given <= 1, f"weight={weight} can't be used", f"give a number from {WEIGHT_LEAST} to 1")
        return {"weight": given}
    _expect(weight is None, f"chart={chart} has no weight", "leave weight out, or use chart=ewma")
    chosen = WESTERN_ELECTRIC if rules is None else rules
    _choice("rules", chosen, RULE_SETS)
    return {"rules": chosen}


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


def _times(
    since: str | None, until: str | None, baseline_until: str | None, size: str | int, now: datetime
) -> tuple[datetime, datetime, datetime | None]:
    """Since when, until when, and until when the baseline is."""
    texts = {"since": since, "until": until, "baseline_until": baseline_until}
    given = {name: text for name, text in texts.items() if text is not None}
    read = {name: read_time(given, name) for name in given}
    for name, time in read.items():
        _expect(
            time is None or FIRST_YEAR <= time.year <= LAST_YEAR,
            f"{name}={given[name][:FIELD_LIMIT]!r} is out of range",
            f"use a time from {FIRST_YEAR} to {LAST_YEAR}",
        )
    end, baseline = read.get("until") or now, read.get("baseline_until")
    start = read.get("since") or _some_time_before(baseline or end, size)
    _expect(start < end, f"since {start.isoformat()} is not before until {end.isoformat()}", "give an earlier since")
    if baseline is not None:
        _expect(
            start < baseline < end,
            f"baseline_until {baseline.isoformat()} is not between since {start.isoformat()} and until "
            f"{end.isoformat()}",
            "give a time between them",
        )
    if isinstance(size, str):
        points = (end - start) / PERIODS[size]
        _expect(
            points <= POINT_LIMIT, f"these are {points:.0f} subgroups", f"ask for at most {POINT_LIMIT}: a larger per"
        )
    return start, end, baseline


def _some_time_before(end: datetime, size: str | int) -> datetime:
    """At a whole hour or at midnight UTC, so that subgroups stay where they are while time goes on."""
    span = SPANS[size if isinstance(size, str) else "hour"]
    start = (end - span).replace(minute=0, second=0, microsecond=0)
    return start.replace(hour=0) if size in ("shift", "day") else start


def _choice(name: str, value: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    *most, last = known
    _expect(value in known, f"{name}={value[:FIELD_LIMIT]!r} is unknown", f"use {', '.join(most)} or {last}")


def _expect(holds: bool, what: str, remedy: str) -> None:
    if not holds:
        raise WrongRequest(what, remedy)
