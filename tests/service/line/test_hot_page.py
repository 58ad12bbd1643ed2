"""What `/docs` says of the routes that FastAPI never sees."""

from typing import Any

import pytest
from httpx2 import Client

from models.preprocess import RAW_MEDIA_TYPE
from service.line.hot_page import HEADERS, QUERY
from service.line.refusals import STATUS
from service.line.requests import MEDIA_TYPES, MULTIPART, read_request


class Asked(dict[str, str]):
    """Fields that note which of them are read."""

    def __init__(self, *given: Any, **fields: str) -> None:
        super().__init__(*given, **fields)
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def operation(http: Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()["paths"][path]["post"]
    return found


def names(found: dict[str, Any], place: str) -> set[str]:
    return {parameter["name"] for parameter in found["parameters"] if parameter["in"] == place}


def test_every_field_that_is_read_is_on_the_page() -> None:
    query = Asked(station="s1", trigger_id="1")
    headers = Asked({"content-type": RAW_MEDIA_TYPE})
    read_request(query, headers)
    assert query.names == QUERY.keys()
    assert headers.names - {"content-type"} == {name.lower() for name in HEADERS}


@pytest.mark.parametrize("path", ["/v1/inspections", "/v1/challenges"])
def test_hot_route_is_on_the_page_with_its_fields_bodies_and_refusals(line: Client, path: str) -> None:
    found = operation(line, path)
    assert names(found, "query") >= {"station", "trigger_id", "deadline_ms"}
    assert ("expected" in names(found, "query")) == (path == "/v1/challenges")
    assert names(found, "header") == HEADERS.keys()
    assert found["requestBody"]["content"].keys() == {*MEDIA_TYPES, MULTIPART}
    assert found["responses"].keys() == {"200", *(str(status) for status, _ in STATUS.values())}


def test_other_routes_stay_on_the_page(line: Client) -> None:
    for _ in range(2):
        paths = line.get("/openapi.json").json()["paths"]
        assert paths["/v1/inspections"].keys() == {"get", "post"}
        assert "/v1/parts/{part_id}" in paths
    assert line.get("/docs").status_code == 200
