"""What no model has seen is decided by nobody."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from service.wiring import Stores
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, post, post_views, recorded, verdict
from tests.service.line.stocked import BRIGHT, DARK, encoded, picture, promote, store_model, wait_until
from tests.tiny_model import tiny_card, write_tiny_model

NOVELTY = "novelty"


def write_novel_model(path: Path, factor: float) -> Path:
    """As the tiny model, with novelty = factor x p_defect."""
    card = tiny_card(capabilities=(NOVELTY,))
    model = onnx.load(write_tiny_model(path, card))
    model.graph.initializer.append(helper.make_tensor("factor", TensorProto.FLOAT, [], [factor]))
    model.graph.node.append(helper.make_node("Mul", ["defect", "factor"], [NOVELTY]))
    model.graph.output.append(helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, ["N"]))
    onnx.save(model, path)
    return path


def add_novel_champion(stores: Stores, folder: Path, factor: float) -> None:
    path = write_novel_model(folder / "novel.onnx", factor)
    promote(stores, store_model(stores, path, card=tiny_card(capabilities=(NOVELTY,))))


def test_unfamiliar_part_is_neither_passed_nor_rejected(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_novel_champion(stores, tmp_path, factor=3.0)
    with open_line() as http:
        familiar, good_but_novel = picture(DARK).mean() / 255 * 3, 100 / 255 * 3
        assert familiar < 1 < good_but_novel
        passed, strange = post(http, encoded(DARK), "1"), post(http, encoded(100), "2")
        assert verdict(passed) == (200, "pass", 0)
        assert passed.json()["views"][0]["novelty"] == pytest.approx(familiar, abs=0.05)
        assert verdict(strange) == (200, "recheck", 905)
        assert strange.json()["evaluation"] == "not_decidable"
        assert "unfamiliar" in strange.json()["reasons"][0]
        assert verdict(post(http, encoded(BRIGHT), "3")) == (200, "recheck", 905), "not even a defect is sure"
        assert verdict(post_views(http, {"left": encoded(DARK), "right": encoded(100)}, "4")) == (200, "recheck", 905)
        wait_until(lambda: drained(http))
        found = {i.trigger_id: i for i in recorded(http)}
        assert found["2"].views[0].novelty == pytest.approx(good_but_novel, abs=0.05)
        assert found["2"].views[0].image_kept


def test_novelty_that_is_no_number_never_passes(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_novel_champion(stores, tmp_path, factor=float("nan"))
    with open_line() as http:
        assert verdict(post(http, encoded(DARK))) == (200, "recheck", 900)
        assert verdict(post_views(http, {"left": encoded(DARK), "right": encoded(DARK, 1)}, "2")) == (
            200,
            "recheck",
            900,
        )
