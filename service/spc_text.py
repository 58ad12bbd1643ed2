"""Control charts as rows of text for a terminal of 80 columns, and as CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

TITLES = {
    "p": "Share of {of} (p chart)",
    "np": "Number of {of} (np chart)",
    "laney": "Share of {of} (Laney's p′ chart)",
    "ewma": "Moving average of the share of {of} (EWMA chart)",
}
COUNTED = {"not_ok": "rejects", "recheck": "rechecks"}
SPLITS = ("product", "station", "class")
SHOWN = 48
"""Points of a chart that the terminal shows: all up to this many, else those that break rules and the last ones."""
LAST = 12

SCATTER = {
    "over": "subgroups scatter more than chance explains",
    "under": "subgroups scatter less than chance explains",
    "chance": "subgroups scatter as chance makes them",
    "unknown": "nobody can say whether subgroups scatter as chance makes them",
}


def title(result: dict[str, Any]) -> str:
    """What the chart shows.

    >>> title({"chart": "p", "of": "not_ok", "class": {"number": 2, "name": None}, "product": "cap", "station": None})
    'Share of rejects (p chart), class 2, product cap'
    """
    named = [("class", class_text(result["class"]) if result["class"] else None)]
    named += [(name, result[name]) for name in ("product", "station")]
    text = TITLES[result["chart"]].format(of=COUNTED[result["of"]])
    return ", ".join([text, *(f"{name} {value}" for name, value in named if value)])


def class_text(found: dict[str, Any]) -> str:
    """A class by its name, or by its number where the label book has none.

    >>> class_text({"number": 2, "name": "dent"}), class_text({"number": 7, "name": None})
    ('dent', '7')
    """
    return str(found["name"] or found["number"])


def split_text(result: dict[str, Any], one: dict[str, Any]) -> str:
    """Of what product, station or class one of `charts` is."""
    value = one[result["by"]]
    return class_text(value) if result["by"] == "class" else str(value)


def figure(result: dict[str, Any], value: float) -> str:
    """A value of the chart: a percentage, or on an np chart a number of parts.

    >>> figure({"chart": "p"}, 0.02314), figure({"chart": "np"}, 11.565), figure({"chart": "p"}, 0.0)
    ('2.31 %', '11.6', '0 %')
    """
    return f"{value:.3g}" if result["chart"] == "np" else f"{100 * value:.3g} %"


def centre_text(result: dict[str, Any], drawn: dict[str, Any]) -> str:
    """The centre line with its interval; without one where it was given."""
    centre = drawn["centre"]
    if centre is None:
        return "–"
    text = figure(result, centre["value"])
    if centre["low"] == centre["high"]:
        return text
    low, high = (figure(result, centre[end]).removesuffix(" %") for end in ("low", "high"))
    return f"{text} ({low}–{high})"


def verdict(drawn: dict[str, Any]) -> str:
    """Whether what the chart shows is under control.

    >>> verdict({"in_control": None})
    'not judged'
    """
    return "not judged" if drawn["in_control"] is None else "yes" if drawn["in_control"] else "NO"


def told(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """The points that break rules, those of the baseline too."""
    return [point for point in drawn["points"] if point["rules"]]


def judged(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """The points that are judged."""
    return [point for point in drawn["points"] if point["phase"] == "judged"]


def scatter_text(drawn: dict[str, Any]) -> str:
    """How far subgroups scatter; empty where there are none.

    >>> scatter_text({"sigma_z": 1.084, "dispersion": {"verdict": "chance"}})
    'Sigma z is 1.08: subgroups scatter as chance makes them.'
    """
    if drawn["dispersion"] is None:
        return ""
    return f"Sigma z is {drawn['sigma_z']:.3g}: {SCATTER[drawn['dispersion']['verdict']]}."


def cautions(result: dict[str, Any]) -> list[str]:
    """What to be careful about: of all parts, then of the charts, each sentence once.

    >>> cautions({"by": "station", "cautions": ["few"], "charts": [
    ...     {"station": "s1", "cautions": ["few"]}, {"station": "s2", "cautions": ["few", "odd"]}]})
    ['few', 'station s2: odd']
    """
    found = list(result["cautions"])
    charts: dict[str, list[str]] = {}
    for one in result["charts"]:
        for said in one["cautions"]:
            charts.setdefault(said, []).append(split_text(result, one))
    return found + [f"{result['by']} {', '.join(names)}: {said}" for said, names in charts.items() if said not in found]


def chart_heads(result: dict[str, Any]) -> list[str]:
    """The heads of `chart_row`; what was not decided has a column where there is such a part."""
    return [*_parts_heads(result), COUNTED[result["of"]], "centre", "break rules", "in control"]


def point_heads(result: dict[str, Any]) -> list[str]:
    """The heads of `point_row`."""
    return ["from (UTC)", *_parts_heads(result), COUNTED[result["of"]], "value", "limits", "rules broken"]


def chart_row(result: dict[str, Any], drawn: dict[str, Any]) -> list[str]:
    """A chart in figures, under chart_heads."""
    points = judged(drawn)
    return [
        *_parts_row(result, drawn),
        str(drawn["counted"]),
        centre_text(result, drawn),
        f"{sum(1 for point in points if point['rules'])} of {len(points)}",
        verdict(drawn),
    ]


def point_row(result: dict[str, Any], point: dict[str, Any]) -> list[str]:
    """A point in figures, under point_heads."""
    low, high = (figure(result, point[name]) for name in ("lower_limit", "upper_limit"))
    counted = point["not_ok" if result["of"] == "not_ok" else "rechecks"]
    return [
        f"{datetime.fromisoformat(point['start']):%m-%d %H:%M}",
        *_parts_row(result, point),
        str(counted),
        figure(result, point["value"]),
        f"{low.removesuffix(' %')}–{high}",
        rules_text(point) + (" (baseline)" if point["rules"] and point["phase"] == "baseline" else ""),
    ]


def _parts_heads(result: dict[str, Any]) -> list[str]:
    return ["parts", "undecided"] if result["undecided"] else ["parts"]


def _parts_row(result: dict[str, Any], counted: dict[str, Any]) -> list[str]:
    """Of a chart or a point, under _parts_heads."""
    return [str(counted[name]) for name in _parts_heads(result)]


def rules_text(point: dict[str, Any]) -> str:
    """The rules that a point breaks.

    >>> rules_text({"rules": ["beyond_3_sigma", "8_on_one_side"]})
    'beyond 3 sigma, 8 on one side'
    """
    return ", ".join(name.replace("_", " ") for name in point["rules"])


def shown_points(drawn: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The points that a terminal has room for."""
    points: list[dict[str, Any]] = drawn["points"]
    if len(points) <= SHOWN:
        return points
    return [*[point for point in points[:-LAST] if point["rules"]][-SHOWN + LAST :], *points[-LAST:]]


def as_csv(result: dict[str, Any]) -> str:
    """One row a point; first those of all parts, then those of each of `charts`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = ("start", "end", "phase", "parts", "undecided", "not_ok", "rechecks", "share", "value", "low", "high")
    limits = ("lower_limit", "upper_limit")
    writer.writerow(["chart", "of", *SPLITS, *figures, "centre", *limits, "rules"])
    common = {**{name: result[name] or "" for name in ("product", "station")}, "class": ""}
    if result["class"]:
        common["class"] = class_text(result["class"])
    for drawn in (result, *result["charts"]):
        named = common if drawn is result else {**common, result["by"]: split_text(result, drawn)}
        for point in drawn["points"]:
            row = [result["chart"], result["of"], *(named[name] for name in SPLITS), *(point[name] for name in figures)]
            writer.writerow(
                [*row, drawn["centre"]["value"], *(point[name] for name in limits), " ".join(point["rules"])]
            )
    return text.getvalue()
