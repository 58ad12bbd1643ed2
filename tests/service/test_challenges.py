"""Challenges and the capability study, from the command line through HTTP to a line server and back."""

import csv
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from labeling.formats import UnknownFormat
from models.preprocess import UnreadableImage
from service.cli import app
from service.line.app import create_app
from service.line.protocol import LineHost, line_config
from service.line.server import LineServer, running
from service.line_client import LineRefused, LineUnreachable, PostedView, open_client, post_part
from service.report_file import WrongReportFile
from service.settings import PREFIX, Settings, load_settings
from service.study import MoreViewsExpected
from service.study_items import NothingKnown, UnknownOk, view_and_part
from service.wiring import Stores, open_stores
from storage import inspections, keys, labels
from storage.database import DatabaseUnavailable
from storage.records import ImageClass, Inspection, Key, Label, LabelBook
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    MADE_AT,
    MIDDLE,
    PRODUCT,
    add_champion,
    change_recipe,
    encoded,
    wait_until,
)
from tests.tiny_model import CLASSES

GOOD, MISSED, RECHECKED, FOUND, ALARMED = "good.png", "missed.png", "rechecked.png", "found.png", "alarmed.png"
KNOWN = {GOOD: (DARK, "good"), ALARMED: (MIDDLE, "good"), FOUND: (BRIGHT, "scratch"), RECHECKED: (MIDDLE, "scratch"),
         MISSED: (DARK, "scratch")}  # fmt: skip


@dataclass
class Served:
    """A line server on a port of its own."""

    url: str
    stores: Stores
    server: LineServer

    def recorded(self) -> list[Inspection]:
        wait_until(lambda: self.server.journal.waiting_count == 0)
        with self.stores.database.read() as connection:
            return inspections.latest(connection, 10_000)[::-1]


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    with open_stores(load_settings()) as opened:
        yield opened


@pytest.fixture
def bare(stores: Stores) -> Iterator[Served]:
    """Without a champion."""
    with socket.create_server(("127.0.0.1", 0)) as listening, running(load_settings(watch_poll_s=0.05)) as server:
        port = listening.getsockname()[1]
        host = LineHost(
            line_config(create_app(nullcontext(server)), "127.0.0.1", port),
            server.stopping,
            lambda: server.admission.total,
        )
        thread = threading.Thread(target=host.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: host.started)
            yield Served(f"http://127.0.0.1:{port}", stores, server)
        finally:
            host.should_exit = True
            thread.join(20)


@pytest.fixture
def served(bare: Served, tmp_path: Path) -> Served:
    classes = tuple(ImageClass(c.name, c.number, c.ok) for c in CLASSES)
    with bare.stores.database.write() as connection:
        labels.add_book(connection, LabelBook(PRODUCT, 1, classes, MADE_AT))
    add_champion(bare.stores, tmp_path)
    wait_until(lambda: bare.server.state() == "ready")
    return bare


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Five parts: one right of each kind, and one wrong in each way."""
    folder = tmp_path / "known"
    folder.mkdir()
    for seed, (name, (level, _)) in enumerate(KNOWN.items()):
        (folder / name).write_bytes(encoded(level, seed))
    rows = [f"{name},{class_name}" for name, (_, class_name) in KNOWN.items()]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder


def loupe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["challenge", *map(str, arguments)])


def studied(served: Served, path: Path, *arguments: str | Path) -> dict[str, Any]:
    said = loupe("study", path, "--station", "s1", "--url", served.url, "--json", *arguments)
    assert said.exit_code == 0, said.output
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def sent(served: Served, path: Path, expected: str, *arguments: str) -> Result:
    return loupe("send", path, "--expected", expected, "--station", "s1", "--url", served.url, *arguments)


def sent_views(served: Served, views: dict[str, Path], expected: str, *arguments: str) -> Result:
    named = [word for name, path in views.items() for word in ("--view", f"{name}={path}")]
    return loupe("send", *named, "--expected", expected, "--station", "s1", "--url", served.url, *arguments)


def expect_views(served: Served, *views: str) -> None:
    version = change_recipe(served.stores, expected_views=views).version
    wait_until(lambda: served.server.champions.active(None, "s1").recipe.version == version)


def add_parts(folder: Path, levels: dict[str, int]) -> None:
    """Images by their path under the folder."""
    for seed, (name, level) in enumerate(levels.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(level, seed))


def judged(path: Path, inspector: str, class_name: str, occasion: int = 0, *, unsure: bool = False) -> Label:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Label(
        id=f"{sha256[:8]}-{inspector}-{occasion}",
        product=PRODUCT,
        image_sha256=sha256,
        inspector=inspector,
        class_name=class_name,
        also=(),
        severity=None,
        unsure=unsure,
        region=None,
        comment="",
        seconds=None,
        occasion=occasion,
        book_version=1,
        source="console",
        judged_at=MADE_AT,
        stored_at=MADE_AT,
    )


def add_labels(stores: Stores, *new: Label) -> None:
    with stores.database.write() as connection:
        labels.store(connection, new)


# --- one challenge --------------------------------------------------------------------------------


def test_part_that_is_told_passes_and_one_that_is_not_ends_with_1(served: Served, known: Path) -> None:
    good = sent(served, known / FOUND, "scratch")
    bad = sent(served, known / MISSED, "not_ok")
    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert good.stdout == "passed: reject (7)\n"
    assert bad.stdout == "NOT PASSED: expected not_ok, Loupe says ok (0), pass (0)\n"


def test_json_of_a_challenge_is_the_answer_of_the_line(served: Served, known: Path) -> None:
    said = sent(served, known / GOOD, "ok", "--json", "--product", PRODUCT)
    answer = json.loads(said.stdout)
    assert (answer["passed"], answer["expected"], answer["disposition"]) == (True, "ok", "pass")
    assert answer["inspection"]["is_simulated"]


def test_challenges_are_listed_newest_first(served: Served, known: Path) -> None:
    sent(served, known / GOOD, "ok")
    sent(served, known / MISSED, "scratch")
    served.recorded()
    found = json.loads(loupe("list", "--json").stdout)
    assert [(one["expected_class"] or one["expected"], one["passed"]) for one in found] == [
        ("scratch", False),
        ("ok", True),
    ]
    assert json.loads(loupe("list", "--station", "s2", "--json").stdout) == []
    assert len(json.loads(loupe("list", "--limit", "1", "--json").stdout)) == 1
    assert "expected scratch" in loupe("list", "--station", "s1").stdout
    assert "no challenges yet" in loupe("list", "--station", "s2").stdout


def test_what_the_line_refuses_is_told_with_its_remedy(served: Served, known: Path) -> None:
    refused = sent(served, known / GOOD, "dent").exception
    assert isinstance(refused, LineRefused)
    assert refused.status == 422
    assert "scratch" in refused.remedy


def test_key_travels_with_the_part(served: Served, known: Path) -> None:
    with served.stores.database.write() as connection:
        keys.add(connection, Key("k", "s1", keys.secret_hash("secret"), MADE_AT, None))
    wait_until(lambda: isinstance(sent(served, known / GOOD, "ok").exception, LineRefused))
    assert sent(served, known / GOOD, "ok", "--key", "secret").exit_code == 0


def test_part_is_sent_again_until_the_server_is_ready(bare: Served, known: Path, tmp_path: Path) -> None:
    views = [PostedView((known / GOOD).read_bytes(), "image/png")]
    query = {"station": "s1", "trigger_id": "1"}
    with open_client(bare.url, None) as http:
        with pytest.raises(LineRefused) as refused:
            post_part(http, "/v1/inspections", views, query)
        assert refused.value.status == 503
        with ThreadPoolExecutor(1) as pool:
            patient = pool.submit(post_part, http, "/v1/inspections", views, query, [0.05] * 400)
            add_champion(bare.stores, tmp_path)
            assert patient.result()["disposition"] == "pass"


@pytest.mark.usefixtures("stores")
def test_what_can_not_be_sent_is_told(tmp_path: Path, known: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    nothing = ("--expected", "ok", "--station", "s1", "--url", "http://127.0.0.1:9")
    assert isinstance(loupe("send", known / GOOD, *nothing).exception, LineUnreachable)
    assert isinstance(loupe("send", tmp_path / "text.png", *nothing).exception, UnreadableImage)
    assert loupe("send", tmp_path / "nothing.png", *nothing).exit_code == 2


def test_part_of_several_views_is_sent_at_once_and_judged_by_its_worst(served: Served, known: Path) -> None:
    expect_views(served, "top", "side")
    views = {"top": known / GOOD, "side": known / FOUND}
    found = sent_views(served, views, "scratch")
    assert (found.exit_code, found.stdout) == (0, "passed: reject (7)\n"), found.output
    missed = sent_views(served, {**views, "side": known / MISSED}, "not_ok", "--json")
    assert (missed.exit_code, json.loads(missed.stdout)["passed"]) == (1, False)
    assert {view["view_id"] for view in json.loads(missed.stdout)["inspection"]["views"]} == {"top", "side"}
    alone = sent_views(served, {"top": known / FOUND}, "scratch").exception
    assert isinstance(alone, LineRefused)
    strange = sent_views(served, {**views, "back": known / GOOD}, "scratch").exception
    assert isinstance(strange, LineRefused)
    assert "send top, side" in strange.remedy


def test_view_with_a_name_that_is_not_plain_arrives_under_it(served: Served, known: Path) -> None:
    said = sent_views(served, {"Öffnung 1": known / GOOD, "b": known / FOUND}, "scratch", "--json")
    assert {view["view_id"] for view in json.loads(said.stdout)["inspection"]["views"]} == {"Öffnung 1", "b"}


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--view", "top"),
        ("--view", "top="),
        ("--view", f"={GOOD}"),
        ("--view", "top=nothing.png"),
        ("--view", f"top={GOOD}", "--view", f"top={FOUND}"),
        (GOOD, "--view", f"top={GOOD}"),
        (GOOD, "--view", "top", "--view", "side"),
    ],
)
def test_views_that_can_not_be_told_apart_are_wrong_usage(
    known: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(known)
    said = loupe("send", *arguments, "--expected", "ok", "--station", "s1", "--url", "http://127.0.0.1:9")
    assert said.exit_code == 2
    assert "NAME=IMAGE" in said.stderr


# --- the study ------------------------------------------------------------------------------------


def test_study_gives_every_figure_of_the_inspection(served: Served, known: Path) -> None:
    found = studied(served, known / "labels.csv", "--repeats", "2")
    (one,) = found["inspectors"]
    assert (found["product"], found["station"], found["rounds"]) == (PRODUCT, "s1", 2)
    assert (found["images"], found["parts"], found["good_parts"], found["defective_parts"]) == (5, 5, 2, 3)
    assert (one["inspector"], one["is_loupe"], one["looks"], one["parts"]) == ("Loupe", True, 10, 5)
    assert (one["repeatability"]["hits"], one["repeatability"]["n"]) == (5, 5)
    assert (one["effectiveness"]["hits"], one["effectiveness"]["n"]) == (2, 5)
    assert (one["miss"]["hits"], one["miss"]["n"]) == (1, 3)
    assert (one["false_alarm"]["hits"], one["false_alarm"]["n"]) == (1, 2)
    assert (one["recheck"]["hits"], one["recheck"]["n"]) == (2, 5)
    assert one["effectiveness"]["band"] == one["miss"]["band"] == one["false_alarm"]["band"] == "unacceptable"
    assert set(found["latency_ms"]) == {"p50", "p95", "max"}
    assert (found["not_inspected"], found["result_codes"]) == (0, {"0": 4, "7": 6})
    (made,) = found["provenance"]
    assert (made["recipe_version"], made["answers"]) == (1, 10)
    assert [(w["path"], w["expected"], w["said"]) for w in found["wrong"]] == [
        (MISSED, "not_ok", ["ok", "ok"]),
        (RECHECKED, "not_ok", ["recheck", "recheck"]),
        (ALARMED, "ok", ["recheck", "recheck"]),
    ]


def test_study_neither_stops_the_station_nor_counts(served: Served, known: Path) -> None:
    studied(served, known, "--repeats", "2")
    found = served.recorded()
    assert {one.mode for one in found} == {"challenge"}
    assert len({(one.trigger_epoch, one.trigger_id) for one in found}) == 10
    assert served.server.state() == "ready"
    assert json.loads(loupe("list", "--json").stdout) == []


def test_each_round_has_an_order_of_its_own_and_a_seed_gives_it_again(served: Served, known: Path) -> None:
    orders = []
    for seed in ("1", "1", "2"):
        studied(served, known, "--repeats", "3", "--seed", seed)
        rows = sorted(served.recorded()[-15:], key=lambda one: int(one.trigger_id))
        orders.append([one.views[0].image_sha256 for one in rows])
    first, again, other = orders
    assert first == again != other
    rounds = [first[start : start + 5] for start in (0, 5, 10)]
    assert len({tuple(one) for one in rounds}) > 1
    assert {frozenset(one) for one in rounds} == {frozenset(first)}


def test_people_are_judged_beside_loupe_by_the_same_images(served: Served, known: Path) -> None:
    new = [judged(known / name, "ada", class_name) for name, (_, class_name) in KNOWN.items()]
    new += [judged(known / FOUND, "bo", "good", 0), judged(known / FOUND, "bo", "scratch", 1)]
    new += [judged(known / GOOD, "bo", "good", unsure=True), judged(known / GOOD, "import", "scratch")]
    add_labels(served.stores, *new)
    found = studied(served, known, "--repeats", "2")
    loupe_, ada, bo = found["inspectors"]
    assert [loupe_["inspector"], ada["inspector"], bo["inspector"]] == ["Loupe", "ada", "bo"]
    assert (ada["effectiveness"]["hits"], ada["parts"], ada["repeatability"]) == (5, 5, None)
    assert (bo["looks"], bo["parts"], bo["repeatability"]["hits"], bo["repeatability"]["n"]) == (3, 2, 0, 1)
    assert (bo["miss"]["hits"], bo["false_alarm"]["hits"], bo["recheck"]["hits"]) == (0.5, 1, 1)
    assert [pair["inspectors"] for pair in found["pairs"]] == [["Loupe", "ada"], ["Loupe", "bo"], ["ada", "bo"]]
    assert (found["all_right"]["hits"], found["all_right"]["n"]) == (0, 2)


def test_whoever_gave_the_known_answers_is_not_judged_by_them(served: Served, known: Path) -> None:
    rows = [f"{name},{class_name},ada" for name, (_, class_name) in KNOWN.items()]
    (known / "labels.csv").write_text("\n".join(["path,label,inspector", *rows]) + "\n")
    add_labels(served.stores, judged(known / FOUND, "ada", "scratch"), judged(known / FOUND, "bo", "scratch"))
    found = studied(served, known, "--repeats", "1")
    assert [one["inspector"] for one in found["inspectors"]] == ["Loupe", "bo"]


def test_parts_are_counted_where_the_table_names_them(served: Served, known: Path) -> None:
    part = {GOOD: "p1", ALARMED: "p1", FOUND: "p2", RECHECKED: "p3", MISSED: "p2"}
    rows = [f"{name},{class_name},{part[name]}" for name, (_, class_name) in KNOWN.items()]
    (known / "labels.csv").write_text("\n".join(["file,class,serial", *rows]) + "\n")
    columns = ("--map", "file=path", "--map", "class=label", "--map", "serial=part_id")
    found = studied(served, known, "--repeats", "2", *columns)
    (one,) = found["inspectors"]
    assert (found["images"], found["parts"], found["good_parts"], found["defective_parts"]) == (5, 3, 1, 2)
    assert (one["effectiveness"]["hits"], one["effectiveness"]["n"]) == (0, 3)
    assert (one["miss"]["hits"], one["miss"]["n"]) == (0.5, 2)
    assert (one["false_alarm"]["hits"], one["false_alarm"]["n"]) == (0.5, 1)


def test_good_classes_are_named(served: Served, known: Path) -> None:
    found = studied(served, known, "--repeats", "1", "--ok", "scratch")
    assert (found["good_parts"], found["defective_parts"]) == (3, 2)
    wrong = loupe("study", known, "--station", "s1", "--url", served.url, "--ok", "fine").exception
    assert isinstance(wrong, UnknownOk)
    assert "good, scratch" in wrong.remedy


def test_image_that_nobody_can_look_at_is_counted_apart(served: Served, known: Path) -> None:
    (known / FOUND).write_bytes(encoded(BRIGHT)[:300])
    found = studied(served, known, "--repeats", "2")
    assert found["not_inspected"] == 2
    assert found["result_codes"]["906"] == 2
    assert found["inspectors"][0]["miss"]["hits"] == 1


def test_what_has_no_known_answer_is_left_out_and_told(served: Served, known: Path) -> None:
    (known / "text.png").write_text("no image")
    with (known / "labels.csv").open("a") as file:
        file.write(f"text.png,good\n{GOOD},scratch\nmissing.png,good\n")
    found = studied(served, known, "--repeats", "1")
    assert found["images"] == 4
    assert {problem["where"] for problem in found["left_out"]} == {"text.png", GOOD, "labels.csv:9"}


def test_recipe_that_waits_for_more_views_can_not_be_studied(served: Served, known: Path) -> None:
    expect_views(served, "top", "side")
    arguments = ("study", known, "--station", "s1", "--url", served.url)
    assert isinstance(loupe(*arguments, "--view", "top").exception, MoreViewsExpected)
    assert isinstance(loupe(*arguments).exception, LineRefused)


def test_parts_of_several_views_are_studied_as_parts(served: Served, tmp_path: Path) -> None:
    expect_views(served, "top", "side")
    folder = tmp_path / "parts"
    parts = {"good/1": (DARK, DARK), "good/2": (DARK, MIDDLE), "scratch/3": (DARK, BRIGHT), "scratch/4": (DARK, DARK)}
    add_parts(folder, {f"{part}/{view}.png": level for part, pair in parts.items()
                       for view, level in zip(("top", "side"), pair, strict=True)})  # fmt: skip
    both = [
        judged(folder / f"scratch/3/{view}.png", "ada", name) for view, name in (("top", "good"), ("side", "scratch"))
    ]
    add_labels(served.stores, *both, judged(folder / "good/1/top.png", "ada", "scratch"))
    found = studied(served, folder, "--repeats", "2", "--view", "top", "--view", "side")
    loupe_, ada = found["inspectors"]
    assert (found["views"], found["images"], found["parts"], found["looks"]) == (["top", "side"], 8, 4, 8)
    assert (loupe_["effectiveness"]["hits"], loupe_["miss"]["hits"], loupe_["false_alarm"]["hits"]) == (2, 1, 1)
    assert (ada["parts"], ada["effectiveness"]["hits"]) == (1, 1), "only of part 3 did ada label both views"
    assert [(one["path"], one["said"]) for one in found["wrong"]] == [
        ("scratch/4", ["ok", "ok"]),
        ("good/2", ["recheck", "recheck"]),
    ]
    posted = served.recorded()
    assert {len(one.views) for one in posted} == {2}
    assert {one.mode for one in posted} == {"challenge"}
    assert len(posted) == 8


def test_part_without_all_its_views_is_left_out_and_told(served: Served, tmp_path: Path) -> None:
    levels = {"1_top": DARK, "1_side": BRIGHT, "2_top": DARK, "3_top": DARK, "3-top": DARK, "3_side": DARK,
              "4_back": DARK, "5_top": DARK, "5_side": DARK, "6_top": DARK, "6_side": DARK}  # fmt: skip
    add_parts(tmp_path / "parts", {f"{name}.png": level for name, level in levels.items()})
    labelled = {**dict.fromkeys(levels, "good"), "1_side": "scratch", "5_side": ""}
    serial = {"6_top": "five", "6_side": "five"}
    rows = [f"{name}.png,{label},{serial.get(name, '')}" for name, label in labelled.items()]
    (tmp_path / "parts" / "labels.csv").write_text("\n".join(["path,label,part_id", *rows]) + "\n")
    found = studied(served, tmp_path / "parts", "--repeats", "1", "--view", "top", "--view", "side")
    assert (found["parts"], found["good_parts"], found["defective_parts"]) == (2, 1, 1)
    assert {(one["where"], one["what"]) for one in found["left_out"]} == {
        ("part 2", "has no image of view side: left out"),
        ("part 3", "has several images of view top: left out"),
        ("4_back.png", "names none of the views top, side: left out"),
        ("5_side.png", "has no label, but other views of its part have: left out"),
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("scratch/4711/top.png", ("top", "scratch/4711")),
        ("scratch/TOP/4711.png", ("top", "scratch/4711")),
        ("top_4711.png", ("top", "4711")),
        ("scratch/top_4711.png", ("top", "scratch/4711")),
        ("4711-left_top.png", ("left_top", "4711")),
        ("4711_top_2.png", ("top", "4711_2")),
        ("side/4711_top.png", ("top", "side/4711")),
        ("top.png", ("top", ".")),
        ("4711_desktop.png", None),
        ("stop/4711.png", None),
    ],
)
def test_view_is_the_last_word_of_the_path_that_is_one(name: str, shown: tuple[str, str] | None) -> None:
    assert view_and_part(name, ["top", "left_top", "side"]) == shown


def test_view_that_is_named_twice_is_wrong_usage(known: Path) -> None:
    assert loupe("study", known, "--station", "s1", "--view", "top", "--view", "top").exit_code == 2


def test_view_is_named_where_the_recipe_expects_one(served: Served, known: Path) -> None:
    expect_views(served, "top")
    assert studied(served, known, "--repeats", "1", "--view", "top")["looks"] == 5
    assert sent(served, known / GOOD, "ok", "--view", "top").exit_code == 0


# --- reports --------------------------------------------------------------------------------------


def test_page_needs_nothing_else_and_says_what_was_found(served: Served, known: Path, tmp_path: Path) -> None:
    add_labels(served.stores, judged(known / GOOD, "<b>ada</b>", "good"))
    said = loupe("study", known, "--station", "s1", "--url", served.url, "--out", tmp_path / "report.html")
    assert said.exit_code == 0, said.output
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|<script|<link|<img|src=|url\(|@import", page)
    assert "&lt;b&gt;ada&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "0.8–90.6 %, 3 parts" in page
    assert MISSED in page
    assert "33.3 % (0.8–90.6) of 3 parts, unacceptable" in said.stdout
    assert not list(tmp_path.glob("*.part"))


def test_page_says_what_is_missing(served: Served, known: Path, tmp_path: Path) -> None:
    (known / "labels.csv").write_text(f"path,label\n{FOUND},scratch\n")
    (known / "text.png").write_text("no image")
    with (known / "labels.csv").open("a") as file:
        file.write("text.png,scratch\n")
    said = loupe("study", known, "--station", "s1", "--url", served.url, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for hint in ("no part is good", "Nobody has labelled these images", "None: Loupe was right every time", "text.png"):
        assert hint in page
    assert "no part is good" in said.stderr


def test_table_has_a_row_an_inspector(served: Served, known: Path, tmp_path: Path) -> None:
    add_labels(served.stores, judged(known / GOOD, "ada", "good"))
    studied(served, known, "--out", tmp_path / "report.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert [row["inspector"] for row in rows] == ["Loupe", "ada"]
    assert float(rows[0]["miss_value"]) == pytest.approx(1 / 3)
    assert (rows[0]["miss_n"], rows[0]["miss_band"], rows[1]["miss_value"]) == ("3", "unacceptable", "")


def test_json_file_holds_what_is_printed(served: Served, known: Path, tmp_path: Path) -> None:
    found = studied(served, known, "--repeats", "1", "--out", tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == found


@pytest.mark.usefixtures("stores")
def test_report_that_can_not_be_written_is_refused_before_anything_is_sent(known: Path) -> None:
    sending = ("study", known, "--station", "s1", "--url", "http://127.0.0.1:9", "--out")
    assert isinstance(loupe(*sending, "nowhere/report.html").exception, WrongReportFile)
    wrong = loupe(*sending, "report.pdf")
    assert (wrong.exit_code, ".html" in wrong.stderr) == (2, True)


@pytest.mark.usefixtures("stores")
def test_study_without_known_answers_is_refused(known: Path, tmp_path: Path) -> None:
    (known / "labels.csv").write_text(f"path,label\n{GOOD},\n")
    assert isinstance(loupe("study", known, "--station", "s1").exception, NothingKnown)
    assert isinstance(loupe("study", tmp_path / "nothing", "--station", "s1").exception, UnknownFormat)


def test_study_whose_database_does_not_answer_sends_nothing(
    served: Served, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    said = loupe("study", known / "labels.csv", "--station", "s1", "--url", served.url)
    assert isinstance(said.exception, DatabaseUnavailable)
    assert served.recorded() == []
