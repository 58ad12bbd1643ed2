"""What a capability study came to, as one printable page that needs nothing else."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from labeling.agreement import BANDS
from service.figure_text import kappa_text, said_text, share_text
from service.printed_page import coefficient_cell, left_out, limits, page, share_cell, table
from service.study import LOUPE
from service.study_report import COUNTING, FIGURES, cautions, columns, facts


def as_html(result: dict[str, Any]) -> str:
    """The page. `result` as of study_report.summary, with `left_out`."""
    title = f"Capability of inspection: {result['product']} at station {result['station']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="small">{escape(_period(result["started_at"], result["ended_at"]))}</p>',
        f"<p>{escape(_sent(result))}</p>",
        *(f'<p class="caution">{escape(caution)}</p>' for caution in cautions(result)),
        "<h2>Inspectors</h2>",
        _inspectors(result["inspectors"]),
        f'<p class="small">{escape(COUNTING)}</p>',
        "<h2>Between inspectors</h2>",
        *_between(result),
        "<h2>Not judged right every time</h2>",
        _wrong(result),
        *left_out(result["left_out"]),
        "<h2>Time and origin</h2>",
        table([], [[escape(name), escape(value)] for name, value in facts(result)], "fit whole"),
    ]
    return page(title, body)


def _period(started_at: str, ended_at: str) -> str:
    """From when to when, in UTC.

    >>> _period("2026-03-01T06:30:00+00:00", "2026-03-01T06:42:10+00:00")
    '2026-03-01 06:30:00 to 06:42:10 UTC'
    """
    started, ended = datetime.fromisoformat(started_at), datetime.fromisoformat(ended_at)
    day = "" if started.date() == ended.date() else f"{ended:%Y-%m-%d} "
    return f"{started:%Y-%m-%d %H:%M:%S} to {day}{ended:%H:%M:%S} UTC"


def _sent(result: dict[str, Any]) -> str:
    """What was looked at, in a sentence."""
    views, parts, images = result["views"], result["parts"], result["images"]
    if len(views) > 1:
        shown = f", each in {len(views)} views ({', '.join(views)})"
    else:
        shown = "" if images == parts else f" on {images} images"
    return (
        f"{parts} parts ({result['good_parts']} good, {result['defective_parts']} defective){shown}, sent "
        f"{result['rounds']} times, each round in a random order of its own (seed {result['seed']}): "
        f"{result['looks']} looks of {LOUPE}."
    )


def _inspectors(inspectors: Sequence[dict[str, Any]]) -> str:
    heads = [escape(head) for head in columns()]
    first = heads.index(FIGURES["repeatability"])
    for place, figure in enumerate(FIGURES, start=first):
        heads[place] += f'<br><span class="small">{limits(figure)}</span>' if figure in BANDS else ""
    rows = [
        [
            escape(one["inspector"]),
            str(one["looks"]),
            str(one["parts"]),
            *(share_cell(one[figure]) for figure in FIGURES),
            coefficient_cell(one["kappa"]),
        ]
        for one in inspectors
    ]
    return table(heads, rows, "inspectors")


def _between(result: dict[str, Any]) -> list[str]:
    if not result["pairs"]:
        return [f"<p>Nobody has labelled these images in Loupe: there is no inspector to hold {LOUPE} against.</p>"]
    pairs = [
        [escape(" and ".join(pair["inspectors"])), share_text(pair["agreement"]), kappa_text(pair["kappa"])]
        for pair in result["pairs"]
    ]
    fleiss = result["fleiss_kappa"]
    said = (
        f"All agree every time: {share_text(result['all_agree'])}. All are right every time: "
        f"{share_text(result['all_right'])}. Fleiss' kappa: {'–' if fleiss is None else f'{fleiss:.3f}'}."
    )
    return [table(["inspectors", "agreement", "kappa"], pairs, "fit"), f"<p>{said}</p>"]


def _wrong(result: dict[str, Any]) -> str:
    wrong = result["wrong"]
    if not wrong:
        return f"<p>None: {LOUPE} was right every time.</p>"
    names = ["path", "part", "class"] if any(one["part"] != one["path"] for one in wrong) else ["path", "class"]
    heads = ["part" if len(result["views"]) > 1 else "image", *names[1:], "counts as", f"{LOUPE} said, round by round"]
    return table(
        heads,
        [[*(escape(one[name]) for name in names), _counts_as(one), said_text(one["said"])] for one in wrong],
        "fit",
    )


def _counts_as(one: dict[str, Any]) -> str:
    """The worst that was said of an item, as it is counted.

    >>> _counts_as({"expected": "ok", "said": ["recheck"]}), _counts_as({"expected": "not_ok", "said": ["recheck"]})
    ('false alarm', 'recheck')
    """
    if one["expected"] == "ok":
        return "false alarm"
    if "ok" in one["said"]:
        return '<span class="unacceptable"><span class="mark reject"></span>miss</span>'
    return "recheck"
