"""From a stored dataset to a stored candidate: features, head, calibration, model file, gates."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibration import (
    balanced_point,
    calibrated_views,
    fit_temperature,
    operating_point,
    worst_tile_logits,
)
from models.card import ClassInfo, ModelCard
from models.classifier import Classifier
from models.dataset import TEST, TRAIN
from models.evaluation import accuracy, auroc_interval
from models.export import EMBEDDING, InspectionNetwork, export_model, software_versions
from models.features import FeatureCache, SourceImage, build_extractor, extract
from models.frozen_parts import figures, gate_answers
from models.gates import GATES, GateInput, Held
from models.preprocess import Frame, Geometry, prepare, stored_frame, stored_type
from models.scoring import score
from models.training import CannotTrain, Trained, TrainingSettings, train
from storage import datasets, labels, models, opinions, pictures
from storage.database import Database
from storage.images.content import ContentStore
from storage.records import Dataset, DatasetItem, Model, Opinion

PROMISES = {"standard": 0.05, "strict": 0.01}
"""Operating point -> share of defective parts that may pass; `balanced` promises nothing."""
GOLDEN_PARTS = 3
"""Golden parts of each kind, good and defect, that a model must answer as it did here before it decides on a line."""
PARITY_SAMPLES = 8

Report = Callable[[str, int, int], None]
"""Told (what, done, total) as work goes on."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """A dataset's items with what training needs of them, in one order."""

    items: tuple[DatasetItem, ...]
    classes: tuple[ClassInfo, ...]
    target: Floats
    """(n, K) consensus."""
    group: NDArray[np.str_]
    sources: tuple[SourceImage, ...]
    book_version: int

    @property
    def ok(self) -> list[bool]:
        """K flags."""
        return [info.ok for info in self.classes]

    @property
    def is_defect(self) -> NDArray[np.bool_]:
        """(n,): the consensus holds a defect for likelier."""
        return np.asarray(self.target[:, ~np.array(self.ok)].sum(axis=1) >= 0.5)

    def of(self, split: str) -> "Rows":
        """The rows of one split."""
        chosen = [n for n, item in enumerate(self.items) if item.split == split]
        return replace(
            self,
            items=tuple(self.items[n] for n in chosen),
            target=self.target[chosen],
            group=self.group[chosen],
            sources=tuple(self.sources[n] for n in chosen),
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored candidate and the path of its file."""

    model: Model
    path: Path

    @property
    def failed_gates(self) -> list[dict[str, Any]]:
        """The gates that it did not pass."""
        return [gate for gate in self.model.gates if not gate["passed"]]


def load_rows(database: Database, images: ContentStore, dataset: Dataset) -> Rows:
    """The rows of a dataset; image bytes are read when they are needed.

    Raises CannotTrain when the label book is gone or its classes can't make a model.
    """
    with database.read() as connection:
        items = datasets.items(connection, dataset.id)
        book = labels.book(connection, dataset.product, dataset.book_version)
        media_type = {image.sha256: image.media_type for image in pictures.of_product(connection, dataset.product)}
    if book is None:
        raise CannotTrain(f"label book {dataset.book_version} of {dataset.product} is gone", "restore the database")
    names = [entry.name for entry in book.classes]
    target = np.array([[item.probability.get(name, 0.0) for name in names] for item in items])
    return Rows(
        items=tuple(items),
        classes=tuple(ClassInfo(entry.name, entry.number, entry.ok) for entry in book.classes),
        target=target / target.sum(axis=1, keepdims=True),
        group=np.array([item.part_group for item in items]),
        sources=tuple(
            SourceImage(item.image_sha256, _loader(images, item.image_sha256, media_type[item.image_sha256]))
            for item in items
        ),
        book_version=book.version,
    )


def cross_validate(rows: Rows, settings: TrainingSettings, cache: Path, report: Report) -> dict[str, Any]:
    """Metrics of the training procedure by grouped cross-validation over all rows, each with its interval."""
    trained = _train(rows, settings, cache, report)
    metrics, _, _ = _out_of_fold_metrics(rows, trained)
    return {**metrics, "folds": int(trained.fold.max()) + 1, "images": len(rows.items), "side_px": trained.side_px}


def retrain(
    database: Database,
    images: ContentStore,
    dataset: Dataset,
    settings: TrainingSettings,
    *,
    cache: Path,
    folder: Path,
    now: datetime,
    report: Report = lambda what, done, total: None,
) -> Candidate:
    """Train on the dataset's train split, measure on its frozen test parts, export, challenge, gate, store.

    cache: folder for features. folder: where the model file is written. The same dataset and settings give the same
    model.

    Raises CannotTrain, ExportParityError.
    """
    rows = load_rows(database, images, dataset)
    training, test = rows.of(TRAIN), rows.of(TEST)
    trained = _train(training, settings, cache, report)
    metrics, temperature, out_of_fold = _out_of_fold_metrics(training, trained)
    p_defect = out_of_fold[:, ~np.array(rows.ok)].sum(axis=1)
    card = ModelCard(
        classes=rows.classes,
        geometry=Geometry(trained.side_px, trained.side_px),
        operating_points={
            **{
                name: operating_point(p_defect, training.is_defect, training.group, escape)
                for name, escape in PROMISES.items()
            },
            "balanced": balanced_point(p_defect, training.is_defect, training.group),
        },
        capabilities=(EMBEDDING,),
        dataset=dataset.id,
        label_book_version=rows.book_version,
        training={
            **settings.to_json(),
            "penalty": trained.penalty,
            "side_px": trained.side_px,
            "temperature": temperature,
            "images": len(training.items),
            "groups": len(set(training.group)),
        },
        software=software_versions(),
    )
    network = InspectionNetwork(build_extractor(settings.architecture), trained.head, temperature)
    test_scores = _head_scores(test, trained, temperature, settings, cache, report)
    test_p_defect = test_scores[:, ~np.array(rows.ok)].sum(axis=1)
    metrics["test"] = figures(test_p_defect, test.is_defect, test.group, card.operating_points["standard"])
    card = replace(card, metrics=metrics)
    report("exporting", 0, 1)
    classifier, path = _export(network, card, folder, _samples(training, card.geometry))
    report("challenging", 0, 1)
    held = GateInput(
        test_p_defect, test.is_defect, test.group, card, Held(p_defect, training.is_defect, training.group)
    )
    model = Model(
        id=classifier.sha256[:12],
        product=dataset.product,
        sha256=images.put(path.read_bytes()),
        dataset_id=dataset.id,
        card=card.to_json(),
        gates=gate_answers(database, images, dataset.product, test.sources, held, GATES.values()),
        challenge=_challenge(training, out_of_fold, classifier),
        created_at=now,
    )
    said = [*_opinions(model, training, out_of_fold), *_opinions(model, test, test_scores)]
    with database.write() as connection:
        models.store(connection, model)
        opinions.store(connection, said)
    return Candidate(model, path)


def _opinions(model: Model, rows: Rows, probability: Floats) -> list[Opinion]:
    """What the model says of images that it was not trained on; probability (n, K)."""
    names = [info.name for info in rows.classes]
    return [
        Opinion(model.id, item.image_sha256, {name: round(float(p), 6) for name, p in zip(names, row, strict=True)})
        for item, row in zip(rows.items, probability, strict=True)
    ]


def _export(
    network: InspectionNetwork, card: ModelCard, folder: Path, samples: NDArray[np.uint8]
) -> tuple[Classifier, Path]:
    """The model file under the name of its content; a draft of its own, as another training may be at work."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".draft-") as scratch:
        draft = Path(scratch) / "candidate.onnx"
        export_model(network, card, draft, samples)
        classifier = Classifier(draft)
        path = folder / f"{classifier.sha256[:12]}.onnx"
        draft.replace(path)
    return classifier, path


def _loader(images: ContentStore, sha256: str, media_type: str) -> Callable[[], Frame]:
    return lambda: stored_frame(images.get(sha256), media_type)


def _features(rows: Rows, side: int, settings: TrainingSettings, cache: Path, report: Report) -> NDArray[np.float32]:
    geometry = Geometry(side, side)
    store = FeatureCache(cache, settings.architecture, geometry)
    return extract(
        rows.sources,
        settings.architecture,
        geometry,
        cache=store,
        progress=lambda done, total: report(f"features at {side} px", done, total),
    )


def _train(rows: Rows, settings: TrainingSettings, cache: Path, report: Report) -> Trained:
    features = {side: _features(rows, side, settings, cache, report) for side in settings.sides_px}
    report("fitting", 0, 1)
    return train(features, rows.target, rows.group, rows.ok, settings)


def _out_of_fold_metrics(rows: Rows, trained: Trained) -> tuple[dict[str, Any], float, Floats]:
    """Metrics of the out-of-fold scores, the temperature, and the calibrated probabilities (n, K)."""
    temperature = fit_temperature(worst_tile_logits(trained.logits, rows.ok), rows.target)
    probability = calibrated_views(trained.logits, temperature, rows.ok)
    p_defect = probability[:, ~np.array(rows.ok)].sum(axis=1)
    rng = np.random.default_rng(0)
    metrics = {
        "cv_auroc": auroc_interval(p_defect, rows.is_defect, rows.group, rng).to_json(),
        "cv_accuracy": accuracy(probability, rows.target.argmax(axis=1), rows.group).to_json(),
    }
    return metrics, temperature, probability


def _head_scores(
    rows: Rows, trained: Trained, temperature: float, settings: TrainingSettings, cache: Path, report: Report
) -> Floats:
    """Calibrated probabilities (n, K) of rows that were not trained on."""
    if not rows.items:
        return np.zeros((0, len(rows.classes)))
    features = _features(rows, trained.side_px, settings, cache, report)
    return calibrated_views(trained.head.logits(features), temperature, rows.ok)


def _samples(rows: Rows, geometry: Geometry) -> NDArray[np.uint8]:
    return np.concatenate([prepare(source.load(), geometry).tiles for source in rows.sources[:PARITY_SAMPLES]])


def _challenge(rows: Rows, probability: Floats, classifier: Classifier) -> tuple[dict[str, Any], ...]:
    """The parts whose out-of-fold score is surest and right, with what the model file itself gives for them."""
    p_defect = probability[:, ~np.array(rows.ok)].sum(axis=1)
    order = np.argsort(p_defect, kind="stable")
    good = [n for n in order if not rows.is_defect[n] and p_defect[n] < 0.5][:GOLDEN_PARTS]
    bad = [n for n in order[::-1] if rows.is_defect[n] and p_defect[n] >= 0.5][:GOLDEN_PARTS]
    golden = []
    for n in (*good, *bad):
        frame = rows.sources[n].load()
        golden.append(
            {
                "image_sha256": rows.sources[n].sha256,
                "media_type": stored_type(frame),
                "p_defect": round(score(classifier, frame).p_defect, 6),
            }
        )
    return tuple(golden)
