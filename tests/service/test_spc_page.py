"""The control charts' page in a real browser: it fits the window and the sheet, in light and dark."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring.spc import CHARTS
from service.control_plot import DOTS_MOST, control_plot
from service.spc_page import as_html
from tests.browsing import CHROMIUM, SWITCHES

from playwright.sync_api import Browser, sync_playwright  # isort: skip

AT = datetime(2026, 3, 1, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


def drawn(rejects: list[int], baseline: int = 0, size: int = 50) -> dict[str, Any]:
    """A chart as process control tells it."""
    chart = CHARTS["p"](rejects, [size] * len(rejects), baseline=baseline or None)
    points = [
        {
            "start": (AT + timedelta(hours=n)).isoformat(),
            "end": (AT + timedelta(hours=n + 1)).isoformat(),
            "phase": "baseline" if n < baseline else "judged",
            "parts": size,
            "undecided": 0,
            "not_ok": count,
            "rechecks": 0,
            "value": float(chart.value[n]),
            "lower_limit": float(chart.lower_limit[n]),
            "upper_limit": float(chart.upper_limit[n]),
            "rules": list(chart.rules[n]),
        }
        for n, count in enumerate(rejects)
    ]
    return {
        "centre": {"value": chart.centre, "low": chart.centre_low, "high": chart.centre_high},
        "in_control": not any(chart.rules[baseline:]),
        "sigma_z": chart.dispersion.sigma_z,
        "dispersion": {"verdict": chart.dispersion.verdict},
        "parts": size * len(rejects),
        "undecided": 0,
        "counted": sum(rejects),
        "cautions": list(chart.cautions),
        "points": points,
    }


def page_of(rejects: list[int], baseline: int = 0, stations: int = 0) -> dict[str, Any]:
    one = drawn(rejects, baseline)
    return {
        **{"chart": "p", "of": "not_ok", "station": None, "product": "housing <A&B>", "class": None, "per": "hour"},
        **{"by": "station" if stations else None, "since": AT.isoformat(), "until": (AT + timedelta(9)).isoformat()},
        "baseline_until": (AT + timedelta(hours=baseline)).isoformat() if baseline else None,
        **one,
        "charts": [{"station": f"{'long' * 30}-{n}", **drawn(rejects)} for n in range(stations)],
    }


CASES = {
    "common": page_of([2, 3, 1, 12, 2, 3, 2, 4, 1, 2] * 4, 20, 3),
    "one point": page_of([1]),
    "no reject": page_of([0] * 12),
    "nothing but rejects": page_of([50] * 12),
    "as many as there may be": page_of([2, 3, 1, 12] * 500),
}


@pytest.mark.parametrize("width", [1280, 1009, 420], ids=["screen", "A4 landscape", "phone"])
@pytest.mark.parametrize("case", CASES)
def test_page_is_never_wider_than_the_window_and_asks_for_nothing(
    browser: Browser, tmp_path: Path, case: str, width: int
) -> None:
    (tmp_path / "page.html").write_text(as_html(CASES[case]))
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.emulate_media(media="print" if width == 1009 else "screen")
    wanted: list[str] = []
    page.on("request", lambda request: wanted.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(wanted) == 1
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plot_follows_the_colours_of_the_page(browser: Browser, tmp_path: Path, scheme: Any) -> None:
    (tmp_path / "page.html").write_text(as_html(CASES["common"]))
    page = browser.new_page(color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    quiet = page.evaluate("getComputedStyle(document.querySelector('.small')).color")
    assert page.evaluate("getComputedStyle(document.querySelector('.control .tick')).fill") == quiet
    page.close()


def test_names_are_told_as_text() -> None:
    assert "&lt;A&amp;B&gt;" in as_html(CASES["common"])
    assert "<A&B>" not in as_html(CASES["common"])


def test_points_that_break_rules_differ_from_the_others_in_shape() -> None:
    one = drawn([2, 5] * 10 + [20])
    plot = control_plot("chart", one, percent=True)
    assert (plot.count('<rect class="told"'), plot.count("<circle")) == (1, 20)


def test_a_long_chart_is_a_line_with_marks_at_broken_rules_only() -> None:
    plot = control_plot("chart", drawn([2, 3] * (DOTS_MOST // 2) + [30]), percent=True)
    assert ("<circle" in plot, plot.count('<rect class="told"')) == (False, 1)


def test_nothing_is_drawn_of_nothing() -> None:
    assert control_plot("chart", {"points": [], "centre": None}, percent=True) == ""
