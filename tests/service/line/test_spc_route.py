"""Control charts over HTTP."""

import csv
import io

import pytest
from starlette.testclient import TestClient

from tests.service.line.posting import post, settled
from tests.service.line.stocked import BRIGHT, DARK, PRODUCT, encoded


@pytest.fixture
def inspected(asgi_line: TestClient) -> TestClient:
    for n in range(8):
        post(asgi_line, encoded(BRIGHT if n == 5 else DARK), str(n))
    settled(asgi_line, 8)
    return asgi_line


def test_a_chart_of_the_verdicts_is_told_as_json(inspected: TestClient) -> None:
    found = inspected.get("/v1/spc?chart=np&per=4").json()
    assert [(p["parts"], p["not_ok"]) for p in found["points"]] == [(4, 0), (4, 1)]
    assert found["product"] is None
    by_class = inspected.get(f"/v1/spc?by=class&product={PRODUCT}").json()
    assert [(one["class"]["number"], one["counted"]) for one in by_class["charts"]] == [(7, 1)]
    assert inspected.get(f"/v1/spc?class=7&product={PRODUCT}").json()["class"]["number"] == 7


@pytest.mark.parametrize(("query", "accept"), [("&format=csv", "*/*"), ("", "text/csv")])
def test_a_chart_is_told_as_csv(inspected: TestClient, query: str, accept: str) -> None:
    response = inspected.get(f"/v1/spc?per=4&by=station{query}", headers={"accept": accept})
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["station"], row["parts"], row["not_ok"]) for row in rows] == [
        ("", "4", "0"),
        ("", "4", "1"),
        ("s1", "4", "0"),
        ("s1", "4", "1"),
    ]


@pytest.mark.parametrize("query", ["chart=c", "format=xml", "weight=2", "centre=x", "by=camera", "class=x"])
def test_a_wrong_question_is_refused_with_what_to_do(inspected: TestClient, query: str) -> None:
    response = inspected.get(f"/v1/spc?{query}")
    assert response.status_code == 422
    assert response.json()["remedy"]
