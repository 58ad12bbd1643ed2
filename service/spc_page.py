"""Control charts as one printable page that needs nothing else."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from service.control_plot import STYLE, control_plot
from service.printed_page import page, table
from service.spc_text import (
    COUNTED,
    cautions,
    centre_text,
    chart_heads,
    chart_row,
    point_heads,
    point_row,
    scatter_text,
    split_text,
    title,
    told,
    verdict,
)

TOLD_SHOWN = 60
"""Points that break rules, of one chart, that the page lists; the CSV lists all."""

READING = (
    "Dashed: control limits. A square breaks a rule: look for what changed there. Without a change a point may do so "
    "by chance, the oftener the more charts and rules there are."
)


def as_html(result: dict[str, Any]) -> str:
    """The page. `result` as of process_control.spc."""
    percent = result["chart"] != "np"
    body = [
        f"<h1>{escape(title(result))}</h1>",
        f"<p>{escape(_what(result))}</p>",
        *(f'<p class="caution">{escape(text[:1].upper() + text[1:])}.</p>' for text in cautions(result)),
        control_plot(title(result), result, percent=percent),
        f'<p class="small">{escape(READING)}</p>' if result["points"] else "",
        *_told(result, result),
        *_split(result),
    ]
    return page(title(result), body, STYLE)


def _what(result: dict[str, Any]) -> str:
    since, until = (f"{datetime.fromisoformat(result[name]):%Y-%m-%d %H:%M}" for name in ("since", "until"))
    if not result["points"]:
        return f"No subgroup from {since} to {until} UTC."
    per = result["per"]
    of, groups = COUNTED[result["of"]], f"{per} parts" if isinstance(per, int) else f"the {per}"
    among = f"{result['parts']} parts"
    if result["of"] == "not_ok" and result["undecided"]:
        among = f"{result['parts']} decided parts ({result['undecided']} undecided)"
    baseline = result["baseline_until"]
    drawn = f" The limits are of {datetime.fromisoformat(baseline):%Y-%m-%d %H:%M} UTC and before." if baseline else ""
    return (
        f"{since} to {until} UTC, by {groups}: {result['counted']} {of} among {among}, "
        f"centre {centre_text(result, result)}. "
        f"In control: {verdict(result)}.{drawn} {scatter_text(result)}"
    )


def _told(result: dict[str, Any], drawn: dict[str, Any]) -> list[str]:
    points: Sequence[dict[str, Any]] = told(drawn)
    if not points:
        return []
    rows = [[escape(cell) for cell in point_row(result, point)] for point in points[-TOLD_SHOWN:]]
    more = f"<p>… and {len(points) - TOLD_SHOWN} before them.</p>" if len(points) > TOLD_SHOWN else ""
    return [table(point_heads(result), rows, "fit") + more]


def _split(result: dict[str, Any]) -> list[str]:
    if not result["charts"]:
        return []
    rows = [
        [escape(split_text(result, one)), *(escape(cell) for cell in chart_row(result, one))]
        for one in result["charts"]
    ]
    found = [f"<h2>By {result['by']}</h2>", table([result["by"], *chart_heads(result)], rows, "fit")]
    for one in result["charts"]:
        name = split_text(result, one)
        plot = control_plot(f"{result['by']} {name}", one, percent=result["chart"] != "np")
        found += [plot, *_told(result, one)]
    return found
