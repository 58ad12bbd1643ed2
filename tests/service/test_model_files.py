import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from labeling.label_book import WrongLabelBook
from models.batching import open_classifier
from models.classifier import Classifier
from models.convention import CannotWrap
from models.promotion import GatesFailed
from service.commands import champions, data, model_files
from service.commands.model_files import WrongOption
from service.given_images import WrongImages
from service.settings import load_settings
from service.wiring import Stores, open_stores
from storage import datasets, labels
from storage import models as model_store

SIDE = 32


class Loupe:
    """The commands in this process, on a data folder of their own."""

    def __init__(self) -> None:
        self.app = typer.Typer()
        for module in (data, champions, model_files):
            module.register(self.app)
        self.runner = CliRunner()

    def __call__(self, *arguments: object) -> Result:
        return self.runner.invoke(self.app, [str(argument) for argument in arguments])

    def json(self, *arguments: object) -> Any:
        result = self(*arguments, "--json")
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)


@pytest.fixture
def loupe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loupe:
    monkeypatch.setenv("LOUPE_DATA_DIR", str(tmp_path / "data"))
    return Loupe()


@pytest.fixture
def stores(loupe: Loupe) -> Iterator[Stores]:
    with open_stores(load_settings()) as opened:
        yield opened


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A stranger's classifier, batch 1, NCHW: the brighter, the likelier a scratch; half grey is undecided."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    weight = np.array([[0, 4]] * 3, np.float32)
    graph = helper.make_graph(
        nodes,
        "stranger",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array([6, 0], np.float32), "bias")],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def painted(folder: Path, count: int, name: str, level: int) -> list[Path]:
    """Images around a level of grey, larger than the model's input."""
    rng = np.random.default_rng(level)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n in range(count):
        pixels = np.clip(rng.normal(level + rng.integers(-30, 31), 20, (90, 110, 3)), 0, 255).astype(np.uint8)
        paths.append(folder / f"{name}_{n:03}.png")
        cv2.imwrite(str(paths[-1]), pixels)
    return paths


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a labels.csv: 12 good and 12 scratched parts."""
    folder = tmp_path / "parts"
    rows = [(path.name, "ok") for path in painted(folder, 12, "ok", 80)]
    rows += [(path.name, "scratch") for path in painted(folder, 12, "scratch", 180)]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return folder / "labels.csv"


def arguments(net: Path, *more: object) -> tuple[object, ...]:
    return "model", "import", net, "--product", "plate", "--classes", "ok,scratch", "--ok", "ok", *more


def test_a_stranger_becomes_a_candidate_that_needs_a_person(loupe: Loupe, stores: Stores, net: Path) -> None:
    found = loupe.json(*arguments(net, "--name", "bright"))
    assert (found["product"], found["name"], found["batch"]) == ("plate", "bright", "freed")
    assert found["parity"]["difference"] <= found["parity"]["tolerance"] == 1e-5
    assert found["resize"] == {}
    assert [(gate["name"], gate["passed"]) for gate in found["gates"]] == [
        ("measured_on_test_parts", False),
        ("operating_point_present", True),
    ]
    refused = loupe("promote", found["model"])
    assert isinstance(refused.exception, GatesFailed)
    assert loupe.json("promote", found["model"], "--force", "--reason", "bought")["champion"] == found["model"]
    with stores.database.read() as connection:
        (model,) = model_store.listing(connection, "plate")
        book = labels.newest_book(connection, "plate")
        assert datasets.find(connection, model.dataset_id)[0].image_count == 0
    assert book is not None
    assert [(entry.name, entry.number, entry.ok) for entry in book.classes] == [("ok", 0, True), ("scratch", 1, False)]
    classifier = open_classifier(stores.images.get(model.sha256))
    assert classifier.card.to_json() == model.card
    assert classifier.warm(3).class_probability.shape == (3, 2)


def test_labelled_images_make_thresholds_golden_parts_and_comparisons(
    loupe: Loupe, stores: Stores, net: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "plate.onnx"
    found = loupe.json(*arguments(net, "--images", images, "--out", out))
    assert set(found["operating_points"]) == {"standard", "strict", "balanced"}
    assert found["operating_points"]["standard"]["defect_parts"] == 12
    assert found["calibration"]["auroc"]["value"] == 1.0
    assert (found["images"], found["skipped"], found["golden_parts"]) == (24, [], 6)
    assert found["parity"]["images"] == 24
    assert set(found["resize"]) == {"linear", "area", "antialias"}
    for effect in found["resize"].values():
        assert (effect["images"], effect["share"]["n"]) == (24, 24)
        assert 0 <= effect["largest_change"] < 0.05
    assert Classifier(out).sha256 == found["sha256"]
    with stores.database.read() as connection:
        (model,) = model_store.listing(connection, "plate")
    assert all(stores.images.get(str(golden["image_sha256"])) for golden in model.challenge)
    assert {float(str(golden["p_defect"])) < 0.5 for golden in model.challenge} == {True, False}


def test_the_products_own_test_parts_are_the_gate(loupe: Loupe, stores: Stores, net: Path, tmp_path: Path) -> None:
    painted(tmp_path / "own" / "ok", 40, "ok", 80)
    painted(tmp_path / "own" / "scratch", 40, "scratch", 180)
    imported = loupe.json("import", tmp_path / "own", "--product", "plate", "--ok", "ok")
    first = loupe.json(*arguments(net, "--images", tmp_path / "own"))
    assert first["gates_passed"], first["gates"]
    assert first["test"]["images"] == 16
    assert first["test"]["auroc"]["value"] == 1.0
    # The frozen test parts among the images made no threshold.
    assert first["calibration"]["images"] == 64
    loupe.json("promote", first["model"])
    worse = onnx.load(net)
    worse.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([[4, 0]] * 3, np.float32), "weight"))
    onnx.save(worse, tmp_path / "worse.onnx")
    second = loupe.json(*arguments(tmp_path / "worse.onnx"))
    assert {gate["name"] for gate in second["gates"] if not gate["passed"]} >= {
        "better_than_chance",
        "not_worse_than_champion",
    }
    with stores.database.read() as connection:
        newest = datasets.newest(connection, "plate")
    assert newest is not None
    assert newest.id == imported["dataset"], "nobody trains on the empty dataset of an imported model"
    assert loupe("models").exit_code == 0


def test_importing_again_changes_nothing(loupe: Loupe, stores: Stores, net: Path, images: Path) -> None:
    first, again = (loupe.json(*arguments(net, "--images", images)) for _ in range(2))
    assert first == again
    with stores.database.read() as connection:
        assert len(model_store.listing(connection)) == 1


def test_unlabelled_images_serve_as_golden_parts_only(loupe: Loupe, net: Path, images: Path) -> None:
    (images).unlink()
    found = loupe.json(*arguments(net, "--images", images.parent, "--pass", "0.3", "--reject", "0.8"))
    assert found["calibration"] is None
    assert found["operating_points"] == {
        "standard": found["operating_points"]["standard"] | {"pass": 0.3, "reject": 0.8, "defect_parts": 0}
    }
    assert found["golden_parts"] == 6


def spoil(paths: Iterable[Path]) -> None:
    """Files that begin as images and can't be decoded: each looks like another part."""
    for path in paths:
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + path.name.encode())


def test_what_images_can_not_do_is_said_before_they_are_judged(loupe: Loupe, net: Path, images: Path) -> None:
    images.write_text("\n".join(images.read_text().splitlines()[:14]))
    said = "1 defective, 12 good, at least 5 of each are needed; --pass and --reject hold"
    judged = loupe(*arguments(net, "--images", images))
    assert judged.stderr.count(said) == 1, "nothing is said twice"
    spoil(images.parent.glob("*.png"))
    unjudged = loupe(*arguments(net, "--images", images))
    assert isinstance(unjudged.exception, WrongImages)
    assert said in unjudged.stderr
    assert "product plate has no frozen test parts" in unjudged.stderr


def test_labels_that_no_class_has_count_as_none(loupe: Loupe, net: Path, images: Path) -> None:
    with images.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), ("ok_000.png", "OK"), ("scratch_000.png", "NG")])
    result = loupe(*arguments(net, "--images", images))
    assert result.exit_code == 0, result.exception
    assert "no label is a class of the model (NG, OK)" in result.stderr
    assert "no image is labelled" in result.stderr


def test_test_parts_among_the_images_make_no_thresholds(loupe: Loupe, net: Path, tmp_path: Path) -> None:
    painted(tmp_path / "own" / "ok", 6, "ok", 80)
    painted(tmp_path / "own" / "scratch", 6, "scratch", 180)
    loupe.json("import", tmp_path / "own", "--product", "plate", "--ok", "ok", "--test-share", "0.5")
    result = loupe(*arguments(net, "--images", tmp_path / "own"))
    assert "3 defective, 3 good" in result.stderr
    assert "left out as frozen test parts: 6" in result.stderr
    assert "has no frozen test parts" not in result.stderr


def test_images_that_can_not_be_decoded_may_leave_too_few(loupe: Loupe, net: Path, images: Path) -> None:
    spoil(images.parent.glob("ok_00[0-7].png"))
    result = loupe(*arguments(net, "--images", images))
    assert result.exit_code == 0, result.exception
    assert "12 defective, 4 good" in result.stderr


def test_a_second_products_champion_makes_requests_name_theirs(loupe: Loupe, net: Path) -> None:
    found = loupe.json(*arguments(net))
    forced = ("--force", "--reason", "bought")
    assert "?product=" not in loupe("promote", found["model"], *forced).output
    other = loupe.json("model", "import", net, "--product", "lid", "--classes", "ok,scratch", "--ok", "ok")
    result = loupe("promote", other["model"], *forced, "--json")
    assert json.loads(result.stdout)["champion"] == other["model"]
    assert "2 products have a champion (lid, plate)" in result.stderr
    assert "?product=lid" in result.stderr


def test_unreadable_images_are_named_and_left_out(loupe: Loupe, net: Path, images: Path) -> None:
    (images.parent / "ok_000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = loupe.json(*arguments(net, "--images", images))
    assert [one["path"] for one in found["skipped"]] == ["ok_000.png"]
    assert found["images"] == 23


def test_tables_tell_what_became_different(loupe: Loupe, net: Path, images: Path, tmp_path: Path) -> None:
    result = loupe(*arguments(net, "--images", images, "--out", tmp_path / "m.onnx"))
    assert result.exit_code == 0, result.exception
    shown = loupe("model", "show", tmp_path / "m.onnx")
    assert shown.exit_code == 0, shown.exception
    facts = loupe.json("model", "show", tmp_path / "m.onnx")
    assert (facts["opset"], facts["bytes"]) == (17, (tmp_path / "m.onnx").stat().st_size)
    assert facts["card"]["geometry"]["height"] == SIDE
    assert facts["memory_bytes"] >= facts["bytes"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (("--mean", "a,b"), WrongOption, "--mean"),
        (("--size", "224"), WrongOption, "224x224"),
        (("--size", "0x5"), WrongOption, "224x224"),
        (("--pass", "0.9", "--reject", "0.1"), WrongOption, "contradict"),
        (("--classes", "ok"), WrongOption, "two different classes"),
        (("--classes", "ok,ok"), WrongOption, "two different classes"),
        (("--classes", "ok,scratch,dent"), CannotWrap, "3 classes are named"),
        (("--ok", "fine"), WrongOption, "fine"),
        (("--ok", ""), WrongOption, "no class"),
        (("--ok", "ok,scratch"), WrongOption, "every class"),
        (("--layout", "hwc"), CannotWrap, "nchw, nhwc"),
        (("--mean", "1,2"), CannotWrap, "one number, or 3"),
        (("--out", "/nowhere/at/all.onnx"), WrongOption, "folder does not exist"),
    ],
)
def test_a_wrong_option_says_what_and_what_to_do(
    loupe: Loupe, stores: Stores, net: Path, options: tuple[str, ...], error: type[Exception], said: str
) -> None:
    result = loupe(*arguments(net, *options))
    assert isinstance(result.exception, error)
    assert said in f"{result.exception} {getattr(result.exception, 'remedy', '')}"
    with stores.database.read() as connection:
        assert labels.newest_book(connection, "plate") is None, "what is refused leaves nothing behind"


def test_classes_keep_what_they_mean(loupe: Loupe, net: Path, tmp_path: Path) -> None:
    painted(tmp_path / "own" / "ok", 6, "ok", 80)
    painted(tmp_path / "own" / "scratch", 6, "scratch", 180)
    loupe.json("import", tmp_path / "own", "--product", "plate", "--ok", "ok")
    result = loupe("model", "import", net, "--product", "plate", "--classes", "scratch,dent", "--ok", "scratch")
    assert isinstance(result.exception, WrongLabelBook)
    found = loupe.json("model", "import", net, "--product", "plate", "--classes", "ok,dent", "--ok", "ok")
    assert [(info["name"], info["number"]) for info in found["classes"]] == [("ok", 0), ("dent", 2)]


def test_labels_that_are_no_classes_of_the_model_are_refused(loupe: Loupe, net: Path, images: Path) -> None:
    text = images.read_text().replace("scratch\n", "crack\n").replace("scratch\r\n", "crack\r\n")
    images.write_text(text)
    result = loupe(*arguments(net, "--images", images))
    assert isinstance(result.exception, WrongImages)
    assert "crack" in str(result.exception)
