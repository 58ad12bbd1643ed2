"""What an agreement study came to, as one printable page that needs nothing else."""

from collections.abc import Sequence
from html import escape
from typing import Any

from labeling.agreement import BANDS
from service.agreement_report import COUNTING, coefficient_name
from service.agreement_text import inspector_columns, reference_text, shown_pairs
from service.figure_text import said_text, share_text
from service.interval_plot import STYLE as PLOT_STYLE
from service.interval_plot import Row, interval_plot
from service.printed_page import coefficient_cell, left_out, limits, page, share_cell, table

STYLE = (
    PLOT_STYLE
    + """
.figures td .small, .figures th .small { white-space: nowrap } .wrong td:last-child { min-width: 26ch }
.tables { display: flex; flex-wrap: wrap; gap: 10px 36px } .tables figure { margin: 4px 0 }
.confusion { width: auto } .confusion th { font-weight: 400; color: var(--quiet) }
.confusion th, .confusion td { border: 0; padding: 5px 10px; text-align: right; font-size: 13px }
.confusion td { min-width: 3ch; border: 2px solid var(--surface);
  font-variant-numeric: tabular-nums; print-color-adjust: exact; -webkit-print-color-adjust: exact }
"""
)
WRONG_SHOWN = 50
"""Items that the page lists; --json lists all."""


def as_html(result: dict[str, Any]) -> str:
    """The page. `result` as of agreement_report.summary."""
    title = f"Agreement of inspectors: {result['source']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_judged(result))}</p>",
        *(f'<p class="caution">{escape(_sentence(caution))}</p>' for caution in result["cautions"]),
        "<h2>Inspectors and the reference</h2>",
        _inspectors(result),
        f'<p class="small">{escape(COUNTING)}</p>',
        *_reference_plots(result),
        "<h2>Within and between inspectors</h2>",
        *_agreement_plots(result),
        _pairs(result),
        *_confusions(result),
        *_by_class(result),
        *_by_shift(result),
        *_wrong(result),
        *left_out(result["left_out"]),
    ]
    return page(title, body, STYLE)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _judged(result: dict[str, Any]) -> str:
    """What was looked at and held against what, in sentences."""
    kinds = ""
    if result["good_parts"] is not None:
        kinds = f" ({result['good_parts']} good, {result['defective_parts']} defective)"
        if result["unreferenced_parts"]:
            kinds = f"{kinds[:-1]}, {result['unreferenced_parts']} unknown)"
    images = "" if result["items"] == result["parts"] else f" on {result['items']} images"
    return (
        f"{result['parts']} parts{kinds}{images}, {len(result['inspectors'])} inspectors, {result['looks']} looks. "
        f"{reference_text(result)}"
    )


def _inspectors(result: dict[str, Any]) -> str:
    columns = inspector_columns(result)
    heads = ["inspector", "looks", "parts"]
    for name, head in columns.items():
        bands = f'<br><span class="small">{limits(name)}</span>' if name in BANDS and name != "kappa" else ""
        heads.append(escape(head) + bands)
    rows = [
        [
            escape(one["inspector"]),
            str(one["looks"]),
            str(one["parts"]),
            *(_cell(name, one[name]) for name in columns),
        ]
        for one in result["inspectors"]
    ]
    return table(heads, rows, "figures")


def _cell(name: str, figure: dict[str, Any] | None) -> str:
    return coefficient_cell(figure) if name in ("kappa", "ac", "bias") else share_cell(figure)


def _reference_plots(result: dict[str, Any]) -> list[str]:
    plots = []
    for name, title in (
        ("effectiveness", "Parts judged right every time"),
        ("miss", "Misses"),
        ("false_alarm", "False alarms"),
    ):
        rows: list[Row] = [(one["inspector"], [one[name]]) for one in result["inspectors"]]
        if name == "effectiveness" and result["all_right"] is not None and len(rows) > 1:
            rows.append(("all, every time", [result["all_right"]]))
        if any(figures[0] for _, figures in rows):
            plots.append(interval_plot(title, rows, BANDS[name]))
    kappas: list[Row] = [(one["inspector"], [one["kappa"], one["ac"]]) for one in result["inspectors"]]
    if any(figure for _, figures in kappas for figure in figures):
        plots.append(_kappa_plot("with the reference", kappas, result))
    return [f'<div class="plots">{"".join(plots)}</div>'] if plots else []


def _kappa_plot(what: str, rows: Sequence[Row], result: dict[str, Any]) -> str:
    least = min((figure["low"] for _, figures in rows for figure in figures if figure), default=0.0)
    low = 0.0 if least >= 0 else -0.5 if least >= -0.5 else -1.0
    title = f"Kappa (dot) and {coefficient_name(result['weights'])} (ring) {what}"
    return interval_plot(title, rows, BANDS["kappa"], low, percent=False)


def _agreement_plots(result: dict[str, Any]) -> list[str]:
    same: list[Row] = [
        (one["inspector"], [one["repeatability"]]) for one in result["inspectors"] if one["repeatability"] is not None
    ]
    if result["all_agree"] is not None:
        same.append(("all inspectors", [result["all_agree"]]))
    plots = [interval_plot("Parts judged the same every time", same)] if same else []
    pairs: list[Row] = [(" – ".join(one["inspectors"]), [one["kappa"], one["ac"]]) for one in shown_pairs(result)]
    if any(figure for _, figures in pairs for figure in figures):
        plots.append(_kappa_plot("of pairs", pairs, result))
    return [f'<div class="plots">{"".join(plots)}</div>'] if plots else []


def _pairs(result: dict[str, Any]) -> str:
    name = coefficient_name(result["weights"])
    rows = [
        [f"{escape(one['inspector'])}, own repeats", *_coefficients(one["within"], "fleiss")]
        for one in result["inspectors"]
        if one["within"]["agreement"] is not None
    ]
    rows += [[escape(" and ".join(one["inspectors"])), *_coefficients(one, "kappa")] for one in shown_pairs(result)]
    if len(result["inspectors"]) > 1:
        rows.append(["all looks", *_coefficients(result["together"], "fleiss")])
    heads = ["between", "looks that agree", "kappa", name, "PABAK", "Krippendorff's alpha"]
    said = (
        "Kappa is Cohen's for pairs, Fleiss' for own repeats and for all looks. "
        f"All agree every time: {share_text(result['all_agree'])}. "
        f"All are right every time: {share_text(result['all_right'])}."
    )
    if len(shown_pairs(result)) < len(result["pairs"]):
        said += f" Of {len(result['pairs'])} pairs those that agree least are shown."
    return table(heads, rows, "figures") + f'<p class="small">{escape(said)}</p>'


def _coefficients(one: dict[str, Any], kappa: str) -> list[str]:
    return [share_cell(one["agreement"]), *(coefficient_cell(one[name]) for name in (kappa, "ac", "pabak", "alpha"))]


def _confusions(result: dict[str, Any]) -> list[str]:
    """A table an inspector: rows what the reference says, columns what the inspector says; looks."""
    shown = [one for one in result["inspectors"] if one["confusion"] is not None]
    if not shown:
        return []
    tables = [_confusion(one["inspector"], one["confusion"], result["labels"]) for one in shown]
    note = "Looks by what the reference says (row) and what the inspector says (column)."
    return [
        "<h2>What is taken for what</h2>",
        f'<p class="small">{note}</p><div class="tables">{"".join(tables)}</div>',
    ]


def _confusion(who: str, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    used = [n for n in range(len(labels)) if sum(confusion[n]) or sum(row[n] for row in confusion)]
    known = [n for n in used if sum(confusion[n])]
    head = "".join(f"<th>{escape(labels[n])}</th>" for n in used)
    body = "".join(
        f"<tr><th>{escape(labels[row])}</th>"
        + "".join(_shaded(confusion[row][column], sum(confusion[row]), right=row == column) for column in used)
        + "</tr>"
        for row in known
    )
    return (
        f'<figure><figcaption>{escape(who)}</figcaption><table class="confusion"><thead><tr><th></th>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></figure>"
    )


def _shaded(looks: int, of: int, *, right: bool) -> str:
    """A cell as dark as its share of the row; what is right and what is wrong differ in colour and in place."""
    strength = round(60 * looks / of)
    colour = "--pass" if right else "--reject"
    return f'<td style="background: color-mix(in srgb, var({colour}) {strength}%, var(--surface))">{looks}</td>'


def _by_class(result: dict[str, Any]) -> list[str]:
    found = result["by_class"]
    if found is None or len(result["classes"]) < 3:
        return []
    rows = [
        [
            escape(one["inspector"]),
            share_cell(one["repeatability"]),
            share_cell(one["effectiveness"]),
            coefficient_cell(one["kappa"]),
            coefficient_cell(one["ac"]),
        ]
        for one in found["inspectors"]
    ]
    heads = ["inspector", "same class every time", "right class every time", "kappa"]
    return [
        f"<h2>Which class ({escape(', '.join(result['classes']))})</h2>",
        table([*heads, coefficient_name(result["weights"])], rows, "figures"),
        *_confusions({**found, "labels": found["labels"]})[1:],
    ]


def _by_shift(result: dict[str, Any]) -> list[str]:
    names = [name for name in ("effectiveness", "miss", "false_alarm") if name in inspector_columns(result)]
    rows = [
        [
            escape(shift["shift"]),
            escape(one["inspector"]),
            str(one["looks"]),
            *(share_cell(one[name]) for name in names),
        ]
        for shift in result["by_shift"]
        for one in shift["inspectors"]
    ]
    if not rows:
        return []
    heads = ["shift", "inspector", "looks", *(inspector_columns(result)[name] for name in names)]
    return ["<h2>By shift</h2>", table(heads, rows, "figures")]


def _wrong(result: dict[str, Any]) -> list[str]:
    wrong = result["wrong"]
    if not wrong:
        return []
    rows = [
        [
            escape(one["item"]),
            escape(one["reference"]),
            f"{one['wrong']} of {one['looks']}",
            "<br>".join(f"{escape(who)}: {escape(said_text(said))}" for who, said in one["said"].items()),
        ]
        for one in wrong[:WRONG_SHOWN]
    ]
    more = f"<p>… and {len(wrong) - WRONG_SHOWN} more; --json lists all.</p>" if len(wrong) > WRONG_SHOWN else ""
    note = (
        "Worst first. Where all inspectors say the same against the reference, ask whether the reference is right; "
        "where each is of one mind and they differ, ask whether the limit is clear."
    )
    heads = ["item", "reference", "looks that are wrong", "said"]
    return [
        "<h2>Not judged right every time</h2>",
        f'<p class="small">{note}</p>',
        table(heads, rows, "fit wrong") + more,
    ]
