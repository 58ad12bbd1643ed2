"""What every report on paper is made of: one page that needs nothing else, its look, its tables and its figures."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from labeling.agreement import ACCEPTABLE, BANDS, MARGINAL, UNACCEPTABLE

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


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """The page around pieces of HTML: no script, no font, no picture from anywhere. style: CSS of this report alone."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{COLOURS.read_text(encoding='utf-8')}{STYLE}{style}</style></head>\n"
        "<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def table(heads: Iterable[str], cells: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself where the page is narrow; heads and cells are HTML."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>\n{body}\n</tbody></table></div>'


def limits(figure: str) -> str:
    """AIAG's limits of a figure.

    >>> limits("effectiveness"), limits("miss")
    ('acceptable from 90 %,<br>marginal from 80 %', 'acceptable to 2 %,<br>marginal to 5 %')
    """
    acceptable, marginal = BANDS[figure]
    word = "from" if acceptable > marginal else "to"
    return f"acceptable {word} {100 * acceptable:.0f} %,<br>marginal {word} {100 * marginal:.0f} %"


def share_cell(share: dict[str, Any] | None) -> str:
    """A share above its interval, what it rests on, and its band, as HTML."""
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


def coefficient_cell(coefficient: dict[str, Any] | None) -> str:
    """A coefficient above its interval, as HTML."""
    if coefficient is None:
        return "–"
    # After a minus a dash would read as another.
    to = "–" if coefficient["low"] >= 0 else " to "
    return (
        f'<span class="value">{coefficient["value"]:.3f}</span><br>'
        f'<span class="small">{coefficient["low"]:.3f}{to}{coefficient["high"]:.3f}</span>'
    )


def left_out(problems: Sequence[dict[str, str]]) -> list[str]:
    """What did not go into the figures, under a heading of its own; nothing where nothing did not."""
    if not problems:
        return []
    cells = [[escape(one[name]) for name in ("where", "what", "remedy")] for one in problems]
    return [f"<h2>Left out ({len(problems)})</h2>", table(["where", "what", "what to do"], cells, "fit")]
