import json

import numpy as np
import pytest

from models.card import ClassInfo, ModelCard, ModelFileError, OperatingPoint
from models.preprocess import Geometry

POINT = OperatingPoint(0.2, 0.8, 0.05, 0.049, 0.1, 59, 200)
CARD = ModelCard(
    classes=(ClassInfo("free", 0, True), ClassInfo("polish mark", 7, True), ClassInfo("crack", 12, False)),
    geometry=Geometry(224, 224, tile_rows=2),
    operating_points={"default": POINT},
    capabilities=("embedding",),
    dataset="d1",
    label_book_version=3,
    training={"seed": 0},
    metrics={"auroc": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 10}},
    software={"torch": "2"},
)


def test_a_card_survives_json() -> None:
    assert ModelCard.from_json(json.dumps(CARD.to_json())) == CARD


def test_thresholds_are_called_pass_and_reject_in_json() -> None:
    point = CARD.to_json()["operating_points"]["default"]
    assert (point["pass"], point["reject"]) == (0.2, 0.8)


def test_p_defect_is_what_the_ok_classes_leave() -> None:
    assert CARD.p_defect(np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])).tolist() == [0.25, 1.0]
    assert CARD.p_defect(np.array([0.6, 0.4, 1e-9], np.float32)) >= 0


@pytest.mark.parametrize("key", sorted(CARD.to_json()))
def test_a_missing_key_is_named(key: str) -> None:
    fields = CARD.to_json()
    del fields[key]
    with pytest.raises(ModelFileError, match=key):
        ModelCard.from_json(fields)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("classes", [{"name": "a"}], "number"),
        ("classes", 3, "classes"),
        ("geometry", {"height": 3}, "width"),
        ("operating_points", {"default": {"pass": 1}}, "reject"),
        ("operating_points", [], "operating_points"),
        ("capabilities", ["telepathy"], "telepathy"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: object, named: str) -> None:
    with pytest.raises(ModelFileError, match=named):
        ModelCard.from_json({**CARD.to_json(), key: value})


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_text_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelFileError):
        ModelCard.from_json(text)


def test_a_card_without_an_ok_class_is_refused() -> None:
    with pytest.raises(ModelFileError, match="no ok class"):
        ModelCard((ClassInfo("a", 1, False), ClassInfo("b", 2, False)), Geometry(32, 32))


def test_crossed_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="thresholds"):
        OperatingPoint(0.9, 0.1, 0.05, 0.05, 0.1, 1, 1)
