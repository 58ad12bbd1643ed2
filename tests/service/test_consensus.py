"""`loupe consensus`: settles a table or a product's labels, and shows why inspectors disagree."""

import csv
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from labeling.disagreement.causes import KINDS
from service.cli import app
from service.commands.consensus import WrongMix, read_mix
from service.consensus_report import VERDICTS
from service.report_file import WrongReportFile
from service.settings import load_settings
from service.wiring import open_stores
from storage import labels, pictures
from tests.labeling.disagreement.simulated_teams import team
from tests.storage.samples import NOW, PRODUCT, book, hash_of, image, label

pytestmark = pytest.mark.usefixtures("no_data")
NAMES = ("anna", "bela", "chen")
CLASSES = ("ok", "scratch")


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of three inspectors who see the border elsewhere."""
    votes = team(np.random.default_rng(0), items=120, again=0.3, vague=0.0).votes
    path = tmp_path_factory.mktemp("looks") / "looks.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "inspector", "label", "occasion", "shift", "time"])
        for item, who, said, occasion in zip(votes.item, votes.inspector, votes.label, votes.occasion, strict=True):
            at = NOW + timedelta(minutes=10 * int(item))
            shift = ("early", "late")[item % 2]
            writer.writerow([f"part{item:03}", NAMES[who], CLASSES[said], occasion, shift, at.isoformat()])
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["consensus", *map(str, arguments)])


def test_a_table_is_settled_without_any_database(looks: Path, tmp_path: Path) -> None:
    outcome = run("--csv", looks, "--json")
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert not (tmp_path / "data").exists()
    assert result["images"] == len(result["items"]) == 120
    assert set(result["inspectors"]) == set(NAMES)
    assert [(one["class"], one["ok"]) for one in result["classes"]] == [("ok", True), ("scratch", False)]
    assert sum(result["verdicts"].values()) == sum(result["causes"].values()) == 120
    assert set(result["verdicts"]) == set(VERDICTS)
    assert set(result["causes"]) == set(KINDS)
    assert {one["inspector"] for one in result["drift"]} == set(NAMES)
    assert result["human_level"]["classes"]["error"]["raw"]["n"] > 10
    assert result["conditions_tested"] > 0


def test_the_same_table_gives_the_same_answer(looks: Path) -> None:
    assert run("--csv", looks, "--json").stdout == run("--csv", looks, "--json").stdout


def test_csv_holds_a_row_an_image_and_the_page_needs_nothing_else(looks: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "out.csv", tmp_path / "out.html"
    outcome = run("--csv", looks, "--csv-out", table, "--html", page)
    assert outcome.exit_code == 0, outcome.output
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    for row in rows:
        assert float(row["p_ok"]) + float(row["p_scratch"]) == pytest.approx(1, abs=1e-3)
        assert row["verdict"] in VERDICTS
    text = page.read_text()
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    for head in ("Inspectors", "Over time", "Human level"):
        assert f"<h2>{head}" in text


def test_a_known_mix_decides_what_one_look_is_worth(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(
        "item,inspector,label\n" + "".join(f"{n},a,{'ok' if n else 'scratch'}\n" for n in range(9))
    )
    rare, common = (
        json.loads(run("--csv", tmp_path / "one.csv", "--method", "majority", "--mix", mix, "--json").stdout)["items"][
            0
        ]
        for mix in ("ok=.99,scratch=.01", "ok=.1,scratch=.9")
    )
    assert rare["probability"]["scratch"] < common["probability"]["scratch"]


@pytest.mark.parametrize("mix", ["ok", "ok=x", "dull=1", "ok=.9,scratch=.3", "ok=-1"])
def test_a_mix_that_is_none_is_refused(mix: str, looks: Path) -> None:
    with pytest.raises(WrongMix, match="--mix"):
        read_mix(mix, CLASSES)
    outcome = run("--csv", looks, "--mix", mix)
    assert isinstance(outcome.exception, WrongMix)


@pytest.mark.parametrize("arguments", [[], ["housing", "--csv", "x.csv"], ["housing", "--ok", "good"]])
def test_what_to_settle_must_be_clear(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "rows",
    ["a,x,ok\n", "a,x,ok\nb,y,dent\n", "a,x,ok\na,y,dent\n", "a,x,ok\na,y,ok\n", "a,x,ok\na,x,dent\n"],
    ids=["one look", "no overlap", "all disagree", "one class", "one inspector"],
)
def test_the_smallest_tables_get_an_answer(rows: str, tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_text("item,inspector,label\n" + rows)
    outcome = run("--csv", path, "--html", tmp_path / "small.html", "--csv-out", tmp_path / "small_out.csv")
    assert outcome.exit_code == 0, outcome.output
    assert "NaN" not in run("--csv", path, "--json").stdout
    assert (tmp_path / "small.html").is_file()


def test_stored_labels_are_settled_into_a_dataset() -> None:
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        labels.add_book(connection, book())
        pictures.store(connection, [replace(image(name), name=f"{name}.png") for name in "abcd"])
        labels.store(
            connection,
            [
                replace(
                    label(f"{who}{name}", image_sha256=hash_of(name), inspector=who, class_name=said, occasion=0),
                    shift="late",
                )
                for who in ("mira", "olaf")
                for name, said in zip("abcd", ("good", "scratch", "dent", "good"), strict=True)
            ],
        )
    outcome = run(PRODUCT, "--json")
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert (result["product"], result["images"], result["labels"]) == (PRODUCT, 4, 8)
    assert result["dataset"]
    assert dict(zip(result["sha256"], (one["item"] for one in result["items"]), strict=True)) == {
        hash_of(name): f"{name}.png" for name in "abcd"
    }
    assert result["dataset_is_new"]
    assert {one["class"]: one["ok"] for one in result["classes"]} == {"good": True, "scratch": False, "dent": False}
    again = json.loads(run("--product", PRODUCT, "--json").stdout)
    assert (again["run"], again["dataset_is_new"]) == (result["run"], False)


def test_what_people_read_fits_into_80_columns_wherever_it_goes(looks: Path) -> None:
    outcome = run("--csv", looks)
    assert outcome.exit_code == 0, outcome.output
    assert max(map(len, outcome.output.splitlines())) <= 80


@pytest.mark.parametrize(
    "reports", [["--html", "looks.csv"], ["--csv-out", "looks.csv"], ["--html", "a", "--csv-out", "a"]]
)
def test_no_report_takes_the_place_of_the_table_or_of_another(
    looks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("looks.csv").write_bytes(looks.read_bytes())
    outcome = run("--csv", tmp_path / "looks.csv", *reports)
    assert outcome.exit_code == 1
    assert isinstance(outcome.exception, WrongReportFile)
    assert "name" in outcome.exception.remedy
    assert Path("looks.csv").read_bytes() == looks.read_bytes()
    assert not Path("a").exists()
