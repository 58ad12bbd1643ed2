from dataclasses import replace

import numpy as np
import pytest

from models.card import ClassInfo, ModelCard, OperatingPoint
from models.gates import GATES, UNMEASURED, GateInput, Held
from models.preprocess import Geometry

POINT = OperatingPoint(0.2, 0.8, 0.05, 0.04, 0.1, 80, 200)
CARD = ModelCard((ClassInfo("free", 0, True), ClassInfo("crack", 1, False)), Geometry(64, 64), {"default": POINT})


def model(separation: float, parts: int = 60, seed: int = 0) -> GateInput:
    rng = np.random.default_rng(seed)
    defect = np.arange(parts) % 2 == 0
    score = 1 / (1 + np.exp(-(separation * (defect - 0.5) + rng.normal(size=parts))))
    return GateInput(score, defect, np.arange(parts), CARD)


@pytest.mark.parametrize("name", GATES)
def test_a_good_model_passes_every_gate(name: str) -> None:
    for champion in (None, model(1.0, seed=1)):
        result = GATES[name](model(4.0), champion)
        assert result.passed, result.reason
        assert result.name == name
        assert result.reason


@pytest.mark.parametrize("name", GATES)
def test_no_gate_breaks_on_one_kind_of_part(name: str) -> None:
    one_kind = replace(model(1.0), is_defect=np.zeros(60, bool))
    assert GATES[name](one_kind, one_kind).reason


def test_a_model_measured_nowhere_never_passes_all() -> None:
    nobody = GateInput(np.zeros(0), np.zeros(0, bool), np.zeros(0), CARD)
    failed = [result for gate in UNMEASURED if not (result := gate(nobody, model(4.0))).passed]
    assert [result.name for result in failed] == ["measured_on_test_parts"]
    assert "loupe import" in failed[0].reason


def test_guessing_is_not_better_than_chance() -> None:
    assert not GATES["better_than_chance"](model(0.0), None).passed


def test_out_of_fold_parts_make_up_for_few_test_parts() -> None:
    few, many = model(0.3, parts=12), model(1.0, parts=300, seed=3)
    assert not GATES["better_than_chance"](few, None).passed
    held = Held(many.p_defect, many.is_defect, many.group + 1000)
    assert GATES["better_than_chance"](replace(few, out_of_fold=held), None).passed


def test_a_clearly_worse_candidate_is_stopped() -> None:
    assert not GATES["not_worse_than_champion"](model(1.0), model(4.0)).passed


def test_the_champion_itself_passes() -> None:
    assert GATES["not_worse_than_champion"](model(2.0), model(2.0)).passed


def test_models_scored_on_different_images_are_not_compared() -> None:
    assert "same test images" in GATES["not_worse_than_champion"](model(4.0), model(4.0, parts=40)).reason


def test_few_test_parts_are_stopped_however_many_images_they_have() -> None:
    few = model(4.0, parts=8)
    many_images = GateInput(np.repeat(few.p_defect, 9), np.repeat(few.is_defect, 9), np.repeat(few.group, 9), CARD)
    assert not GATES["has_test_parts"](many_images, None).passed


def test_operating_points_that_recipes_name_must_stay() -> None:
    gate = GATES["operating_point_present"]
    bare = replace(model(4.0), card=replace(CARD, operating_points={}))
    other = replace(model(4.0), card=replace(CARD, operating_points={"strict": POINT}))
    assert not gate(bare, None).passed
    assert "default" in gate(other, model(4.0)).reason
