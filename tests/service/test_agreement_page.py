"""The agreement study's page in a real browser: it fits the window and the sheet, in light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.agreement_page import as_html
from service.agreement_report import studied, summary
from service.agreement_table import from_file
from tests.browsing import CHROMIUM, SWITCHES

from playwright.sync_api import Browser, sync_playwright  # isort: skip

LONG = "wilhelmine-theodora.von-und-zu-hohenstein@plant"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


@pytest.fixture(params=["many", "one look", "no reference"])
def found(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "looks.csv"
    classes = ["ok", "a scratch across the whole of the housing", "dent", "stain"]
    rows = ["item,inspector,label,trial,reference,shift"]
    people, parts, trials = ([LONG, "bo", "cy", "di"], 12, 2) if request.param != "one look" else (["<ada>"], 1, 1)
    for who, name in enumerate(people):
        for part in range(parts):
            for trial in range(trials):
                said = classes[(part + (who * part + trial) // 9) % 4]
                known = "" if request.param == "no reference" else classes[part % 4]
                rows.append(f"{'long' * 30}{part},{name},{said},{trial},{known},{'late' if trial else 'early'}")
    path.write_text("\n".join(rows))
    return summary(studied(from_file(path, columns={}, reference="none" if request.param == "no reference" else None)))


@pytest.mark.parametrize("width", [1280, 1009, 420], ids=["screen", "A4 landscape", "phone"])
def test_page_is_never_wider_than_the_window(
    browser: Browser, tmp_path: Path, found: dict[str, Any], width: int
) -> None:
    (tmp_path / "page.html").write_text(as_html(found))
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.emulate_media(media="print" if width == 1009 else "screen")
    wanted: list[str] = []
    page.on("request", lambda request: wanted.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(wanted) == 1
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_follow_the_colours_of_the_page(browser: Browser, tmp_path: Path, scheme: Any) -> None:
    path = tmp_path / "looks.csv"
    path.write_text("item,inspector,label,reference\n1,a,ok,ok\n1,b,dent,ok\n2,a,dent,dent\n2,b,dent,dent\n")
    (tmp_path / "page.html").write_text(as_html(summary(studied(from_file(path, columns={})))))
    page = browser.new_page(color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert page.evaluate("getComputedStyle(document.querySelector('.plot text:not(.tick)')).fill") == ink
    page.close()
