"""The command about process control: control charts of rejects."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from monitoring.spc import CHARTS, RULE_SETS
from service.line.process_control import COUNTED, spc
from service.report_file import check_places, write_whole
from service.settings import load_settings
from service.spc_page import as_html
from service.spc_text import (
    as_csv,
    cautions,
    chart_heads,
    chart_row,
    point_heads,
    point_row,
    scatter_text,
    shown_points,
    split_text,
    title,
    told,
)
from service.terminal import REPORT_WIDTH, emit, note, progress, say, table, tell
from service.wiring import now, open_stores
from storage.reject_counts import SPLITS

SEEN_LIMIT = 20_000_000
"""So many parts are counted: nobody waits for a verdict meanwhile."""
STDOUT = Path("-")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("spc")(show_spc)


def show_spc(
    chart: Annotated[str, typer.Option("--chart", help=f"One of {', '.join(CHARTS)}.")] = "p",
    by: Annotated[str | None, typer.Option("--by", help=f"A chart for each {', '.join(SPLITS)}.")] = None,
    station: Annotated[str | None, typer.Option("--station", help="Only this station.")] = None,
    product: Annotated[str | None, typer.Option("--product", help="Only this product.")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Count only this class: its name or its number.")
    ] = None,
    of: Annotated[str, typer.Option("--of", help=f"What is counted: {' or '.join(COUNTED)}.")] = "not_ok",
    per: Annotated[str, typer.Option("--per", help="Subgroups: hour, shift, day, or a number of parts.")] = "hour",
    since: Annotated[
        str | None, typer.Option("--since", help="ISO 8601; default: a day, ten days or thirty ago.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="ISO 8601; default: now.")] = None,
    baseline_until: Annotated[
        str | None, typer.Option("--baseline-until", help="What ends by then draws the limits and is not judged.")
    ] = None,
    centre: Annotated[float | None, typer.Option("--centre", help="Share that the limits are drawn around.")] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", help=f"One of {', '.join(RULE_SETS)}; default: the first.")
    ] = None,
    weight: Annotated[float | None, typer.Option("--weight", help="Of the newest subgroup (ewma).")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a printable page.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the points as CSV; - prints them.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Control charts of rejects: does a station, a product or a class change more than chance explains.

    Example: loupe spc --chart laney --per shift --station s1 --baseline-until 2026-03-01

    Example: loupe spc --by class --product housing --html charts.html
    """
    printed = csv == STDOUT
    if printed and json:
        raise typer.BadParameter("print one of them: --csv FILE writes the other", param_hint="--csv / --json")
    reports = [(path, write) for path, write in ((html, as_html), (None if printed else csv, as_csv)) if path]
    check_places([path for path, _ in reports])
    with open_stores(load_settings()) as stores, progress("counting parts"):
        result = spc(
            stores.database,
            chart=chart,
            station=station,
            product=product,
            since=since,
            until=until,
            per=per,
            now=now(),
            of=of,
            centre=centre,
            by=by,
            class_name=class_name,
            baseline_until=baseline_until,
            rules=rules,
            weight=weight,
            seen_limit=SEEN_LIMIT,
        )
    for path, write in reports:
        write_whole(path, write(result))
    if json:
        emit(result)
    elif printed:
        sys.stdout.write(as_csv(result))
    else:
        _show(result)
        for path, _ in reports:
            say(f"written: {path}")


def _show(result: dict[str, Any]) -> None:
    if not result["points"]:
        since, until = (f"{datetime.fromisoformat(result[name]):%Y-%m-%d %H:%M}" for name in ("since", "until"))
        tell(f"{title(result)}: no subgroup from {since} to {until} UTC; ask for an earlier --since")
        _tell_cautions(result)
        return
    rows = [["all", *chart_row(result, result)]]
    rows += [[split_text(result, one), *chart_row(result, one)] for one in result["charts"]]
    table(title(result), [result["by"] or "", *chart_heads(result)], rows, REPORT_WIDTH)
    tell(scatter_text(result))
    if result["charts"]:
        for one in result["charts"]:
            _show_points(result, told(one), f"{result['by']} {split_text(result, one)}: points that break rules")
    else:
        _show_points(result, shown_points(result), "points")
        if len(shown_points(result)) < len(result["points"]):
            note(f"of {len(result['points'])} points the last are shown and those that break rules; --csv lists all")
    _tell_cautions(result)


def _tell_cautions(result: dict[str, Any]) -> None:
    for caution in cautions(result):
        tell(f"careful: {caution}")


def _show_points(result: dict[str, Any], points: Sequence[dict[str, Any]], name: str) -> None:
    if points:
        table(name, point_heads(result), (point_row(result, point) for point in points), REPORT_WIDTH)
