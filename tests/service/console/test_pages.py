"""The pages in a real browser, served by the console as its own process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from service.settings import load_settings
from service.wiring import Stores, now, open_stores
from storage import labels
from storage.records import Inspection, Label
from tests.browsing import CHROMIUM, SWITCHES
from tests.service.console.filled_store import (
    MODELS,
    PRODUCT,
    add_book,
    add_happenings,
    add_images,
    add_inspections,
    add_models,
    pictures_of,
)

from playwright.sync_api import Browser, Page, expect, sync_playwright  # isort: skip


START_S = 20.0
WAIT_MS = 5000
LAYOUT_SHIFT = """
window.shifted = 0;
new PerformanceObserver((seen) => { for (const entry of seen.getEntries()) window.shifted += entry.value; })
  .observe({ type: "layout-shift", buffered: true });
"""


@contextmanager
def console(folder: Path) -> Iterator[str]:
    """The console as a process; its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "console", "--port", str(port)],
        env={**os.environ, "LOUPE_DATA_DIR": str(folder)},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + START_S
        while not _answers(address):
            assert process.poll() is None, "the console ended at once"
            assert time.monotonic() < give_up, "the console does not answer"
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(15)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/products", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must have nothing to complain about."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(WAIT_MS)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    opened.close()
    assert [c for c in complaints if "ERR_CONNECTION_REFUSED" not in c] == []


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Stores, list[Inspection]]]:
    """A console on a store with everything in it."""
    folder = tmp_path_factory.mktemp("console") / "data"
    with open_stores(load_settings(data_dir=folder)) as stores:
        at = now()
        add_book(stores, at - timedelta(days=9))
        add_images(stores, pictures_of(4, seed=1), at)
        add_models(stores, at)
        add_happenings(stores, at)
        inspected = add_inspections(stores, pictures_of(12, seed=2), at - timedelta(hours=3))
        with console(folder) as address:
            yield address, stores, inspected


def judged(stores: Stores, inspector: str) -> list[Label]:
    with stores.database.read() as connection:
        found = [label for label in labels.of_product(connection, PRODUCT) if label.inspector == inspector]
    return sorted(found, key=lambda label: label.stored_at)


def wait_for_labels(stores: Stores, inspector: str, count: int) -> list[Label]:
    give_up = time.monotonic() + WAIT_MS / 1000
    while len(found := judged(stores, inspector)) < count:
        assert time.monotonic() < give_up, f"{len(found)} of {count} labels arrived"
        time.sleep(0.05)
    return found


def test_line_page_says_how_old_it_is(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    address, _, inspected = line
    page.goto(address)
    expect(page.get_by_text("Newest record: 3 hours ago")).to_be_visible()
    expect(page.get_by_text("what follows is old")).to_be_visible()
    expect(page.locator(".strip .mark")).to_have_count(len(inspected))
    expect(page.get_by_role("link", name=MODELS[0])).to_be_visible()


def test_standing_alarm_says_its_final_cause_what_to_do_where_and_since_when(
    page: Page, line: tuple[str, Stores, list[Inspection]]
) -> None:
    page.goto(line[0])
    titles = page.locator(".alarm .alarmtitle strong")
    expect(titles).to_have_text(["The light flickers", "A lamp on one side fails", "The parts look different"])
    alarm = page.locator(".alarm").nth(1)
    expect(alarm).to_contain_text("stands, raised 40 minutes ago")
    expect(alarm.locator(".where > *").all()[0]).to_have_text("press-2, camera 0")
    expect(alarm.locator(".where")).to_contain_text(f"product {PRODUCT}")
    expect(alarm.locator(".where")).to_contain_text("lamp ring")
    expect(alarm.locator(".advice")).to_contain_text("The left lamp gives less light, the picture is about 30 % darker")
    expect(page.locator(".alarm").nth(2).locator(".where")).to_contain_text("press-2, parts")
    # Only what was raised just now is not certain.
    expect(page.get_by_text("not certain yet")).to_have_count(1)


def test_alarm_shows_its_pictures_and_only_where_they_were_kept(
    page: Page, line: tuple[str, Stores, list[Inspection]]
) -> None:
    page.goto(line[0])
    images = page.locator(".alarm img")
    expect(images).to_have_count(2)
    assert [image.get_attribute("alt") for image in images.all()] == [
        "picture before the alarm",
        "picture after the alarm",
    ]
    for image in images.all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 240


def test_alarm_that_is_over_says_when_it_ended_and_why(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    page.goto(line[0])
    over = page.locator(".alarms .happening")
    expect(over).to_have_count(1)
    expect(over).to_contain_text("Light from elsewhere falls in")
    expect(over).to_contain_text("ended 22 minutes ago: all is normal again")


def test_station_with_alarms_is_marked_and_leads_to_the_newest(
    page: Page, line: tuple[str, Stores, list[Inspection]]
) -> None:
    page.goto(line[0])
    expect(page.get_by_role("link", name="1 alarm stands at press-1")).to_be_visible()
    page.get_by_role("link", name="2 alarms stand at press-2").click()
    page.wait_for_url("**/#alarm-a1")
    expect(page.locator("#alarm-a1")).to_be_in_viewport()


def test_line_page_fits_a_telephone_and_nothing_moves_when_it_renews_itself(
    page: Page, line: tuple[str, Stores, list[Inspection]]
) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.add_init_script(LAYOUT_SHIFT)
    page.goto(line[0])
    expect(page.locator(".alarm img")).to_have_count(2)
    first = page.locator(".alarm").first.element_handle()
    first.wait_for_element_state("hidden", timeout=3 * WAIT_MS)  # drawn anew
    expect(page.locator(".alarm img")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate("window.shifted") == 0


def test_inspections_lead_to_the_reasons_of_one(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    address, _, inspected = line
    rejected = [inspection for inspection in inspected if inspection.disposition == "reject"]
    page.goto(f"{address}/inspections")
    expect(page.locator("tbody tr")).to_have_count(len(inspected))
    page.get_by_role("link", name="reject").first.click()
    page.wait_for_url("**/inspections?disposition=reject")
    expect(page.locator("tbody tr")).to_have_count(len(rejected))
    page.locator("tbody tr td a").first.click()
    page.wait_for_url("**/inspections/*")
    newest = rejected[-1]
    expect(page.get_by_text(newest.reasons[0])).to_be_visible()
    expect(page.get_by_text(newest.result_id)).to_be_visible()
    assert page.locator(".picture img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 240


def test_models_page_marks_the_champion_and_every_gate(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    address, _, _ = line
    page.goto(f"{address}/models")
    expect(page.get_by_text("★ champion")).to_have_count(1)
    expect(page.get_by_text("✗ failed")).to_have_count(1)
    expect(page.get_by_text("0.966 (0.916 to 0.991)")).to_be_visible()


def test_three_images_are_labelled_by_keyboard(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    address, stores, _ = line
    page.goto(f"{address}/label")
    page.get_by_label("Your name").fill("mira")
    page.get_by_role("button", name="Start").click()
    shown = []
    for keys in (("2", "Enter"), ("1", "u", "Enter"), ("9", "3", "Enter")):
        expect(page.locator("#classes button").first).to_be_enabled()
        shown.append(page.locator("#image").get_attribute("src"))
        for key in keys:
            page.keyboard.press(key)
    found = wait_for_labels(stores, "mira", 3)
    assert [label.class_name for label in found] == ["scratch", "ok", "dent"]
    assert [label.unsure for label in found] == [False, True, False]
    assert [f"/api/images/{label.image_sha256}" for label in found] == shown
    assert all(label.seconds is not None and label.seconds >= 0 for label in found)
    expect(page.locator("#progress")).to_contain_text("3 judged by you")
    expect(page.locator("#waiting")).to_be_empty()


def test_labels_wait_in_the_page_until_the_server_takes_them(
    page: Page, line: tuple[str, Stores, list[Inspection]]
) -> None:
    address, stores, _ = line
    page.route("**/api/labels", lambda route: route.abort("connectionrefused"))
    page.goto(f"{address}/label?product={PRODUCT}&inspector=jo")
    shown = []
    for _ in range(2):
        expect(page.locator("#classes button").first).to_be_enabled()
        shown.append(page.locator("#image").get_attribute("src"))
        page.keyboard.press("1")
        page.keyboard.press("Enter")
    expect(page.locator("#waiting")).to_contain_text("2 waiting to be stored")
    page.reload()
    expect(page.locator("#waiting")).to_contain_text("2 waiting to be stored")
    expect(page.locator("#classes button").first).to_be_enabled()
    assert page.locator("#image").get_attribute("src") not in shown
    assert judged(stores, "jo") == []
    page.unroute("**/api/labels")
    found = wait_for_labels(stores, "jo", 2)
    expect(page.locator("#waiting")).to_be_empty()
    assert [f"/api/images/{label.image_sha256}" for label in found] == shown


def test_several_defects_their_severity_and_the_shift_are_submitted(
    page: Page, line: tuple[str, Stores, list[Inspection]]
) -> None:
    address, stores, _ = line
    page.goto(f"{address}/label?product={PRODUCT}&inspector=ada")
    # Keys are heard once the page is set up, and by the page once the field has let go of them.
    expect(page.locator("#classes button").first).to_be_enabled()
    page.get_by_label("Shift").fill("late")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Shift")).not_to_be_focused()
    for key in ("2", "a", "3"):
        page.keyboard.press(key)
    page.get_by_label("Severity").fill("4")
    page.keyboard.press("Enter")
    expect(page.locator("#classes button").first).to_be_enabled()
    expect(page.get_by_label("Severity")).to_have_value("")
    page.reload()
    expect(page.get_by_label("Shift")).to_have_value("late")
    expect(page.locator("#classes button").first).to_be_enabled()
    for key in ("2", "a", "1", "Enter"):
        page.keyboard.press(key)
    both, good = wait_for_labels(stores, "ada", 2)
    assert {both.class_name, *both.also} == {"scratch", "dent"}
    assert (both.severity, both.shift) == (4, "late")
    # A good class is named alone.
    assert (good.class_name, good.also, good.severity, good.shift) == ("ok", (), None, "late")


def test_a_shift_of_yesterday_is_forgotten(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    address, stores, _ = line
    page.goto(f"{address}/label?product={PRODUCT}&inspector=eve")
    page.evaluate(
        """localStorage.setItem("loupe.shift", JSON.stringify({name: "late", at: Date.now() - 13 * 3600e3}))"""
    )
    page.reload()
    expect(page.locator("#classes button").first).to_be_enabled()
    expect(page.get_by_label("Shift")).to_have_value("")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    assert wait_for_labels(stores, "eve", 1)[0].shift == ""


def test_retired_classes_are_not_offered(page: Page, tmp_path: Path) -> None:
    with open_stores(load_settings(data_dir=tmp_path)) as stores:
        book = add_book(stores, now())
        add_images(stores, pictures_of(1, seed=3), now())
        retired = tuple(replace(entry, retired=entry.name == "scratch") for entry in book.classes)
        with stores.database.write() as connection:
            labels.add_book(connection, replace(book, version=2, classes=retired))
    with console(tmp_path) as address:
        page.goto(f"{address}/label?product={PRODUCT}&inspector=kim")
        expect(page.locator("#classes button").first).to_be_enabled()
        assert [button.get_attribute("data-name") for button in page.locator("#classes button").all()] == [
            entry.name for entry in book.classes if entry.name != "scratch"
        ]


def test_image_that_cannot_be_loaded_is_passed_over(page: Page, line: tuple[str, Stores, list[Inspection]]) -> None:
    address, _, _ = line
    page.route("**/api/images/0*", lambda route: route.abort("connectionrefused"))
    page.goto(f"{address}/label?product={PRODUCT}&inspector=kim")
    expect(page.locator("#classes button").first).to_be_enabled()
    assert not (page.locator("#image").get_attribute("src") or "").startswith("/api/images/0")


def test_empty_store_says_what_to_do(page: Page, tmp_path: Path) -> None:
    with console(tmp_path) as address:
        for path, command in (("/", "loupe serve"), ("/inspections", "loupe serve"), ("/models", "loupe train")):
            page.goto(address + path)
            expect(page.get_by_text(command)).to_be_visible()
        page.goto(f"{address}/label")
        expect(page.get_by_text("loupe import PATH")).to_be_visible()
