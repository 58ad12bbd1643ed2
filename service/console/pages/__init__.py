"""The pages that NiceGUI serves; a new one is a file and a line here."""

from nicegui import app

from service.console.frame import framed, trouble
from service.console.pages import inspections, line, models
from service.wiring import Stores


def register_pages(stores: Stores) -> None:
    """Make the pages known to NiceGUI."""
    for page in (line, inspections, models):
        page.register(stores)
    app.on_page_exception(_broken)


def _broken(error: Exception) -> None:
    with framed("", "This page can't be shown now"):
        trouble(error)
