from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from labeling.formats import FORMATS
from labeling.importing import import_listing
from labeling.settle import settle
from models.classifier import Classifier
from models.dataset import TEST, TRAIN, snapshot
from models.gates import GATES
from models.preprocess import Frame
from models.promotion import promote
from models.retrain import GOLDEN_PARTS, PROMISES, Candidate, cross_validate, load_rows, retrain
from models.scoring import score
from models.training import CannotTrain, TrainingSettings
from service.commands.data import probe
from storage import models
from storage.database import Database, ensure_schema, open_database
from storage.images import open_image_store
from storage.images.content import ContentStore
from storage.records import Dataset
from tests.labeling.painted_parts import SIDE_PX, paint
from tests.storage.samples import NOW, PRODUCT, later

SETTINGS = TrainingSettings(architecture="small_cnn", sides_px=(SIDE_PX,), penalties=(0.1,), folds=3, iterations=60)


@dataclass(frozen=True, slots=True)
class Plant:
    """Painted parts, imported and settled, and the candidate trained on them."""

    folder: Path
    database: Database
    images: ContentStore
    dataset: Dataset
    candidate: Candidate
    reported: list[str]


def prepare(folder: Path, counts: dict[str, int]) -> tuple[Database, ContentStore, Dataset]:
    database = open_database(f"sqlite:///{folder / 'loupe.db'}")
    ensure_schema(database)
    images = open_image_store(f"file://{folder / 'images'}")
    listing = FORMATS["folder"](paint(folder / "parts", counts), {})
    import_listing(listing, PRODUCT, ("good",), database, images, probe, NOW)
    with database.write() as connection:
        dataset, _ = snapshot(connection, settle(connection, PRODUCT, NOW).run, NOW, 0.3)
    return database, images, dataset


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Trained once. Tests add to it: models, and a champion."""
    folder = tmp_path_factory.mktemp("plant")
    database, images, dataset = prepare(folder, {"good": 20, "scratch": 20})
    reported: list[str] = []
    candidate = retrain(
        database,
        images,
        dataset,
        SETTINGS,
        cache=folder / "cache",
        folder=folder / "models",
        now=NOW,
        report=lambda what, done, total: reported.append(what),
    )
    yield Plant(folder, database, images, dataset, candidate, reported)
    database.close()


def again(plant: Plant, **changes: object) -> Candidate:
    return retrain(
        plant.database,
        plant.images,
        plant.dataset,
        replace(SETTINGS, **changes),  # type: ignore[arg-type] # a test's short way to name a setting
        cache=plant.folder / "cache",
        folder=plant.folder / "models",
        now=later(60),
    )


def test_a_candidate_is_stored_with_its_gates(plant: Plant) -> None:
    model = plant.candidate.model
    with plant.database.read() as connection:
        assert models.find(connection, model.id) == [model]
    assert [gate["name"] for gate in model.gates] == list(GATES)
    assert plant.candidate.failed_gates == [], "bright lines on dark parts are found by any network"
    assert model.dataset_id == plant.dataset.id
    assert {"fitting", "exporting", "challenging"} <= set(plant.reported)


def test_the_file_opens_as_it_is_stored_and_judges_as_its_card_says(plant: Plant) -> None:
    model = plant.candidate.model
    content = plant.images.get(model.sha256)
    assert plant.candidate.path.read_bytes() == content
    assert sorted(path.name for path in plant.candidate.path.parent.iterdir()) == [f"{model.id}.onnx"]
    classifier = Classifier(content)
    assert classifier.sha256 == model.sha256
    assert classifier.card.to_json() == model.card
    assert set(classifier.card.operating_points) == {*PROMISES, "balanced"}
    assert classifier.card.dataset == plant.dataset.id
    rows = load_rows(plant.database, plant.images, plant.dataset)
    test = rows.of(TEST)
    p_defect = np.array([score(classifier, source.load()).p_defect for source in test.sources])
    assert p_defect[test.is_defect].min() > p_defect[~test.is_defect].max()


def test_the_golden_parts_are_answered_as_the_challenge_expects(plant: Plant) -> None:
    classifier = Classifier(plant.candidate.path)
    challenge = plant.candidate.model.challenge
    assert len(challenge) == 2 * GOLDEN_PARTS
    training = {item.image_sha256 for item in load_rows(plant.database, plant.images, plant.dataset).of(TRAIN).items}
    for part in challenge:
        assert part["image_sha256"] in training, "test parts stay unseen"
        frame = Frame(plant.images.get(str(part["image_sha256"])), str(part["media_type"]))
        assert score(classifier, frame).p_defect == pytest.approx(part["p_defect"], abs=1e-6)
    assert [float(str(part["p_defect"])) > 0.5 for part in challenge] == [False] * 3 + [True] * 3


def test_the_same_dataset_and_settings_give_the_same_model_with_or_without_a_cache(
    plant: Plant, tmp_path: Path
) -> None:
    assert again(replace(plant, folder=tmp_path)).model.sha256 == plant.candidate.model.sha256
    with plant.database.read() as connection:
        (stored,) = models.find(connection, plant.candidate.model.id)
    assert stored == plant.candidate.model, "the first record stands"


def test_other_settings_give_another_model_compared_with_the_champion(plant: Plant) -> None:
    with plant.database.write() as connection:
        promote(connection, plant.candidate.model, "mira", "first", NOW)
    other = again(plant, penalties=(0.3,))
    assert other.model.id != plant.candidate.model.id
    gate = next(gate for gate in other.model.gates if gate["name"] == "not_worse_than_champion")
    assert gate["passed"]
    assert "against the champion" in str(gate["reason"])


def test_cross_validation_stores_nothing(plant: Plant) -> None:
    rows = load_rows(plant.database, plant.images, plant.dataset)
    with plant.database.read() as connection:
        before = models.listing(connection)
    metrics = cross_validate(rows, SETTINGS, plant.folder / "cache", lambda what, done, total: None)
    assert (metrics["folds"], metrics["images"], metrics["side_px"]) == (3, 40, SIDE_PX)
    assert metrics["cv_auroc"]["value"] > 0.95
    with plant.database.read() as connection:
        assert models.listing(connection) == before


def test_parts_of_one_kind_alone_can_not_be_trained_on(tmp_path: Path) -> None:
    database, images, dataset = prepare(tmp_path, {"good": 6})
    with pytest.raises(CannotTrain, match="0 defective parts") as refused:
        retrain(database, images, dataset, SETTINGS, cache=tmp_path / "cache", folder=tmp_path / "models", now=NOW)
    assert "label at least" in refused.value.remedy
    with database.read() as connection:
        assert models.listing(connection) == []
    database.close()
