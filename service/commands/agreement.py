"""Commands about how far inspectors agree: the attribute study, and its plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from labeling.agreement import WEIGHTS
from service.agreement_labels import from_labels
from service.agreement_page import as_html
from service.agreement_plan import advice, aim_rows, plan, told_columns, told_rows
from service.agreement_report import studied, summary
from service.agreement_table import from_file
from service.agreement_text import (
    agreement_columns,
    agreement_rows,
    as_csv,
    inspector_tables,
    reference_text,
    shown_pairs,
)
from service.agreement_votes import Judged
from service.commands.data import PROBLEMS_SHOWN, read_columns
from service.report_file import check_places, write_whole
from service.settings import load_settings
from service.terminal import REPORT_WIDTH, emit, note, say, table, tell
from service.wiring import open_stores

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(agreement)
    group.command("plan")(make_plan)
    app.add_typer(group, name="agreement")


def agreement(
    context: typer.Context,
    product: Annotated[str | None, typer.Option("--product", help="Study the labels stored for this product.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Study a table: item, inspector, label; occasion, reference, part, shift where known."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What the parts are: column, adjudicated, none (the consensus of the others), or a table of item and "
            "reference. Default: what there is."
        ),
    ] = None,
    ok: Annotated[
        list[str] | None,
        typer.Option("--ok", help="Good classes of a table, separated by commas; default: those named ok or good."),
    ] = None,
    undecided: Annotated[
        list[str] | None, typer.Option("--undecided", help="Classes of a table that decide nothing.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=MEANING for a table; may be repeated.")
    ] = None,
    weights: Annotated[
        str, typer.Option("--weights", help="How near classes agree: identity, linear, quadratic, ordinal.")
    ] = "identity",
    order: Annotated[
        list[str] | None, typer.Option("--order", help="All classes from best to worst, for --weights.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a printable page.")] = None,
    csv_out: Annotated[Path | None, typer.Option("--csv-out", help="Write the figures as CSV.")] = None,
    json: Json = False,
) -> None:
    """How far inspectors agree: with themselves, with the known parts, with each other (attribute study, AIAG MSA).

    Example: loupe agreement --csv looks.csv --ok good --html report.html

    Example: loupe agreement --product housing --reference adjudicated
    """
    if context.invoked_subcommand is not None:
        return
    if (product is None) == (file is None):
        raise typer.BadParameter("say what to study: --product PRODUCT or --csv FILE", param_hint="--product / --csv")
    if weights not in WEIGHTS:
        raise typer.BadParameter(f"use one of {', '.join(WEIGHTS)}", param_hint="--weights")
    if product is not None and (ok or undecided or columns):
        raise typer.BadParameter("the label book says which classes are good", param_hint="--ok / --undecided / --map")
    reports = [(path, write) for path, write in ((html, as_html), (csv_out, as_csv)) if path is not None]
    read = [path for path in (file, Path(reference) if reference else None) if path is not None]
    check_places([path for path, _ in reports], read)
    judged = _judged(product, file, reference, _names(ok), _names(undecided), columns or [], _names(order))
    result = summary(studied(judged, weights))
    for path, write in reports:
        write_whole(path, write(result))
    if json:
        emit(result)
    else:
        _show(result)
        for path, _ in reports:
            say(f"written: {path}")


def make_plan(
    width: Annotated[
        float, typer.Option("--width", min=0.001, max=0.999, help="Wanted width of effectiveness' interval.")
    ] = 0.15,
    effectiveness: Annotated[
        float, typer.Option("--effectiveness", min=0.0, max=1.0, help="Effectiveness that is expected.")
    ] = 0.9,
    miss: Annotated[
        float, typer.Option("--miss", min=0.0001, max=0.999, help="Miss rate that must be excluded.")
    ] = 0.05,
    allowed: Annotated[int, typer.Option("--allowed", min=0, help="Missed parts that are allowed.")] = 0,
    kappa: Annotated[
        tuple[float, float], typer.Option("--kappa", help="Two kappas to tell apart, the lower first.")
    ] = (0.75, 0.9),
    power: Annotated[
        float, typer.Option("--power", min=0.01, max=0.99, help="Share of studies that must tell them apart.")
    ] = 0.8,
    defective: Annotated[
        float, typer.Option("--defective", min=0.01, max=0.99, help="Share of defective parts in the study.")
    ] = 0.5,
    inspectors: Annotated[int, typer.Option("--inspectors", min=1, help="How many inspectors.")] = 3,
    trials: Annotated[int, typer.Option("--trials", min=1, help="How often everybody sees every part.")] = 3,
    json: Json = False,
) -> None:
    """How many parts, inspectors and looks a study takes, and what the customary 50 × 3 × 3 can tell.

    Example: loupe agreement plan --miss 0.02 --width 0.1
    """
    found = plan(
        width=width,
        effectiveness=effectiveness,
        miss=miss,
        allowed=allowed,
        kappa=kappa,
        power=power,
        defective=defective,
        inspectors=inspectors,
        trials=trials,
    )
    if json:
        emit(found)
        return
    table("what each aim takes", ["to", "takes"], aim_rows(found), REPORT_WIDTH)
    table(
        "parts × inspectors × looks: the customary study, and this one",
        told_columns(found),
        told_rows(found),
        REPORT_WIDTH,
    )
    for line in advice(found):
        tell(f"- {line}")


def _judged(
    product: str | None,
    file: Path | None,
    reference: str | None,
    ok: Sequence[str],
    undecided: Sequence[str],
    columns: list[str],
    order: Sequence[str],
) -> Judged:
    if file is not None:
        return from_file(
            file, columns=read_columns(columns), reference=reference, ok=ok, order=order, undecided=undecided
        )
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        return from_labels(connection, str(product), reference=reference, order=order)


def _names(values: Sequence[str] | None) -> list[str]:
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


def _show(result: dict[str, Any]) -> None:
    for one in result["left_out"][:PROBLEMS_SHOWN]:
        note(f"{one['where']}: {one['what']}; {one['remedy']}")
    if len(result["left_out"]) > PROBLEMS_SHOWN:
        note(f"… and {len(result['left_out']) - PROBLEMS_SHOWN} more; --json lists all")
    say(f"{result['parts']} parts, {len(result['inspectors'])} inspectors, {result['looks']} looks")
    tell(reference_text(result))
    for title, heads, inspectors in inspector_tables(result):
        table(title, heads, inspectors, REPORT_WIDTH)
    rows = agreement_rows(result)
    if rows:
        table("within and between inspectors", agreement_columns(result), rows, REPORT_WIDTH)
    if len(shown_pairs(result)) < len(result["pairs"]):
        note(f"of {len(result['pairs'])} pairs those that agree least are shown; --json lists all")
    for caution in result["cautions"]:
        tell(f"careful: {caution}")
