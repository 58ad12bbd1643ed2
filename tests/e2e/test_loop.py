"""The command line end to end: import, train, evaluate, predict, promote, roll back; and what it says when it can't."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from service.cli import main
from tests.e2e.processes import environment, free_port, line_process
from tests.tiny_model import write_tiny_model

IMAGES_A_CLASS = 20
SIDE_PX = 96


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which holds one JSON value and nothing else."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class Loupe:
    """`loupe …` in a folder: in this process, which saves the seconds that every start takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, **changes: str) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        before = signal.getsignal(signal.SIGTERM)
        with pytest.MonkeyPatch.context() as place, redirect_stdout(out), redirect_stderr(err):
            place.chdir(self.folder)
            place.setattr(sys, "argv", ["loupe", *arguments])
            for name in [name for name in os.environ if name.startswith("LOUPE_")]:
                place.delenv(name)
            for name, value in {"LOUPE_DATA_DIR": str(self.folder / "data"), **changes}.items():
                place.setenv(name, value)
            try:
                main()
                code: int | str | None = 0
            except SystemExit as end:
                code = end.code
            finally:
                signal.signal(signal.SIGTERM, before)
        return Ended(int(code or 0), out.getvalue(), err.getvalue())

    def process(self, *arguments: str, **changes: str) -> Ended:
        """The same in a process of its own, as it must be for one that serves."""
        ended = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            cwd=self.folder,
            env=environment(self.folder, **changes),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def json(self, *arguments: str) -> Any:
        ended = self(*arguments, "--json")
        assert ended.code == 0, ended.err
        return ended.json


def draw(path: Path, rng: np.random.Generator, scratched: bool) -> None:
    image = np.clip(rng.normal(110, 12, (SIDE_PX, SIDE_PX, 3)), 0, 255).astype(np.uint8)
    if scratched:
        at = [int(v) for v in rng.integers(10, SIDE_PX - 10, 4)]
        cv2.line(image, (at[0], at[1]), (at[2], at[3]), (250, 250, 250), 5)
    assert cv2.imwrite(str(path), image)


def draw_parts(folder: Path) -> Path:
    rng = np.random.default_rng(4)
    for name in ("good", "scratch"):
        (folder / name).mkdir(parents=True)
        for n in range(IMAGES_A_CLASS):
            draw(folder / name / f"{n:02d}.png", rng, scratched=name == "scratch")
    return folder


@pytest.fixture
def loupe(tmp_path: Path) -> Loupe:
    return Loupe(tmp_path)


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loupe, dict[str, Any], dict[str, Any]]:
    """The command line where parts were imported and a model was trained, and what it said."""
    folder = tmp_path_factory.mktemp("learnt")
    loupe = Loupe(folder)
    imported = loupe.json("import", str(draw_parts(folder / "plate")), "--ok", "good")
    trained = loupe.json("train", "--architecture", "small_cnn", "--out", "model.onnx")
    return loupe, imported, trained


Learnt = tuple[Loupe, dict[str, Any], dict[str, Any]]


def test_import_says_what_it_found_and_does_it_once(learnt: Learnt) -> None:
    loupe, imported, _ = learnt
    assert imported["images"] == imported["new_images"] == 2 * IMAGES_A_CLASS
    assert imported["classes"] == {"good": IMAGES_A_CLASS, "scratch": IMAGES_A_CLASS}
    assert (imported["product"], imported["problems"]) == ("plate", [])
    again = loupe.json("import", "plate", "--ok", "good")
    assert (again["dataset"], again["new_images"], again["new_labels"]) == (imported["dataset"], 0, 0)


def test_training_prints_metrics_and_writes_the_file(learnt: Learnt) -> None:
    loupe, imported, trained = learnt
    assert trained["dataset"] == imported["dataset"]
    assert (loupe.folder / trained["out"]).stat().st_size > 10_000
    assert not list(loupe.folder.glob("*.part"))
    assert 0 <= trained["metrics"]["cv_auroc"]["low"] <= trained["metrics"]["cv_auroc"]["value"] <= 1
    assert {"standard", "strict"} <= trained["operating_points"].keys()
    assert trained["gates"]
    assert trained["champion"] is False


def test_evaluation_on_images_and_on_the_own_dataset(learnt: Learnt) -> None:
    loupe, _, trained = learnt
    on_images = loupe.json("evaluate", "--model", "model.onnx", "--images", "plate")
    assert on_images["images"] == 2 * IMAGES_A_CLASS
    assert on_images["model_sha256"] == trained["sha256"]
    assert {"escape", "overkill", "recheck"} <= on_images["standard"].keys()
    own = loupe.json("evaluate", "--model", trained["model"])
    assert own["cross_validation"]["folds"] == 5
    assert own["cross_validation"]["images"] == 2 * IMAGES_A_CLASS


def test_prediction_names_paths_relative_to_the_folder(learnt: Learnt) -> None:
    loupe, _, trained = learnt
    for model in ("model.onnx", trained["model"][:6]):
        said = loupe.json("predict", "--model", model, "--images", "plate", "--out", "scores.csv")
        assert (said["images"], said["skipped"]) == (2 * IMAGES_A_CLASS, [])
        with (loupe.folder / "scores.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["path", "p_defect", "class", "novelty"]
        assert {row["path"] for row in rows} >= {"good/00.png", "scratch/19.png"}
        assert all(0 <= float(row["p_defect"]) <= 1 for row in rows)


def test_damaged_image_is_skipped_by_name(learnt: Learnt, tmp_path: Path) -> None:
    loupe, _, _ = learnt
    folder = draw_parts(tmp_path / "some")
    (folder / "good" / "00.png").write_bytes((folder / "good" / "00.png").read_bytes()[:200])
    said = loupe.json("predict", "--model", "model.onnx", "--images", str(folder), "--out", str(tmp_path / "s.csv"))
    assert said["images"] == 2 * IMAGES_A_CLASS - 1
    assert [one["path"] for one in said["skipped"]] == ["good/00.png"]


def test_promotion_rollback_recipe_and_listing(learnt: Learnt) -> None:
    loupe, _, first = learnt
    refused = loupe("promote", first["model"])
    assert refused.code == (0 if first["gates_passed"] else 1)
    assert loupe("promote", first["model"], "--force").code == 2
    made = loupe.json("promote", first["model"], "--force", "--reason", "toy data")
    assert (made["champion"], made["product"]) == (first["model"], "plate")
    if not first["gates_passed"]:
        assert loupe("rollback", "plate").code == 1
    second = loupe.json("train", "--architecture", "small_cnn", "--seed", "1")
    assert second["model"] != first["model"]
    assert loupe.json("promote", second["model"], "--force", "--reason", "another seed")["before"] == first["model"]
    assert loupe.json("rollback", "plate", "--reason", "back")["champion"] == first["model"]
    listed = {model["model"]: model["champion"] for model in loupe.json("models")}
    assert listed == {first["model"]: True, second["model"]: False}
    (recipe,) = loupe.json("recipe", "show")
    assert (recipe["product"], recipe["station"], recipe["version"]) == ("plate", "*", 1)
    changed = loupe.json("recipe", "set", "plate", "--deadline-ms", "80", "--disposition", "scratch=rework")
    assert (changed["version"], changed["deadline_ms"]) == (2, 80.0)
    assert changed["class_disposition"] == {"scratch": "rework"}
    assert loupe("recipe", "set", "plate", "--operating-point", "unheard").code == 1


def test_tables_for_people_name_the_next_step(learnt: Learnt) -> None:
    loupe, _, trained = learnt
    for command in (("models",), ("recipe", "show"), ("keys", "list"), ("doctor",)):
        ended = loupe(*command)
        assert ended.code == 0, ended.err
        assert ended.out.strip()
    assert trained["model"] in loupe("models").out


def test_command_line_is_a_program(loupe: Loupe) -> None:
    ended = loupe.process("models", "--json")
    assert (ended.code, ended.json, ended.err) == (0, [], "")
    assert loupe.process("import", "nowhere").code == 1
    assert loupe.process("models", LOUPE_THREADS="many").code == 2


def test_keys_are_shown_once_and_can_be_revoked(loupe: Loupe) -> None:
    made = loupe.json("keys", "create", "--station", "s1")
    assert len(made["key"]) >= 40
    listed = loupe("keys", "list", "--json")
    assert made["key"] not in listed.out
    assert [(key["id"], key["station"], key["revoked_at"]) for key in listed.json] == [(made["id"], "s1", None)]
    assert loupe("keys", "revoke", made["id"]).code == 0
    assert loupe.json("keys", "list")[0]["revoked_at"]
    assert loupe("keys", "revoke", "unheard").code == 1


def test_doctor_says_what_is_missing(loupe: Loupe) -> None:
    assert loupe.json("doctor")["ok"] is True
    ended = loupe("doctor", "--json", LOUPE_PROVIDER="CUDAExecutionProvider")
    assert (ended.code, ended.json["ok"]) == (1, False)
    ended = loupe("doctor", "--json", LOUPE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (ended.code, ended.json["ok"]) == (1, False)


def no_folder(loupe: Loupe) -> Ended:
    return loupe("import", "nowhere", "--ok", "good")


def empty_folder(loupe: Loupe) -> Ended:
    (loupe.folder / "empty").mkdir()
    return loupe("import", "empty", "--ok", "good")


def unheard_column(loupe: Loupe) -> Ended:
    (loupe.folder / "labels.csv").write_text("path,defect\na.png,good\n")
    return loupe("import", "labels.csv", "--map", "colour=label")


def half_a_map(loupe: Loupe) -> Ended:
    (loupe.folder / "labels.csv").write_text("path,label\na.png,good\n")
    return loupe("import", "labels.csv", "--map", "label")


def unheard_dataset(loupe: Loupe) -> Ended:
    return loupe("train", "--dataset", "0123abcd")


def nothing_to_train_on(loupe: Loupe) -> Ended:
    return loupe("train")


def broken_model(loupe: Loupe) -> Ended:
    whole = write_tiny_model(loupe.folder / "m.onnx").read_bytes()
    (loupe.folder / "m.onnx").write_bytes(whole[: len(whole) // 2])
    return loupe("predict", "--model", "m.onnx", "--images", ".", "--out", "s.csv")


def no_model(loupe: Loupe) -> Ended:
    return loupe("predict", "--model", "gone.onnx", "--images", ".", "--out", "s.csv")


def unheard_model(loupe: Loupe) -> Ended:
    return loupe("promote", "0123abcd")


def nowhere_to_write(loupe: Loupe) -> Ended:
    write_tiny_model(loupe.folder / "m.onnx")
    return loupe("predict", "--model", "m.onnx", "--images", ".", "--out", "nowhere/s.csv")


def nothing_to_roll_back(loupe: Loupe) -> Ended:
    return loupe("rollback", "plate")


def wrong_fail_safe(loupe: Loupe) -> Ended:
    return loupe("recipe", "set", "plate", "--fail-safe", "pass")


def wrong_disposition(loupe: Loupe) -> Ended:
    return loupe("recipe", "set", "plate", "--disposition", "scratch=pass")


def wrong_database(loupe: Loupe) -> Ended:
    return loupe("models", LOUPE_DATABASE_URL="mysql://here/loupe")


def database_away(loupe: Loupe) -> Ended:
    return loupe("models", LOUPE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")


def wrong_image_store(loupe: Loupe) -> Ended:
    return loupe("models", LOUPE_IMAGE_STORE_URL="ftp://here")


def serve_with_a_wrong_database(loupe: Loupe) -> Ended:
    return loupe.process("serve", LOUPE_DATABASE_URL="mysql://here/loupe")


def serve_with_a_wrong_image_store(loupe: Loupe) -> Ended:
    return loupe.process("serve", LOUPE_IMAGE_STORE_URL="ftp://here")


def serve_on_a_port_in_use(loupe: Loupe) -> Ended:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        return loupe.process("serve", "--port", str(taken.getsockname()[1]))


REFUSED = [
    no_folder, empty_folder, unheard_column, half_a_map, unheard_dataset, nothing_to_train_on, broken_model, no_model,
    unheard_model, nowhere_to_write, nothing_to_roll_back, wrong_fail_safe, wrong_disposition, wrong_database,
    database_away, wrong_image_store, serve_with_a_wrong_database, serve_with_a_wrong_image_store,
    serve_on_a_port_in_use,
]  # fmt: skip


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: command.__name__)
def test_what_can_not_be_done_is_one_sentence_and_exit_code_one(
    loupe: Loupe, command: Callable[[Loupe], Ended]
) -> None:
    ended = command(loupe)
    assert ended.code == 1, ended.err
    assert ended.out == ""
    assert 0 < len(ended.err.strip().splitlines()) <= 3, ended.err


def wrong_value(loupe: Loupe) -> Ended:
    return loupe("models", LOUPE_THREADS="many")


def value_out_of_range(loupe: Loupe) -> Ended:
    return loupe.process("serve", LOUPE_PORT="99999")


def unheard_setting(loupe: Loupe) -> Ended:
    (loupe.folder / "loupe.toml").write_text('colour = "blue"\n')
    return loupe("models")


def toml_that_is_none(loupe: Loupe) -> Ended:
    (loupe.folder / "loupe.toml").write_text("threads = = 3\n")
    return loupe("models")


def data_folder_in_a_file(loupe: Loupe) -> Ended:
    (loupe.folder / "file").write_text("")
    return loupe.process("serve", LOUPE_DATA_DIR=str(loupe.folder / "file" / "data"))


def unheard_option(loupe: Loupe) -> Ended:
    return loupe("models", "--colour")


def unheard_command(loupe: Loupe) -> Ended:
    return loupe("paint")


def unheard_architecture(loupe: Loupe) -> Ended:
    return loupe("train", "--architecture", "unheard")


def missing_argument(loupe: Loupe) -> Ended:
    return loupe("import")


USAGE = [
    wrong_value, value_out_of_range, unheard_setting, toml_that_is_none, data_folder_in_a_file, unheard_option,
    unheard_command, unheard_architecture, missing_argument,
]  # fmt: skip


@pytest.mark.parametrize("command", USAGE, ids=lambda command: command.__name__)
def test_wrong_use_is_said_and_exit_code_two(loupe: Loupe, command: Callable[[Loupe], Ended]) -> None:
    ended = command(loupe)
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert ended.err.strip()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_folder_without_permission_is_said(loupe: Loupe, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    ended = loupe.process("serve", LOUPE_DATA_DIR=str(tmp_path / "locked" / "data"))
    assert ended.code == 2
    assert "LOUPE_DATA_DIR" in ended.err


def test_second_line_server_on_one_data_folder_is_one_sentence(loupe: Loupe, tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        line.start(ready=False)
        lock = tmp_path / "data" / "line" / "journal" / "index.sqlite"
        while not lock.exists():
            assert line.process is not None
            assert line.process.poll() is None
        ended = loupe.process("serve", "--port", str(free_port()))
        assert ended.code == 1, ended.err
        assert "already" in ended.err
        assert len(ended.err.strip().splitlines()) <= 3, ended.err
