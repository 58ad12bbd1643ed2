"""Control charts from the command line: tables, JSON, CSV, a page."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.line.requests import WrongRequest
from service.report_file import WrongReportFile
from service.settings import PREFIX, Settings, load_settings
from service.wiring import open_stores
from storage import inspections, labels
from tests.storage.samples import NOW, PRODUCT, book, inspection

FULL = NOW.replace(minute=0, second=0, microsecond=0)
WHEN = ("--since", FULL.isoformat(), "--until", (FULL + timedelta(hours=30)).isoformat())


@pytest.fixture(autouse=True)
def stocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 hours of 40 parts with 2 scratches each, at two stations by turns; ten dents in the last hour at s0."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    rows = []
    for hour in range(25):
        for n in range(40):
            code = 1 if n < 2 else 2 if hour == 24 and n % 2 == 0 and n < 22 else 0
            judged: dict[str, Any] = {} if code else {"evaluation": "ok", "disposition": "pass"}
            at = FULL + timedelta(hours=hour, minutes=n)
            changes = {"result_code": code, "received_at": at, "station": f"s{n % 2}", **judged}
            rows.append(inspection(f"{hour}-{n}", views=(), **changes))
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        inspections.store(connection, rows)
        labels.add_book(connection, book())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["spc", *WHEN, *arguments])


def found(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def test_chart_is_told_as_json() -> None:
    result = found("--chart", "np", "--per", "40")
    assert (result["chart"], result["per"], len(result["points"])) == ("np", 40, 25)
    assert result["points"][-1]["value"] == 12
    assert result["in_control"] is False


def test_every_chart_and_split_can_be_asked_for() -> None:
    for chart in ("p", "laney", "ewma"):
        assert found("--chart", chart, "--baseline-until", (FULL + timedelta(hours=24)).isoformat())["charts"] == []
    assert [one["station"] for one in found("--by", "station")["charts"]] == ["s0", "s1"]
    assert [one["class"]["name"] for one in found("--by", "class")["charts"]] == ["scratch", "dent"]
    assert found("--class", "dent", "--product", PRODUCT, "--rules", "nelson")["counted"] == 10
    assert found("--chart", "ewma", "--weight", "0.1", "--centre", "0.05")["weight"] == 0.1


def test_terminal_shows_the_chart_its_points_and_what_to_be_careful_about() -> None:
    result = run("--baseline-until", (FULL + timedelta(hours=10)).isoformat())
    assert result.exit_code == 0
    assert "Share of rejects (p chart)" in result.stdout
    assert "beyond 3 sigma" in result.stdout
    assert "careful: the limits are drawn from 10 subgroups" in " ".join(result.stdout.split())
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_terminal_shows_of_many_charts_the_points_that_break_rules() -> None:
    result = run("--by", "station")
    assert result.exit_code == 0
    assert "station s0: points that break rules" in result.stdout
    assert "station s1: points" not in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_csv_is_printed_or_written() -> None:
    printed = run("--csv", "-", "--by", "class").stdout
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["class"] for row in rows] == [""] * 25 + ["scratch"] * 25 + ["dent"] * 25
    assert rows[24]["rules"].startswith("beyond_3_sigma")
    assert float(rows[0]["value"]) == pytest.approx(0.05)
    assert run("--csv", "points.csv", "--by", "class").exit_code == 0
    assert Path("points.csv").read_text() == printed


def store_dark(hours: int) -> None:
    """Ten parts in each hour from the first on, while an optics alarm stands."""
    dark = {"evaluation": "not_decidable", "disposition": "recheck", "result_code": 904, "station": "s8"}
    at = [FULL + timedelta(hours=hour, minutes=n) for hour in range(hours) for n in range(10)]
    rows = [inspection(f"dark-{n}", views=(), received_at=time, **dark) for n, time in enumerate(at)]
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        inspections.store(connection, rows)


def test_what_was_not_decided_is_told_everywhere() -> None:
    store_dark(3)
    result = run("--html", "charts.html")
    told = " ".join(result.stdout.split())
    caution = "3 of 25 subgroups have more than a tenth of their parts undecided, mostly optics alarm (904)"
    assert f"careful: {caution}" in told
    assert "│ 1000 │ 30 │ 60 │" in told
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    page = Path("charts.html").read_text()
    assert caution in page
    assert "1000 decided parts (30 undecided)" in page
    rows = list(csv.DictReader(io.StringIO(run("--csv", "-").stdout)))
    assert [row["undecided"] for row in rows] == ["10"] * 3 + ["0"] * 22


def test_where_nothing_was_decided_the_cause_is_told() -> None:
    store_dark(2)
    result = run("--station", "s8", "--html", "charts.html")
    assert "20 undecided parts are in no subgroup, mostly optics alarm (904)" in " ".join(result.stdout.split())
    assert "20 undecided parts are in no subgroup" in Path("charts.html").read_text()
    split = run("--by", "station", "--html", "charts.html")
    assert "station s8: 20 undecided parts are in no subgroup" in " ".join(split.stdout.split())
    assert "tation s8: 20 undecided parts" in Path("charts.html").read_text()


def test_page_is_whole_in_itself() -> None:
    result = run("--html", "charts.html", "--by", "class", "--csv", "points.csv")
    assert result.exit_code == 0
    assert "written: charts.html" in result.stdout
    text = Path("charts.html").read_text()
    assert text.count("<svg") == 3
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_without_parts_the_remedy_is_told() -> None:
    result = run("--station", "s9", "--html", "empty.html")
    assert result.exit_code == 0
    assert "ask for an earlier --since" in " ".join(result.stdout.split())
    assert "No subgroup" in Path("empty.html").read_text()


def test_np_and_csv_of_an_empty_chart_have_only_heads() -> None:
    assert run("--station", "s9", "--chart", "np", "--per", "10", "--csv", "-").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--chart", "c"), WrongRequest),
        (("--per", "week"), WrongRequest),
        (("--class", "rust", "--product", PRODUCT), WrongRequest),
        (("--html", "no/such/folder.html"), WrongReportFile),
    ],
)
def test_what_can_not_be_answered_is_refused_with_a_remedy(
    arguments: tuple[str, ...], error: type[WrongRequest | WrongReportFile]
) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert result.exception.remedy


def test_json_and_printed_csv_exclude_each_other() -> None:
    assert run("--json", "--csv", "-").exit_code == 2
