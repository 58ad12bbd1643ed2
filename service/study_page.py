"""What a capability study came to, as one printable page that needs nothing else."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from labeling.agreement import ACCEPTABLE, BANDS, MARGINAL, UNACCEPTABLE
from service.study import LOUPE
from service.study_report import COUNTING, FIGURES, cautions, columns, facts, kappa_text, share_text

COLOURS = Path(__file__).parent / "console" / "static" / "colours.css"
"""The colours and marks of the console, light and dark; they go into the page itself."""
MARKS = {ACCEPTABLE: "pass", MARGINAL: "rework", UNACCEPTABLE: "reject"}
"""By band the console's mark that stands for it: circle, triangle, square."""

STYLE = """
@page { size: A4 landscape; margin: 15mm }
body { font: 14px/1.45 system-ui, "Segoe UI", Roboto, sans-serif; background: var(--surface); color: var(--ink);
  max-width: 1180px; margin: 28px auto; padding: 0 20px }
h1 { font-size: 24px; line-height: 1.2; margin: 0 0 4px } h2 { font-size: 17px; margin: 28px 0 8px; break-after: avoid }
p { margin: 8px 0; max-width: 120ch } .small { color: var(--quiet); font-size: 12.5px; font-weight: 400 }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% } tr, .whole { break-inside: avoid }
th, td { border-bottom: 1px solid var(--line); padding: 6px 14px 6px 0; text-align: left; vertical-align: baseline }
th { font-size: 13px; vertical-align: bottom; border-bottom-width: 2px } td { overflow-wrap: break-word }
table.fit { width: auto } .fit td, .fit th { padding-right: 32px }
.fit td:first-child { overflow-wrap: anywhere; min-width: 15ch }
.inspectors td .small, .inspectors th .small, .value { white-space: nowrap }
.value { font-size: 16px; font-variant-numeric: tabular-nums }
.inspectors tr:first-child td:first-child { font-weight: 600 }
.mark { margin-right: 6px; print-color-adjust: exact; -webkit-print-color-adjust: exact }
.acceptable { color: var(--pass) } .marginal { color: var(--rework) } .unacceptable { color: var(--reject) }
.caution { background: var(--warn-ground); color: var(--warn-ink); border-radius: 8px; padding: 8px 14px }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 12px } .scroll { overflow: visible }
  td { overflow-wrap: anywhere } th, td { padding-right: 10px } .value { font-size: 14px } .small { font-size: 11px }
  .caution { border: 1px solid } }
"""


def as_html(result: dict[str, Any]) -> str:
    """The page: no script, no font, no picture from anywhere. `result` as of study_report.summary, with `left_out`."""
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
        *_left_out(result["left_out"]),
        "<h2>Time and origin</h2>",
        _table([], [[escape(name), escape(value)] for name, value in facts(result)], "fit whole"),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{COLOURS.read_text(encoding='utf-8')}{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


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
        heads[place] += f'<br><span class="small">{_limits(figure)}</span>' if figure in BANDS else ""
    rows = [
        [
            escape(one["inspector"]),
            str(one["looks"]),
            str(one["parts"]),
            *(_figure(one[figure]) for figure in FIGURES),
            _kappa(one["kappa"]),
        ]
        for one in inspectors
    ]
    return _table(heads, rows, "inspectors")


def _limits(figure: str) -> str:
    """AIAG's limits of a figure.

    >>> _limits("effectiveness"), _limits("miss")
    ('acceptable from 90 %,<br>marginal from 80 %', 'acceptable to 2 %,<br>marginal to 5 %')
    """
    acceptable, marginal = BANDS[figure]
    word = "from" if acceptable > marginal else "to"
    return f"acceptable {word} {100 * acceptable:.0f} %,<br>marginal {word} {100 * marginal:.0f} %"


def _figure(share: dict[str, Any] | None) -> str:
    """A share above its interval, what it rests on, and its band."""
    if share is None:
        return "–"
    lines = [
        f'<span class="value">{100 * share["value"]:.1f} %</span>',
        f'<span class="small">{100 * share["low"]:.1f}–{100 * share["high"]:.1f} %, {share["n"]} parts</span>',
    ]
    if "band" in share:
        found, worst = share["band"], share["worst_band"]
        lines.append(f'<span class="small {found}"><span class="mark {MARKS[found]}"></span>{found}</span>')
        lines += [f'<span class="small">at worst {worst}</span>'] if worst != found else []
    return "<br>".join(lines)


def _kappa(kappa: dict[str, Any] | None) -> str:
    if kappa is None:
        return "–"
    return (
        f'<span class="value">{kappa["value"]:.3f}</span><br>'
        f'<span class="small">{kappa["low"]:.3f}–{kappa["high"]:.3f}</span>'
    )


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
    return [_table(["inspectors", "agreement", "kappa"], pairs, "fit"), f"<p>{said}</p>"]


def _wrong(result: dict[str, Any]) -> str:
    wrong = result["wrong"]
    if not wrong:
        return f"<p>None: {LOUPE} was right every time.</p>"
    names = ["path", "part", "class"] if any(one["part"] != one["path"] for one in wrong) else ["path", "class"]
    heads = ["part" if len(result["views"]) > 1 else "image", *names[1:], "counts as", f"{LOUPE} said, round by round"]
    return _table(
        heads, [[*(escape(one[name]) for name in names), _counts_as(one), _said(one["said"])] for one in wrong], "fit"
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


def _said(words: Sequence[str]) -> str:
    return f"{words[0]}, every time" if len(words) > 1 and len(set(words)) == 1 else ", ".join(words)


def _left_out(problems: Sequence[dict[str, str]]) -> list[str]:
    if not problems:
        return []
    cells = [[escape(one[name]) for name in ("where", "what", "remedy")] for one in problems]
    return [f"<h2>Left out ({len(problems)})</h2>", _table(["where", "what", "what to do"], cells, "fit")]


def _table(heads: Iterable[str], cells: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself where the page is narrow; heads and cells are HTML."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>\n{body}\n</tbody></table></div>'
