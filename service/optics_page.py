"""What a camera's optics monitor notices, as one printable page that needs nothing else."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring.scene import Scene
from service.delay_plot import STYLE as PLOT_STYLE
from service.delay_plot import delay_plot
from service.optics_report import AT_ONCE, CHART_HEADS, SOON, false_alarm_text, heads, rows
from service.printed_page import page, table

STILL, MOVING = (31, 122, 77), (179, 38, 30)
"""Colours of what keeps still and of what moves, over the picture (R, G, B)."""

STYLE = (
    PLOT_STYLE
    + """
h1 { overflow-wrap: anywhere }
.scene { display: flex; gap: 18px; flex-wrap: wrap } .scene img { width: 300px; max-width: 100%; height: auto;
  image-rendering: pixelated; border: 1px solid var(--line); display: block }
"""
)

READING = (
    "Every dot is one try: the disturbance was done to this camera's own images, at another place each time. Full: its "
    "cause was named; open: another one was. The line goes through the middle delays; it ends where half of the tries "
    "or more are missed."
)


def as_html(result: dict[str, Any], scene: Scene | None, charts: Sequence[Sequence[str]]) -> str:
    """The page. `result` as of `optics_report.summary`, `charts` as of `optics_report.chart_rows`."""
    title = f"What is noticed of light and optics: {result['name']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_what(result))}</p>",
        *(f'<p class="caution">{escape(text[:1].upper() + text[1:])}.</p>' for text in result["cautions"]),
        f"<h2>The smallest change found within {AT_ONCE} and within {SOON} images</h2>",
        table((escape(head) for head in heads()), ([escape(cell) for cell in row] for row in rows(result)), "fit"),
        "<h2>How soon</h2>",
        f'<p class="small">{escape(READING)}</p>',
        '<div class="plots">',
        *(
            delay_plot(f"{one['title']}: {one['sentence']}", one["name"], one["trials"], result["most_images"])
            for one in result["disturbances"]
        ),
        "</div>",
        *_scene(scene),
        *_charts(charts),
        *_skipped(result["skipped"]),
    ]
    return page(title, body, STYLE)


def _what(result: dict[str, Any]) -> str:
    rate = result["false_alarms_per_10k"]
    return (
        f"{result['images']} normal images of {result['width']} x {result['height']} px as the monitor sees them, "
        f"{result['replays']} tries of each amount (seed {result['seed']}), an alarm waited for over "
        f"{result['most_images']} images. Without any disturbance: {result['false_alarms']} alarms on "
        f"{result['quiet_images']} images (95 %: {rate['low']:.3g} to {rate['high']:.3g} per 10,000). "
        f"Phase: {result['phase']}; false alarms when it was calibrated: {false_alarm_text(result['calibration'])}."
    )


def _scene(scene: Scene | None) -> list[str]:
    if scene is None:
        return []
    picture = np.repeat(np.clip(scene.picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    marked = picture.copy()
    for mask, colour in ((scene.still, STILL), (scene.moving, MOVING)):
        marked[mask] = (0.65 * marked[mask] + 0.35 * np.array(colour)).astype(np.uint8)
    share = f"{100 * float(scene.still.mean()):.0f} % of the picture"
    return [
        "<h2>What keeps still</h2>",
        f"<p>{escape(share)} (green) keeps still; parts move in the red. Between them lies what might.</p>",
        '<div class="scene whole">',
        *(f'<img alt="{alt}" src="{_png(image)}">' for alt, image in (("the scene", picture), ("its regions", marked))),
        "</div>",
    ]


def _png(picture: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def _charts(charts: Sequence[Sequence[str]]) -> list[str]:
    if not charts:
        return []
    text = (
        "What commissioning learnt, each signal in its own unit (docs/optics.md): its scatter from image to image, how "
        "far it wanders by itself, and how much wider its limits had to be made than they are by nature."
    )
    cells = ([escape(cell) for cell in row] for row in charts)
    return ["<h2>Charts</h2>", f'<p class="small">{escape(text)}</p>', table(map(escape, CHART_HEADS), cells, "fit")]


def _skipped(skipped: Sequence[dict[str, str]]) -> list[str]:
    if not skipped:
        return []
    cells = [[escape(one["where"]), escape(one["what"])] for one in skipped[:50]]
    return [f"<h2>Left out ({len(skipped)})</h2>", table(["image", "why"], cells, "fit")]
