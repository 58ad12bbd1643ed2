"""An agreement study as rows of text for a terminal of 80 columns, and as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from labeling.agreement import BANDS, GIVEN
from service.agreement_report import COEFFICIENTS, SHARES, coefficient_name

PAIRS_SHOWN = 20
"""Pairs of inspectors that tables and plots have room for; --json lists all."""


def reference_text(result: dict[str, Any]) -> str:
    """Whose word the reference is, and what is compared, in two sentences.

    >>> reference_text({"reference": "others", "ok": ["good"]})
    'The reference for each inspector is the consensus of the others. What is compared: good (good) or not.'
    """
    reference = (
        f"The reference is {result['reference_from']}."
        if result["reference"] == GIVEN
        else "The reference for each inspector is the consensus of the others."
    )
    compared = f"good ({', '.join(result['ok'])}) or not" if result["ok"] else "which class it is"
    return f"{reference} What is compared: {compared}."


def as_csv(result: dict[str, Any]) -> str:
    """One row an inspector, a pair, and all together; plain numbers, with what names the study in every row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    named = ("source", "reference", "reference_from", "level", "weights")
    figures = (*SHARES, *COEFFICIENTS, "alpha")
    ends = ("value", "low", "high", "n")
    heads = [f"{figure}_{end}" for figure in figures for end in ends]
    writer.writerow([*named, "rows", "who", "looks", "parts", "unreferenced", *heads, "paradox"])
    rows: list[tuple[str, str, dict[str, Any]]] = [
        *(("inspector", one["inspector"], one) for one in result["inspectors"]),
        *(("pair", " and ".join(one["inspectors"]), one) for one in result["pairs"]),
        ("all", "", {**result["together"], "effectiveness": result["all_right"], "repeatability": result["all_agree"]}),
    ]
    for kind, who, one in rows:
        writer.writerow(
            [
                *(result[name] for name in named),
                kind,
                who,
                *(one.get(name, "") for name in ("looks", "parts", "unreferenced")),
                *((one.get(figure) or {}).get(end, "") for figure in figures for end in ends),
                "yes" if one["paradox"] else "no",
            ]
        )
    return text.getvalue()


def inspector_columns(result: dict[str, Any]) -> dict[str, str]:
    """The figures that tell something of an inspector here, with what their columns are headed."""
    names = [name for name in SHARES if name not in ("agreement", "mixed")]
    kept = [name for name in names if any(one[name] is not None for one in result["inspectors"])]
    if not result["undecided"]:
        kept = [name for name in kept if name != "undecided"]
    heads = {name: SHARES[name] for name in kept}
    extra = {"bias": "bias", "kappa": "kappa", "ac": coefficient_name(result["weights"])}
    return heads | {name: head for name, head in extra.items() if any(one[name] for one in result["inspectors"])}


def cell(name: str, figure: dict[str, Any] | None) -> str:
    """A figure above its interval and its band, as text of a narrow column.

    >>> print(cell("miss", {"value": 0.0625, "low": 0.0131, "high": 0.172, "n": 16, "band": "unacceptable",
    ...                     "worst_band": "unacceptable"}))
    6.2 %
    1–17
    unacceptable
    >>> print(cell("kappa", {"value": 0.8629, "low": 0.7763, "high": 0.9496, "n": 50}))
    0.86
    .78–.95
    >>> print(cell("bias", {"value": 0.156, "low": -0.113, "high": 0.425, "n": 15}))
    +0.16
    -.11/.42
    """
    if figure is None:
        return "–"
    if name in SHARES:
        lines = [f"{100 * figure['value']:.1f} %", f"{100 * figure['low']:.0f}–{100 * figure['high']:.0f}"]
    else:
        # After a minus a dash would read as another.
        ends = ("–" if figure["low"] >= 0 else "/").join(_short(figure[end]) for end in ("low", "high"))
        lines = [f"{figure['value']:+.2f}" if name == "bias" else f"{figure['value']:.2f}", ends]
    return "\n".join([*lines, *([figure["band"]] if name in SHARES and "band" in figure else [])])


def _short(value: float) -> str:
    """A number without its leading zero.

    >>> _short(0.78), _short(-0.041), _short(1.0)
    ('.78', '-.04', '1.0')
    """
    text = f"{value:.2f}"
    return text[:-1] if text.endswith("1.00") else text.replace("0.", ".", 1)


def inspector_tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, heads and rows of two tables with a row an inspector: the rates that AIAG has bands for, and the rest."""
    heads = inspector_columns(result)
    first = [name for name in heads if (name in BANDS and name in SHARES) or name == "undecided"]
    rest = [name for name in heads if name not in first]
    banded = [[one["inspector"], *(cell(name, one[name]) for name in first)] for one in result["inspectors"]]
    others = [
        [one["inspector"], str(one["looks"]), str(one["parts"]), *(cell(name, one[name]) for name in rest)]
        for one in result["inspectors"]
    ]
    tables = [
        ("against the reference", ["inspector", *(heads[name] for name in first)], banded),
        ("consistency and bias", ["inspector", "looks", "parts", *(heads[name] for name in rest)], others),
    ]
    return tables if first else tables[1:]


def shown_pairs(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The pairs that a table has room for: all, or those that agree least."""
    pairs: list[dict[str, Any]] = result["pairs"]
    if len(pairs) <= PAIRS_SHOWN:
        return pairs
    known = [pair for pair in pairs if pair["agreement"] is not None]
    return sorted(known, key=lambda pair: float(pair["agreement"]["value"]))[:PAIRS_SHOWN]


def agreement_columns(result: dict[str, Any]) -> list[str]:
    """The heads of `agreement_rows`."""
    return ["between", "looks that agree", "kappa", coefficient_name(result["weights"]), "PABAK", "alpha"]


def agreement_rows(result: dict[str, Any]) -> list[Sequence[str]]:
    """A row of text an inspector with repeats, a pair of inspectors, and all together."""
    rows = [
        (f"{one['inspector']}, repeats", one["within"], "fleiss")
        for one in result["inspectors"]
        if one["within"]["agreement"] is not None
    ]
    rows += [(" and ".join(one["inspectors"]), one, "kappa") for one in shown_pairs(result)]
    if len(result["inspectors"]) > 1:
        rows.append(("all looks", result["together"], "fleiss"))
    return [
        [
            who,
            cell("agreement", one["agreement"]),
            *(cell(name, one.get(name)) for name in (kappa, "ac", "pabak", "alpha")),
        ]
        for who, one, kappa in rows
    ]
