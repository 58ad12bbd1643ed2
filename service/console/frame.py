"""What all pages look like: head, navigation, and the marks by which dispositions are told apart."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nicegui import ui
from nicegui.element import Element

PLACES = {"/": "Line", "/inspections": "Inspections", "/models": "Models", "/label": "Label"}
DISPOSITIONS = ("pass", "reject", "rework", "recheck")


@contextmanager
def framed(place: str, title: str) -> Iterator[None]:
    """A page under the navigation; `place` is the entry of PLACES that it belongs to."""
    ui.page_title(f"{title} · Loupe")
    ui.add_head_html('<link rel="stylesheet" href="/static/console.css">')
    with tag("nav", "top").props('aria-label="Pages"'):
        tag("span", "brand", "Loupe")
        for path, name in PLACES.items():
            link = anchor(path, "here" if path == place else "", name)
            if path == place:
                link.props('aria-current="page"')
    with tag("div", "page"):
        tag("h1", text=title)
        yield


def tag(name: str, classes: str = "", text: str | None = None) -> Element:
    """An element with our classes; the text is shown as it is, never as HTML."""
    element = ui.label(text) if text is not None else ui.element(name)
    element.tag = name
    return element.classes(classes) if classes else element


def anchor(target: str, classes: str = "", text: str = "") -> Element:
    """A link inside the console."""
    link = ui.link(text, target)
    return link.classes(classes) if classes else link


def mark(disposition: str) -> Element:
    """A disposition as shape and colour: circle, square, triangle, diamond."""
    return tag("span", f"mark {disposition}").props(f'role="img" aria-label="{disposition}"')


def said(disposition: str) -> None:
    """A disposition as mark and word."""
    with tag("span", "said"):
        mark(disposition)
        tag("span", text=disposition)


def hint(text: str, command: str = "") -> None:
    """What to do where there is nothing to show."""
    with tag("p", "hint"):
        tag("span", text=text)
        if command:
            tag("code", text=command)


def trouble(error: Exception) -> None:
    """What went wrong and, where the error knows it, what to do."""
    with tag("p", "fresh stale").props('role="alert"'):
        tag("strong", text=str(error) or type(error).__name__)
        tag("span", text=str(getattr(error, "remedy", "The console's log says more.")))


@contextmanager
def card(title: str, classes: str = "") -> Iterator[None]:
    """A part of a page with a heading."""
    with tag("section", f"card {classes}"):
        tag("h2", text=title)
        yield


@contextmanager
def table(columns: Sequence[str]) -> Iterator[None]:
    """A table with its head; the rows are made inside with `row` and `cell`."""
    with tag("div", "scroll"), tag("table"):
        with tag("thead"), tag("tr"):
            for column in columns:
                tag("th", text=column)
        with tag("tbody"):
            yield


def row() -> Element:
    """A row of a table."""
    return tag("tr")


def cell(text: str | None = None, classes: str = "") -> Element:
    """A cell of a row."""
    return tag("td", classes, text)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, one pair a line."""
    with tag("dl"):
        for name, value in pairs:
            tag("dt", text=name)
            tag("dd", text=value)
