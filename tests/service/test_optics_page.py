"""The page of what a camera's monitor notices, in a real browser: it fits the window and the sheet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.disturbances import DISTURBANCES
from monitoring.scene import Scene
from service.optics_page import as_html
from service.optics_report import cautions
from simulation.light.stream import Stream
from tests.browsing import CHROMIUM, SWITCHES

from playwright.sync_api import Browser, sync_playwright  # isort: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


def trial(name: str, amount: float, delays: list[int | None]) -> dict[str, Any]:
    found = [delay for delay in delays if delay is not None]
    return {
        "amount": amount,
        "short": DISTURBANCES[name].amount_text(amount),
        "text": DISTURBANCES[name].text(amount),
        "times": len(delays),
        "found": len(found),
        "median_delay": int(np.median(found)) if 2 * len(found) > len(delays) else None,
        "named_right": len(found) // 2,
        "causes": {name: len(found) // 2, "other": len(found) - len(found) // 2},
        "tries": [
            {"delay": delay, "cause": None if delay is None else (name, "other")[n % 2]}
            for n, delay in enumerate(delays)
        ],
    }


def result(name: str, tries: int, skipped: int) -> dict[str, Any]:
    rng = np.random.default_rng(tries)
    disturbances = [
        {
            "name": cause,
            "what": one.what,
            "title": one.what,
            "sentence": "a very long sentence about amounts and delays " * 3,
            "smallest_at_once": None,
            "smallest_soon": {"amount": 1, "short": "1 %", "text": "1 % of it"},
            "trials": [
                trial(cause, amount, [int(delay) if delay < 200 else None for delay in rng.integers(1, 260, tries)])
                for amount in one.amounts
            ],
        }
        for cause, one in DISTURBANCES.items()
    ]
    found = {
        **{"name": name, "images": 200, "width": 256, "height": 144, "replays": tries, "seed": 0, "most_images": 200},
        **{"quiet_images": 1200, "false_alarms": 1, "false_alarms_per_10k": {"value": 8.3, "low": 0.2, "high": 46.0}},
        **{"phase": "calibrated", "layout": "scene", "disturbances": disturbances, "not_shown": []},
        **{"calibration": {"images": 400, "alarms": 0, "rate_per_10k": 0.0, "low": 0.0, "high": 91.8}},
        **{
            "hides_rounding": True,
            "skipped": [{"where": f"{n}" * 64, "what": "it is damaged"} for n in range(skipped)],
        },
    }
    return {**found, "cautions": cautions(found)}


CASES = {
    "common": result("s1/top", 5, 0),
    "one try": result("s1/top", 1, 0),
    "many tries, long names": result("station" * 20 + "/" + "camera" * 20, 40, 60),
}


@pytest.fixture(scope="module")
def scene() -> Scene:
    found = Scene.learn(list(Stream("castings", 0, 24)))
    assert found is not None
    return found


@pytest.mark.parametrize("width", [1280, 1009, 420], ids=["screen", "A4 landscape", "phone"])
@pytest.mark.parametrize("case", CASES)
def test_page_is_never_wider_than_the_window_and_asks_for_nothing(
    browser: Browser, tmp_path: Path, scene: Scene, case: str, width: int
) -> None:
    charts = [["level", "0.001", "0.01", "1", "1.5"]]
    (tmp_path / "page.html").write_text(as_html(CASES[case], scene, charts))
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.emulate_media(media="print" if width == 1009 else "screen")
    wanted: list[str] = []
    page.on("request", lambda request: wanted.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in wanted if not url.startswith("data:")] == [(tmp_path / "page.html").as_uri()]
    shown = page.evaluate("[...document.querySelectorAll('.scene img')].every(one => one.naturalWidth === 256)")
    assert shown
    page.close()
