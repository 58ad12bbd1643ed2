"""`/docs` needs nothing but this server."""

import re

from httpx2 import Client


def test_page_names_every_address_and_loads_nothing_from_elsewhere(line: Client) -> None:
    page = line.get("/docs")
    assert page.status_code == 200
    for path in line.get("/openapi.json").json()["paths"]:
        assert path in page.text
    assert "POST /v1/inspections" in page.text
    assert not re.search(r"https?://", page.text)


def test_names_from_the_schema_are_text_and_no_html(line: Client) -> None:
    assert "<script" not in line.get("/docs").text
