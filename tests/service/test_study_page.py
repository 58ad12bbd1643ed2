"""The study's page in a real browser: it fits the window and the sheet, whatever was found."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.study import Judgement, Look, figures
from service.study_items import KnownItem, KnownView
from service.study_page import as_html
from service.study_report import Sent, summary
from tests.browsing import CHROMIUM, SWITCHES
from tests.service.line.stocked import MADE_AT

from playwright.sync_api import Browser, sync_playwright  # isort: skip


LONG = "line-7/shift-early/" + "x" * 150
PEOPLE = ["ada", "bo", "wilhelmine-theodora.von-und-zu-hohenstein@plant"]
MADE_BY = (("model", "m"), ("model_sha256", "0" * 64), ("recipe", "housing@*"), ("recipe_version", 1),
           ("execution_provider", "CPUExecutionProvider"))  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


def result(said: list[str], people: list[str]) -> dict[str, Any]:
    """A study of two good and two defective parts, of which Loupe says this in each of many rounds."""
    items = [
        KnownItem(f"{LONG}{n}.png", f"{LONG}{n}.png", (KnownView("", Path("x"), "image/png", f"{n}"),), "dent", n < 2)
        for n in range(4)
    ]
    looks = [Look(n, r, one, 0, 5.0, "housing", MADE_BY) for r in range(20) for n, one in enumerate(said)]
    judged = [Judgement(n, who, 0, n % 3) for who in people for n in range(4)]
    sent = Sent("s1", 20, 0, MADE_AT, MADE_AT + timedelta(minutes=3))
    left_out = [{"where": LONG, "what": "is no image: left out", "remedy": "convert it"}] if people else []
    return {**summary(sent, items, looks, figures(items, looks, judged)), "left_out": left_out}


ALL_WRONG = result(["not_ok", "not_decidable", "ok", "not_decidable"], PEOPLE)
ALL_RIGHT = result(["ok", "ok", "not_ok", "not_ok"], [])


@pytest.mark.parametrize("found", [ALL_WRONG, ALL_RIGHT], ids=["all wrong", "all right"])
@pytest.mark.parametrize("width", [1280, 1009, 420], ids=["screen", "A4 landscape", "phone"])
def test_page_is_never_wider_than_the_window(
    browser: Browser, tmp_path: Path, found: dict[str, Any], width: int
) -> None:
    (tmp_path / "page.html").write_text(as_html(found))
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.emulate_media(media="print" if width == 1009 else "screen")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_told_from_its_ground_in_light_and_dark(browser: Browser, tmp_path: Path, scheme: Any) -> None:
    (tmp_path / "page.html").write_text(as_html(ALL_WRONG))
    page = browser.new_page(color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(27, 35, 39)",
        }[scheme]
    )
    for text in ("p", ".small", ".unacceptable", "td"):
        assert _contrast(page.evaluate(f"getComputedStyle(document.querySelector('{text}')).color"), scheme) >= 4.5
    page.close()


def _contrast(colour: str, scheme: str) -> float:
    """WCAG 2.2's contrast ratio of an `rgb(r, g, b)` with the page's ground."""
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 35, 39)"}[scheme]
    dark, bright = sorted(_luminance(one) for one in (colour, ground))
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
