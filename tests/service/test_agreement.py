"""The agreement study and its plan from the command line: tables and stored labels in; text, JSON, CSV, a page out."""

import csv
import io
import json
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from labeling.agreement.planning import WrongPlan
from labeling.formats import INSPECTOR, BrokenListing
from labeling.votes import WrongVotes
from service.agreement_votes import WrongStudy
from service.cli import app
from service.report_file import WrongReportFile
from service.settings import PREFIX, Settings, load_settings
from service.wiring import Stores, open_stores
from storage import adjudications, labels, pictures
from storage.records import Adjudication, Image, ImageClass, Label, LabelBook

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "annotators" / "msa_attribute_kappa" / "labels.csv"
AT = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
# Four parts, of which the last two are dented, three looks each; bo passes part 3 once.
LOOKS = {"ada": ["ok", "ok", "dent", "dent"], "bo": ["ok", "ok", "dent", "dent"], "cy": ["ok", "dent", "dent", "dent"]}
KNOWN = ["ok", "ok", "dent", "dent"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stores() -> Iterator[Stores]:
    with open_stores(load_settings()) as opened:
        yield opened


def written(path: Path = Path("looks.csv"), head: str = "item,inspector,label,trial,gold") -> Path:
    rows = [
        (part, who, "ok" if (who, part, trial) == ("bo", 2, 1) else said, trial, KNOWN[part])
        for who, parts in LOOKS.items()
        for part, said in enumerate(parts)
        for trial in (1, 2, 3)
    ]
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agreement", *arguments])


def found(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def hits(share: dict[str, Any]) -> tuple[float, int]:
    return share["hits"], share["n"]


def test_table_with_a_reference_gives_the_whole_study() -> None:
    study = found("--csv", str(written()))
    assert (study["parts"], study["looks"], study["good_parts"], study["defective_parts"]) == (4, 36, 2, 2)
    assert (study["level"], study["ok"], study["reference"]) == ("decisions", ["ok"], "given")
    assert study["reference_from"] == "column gold of looks.csv"
    ada, bo, cy = study["inspectors"]
    assert hits(ada["effectiveness"]) == hits(ada["repeatability"]) == (4, 4)
    assert hits(bo["repeatability"]) == hits(bo["effectiveness"]) == (3, 4)
    assert bo["miss"]["value"] == pytest.approx(1 / 6)
    assert bo["miss"]["band"] == "unacceptable"
    assert hits(bo["mixed"]) == (1, 4)
    assert cy["false_alarm"]["value"] == 0.5
    assert cy["bias"]["value"] == 0.25
    assert cy["confusion"] == [[3, 3, 0], [0, 6, 0], [0, 0, 0]]
    assert [one["inspectors"] for one in study["pairs"]] == [["ada", "bo"], ["ada", "cy"], ["bo", "cy"]]
    assert hits(study["all_agree"]) == hits(study["all_right"]) == (2, 4)
    assert [(one["item"], one["wrong"]) for one in study["wrong"]] == [("1", 3), ("2", 1)]
    (few,) = study["cautions"]
    assert few.startswith("4 parts are few")


def test_without_a_reference_the_others_are_it() -> None:
    study = found("--csv", str(written()), "--reference", "none")
    assert (study["reference"], study["reference_from"]) == ("others", "")
    ada, bo, cy = study["inspectors"]
    # ada's others contradict each other about part 1; cy's do not.
    assert (ada["unreferenced"], cy["unreferenced"]) == (1, 0)
    assert hits(ada["effectiveness"]) == (3, 3)
    assert hits(cy["effectiveness"]) == (3, 4)
    assert study["all_right"] is None
    assert any("consensus of the others" in caution for caution in study["cautions"])
    assert bo["effectiveness"]["n"] == 3


def test_reference_may_be_a_file_that_knows_some_parts() -> None:
    Path("known.csv").write_text("item,reference\n0,ok\n2,dent\n99,ok\n")
    study = found("--csv", str(written()), "--reference", "known.csv")
    assert (study["reference_from"], study["unreferenced_parts"]) == ("known.csv", 2)
    assert hits(study["inspectors"][0]["effectiveness"]) == (2, 2)


def test_without_good_classes_classes_are_compared() -> None:
    path = Path("looks.csv")
    path.write_text("part;annotator;rating\n1;a;3\n1;b;10\n2;a;1\n2;b;1\n3;a;3\n3;b;3\n")
    study = found("--csv", str(path), "--weights", "quadratic")
    assert (study["level"], study["classes"], study["weights"]) == ("classes", ["1", "3", "10"], "quadratic")
    assert study["inspectors"][0]["miss"] is None
    assert study["pairs"][0]["kappa"]["value"] > found("--csv", str(path))["pairs"][0]["kappa"]["value"]
    assert any("--ok" in caution for caution in study["cautions"])


def test_weights_need_an_order() -> None:
    path = written()
    path.write_text(path.read_text().replace("0,ada,ok", "0,ada,scratch"))
    refused = run("--csv", str(path), "--weights", "linear")
    assert isinstance(refused.exception, WrongStudy)
    assert "--order" in refused.exception.remedy
    assert found("--csv", str(path), "--weights", "linear", "--order", "ok,scratch,dent")["classes"][1] == "scratch"


def test_columns_may_have_other_names() -> None:
    path = written(head="nr,wer,urteil,lauf,wahr")
    study = found(
        "--csv", str(path), "--map", "nr=item", "--map", "wer=inspector", "--map", "urteil=label", "--map",
        "lauf=occasion", "--map", "wahr=reference",
    )  # fmt: skip
    assert study["reference_from"] == "column wahr of looks.csv"
    assert study["inspectors"][1]["miss"]["n"] == 2


def test_published_table_gives_its_published_figures() -> None:
    if not PUBLISHED.is_file() and "data" not in os.environ.get("LOUPE_TEST_REQUIRE", ""):
        pytest.skip(f"there is no {PUBLISHED}")
    study = found("--csv", str(PUBLISHED), "--ok", "No")
    assert (study["parts"], study["looks"], study["good_parts"]) == (15, 135, 5)
    rates = {one["inspector"]: (one["miss"]["value"], one["false_alarm"]["value"]) for one in study["inspectors"]}
    assert rates["BL"] == pytest.approx((0.2667, 0.2), abs=5e-5)
    assert rates["EG"] == pytest.approx((0.1667, 0.2), abs=5e-5)
    assert rates["MH"] == pytest.approx((0.1, 0.6667), abs=5e-5)
    assert study["together"]["fleiss"]["value"] == pytest.approx(0.641667, abs=5e-7)
    assert (hits(study["all_agree"]), hits(study["all_right"])) == ((9, 15), (7, 15))


def test_undecided_looks_are_no_misses() -> None:
    path = written()
    path.write_text(path.read_text().replace("2,bo,ok", "2,bo,unclear"))
    bo = found("--csv", str(path), "--undecided", "unclear")["inspectors"][1]
    assert (bo["miss"]["value"], bo["undecided"]["value"]) == (0.0, pytest.approx(1 / 12))


def test_rows_that_say_nothing_are_left_out_and_told() -> None:
    path = written()
    path.write_text(path.read_text() + "0,ada,ok,1,ok\n7,,ok,1,ok\n")
    study = found("--csv", str(path))
    assert [one["where"] for one in study["left_out"]] == ["looks.csv:38", "looks.csv:39"]
    assert "looks.csv:38" in run("--csv", str(path)).stderr


def test_shifts_are_told_apart() -> None:
    path = Path("looks.csv")
    rows = [f"{part},ada,{'ok' if shift == 'night' else KNOWN[part]},{shift},{KNOWN[part]}"
            for shift in ("day", "night") for part in range(4)]  # fmt: skip
    path.write_text("\n".join(["item,inspector,label,shift,reference", *rows]))
    day, night = found("--csv", str(path))["by_shift"]
    assert (day["shift"], day["inspectors"][0]["miss"]["value"]) == ("day", 0.0)
    assert (night["shift"], night["inspectors"][0]["miss"]["value"]) == ("night", 1.0)


def test_paradox_is_told_in_words() -> None:
    said = [("ok", "ok")] * 59 + [("ok", "dent")] * 2 + [("dent", "ok")]
    rows = [f"{n},{who},{label}" for n, pair in enumerate(said) for who, label in zip(("a", "b"), pair, strict=True)]
    Path("looks.csv").write_text("\n".join(["item,inspector,label", *rows]))
    study = found("--csv", "looks.csv")
    assert study["pairs"][0]["paradox"]
    (told,) = [caution for caution in study["cautions"] if caution.startswith("a and b")]
    assert "95 % of looks agree and yet kappa is -0.02" in told
    assert "AC1 (0.95)" in told


@pytest.mark.parametrize("label", ["ok", "dent"])
def test_one_inspector_one_class_is_an_answer(label: str) -> None:
    Path("looks.csv").write_text(f"item,inspector,label,reference\n1,a,{label},{label}\n2,a,{label},{label}\n")
    study = found("--csv", "looks.csv", "--html", "page.html", "--csv-out", "out.csv")
    assert study["pairs"] == []
    assert study["together"]["fleiss"] is None
    assert "NaN" not in json.dumps(study)
    assert run("--csv", "looks.csv").exit_code == 0


def test_text_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.terminal._out.width", 80)
    text = run("--csv", str(written())).stdout
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for word in ("right every time", "misses", "unacceptable", "AC1", "PABAK", "ada and bo"):
        assert word in text


def test_csv_has_a_row_an_inspector_a_pair_and_all() -> None:
    assert run("--csv", str(written()), "--csv-out", "out.csv").exit_code == 0
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    assert [row["rows"] for row in rows] == ["inspector"] * 3 + ["pair"] * 3 + ["all"]
    assert (rows[0]["who"], rows[0]["effectiveness_value"], rows[0]["parts"]) == ("ada", "1.0", "4")
    assert float(rows[6]["alpha_value"]) == pytest.approx(found("--csv", "looks.csv")["together"]["alpha"]["value"])


def test_page_is_whole_and_names_every_inspector() -> None:
    assert run("--csv", str(written()), "--html", "page.html").exit_code == 0
    page = Path("page.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert page.count("<svg") == 6
    for who in LOOKS:
        assert who in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--csv", "none.csv"], BrokenListing),
        (["--csv", "looks.csv", "--ok", "fine"], WrongStudy),
        (["--csv", "looks.csv", "--undecided", "fine"], WrongStudy),
        (["--csv", "looks.csv", "--order", "ok"], WrongStudy),
        (["--csv", "looks.csv", "--reference", "adjudicated"], WrongStudy),
        (["--csv", "looks.csv", "--reference", "others.csv"], WrongStudy),
        (["--csv", "looks.csv", "--map", "nobody=item"], BrokenListing),
        (["--csv", "looks.csv", "--map", "gold=truth"], BrokenListing),
        (["--csv", "bare.csv"], BrokenListing),
        (["--csv", "bare2.csv", "--reference", "column"], WrongStudy),
        (["--csv", "torn.csv"], WrongStudy),
        (["--csv", "empty.csv"], WrongStudy),
        (["--csv", "looks.csv", "--undecided", "dent"], WrongVotes),
        (["--csv", "looks.csv", "--html", "nowhere/page.html"], WrongReportFile),
        (["--csv", "looks.csv", "--csv-out", "."], WrongReportFile),
        (["--csv", "looks.csv", "--html", "looks.csv"], WrongReportFile),
        (["--csv", "looks.csv", "--csv-out", "link.csv"], WrongReportFile),
        (["--csv", "looks.csv", "--reference", "others.csv", "--csv-out", "./others.csv"], WrongReportFile),
        (["--csv", "looks.csv", "--html", "page.html", "--csv-out", "./page.html"], WrongReportFile),
        (["--csv", "nothing.csv"], BrokenListing),
        (["--csv", "twice.csv"], BrokenListing),
        (["--csv", "looks.csv", "--reference", "known twice.csv"], BrokenListing),
        (["--product", "none"], WrongStudy),
        (["plan", "--kappa", "0.9", "0.8"], WrongPlan),
    ],
)
def test_what_can_not_be_studied_is_refused_with_a_remedy(arguments: list[str], error: type[Exception]) -> None:
    written()
    Path("bare.csv").write_text("item,label\n1,ok\n")
    Path("bare2.csv").write_text("item,inspector,label\n1,a,ok\n")
    Path("others.csv").write_text("item,reference\nx,ok\n")
    Path("torn.csv").write_text("item,inspector,label,gold\n1,a,ok,ok\n1,b,ok,dent\n")
    Path("empty.csv").write_text("item,inspector,label\n")
    Path("nothing.csv").write_text("")
    Path("twice.csv").write_text("item,inspector,label,Label\n1,a,ok,dent\n")
    Path("known twice.csv").write_text("item,gold,gold\n1,ok,dent\n")
    Path("link.csv").symlink_to("looks.csv")
    before = Path("looks.csv").read_bytes()
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert isinstance(refused.exception, error)
    assert Path("looks.csv").read_bytes() == before
    assert getattr(refused.exception, "remedy", "")
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--csv", "a.csv", "--product", "p"],
        ["--csv", "a.csv", "--weights", "cubic"],
        ["--product", "p", "--ok", "x"],
    ],
)
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def stock(stores: Stores, settled: dict[int, str] | None = None) -> None:
    """LOOKS as stored labels, one part a picture; ada is unsure of part 1."""
    book = LabelBook("housing", 1, (ImageClass("ok", 0, ok=True), ImageClass("dent", 1, ok=False)), AT)
    images = [
        Image("housing", f"{n:064d}", f"part{n}.png", "image/png", 1, 8, 8, f"part{n}", None, "import", None, AT)
        for n in range(4)
    ]
    said = [(who, part, label) for who, parts in LOOKS.items() for part, label in enumerate(parts)]
    said += [(INSPECTOR, 0, "dent")]
    judged = [
        Label(f"{who}{part}", "housing", f"{part:064d}", who, label, (), None, (who, part) == ("ada", 1), None, "",
              None, 0, 1, "console", AT, AT)
        for who, part, label in said
    ]  # fmt: skip
    with stores.database.write() as connection:
        labels.add_book(connection, book)
        pictures.store(connection, images)
        labels.store(connection, judged)
        adjudications.store(
            connection,
            [
                Adjudication(f"a{part}", "housing", f"{part:064d}", name, "", "lead", 1, AT, AT)
                for part, name in (settled or {}).items()
            ],
        )


def test_stored_labels_are_held_against_adjudications(stores: Stores) -> None:
    stock(stores, {0: "ok", 1: "ok", 3: "dent"})
    study = found("--product", "housing")
    assert (study["reference_from"], study["source"]) == ("adjudications", "product housing")
    assert (study["ok"], study["undecided"]) == (["ok"], ["(unsure)"])
    ada, bo, cy = study["inspectors"]
    assert hits(bo["effectiveness"]) == (3, 3)
    assert hits(cy["effectiveness"]) == (2, 3)
    assert ada["undecided"]["value"] == 0.25
    assert hits(ada["effectiveness"]) == (2, 3)
    assert [one["item"] for one in study["wrong"]] == ["part1.png"]
    assert "name no inspector" in study["left_out"][0]["what"]


def test_stored_labels_without_adjudications_are_held_against_the_others(stores: Stores) -> None:
    stock(stores)
    assert found("--product", "housing")["reference"] == "others"
    refused = run("--product", "housing", "--reference", "adjudicated")
    assert isinstance(refused.exception, WrongStudy)
    Path("known.csv").write_text("path,label\npart0.png,ok\npart1.png,ok\npart2.png,dent\npart3.png,dent\n")
    assert hits(found("--product", "housing", "--reference", "known.csv")["all_right"]) == (3, 4)


def test_adjudications_of_images_that_no_inspector_judged_are_no_reference(stores: Stores) -> None:
    stock(stores, {8: "ok", 9: "dent"})
    study = found("--product", "housing")
    assert (study["reference"], study["reference_from"]) == ("others", "")
    assert "any of the 2 adjudicated images" in study["left_out"][-1]["what"]
    assert isinstance(run("--product", "housing", "--reference", "adjudicated").exception, WrongStudy)


def test_plan_says_how_many_parts_and_what_the_customary_study_can_tell() -> None:
    read: dict[str, Any] = json.loads(run("plan", "--json").stdout)
    assert read["aims"]["miss"]["defective_parts"] == 72
    assert read["parts"] == max(aim["parts"] for aim in read["aims"].values()) == 144
    usual, planned = read["told_by"]
    assert (usual["parts"], usual["looks"], usual["defective_parts"]) == (50, 450, 25)
    assert usual["miss_not_excluded"] == pytest.approx(0.1372, abs=5e-5)
    assert planned["power_of_kappa"] > 0.8 > usual["power_of_kappa"]
    text = run("plan", "--miss", "0.02", "--defective", "0.3").stdout
    assert "183 defective parts" in text
    assert "610 parts" in text


def test_every_key_is_documented() -> None:
    documented = set(re.findall(r"\w+", (Path(__file__).parents[2] / "docs" / "agreement.md").read_text()))
    study = found("--csv", str(written()))
    plan: dict[str, Any] = json.loads(run("plan", "--json").stdout)
    inspector, pair = study["inspectors"][0], study["pairs"][0]
    for keys in (study, inspector, pair, study["together"], inspector["within"], inspector["miss"], study["wrong"][0],
                 plan, plan["aims"], plan["told_by"][0]):  # fmt: skip
        assert set(keys) <= documented


def test_an_empty_table_is_told_what_a_study_needs() -> None:
    Path("nothing.csv").write_text("")
    assert getattr(run("--csv", "nothing.csv").exception, "remedy", "").endswith("item, inspector and label")


def test_a_plan_for_thousands_of_parts_is_made_at_once() -> None:
    started = time.monotonic()
    planned = run("plan", "--allowed", "5000", "--miss", "0.999", "--json")
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["parts"] == 10022
    assert time.monotonic() - started < 10
