"""A control chart as inline SVG: values in the order of time, centre line, limits, and the points that break rules."""

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from itertools import pairwise
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1080, 260, 64, 12, 10, 30
DOTS_MOST = 300
"""More points than this are a line without dots, but for those that break rules."""
ROOM = 1.06
"""Of the highest value: how far the axis goes."""
TIMES, STEPS = 6, 4
"""Marks on the axes, about."""

STYLE = """
figure { margin: 8px 0; break-inside: avoid }
figcaption { font-weight: 600; font-size: 13px; margin: 0 0 4px } h1, figcaption, .caution { overflow-wrap: anywhere }
.control { width: 100%; height: auto; display: block } .control text { font-size: 12px; fill: var(--ink) }
.control .tick { fill: var(--quiet); font-size: 11px } .control .grid { stroke: var(--line); stroke-width: 1 }
.control .phase { fill: var(--line); opacity: .35 } .control .centre { stroke: var(--quiet); stroke-width: 1.5 }
.control .limit { fill: none; stroke: var(--rework); stroke-width: 1.5; stroke-dasharray: 5 4 }
.control .values { fill: none; stroke: var(--accent); stroke-width: 1.2 } .control .dot { fill: var(--accent) }
.control .told { fill: var(--reject); stroke: var(--surface); stroke-width: 1 }
.control rect { print-color-adjust: exact; -webkit-print-color-adjust: exact }
"""


def control_plot(title: str, drawn: dict[str, Any], *, percent: bool) -> str:
    """The picture; empty where there is no point. `drawn`: centre and points, as process control tells them."""
    points = drawn["points"]
    if not points:
        return ""
    top = ROOM * max(max(point["value"], point["upper_limit"]) for point in points) or 1.0
    ends = "".join(
        _line("limit", _steps(points, name, top))
        for name in ("lower_limit", "upper_limit")
        if any(point[name] > 0 for point in points)
    )
    y = _y(drawn["centre"]["value"], top)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg class="control" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img"><title>{escape(title)}</title>'
        + _phase(points)
        + _values_axis(top, percent)
        + _times_axis(points)
        + f'<line class="centre" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        + ends
        + _line("values", [(_x(n, points), _y(point["value"], top)) for n, point in enumerate(points)])
        + "".join(_dots(points, top, percent))
        + "</svg></figure>"
    )


def _x(place: float, points: Sequence[Any]) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(points)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _steps(points: Sequence[dict[str, Any]], name: str, top: float) -> list[tuple[float, float]]:
    """The limit as stairs: each point has its own."""
    found: list[tuple[float, float]] = []
    for n, point in enumerate(points):
        y = _y(point[name], top)
        if found and math.isclose(found[-1][1], y):
            found[-1] = (_x(n + 0.5, points), y)
        else:
            found += [(_x(n - 0.5, points), y), (_x(n + 0.5, points), y)]
    return found


def _line(kind: str, places: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'


def _phase(points: Sequence[dict[str, Any]]) -> str:
    """A ground for the baseline."""
    number = sum(1 for point in points if point["phase"] == "baseline")
    if not number:
        return ""
    width = _x(number - 0.5, points) - LEFT
    return (
        f'<rect class="phase" x="{LEFT}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
        f'<text class="tick" x="{LEFT + 6}" y="{TOP + 14}">baseline</text>'
    )


def _values_axis(top: float, percent: bool) -> str:
    """Lines at round values from 0 on."""
    raw = top / STEPS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * n for n in (1, 2, 2.5, 5, 10) if unit * n >= raw)
    found = []
    for n in range(math.floor(top / step) + 1):
        y = _y(n * step, top)
        text = f"{100 * n * step:.4g} %" if percent else f"{n * step:.4g}"
        found.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    return "".join(found)


def _times_axis(points: Sequence[dict[str, Any]]) -> str:
    """When some of the points begin (UTC); the date where it changes."""
    every = max(1, math.ceil(len(points) / TIMES))
    shown = list(range(0, len(points), every))
    starts = [datetime.fromisoformat(points[n]["start"]) for n in shown]
    same = [False, *(first.date() == second.date() for first, second in pairwise(starts))]
    return "".join(
        f'<text class="tick" x="{_x(n, points):.1f}" y="{HEIGHT - BOTTOM + 18}" '
        f'text-anchor="{"start" if n == 0 else "middle"}">{start:{"%H:%M" if kept else "%Y-%m-%d %H:%M"}}</text>'
        for n, start, kept in zip(shown, starts, same, strict=True)
    )


def _dots(points: Sequence[dict[str, Any]], top: float, percent: bool) -> list[str]:
    """A dot a point, a square where it breaks rules; each says on pointing at it what it is."""
    found = []
    for n, point in enumerate(points):
        if not point["rules"] and len(points) > DOTS_MOST:
            continue
        x, y = _x(n, points), _y(point["value"], top)
        value = f"{100 * point['value']:.3g} %" if percent else f"{point['value']:.4g}"
        said = ", ".join([f"{point['start'][:16]}", value, f"{point['parts']} parts", *point["rules"]])
        if point["rules"]:
            shape = f'<rect class="told" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9">'
            found.append(f"{shape}<title>{escape(said)}</title></rect>")
        else:
            shape = f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6">'
            found.append(f"{shape}<title>{escape(said)}</title></circle>")
    return found
