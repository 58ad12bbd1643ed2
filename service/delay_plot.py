"""How soon something is found, by how much of it there is, as inline SVG: a dot a try, a line through the middle."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 210, 62, 12, 26, 34
TICKS = (1, 2, 5, 20, 50, 200, 1000)
NEVER_ROOM = 24
"""Height of the strip, above the axis, for what was not found."""

STYLE = """
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 8px 28px }
figure { margin: 8px 0; break-inside: avoid } figcaption { font-weight: 600; font-size: 13px; margin: 0 0 4px }
.delay { width: 100%; height: auto; display: block } .delay text { font-size: 12px; fill: var(--ink) }
.delay .tick { fill: var(--quiet); font-size: 11px } .delay .grid { stroke: var(--line); stroke-width: 1 }
.delay .middle { fill: none; stroke: var(--accent); stroke-width: 2 }
.delay .right { fill: var(--accent) } .delay .wrong { fill: var(--surface); stroke: var(--rework); stroke-width: 2 }
.delay .never { fill: var(--reject) } .delay .missed { fill: var(--reject); opacity: .1 }
.delay rect { print-color-adjust: exact; -webkit-print-color-adjust: exact }
"""


def delay_plot(title: str, name: str, trials: Sequence[dict[str, Any]], most_images: int) -> str:
    """The picture; empty where there is no trial. `name`: the cause that is right; trials as of `optics_report`."""
    if not trials:
        return ""
    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg class="delay" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img"><title>{escape(title)}</title>',
        f'<rect class="missed" x="{LEFT}" y="{TOP - NEVER_ROOM}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{NEVER_ROOM - 4}"/>',
        f'<text class="tick" x="{LEFT - 8}" y="{TOP - 10}" text-anchor="end">not found</text>',
        *_axis(most_images),
        *_amounts(trials),
        _middle(trials, most_images),
    ]
    for place, trial in enumerate(trials):
        parts += _tries(place, trial, name, len(trials), most_images)
    return "".join([*parts, "</svg></figure>"])


def _x(place: float, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count


def _y(delay: float, most_images: int) -> float:
    return TOP + 6 + (HEIGHT - TOP - BOTTOM - 6) * (1 - math.log(delay) / math.log(most_images))


def _axis(most_images: int) -> list[str]:
    """Lines at some delays, in images."""
    found = []
    for tick in (tick for tick in TICKS if tick <= most_images):
        y = _y(tick, most_images)
        text = f"{tick} image" if tick == 1 else f"{tick}"
        found.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    return found


def _amounts(trials: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f'<text class="tick" x="{_x(place, len(trials)):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
        f"{escape(trial['short'])}</text>"
        for place, trial in enumerate(trials)
    ]


def _middle(trials: Sequence[dict[str, Any]], most_images: int) -> str:
    """The line through the median delays; it ends where half of the tries are missed."""
    lines: list[list[str]] = [[]]
    for place, trial in enumerate(trials):
        if trial["median_delay"] is None:
            lines.append([])
        else:
            lines[-1].append(f"{_x(place, len(trials)):.1f},{_y(trial['median_delay'], most_images):.1f}")
    return "".join(f'<polyline class="middle" points="{" ".join(line)}"/>' for line in lines if len(line) > 1)


def _tries(place: int, trial: dict[str, Any], name: str, count: int, most_images: int) -> list[str]:
    """A dot a try, side by side: full where the cause is right, open where it is not, a square where nothing came."""
    found = []
    tries = sorted(trial["tries"], key=lambda one: (one["delay"] is None, one["delay"] or 0))
    room = min(7.0, 0.7 * (WIDTH - LEFT - RIGHT) / count / max(1, len(tries)))
    for number, one in enumerate(tries):
        x = _x(place, count) + room * (number - (len(tries) - 1) / 2)
        if one["delay"] is None:
            shape = f'<rect class="never" x="{x - 3:.1f}" y="{TOP - NEVER_ROOM + 7}" width="6" height="6">'
            said = f"{trial['text']}: not found within {most_images} images"
            found.append(f"{shape}<title>{escape(said)}</title></rect>")
        else:
            kind = "right" if one["cause"] == name else "wrong"
            shape = f'<circle class="{kind}" cx="{x:.1f}" cy="{_y(one["delay"], most_images):.1f}" r="3.4">'
            said = f"{trial['text']}: image {one['delay']}, called {one['cause'].replace('_', ' ')}"
            found.append(f"{shape}<title>{escape(said)}</title></circle>")
    return found
