"""What the consensus came to and why inspectors disagree, as one printable page that needs nothing else."""

from collections.abc import Sequence
from html import escape
from typing import Any

from service.consensus_report import VERDICTS, unclear
from service.consensus_text import HEADS, MEANING, cautions, item_rows, percent, quiet, rows, since
from service.printed_page import page, table

COLOURS = {"clear": "var(--pass)", "unclear": "var(--recheck)", "book": "var(--reject)", "noisy": "var(--rework)"}
"""By verdict; the shapes of the legend's marks differ too."""
MARKS = {"clear": "pass", "unclear": "recheck", "book": "reject", "noisy": "rework"}
BORDERS_SHOWN = 6
CHARTS_SHOWN = 6
POINT_REACH = 1.125
"""Points of inspectors lie in -POINT_REACH..POINT_REACH."""

STYLE = """
svg { display: block; max-width: 100%; height: auto } svg text { font: 12.5px system-ui, sans-serif; fill: var(--ink) }
svg .quiet { fill: var(--quiet) } .legend { display: flex; flex-wrap: wrap; gap: 4px 24px; margin: 8px 0 }
.legend span { display: inline-flex; align-items: center } .figures { display: flex; flex-wrap: wrap; gap: 20px 40px }
.figures h3 { font-size: 14px; margin: 8px 0 4px } .fit td:nth-child(n + 2) { max-width: 46ch }
figure { margin: 0; break-inside: avoid; max-width: 100% } .figures figure { width: 480px }
@media print { .fit td, .fit th { padding-right: 16px } }
"""


def as_html(result: dict[str, Any]) -> str:
    """The page: no script, no font, no picture from anywhere. `result` as of consensus_report.summary."""
    title = f"Consensus and disagreement: {result['source']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{result['labels']} labels of {result['images']} images by {len(result['inspectors'])} inspectors, settled "
        f"by {escape(result['method'])}: {escape(result['reason'])}.</p>",
        *(f'<p class="caution">{escape(caution)}</p>' for caution in cautions(result)),
        _verdicts(result),
        *_section("Classes", HEADS["classes"], rows(result, "classes")),
        *_section("Inspectors", HEADS["inspectors"], rows(result, "inspectors")),
        *_images(result, "unclear", "Least certain images", "A further look by another inspector would help here."),
        *_images(
            result,
            "book",
            "Images for the label book",
            "Inspectors who disagree on these would do so again: the book has to say what they are.",
        ),
        *_images(
            result, "noisy", "Images that come out by chance", "The same inspector may say otherwise another time."
        ),
        *_section("Candidates for limit samples", HEADS["limits"], rows(result, "limits")),
        *_borders(result["borders"]),
        *_section("Who calls what what, more often than the others", HEADS["confusions"], rows(result, "confusions")),
        *_section("Who judges otherwise, and when", HEADS["conditions"], rows(result, "conditions")),
        *_drift(result),
        *(f"<p>{escape(text)}.</p>" for text in quiet(result)),
        *_section("Human level: how often one inspector is wrong", HEADS["human"], rows(result, "human")),
        f'<p class="small">{escape(result["human_level"]["classes"]["reason"])}.</p>',
    ]
    return page(title, body, STYLE)


def _section(title: str, heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    if not cells:
        return []
    text = [[escape(cell) for cell in row] for row in cells]
    return [f"<h2>{escape(title)}</h2>", table([escape(head) for head in heads], text, "fit")]


def _images(result: dict[str, Any], verdict: str, title: str, what: str) -> list[str]:
    found = unclear(result, verdict)
    section = _section(title, HEADS["items"], item_rows(found))
    if not section:
        return []
    shown = len(item_rows(found))
    more = "" if len(found) <= shown else f" The first {shown} of {len(found)}; the CSV holds all."
    return [section[0], f'<p class="small">{what}{more}</p>', section[1]]


def _verdicts(result: dict[str, Any]) -> str:
    """A bar of all images by verdict, with its legend."""
    total = max(1, sum(result["verdicts"].values()))
    parts, at = [], 0.0
    for name in VERDICTS:
        width = 1000 * result["verdicts"][name] / total
        parts.append(f'<rect x="{at:.1f}" width="{width:.1f}" height="22" fill="{COLOURS[name]}"/>')
        at += width
    legend = "".join(
        f'<span><i class="mark {MARKS[name]}"></i>{name} {result["verdicts"][name]} '
        f"({percent(result['verdicts'][name] / total)}): {MEANING[name]}</span>"
        for name in VERDICTS
    )
    return (
        '<figure><svg viewBox="0 0 1000 22" width="1180" role="img" aria-label="images by verdict">'
        f'{"".join(parts)}</svg><div class="legend">{legend}</div></figure>'
    )


def _borders(borders: Sequence[dict[str, Any]]) -> list[str]:
    """Where each inspector changes over from one class to the other."""
    shown = [one for one in borders if one["book"]][:BORDERS_SHOWN]
    if not shown:
        return []
    what = (
        "Each dot is an inspector's border between the two classes, with the standard deviation of what is known of "
        "it. Who stands further left calls more images the right-hand class."
    )
    figures = [f"<figure><h3>{escape(' / '.join(one['classes']))}</h3>{_border(one)}</figure>" for one in shown]
    return [
        "<h2>Where inspectors see the border</h2>",
        f'<p class="small">{what}</p><div class="figures">{"".join(figures)}</div>',
    ]


def _border(one: dict[str, Any]) -> str:
    left, right, step = 140, 460, 22
    points = sorted(one["points"].items(), key=lambda pair: float(pair[1]["value"]))

    def x(value: float) -> float:
        inside = min(max(value, -POINT_REACH), POINT_REACH)
        return left + (right - left) * (inside + POINT_REACH) / (2 * POINT_REACH)

    parts = []
    for n, (name, point) in enumerate(points):
        y = 14 + step * n
        low, high = x(point["value"] - point["spread"]), x(point["value"] + point["spread"])
        parts.append(
            f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(_short(name))}</text>'
            f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="var(--line)"/>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="var(--accent)" stroke-width="3"/>'
            f'<circle cx="{x(point["value"]):.1f}" cy="{y}" r="5" fill="var(--accent)"/>'
        )
    foot = 14 + step * len(points) + 6
    first, second = (escape(_short(name)) for name in one["classes"])
    return (
        f'<svg viewBox="0 0 470 {foot + 6}" width="470" role="img" aria-label="borders of the inspectors">'
        f'{"".join(parts)}<text class="quiet" x="{left}" y="{foot}">← {first}</text>'
        f'<text class="quiet" x="{right}" y="{foot}" text-anchor="end">{second} →</text></svg>'
    )


def _drift(result: dict[str, Any]) -> list[str]:
    """The charts of the inspectors nearest to an alarm."""
    charts = sorted(result["drift"], key=lambda one: float(one["p"]))[:CHARTS_SHOWN]
    if not charts:
        return []
    what = (
        "Each look that differs from the others lifts the line, each that doesn't lowers it, given how hard the images "
        f"are. The limits are set for a steady team to cross any of them in {percent(result['drift_false_alarms'])} of "
        "reports; where images get harder and few judge each, it is up to twice as often."
    )
    figures = [
        f"<figure><h3>{escape(_short(one['inspector'], 40))}: {_alarm(one)}</h3>{_chart(one)}</figure>"
        for one in charts
    ]
    return [
        "<h2>Over time</h2>",
        f'<p class="small">{what}</p><div class="figures">{"".join(figures)}</div>',
    ]


def _alarm(one: dict[str, Any]) -> str:
    if not one["alarm"]:
        return "steady"
    found = f"differs in {percent(one['after'])} of looks since {escape(_short(since(one), 60))}"
    return found + ("" if one["before"] is None else f", before in {percent(one['before'])}")


def _chart(one: dict[str, Any]) -> str:
    width, height, values = 470.0, 110.0, one["chart"]
    # A chart that never left the ground has no height of its own.
    top = 1.1 * max(one["limit"], *values) or 1.0
    last = max(1, len(values) - 1)
    # Five points for every two pixels show all there is to see.
    every = max(1, len(values) // 1200)
    line = " ".join(
        f"{width * n / last:.1f},{height - height * value / top:.1f}"
        for n, value in enumerate(values)
        if n % every == 0
    )
    limit = height - height * one["limit"] / top
    onset = ""
    if one["onset"] is not None:
        x = width * one["onset"] / last
        onset = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="var(--reject)"/>'
    colour = "var(--reject)" if one["alarm"] else "var(--accent)"
    return (
        f'<svg viewBox="0 -2 {width:.0f} {height + 20:.0f}" width="{width:.0f}" role="img" aria-label="over time">'
        f'<line x1="0" x2="{width}" y1="{height}" y2="{height}" stroke="var(--line)"/>{onset}'
        f'<line x1="0" x2="{width}" y1="{limit:.1f}" y2="{limit:.1f}" stroke="var(--quiet)" stroke-dasharray="6 4"/>'
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        f'<text class="quiet" x="0" y="{height + 15}">first look</text>'
        f'<text class="quiet" x="{width}" y="{height + 15}" text-anchor="end">look {len(values)}</text></svg>'
    )


def _short(text: str, most: int = 18) -> str:
    """A name that fits.

    >>> _short("wilhelmine-theodora", 10)
    'wilhelmin…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"
