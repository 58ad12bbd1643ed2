"""Figures with their intervals as inline SVG: a row a figure, a dot for the value, a line for the interval."""

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, LABEL, RIGHT, ROW, TOP, BOTTOM = 560, 130, 58, 24, 8, 26
LONGEST = 19
"""Letters of a row's name that fit."""

STYLE = """
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 8px 28px }
figure { margin: 8px 0; break-inside: avoid } figcaption { font-weight: 600; font-size: 13px; margin: 0 0 4px }
.plot { width: 100%; max-width: 560px; height: auto; display: block } .plot text { font-size: 12px; fill: var(--ink) }
.plot .tick { fill: var(--quiet); font-size: 11px } .plot .grid { stroke: var(--line); stroke-width: 1 }
.plot .bar { stroke: var(--accent); stroke-width: 2 } .plot .dot { fill: var(--accent) }
.plot .second .bar { stroke: var(--rework) }
.plot .second .dot { fill: var(--surface); stroke: var(--rework); stroke-width: 2 }
.plot .band { opacity: .16 } .plot .band.acceptable { fill: var(--pass) } .plot .band.marginal { fill: var(--rework) }
.plot .band.unacceptable { fill: var(--reject) }
.plot rect { print-color-adjust: exact; -webkit-print-color-adjust: exact }
"""

Row = tuple[str, Sequence[dict[str, Any] | None]]
"""A name, and one or two figures of it, each with value, low and high."""


def interval_plot(
    title: str, rows: Sequence[Row], bands: tuple[float, float] | None = None, low: float = 0.0, percent: bool = True
) -> str:
    """The picture, from `low` to 1; bands: the limits of acceptable and marginal. Empty where there is no row.

    Bands are in the order of the figure: with the larger limit first, more is better.
    """
    if not rows:
        return ""
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title>"
    ]
    parts += _bands(bands, low, height) if bands else []
    parts += _ticks(low, height, percent)
    for number, (name, figures) in enumerate(rows):
        parts += _row(TOP + ROW * number + ROW / 2, name, figures, low, percent)
    return "".join([*parts, "</svg></figure>"])


def _x(value: float, low: float) -> float:
    return LABEL + (WIDTH - LABEL - RIGHT) * (min(max(value, low), 1.0) - low) / (1 - low)


def _bands(bands: tuple[float, float], low: float, height: int) -> list[str]:
    acceptable, marginal = bands
    first, second = sorted(bands)
    names = ["acceptable", "marginal", "unacceptable"]
    ends = [low, first, second, 1.0]
    found = []
    for start, end, name in zip(ends[:-1], ends[1:], names if acceptable < marginal else names[::-1], strict=True):
        left, right = _x(start, low), _x(end, low)
        found.append(
            f'<rect class="band {name}" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" '
            f'height="{height - TOP - BOTTOM}"/>'
        )
    return found


def _ticks(low: float, height: int, percent: bool) -> list[str]:
    step = 0.2 if percent else 0.25
    ticks = [low + step * n for n in range(round((1 - low) / step) + 1)]
    return [
        f'<line class="grid" x1="{_x(tick, low):.1f}" x2="{_x(tick, low):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        f'<text class="tick" x="{_x(tick, low):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">'
        f"{_number(tick, percent)}</text>"
        for tick in ticks
    ]


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.0f} %" if percent else f"{value:.2f}"


def _row(y: float, name: str, figures: Sequence[dict[str, Any] | None], low: float, percent: bool) -> list[str]:
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    found = [f'<text x="{LABEL - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(short)}</text>']
    shown = [figure for figure in figures if figure is not None]
    if not shown:
        return [*found, f'<text class="tick" x="{LABEL + 6}" y="{y + 4:.1f}">no part can tell</text>']
    for place, figure in enumerate(figures):
        if figure is None:
            continue
        at = y + (0 if len(figures) == 1 else 4 * (2 * place - 1))
        found.append(
            f'<g class="{"second" if place else "first"}"><line class="bar" x1="{_x(figure["low"], low):.1f}" '
            f'x2="{_x(figure["high"], low):.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<circle class="dot" cx="{_x(figure["value"], low):.1f}" cy="{at:.1f}" r="4"/></g>'
        )
    # A second figure has its number in the table only: two would not fit a row.
    text = f"{100 * shown[0]['value']:.1f} %" if percent else f"{shown[0]['value']:.2f}"
    return [*found, f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4:.1f}">{text}</text>']
