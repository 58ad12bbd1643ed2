"""`loupe optics`: how cameras stand, and what their monitors would notice."""

import csv
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner, Result

from monitoring.disturbances import DISTURBANCES, Pixels
from monitoring.selftest import SelfTestImpossible
from monitoring.sights import Sight
from monitoring.watch import Watch
from service.cli import app
from service.delay_plot import delay_plot
from service.line import baselines
from service.optics_images import NoImages, from_folder
from service.optics_page import as_html
from service.optics_report import cautions
from service.report_file import WrongReportFile
from service.saved_baselines import BaselineDamaged, BaselineMissing, BaselineUnclear, saved_baselines
from service.settings import load_settings
from service.wiring import open_stores
from simulation.light.stream import Stream
from storage import inspections
from tests.storage.samples import inspection, later, view

CAMERA = "castings"
FEW = ("--replays", "1", "--most", "10")


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("LOUPE_DATA_DIR", str(folder))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of a camera, with something else among them."""
    path = tmp_path_factory.mktemp("images") / "good"
    path.mkdir()
    for number, image in enumerate(Stream(CAMERA, 0, 90)):
        cv2.imwrite(str(path / f"{number:04}.png"), image)
    (path / "notes.txt").write_text("no image")
    cv2.imwrite(str(path / "large.png"), next(iter(Stream("labels", 0, 1))))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["optics", *map(str, arguments)])


def refused(outcome: Result) -> BaseException:
    assert outcome.exit_code == 1
    assert outcome.exception is not None
    return outcome.exception


def watched(sights: list[Sight], commission: int = 100, images: int = 100) -> Watch:
    watch = Watch(commission)
    for sight in sights:
        for image in Stream(CAMERA, 0, images):
            watch.observe(sight, image)
    return watch


def save(watch: Watch, name: str = "line") -> None:
    path = load_settings().data_dir / name / "baselines"
    path.mkdir(parents=True, exist_ok=True)
    baselines.save(watch, path)


def keep(images: list[Pixels], station: str, camera: str, product: str) -> None:
    """Store images as the line keeps them."""
    with open_stores(load_settings()) as stores:
        hashes = stores.images.put_all(cv2.imencode(".png", image)[1].tobytes() for image in images)
        rows = [
            inspection(
                f"r{number}",
                station=station,
                product=product,
                evaluation="ok",
                drift_state="ok",
                received_at=later(number),
                views=(view(f"r{number}", camera=camera, image_sha256=sha256, media_type="image/png"),),
            )
            for number, sha256 in enumerate(hashes)
        ]
        with stores.database.write() as connection:
            inspections.store(connection, rows)


def test_a_folder_is_learnt_from_and_tried_without_any_database(folder: Path, data_folder: Path) -> None:
    outcome = run("report", "--images", folder, "--commission", 60, *FEW, "--json")
    assert outcome.exit_code == 0, outcome.output
    assert not data_folder.exists()
    result = json.loads(outcome.stdout)
    assert (result["images"], result["commission"], result["is_mono"]) == (30, 60, True)
    assert (result["width"], result["height"]) == (256, 144)
    assert {one["where"] for one in result["skipped"]} == {"notes.txt", "large.png"}
    assert [one["name"] for one in result["disturbances"]] == [name for name in DISTURBANCES if name != "colour_temp"]
    for one in result["disturbances"]:
        assert [trial["amount"] for trial in one["trials"]] == list(DISTURBANCES[one["name"]].amounts)
        assert all(len(trial["tries"]) == trial["times"] == 1 for trial in one["trials"])
    dimmed = result["disturbances"][0]
    assert dimmed["trials"][-1]["causes"] == {"lamp_dim": 1}
    assert dimmed["smallest_at_once"]["short"] in ("2 %", "4 %", "8 %", "15 %")
    assert "colour" in " ".join(result["cautions"])


def test_text_csv_and_page_tell_the_same(folder: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "out.csv", tmp_path / "out.html"
    outcome = run("report", "--images", folder, *FEW, "--csv", table, "--html", page)
    assert outcome.exit_code == 0, outcome.output
    told = set(outcome.stdout.split())
    assert all(set(one.what.split()) <= told for one in DISTURBANCES.values() if one.shown_in_mono)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one.amounts) for one in DISTURBANCES.values() if one.shown_in_mono)
    assert {row["times"] for row in rows} == {"1"}
    text = page.read_text()
    assert text.count("<svg") == len(DISTURBANCES) - 1
    assert text.count("data:image/png;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "large.png" in text


def test_csv_can_be_printed(folder: Path) -> None:
    outcome = run("report", "--images", folder, *FEW, "--csv", "-")
    assert outcome.stdout.startswith("disturbance,amount,text,")


def test_a_camera_is_tried_with_its_own_baseline_and_its_own_images() -> None:
    save(watched([Sight("s1/top", "housing")]))
    keep(list(Stream(CAMERA, 100, 40)), "s1", "top", "housing")
    before = sorted(load_settings().data_dir.rglob("baselines/*"))
    outcome = run("report", "--camera", "s1/top", "--limit", 30, *FEW, "--json")
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert (result["camera"], result["product"], result["version"]) == ("s1/top", "housing", 1)
    assert (result["images"], result["phase"]) == (30, "calibrated")
    assert sorted(load_settings().data_dir.rglob("baselines/*")) == before


def test_status_tells_every_saved_camera() -> None:
    save(watched([Sight("s1/top", "housing"), Sight("s1/top", "cover")]))
    save(watched([Sight("s2/top", "housing")], commission=800), "line-hall2")
    (load_settings().data_dir / "line" / "baselines" / "broken.json").write_text("{")
    outcome = run("status", "--json")
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.stdout)
    found = {(one["camera"], one["product"]): one for one in told["cameras"]}
    assert list(found) == [("s1/top", "cover"), ("s1/top", "housing"), ("s2/top", "housing")]
    done, learning = found["s1/top", "housing"], found["s2/top", "housing"]
    assert (done["phase"], done["layout"], done["images_learnt"], done["standing"]) == (
        "calibrated",
        "scene",
        100,
        None,
    )
    assert done["calibration"]["images"] > 0
    assert (learning["phase"], learning["calibration"], learning["commission"]) == ("commissioning", None, 800)
    assert len(told["damaged"]) == 1
    text = run("status").output
    assert "s2/top" in text
    assert "not calibrated" in text
    assert (load_settings().data_dir / "line" / "baselines" / "broken.json").exists()


def test_status_says_how_old_each_file_is_and_that_a_running_server_may_know_more() -> None:
    save(watched([Sight("s1/top", "housing")]))
    (path,) = (load_settings().data_dir / "line" / "baselines").glob("*.json")
    saved_at = datetime.now(UTC) - timedelta(days=3, minutes=1)
    os.utime(path, (saved_at.timestamp(), saved_at.timestamp()))
    (told,) = json.loads(run("status", "--json").stdout)["cameras"]
    assert abs(datetime.fromisoformat(told["saved_at"]) - saved_at) < timedelta(seconds=1)
    text = " ".join(run("status").output.split())
    assert "3 days ago" in text
    assert "a line server that runs may know more (GET /v1/optics)" in text


def test_a_standing_alarm_is_told_with_its_cause() -> None:
    watch = watched([Sight("s1/top", "")])
    for image in Stream(CAMERA, 100, 15):
        watch.observe(Sight("s1/top", ""), (image // 2).astype(image.dtype))
    save(watch)
    (told,) = json.loads(run("status", "--json").stdout)["cameras"]
    assert told["standing"]["cause"] == "lamp_dim"
    assert told["standing"]["images"] == 15
    assert told["standing"]["title"] in " ".join(run("status").output.split())


def test_without_a_baseline_status_says_what_to_wait_for() -> None:
    assert "no camera is watched yet" in run("status").output


def test_what_is_not_there_is_refused_with_what_is(tmp_path: Path) -> None:
    save(watched([Sight("s1/top", "housing"), Sight("s1/top", "cover")]))
    missing = refused(run("report", "--camera", "s9/top"))
    assert isinstance(missing, BaselineMissing)
    assert "s1/top" in missing.remedy
    unclear = refused(run("report", "--camera", "s1/top"))
    assert isinstance(unclear, BaselineUnclear)
    assert "cover | housing" in unclear.remedy
    assert isinstance(refused(run("report", "--camera", "s1/top", "--product", "cover")), NoImages)
    (tmp_path / "empty").mkdir()
    assert isinstance(refused(run("report", "--images", tmp_path / "empty")), NoImages)
    elsewhere = run("report", "--images", tmp_path / "empty", "--html", tmp_path / "no" / "page.html")
    assert isinstance(refused(elsewhere), WrongReportFile)


def test_too_few_images_and_a_damaged_state_are_refused(folder: Path) -> None:
    assert isinstance(refused(run("report", "--images", folder, "--commission", 500)), NoImages)
    save(watched([Sight("s1/top", "housing")], images=20))
    keep(list(Stream(CAMERA, 100, 25)), "s1", "top", "housing")
    learning = refused(run("report", "--camera", "s1/top"))
    assert isinstance(learning, SelfTestImpossible)
    assert "learning" in str(learning)
    (saved,), _ = saved_baselines(load_settings().data_dir)
    with pytest.raises(BaselineDamaged) as damaged:
        replace(saved, state={**saved.state, "charts": 3, "commission": "no"}).monitor()
    assert "backup" in damaged.value.remedy


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--camera", "s1/top", "--images", "."),
        ("--camera", "top"),
        ("--images", ".", "--product", "housing"),
        ("--camera", "s1/top", "--commission", "100"),
        ("--images", ".", "--csv", "-", "--json"),
    ],
)
def test_options_that_make_no_sense_together_are_usage_errors(options: tuple[str, ...]) -> None:
    assert run("report", *options).exit_code == 2


def test_images_of_a_folder_come_in_the_order_of_their_names(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    found = from_folder(folder, lambda done, total: told.append((done, total)))
    assert len(found.images) == 90
    assert (found.images[7] == Stream(CAMERA, 0, 90)[7]).all()
    assert told[-1] == (92, 92)


def trial(amount: float, *tries: tuple[int | None, str | None]) -> dict[str, Any]:
    delays = [delay for delay, _ in tries]
    shown = [delay for delay in delays if delay is not None]
    return {
        "amount": amount,
        "short": f"{amount:g} px",
        "text": f"a <spot> of {amount:g}",
        "times": len(tries),
        "found": len(shown),
        "median_delay": max(shown) if len(shown) == len(delays) else None,
        "named_right": sum(cause == "soiling" for _, cause in tries),
        "causes": {},
        "tries": [{"delay": delay, "cause": cause} for delay, cause in tries],
    }


def test_plot_tells_right_wrong_and_missed_apart_by_shape() -> None:
    plot = delay_plot("A <spot>", "soiling", [trial(3, (None, None)), trial(5, (7, "soiling"), (9, "haze"))], 200)
    assert (plot.count('class="right"'), plot.count('class="wrong"'), plot.count('class="never"')) == (1, 1, 1)
    assert "<spot>" not in plot
    assert "&lt;spot&gt;" in plot
    assert delay_plot("nothing", "soiling", [], 200) == ""


def test_page_of_a_frame_has_no_picture_and_every_caution() -> None:
    result: dict[str, Any] = {
        **{"name": "s1/<top>", "images": 30, "width": 96, "height": 64, "replays": 1, "seed": 0, "most_images": 200},
        **{"quiet_images": 240, "false_alarms": 2, "false_alarms_per_10k": {"value": 83.0, "low": 10, "high": 300}},
        **{"phase": "provisional", "layout": "frame", "calibration": None, "skipped": [], "disturbances": []},
        **{"hides_rounding": False, "not_shown": ["colour_temp"]},
    }
    result["cautions"] = cautions(result)
    page = as_html(result, None, [])
    assert "<img" not in page
    assert "s1/&lt;top&gt;" in page
    assert page.count('class="caution"') == len(result["cautions"]) == 5
