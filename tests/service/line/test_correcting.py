"""Light is taken out of images only once defects known from normal light were found all the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.classifier import Classifier
from models.preprocess import Frame, Prepared, prepare
from models.scoring import score_prepared
from monitoring.alarm import Alarm
from monitoring.correction import Correction
from monitoring.diagnosis import Diagnosis
from monitoring.sights import Sight
from monitoring.watch import Observation
from service.line.champions import Active
from service.line.correcting import FEWEST_DEFECTS, Corrections
from service.line.dispatch import Pace
from service.recipe_rules import default_recipe
from storage.records import Model
from tests.service.line.stocked import BRIGHT, DARK, MADE_AT, PRODUCT, encoded
from tests.tiny_model import POINT, write_tiny_model

CAMERA = Sight("s1/top", PRODUCT)
DIMMED = Correction(1.1, 1.1, 1.1)


@pytest.fixture
def active(tmp_path: Path) -> Active:
    write_tiny_model(tmp_path / "model.onnx")
    classifier = Classifier(tmp_path / "model.onnx")
    model = Model("m1", PRODUCT, "0" * 64, "dataset", {}, (), (), MADE_AT)
    recipe = replace(default_recipe(PRODUCT, "test", MADE_AT), on_optics_alarm="correct")
    return Active(model, classifier, recipe, POINT, Pace(1.0))


def view(active: Active, level: int, seed: int = 0) -> Prepared:
    return prepare(Frame(encoded(level, seed), "image/png"), active.classifier.card.geometry)


def alarm() -> Alarm:
    return Alarm(0, 0, "level.jump", 2.0, Diagnosis("lamp_dim", np.zeros((28, 28), np.float32), 12, 3.0))


def learnt(active: Active, level: int, count: int, waiting: list[Callable[[], None]]) -> Corrections:
    corrections = Corrections(waiting.append)
    for seed in range(count):
        prepared = view(active, level, seed)
        corrections.learn(CAMERA, prepared, Observation("ok"), score_prepared(active.classifier, prepared), active)
    return corrections


def test_an_image_is_corrected_once_every_known_defect_was_found_all_the_same(active: Active) -> None:
    waiting: list[Callable[[], None]] = []
    corrections = learnt(active, BRIGHT, FEWEST_DEFECTS, waiting)
    under_alarm = Observation("alarm", standing=alarm(), correction=DIMMED)
    dim = view(active, 100)
    assert corrections.corrected(CAMERA, dim, under_alarm, active) == (dim, None)
    (prove,) = waiting
    assert corrections.corrected(CAMERA, dim, under_alarm, active)[1] is None
    prove()
    bright, done = corrections.corrected(CAMERA, dim, under_alarm, active)
    assert done == DIMMED
    assert bright.tiles.mean() == pytest.approx(1.1 * dim.tiles.mean(), rel=0.01)
    assert len(waiting) == 1
    another = replace(under_alarm, standing=alarm())
    assert corrections.corrected(CAMERA, dim, another, active)[1] is None


@pytest.mark.parametrize(("level", "count"), [(BRIGHT, FEWEST_DEFECTS - 1), (DARK, FEWEST_DEFECTS)])
def test_without_enough_known_defects_nothing_is_corrected(active: Active, level: int, count: int) -> None:
    waiting: list[Callable[[], None]] = []
    corrections = learnt(active, level, count, waiting)
    under_alarm = Observation("alarm", standing=alarm(), correction=DIMMED)
    corrections.corrected(CAMERA, view(active, 100), under_alarm, active)
    waiting.pop()()
    assert corrections.corrected(CAMERA, view(active, 100), under_alarm, active)[1] is None


def test_a_recipe_that_does_not_ask_for_it_gets_no_correction(active: Active) -> None:
    waiting: list[Callable[[], None]] = []
    corrections = learnt(active, BRIGHT, FEWEST_DEFECTS, waiting)
    under_alarm = Observation("alarm", standing=alarm(), correction=DIMMED)
    for choice in ("not_decidable", "continue"):
        other = replace(active, recipe=replace(active.recipe, on_optics_alarm=choice))
        assert corrections.corrected(CAMERA, view(active, 100), under_alarm, other)[1] is None
    assert waiting == []
