"""The page of a consensus in a real browser: it fits the window and the sheet, whatever was found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeling.consensus import aggregate
from labeling.votes import Votes
from service.consensus_page import as_html
from service.consensus_report import Settled, summary
from tests.browsing import CHROMIUM, SWITCHES
from tests.labeling.disagreement.simulated_teams import shift_work, team

from playwright.sync_api import Browser, sync_playwright  # isort: skip

LONG = "line-7/shift-early/" + "x" * 120


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


def result(votes: Votes, inspectors: int) -> dict[str, Any]:
    items = 1 + int(votes.item.max())
    return summary(
        Settled(
            "<looks & more>.csv",
            votes,
            aggregate(votes, 2, method="majority"),
            tuple(f"{LONG}{n}" for n in range(items)),
            tuple(f"wilhelmine-theodora.von-und-zu-hohenstein-{n}@plant" for n in range(inspectors)),
            ("ok", "<b>a scratch of the second kind, along the edge</b>"),
            (0,),
            ("",) * len(votes.item),
        )
    )


@pytest.fixture(scope="module")
def pages() -> dict[str, dict[str, Any]]:
    drifting, _ = shift_work(np.random.default_rng(3), drifting=1, to=0.4)
    split = team(np.random.default_rng(3), inspectors=4, looks=4, again=0.5).votes
    zero = np.zeros(1, np.int64)
    one = Votes(zero, zero, zero, zero)
    return {"drift": result(drifting, 4), "book": result(split, 4), "one look": result(one, 1)}


@pytest.mark.parametrize("kind", ["drift", "book", "one look"])
@pytest.mark.parametrize("width", [1280, 1009, 420], ids=["screen", "A4 landscape", "phone"])
def test_page_is_never_wider_than_the_window(
    browser: Browser, tmp_path: Path, pages: dict[str, dict[str, Any]], kind: str, width: int
) -> None:
    (tmp_path / "page.html").write_text(as_html(pages[kind]))
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.emulate_media(media="print" if width == 1009 else "screen")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_names_are_text_and_figures_are_drawn(pages: dict[str, dict[str, Any]]) -> None:
    assert any(one["alarm"] for one in pages["drift"]["drift"])
    assert pages["book"]["verdicts"]["book"]
    for one in pages.values():
        text = as_html(one)
        assert "<b>a scratch" not in text
        assert "<script" not in text
        assert text.count("<svg") >= 1
    assert as_html(pages["drift"]).count("<polyline") == 4
    assert "Where inspectors see the border" in as_html(pages["book"])


def test_a_chart_that_never_left_the_ground_is_drawn(pages: dict[str, dict[str, Any]]) -> None:
    flat = [{**one, "chart": [0.0] * len(one["chart"]), "limit": 0.0} for one in pages["drift"]["drift"]]
    assert as_html({**pages["drift"], "drift": flat}).count("<polyline") == 4
