"""A stranger's wrapped graph made a stored candidate: its card, thresholds from the given images, gates."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnx
import onnxruntime

from labeling.label_book import grown
from models.calibration import balanced_point, operating_point
from models.card import ClassInfo, ModelCard, OperatingPoint
from models.classifier import Classifier
from models.convention import Convention
from models.dataset import TEST
from models.evaluation import auroc_interval
from models.frozen_parts import figures, file_scores, gate_answers
from models.gates import GATES, UNMEASURED, GateInput
from models.preprocess import Geometry
from models.resize_report import RESIZERS, resize_effect
from models.retrain import PROMISES, Rows, load_rows
from models.wrap import PROBES, Wrapped
from service.given_images import Gallery, GivenImage, Judged
from service.wiring import Stores, now
from storage import datasets, labels, models
from storage.datasets import IMPORTED
from storage.records import ConsensusRun, Dataset, LabelBook, Model

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When the empty dataset of an imported model is dated: never the newest, so that nobody trains on it."""
MIN_CALIBRATION_PARTS = 5


@dataclass(frozen=True, slots=True)
class Description:
    """What a person says of a stranger's model.

    classes: name -> good, in the order of the scores. point: thresholds that hold where no images make better ones.
    """

    product: str
    name: str
    source_sha256: str
    classes: Mapping[str, bool]
    convention: Convention
    point: OperatingPoint


@dataclass(frozen=True, slots=True)
class Draft:
    """A model on its way in. new_book: stored with it, where it brings classes. frozen: the product's test parts.

    frozen_images: SHA-256 of what these show; such images make no thresholds.
    """

    product: str
    wrapped: Wrapped
    card: ModelCard
    new_book: LabelBook | None
    frozen: Rows | None
    frozen_images: frozenset[str]


def draft_model(stores: Stores, wrapped: Wrapped, described: Description) -> Draft:
    """The model with a card that knows what was described, and nothing that was measured.

    Raises WrongLabelBook, CannotTrain.
    """
    product = described.product
    with stores.database.read() as connection:
        before = labels.newest_book(connection, product)
    book = _book(before, product, described.classes)
    entries = {entry.name: entry for entry in book.classes}
    card = ModelCard(
        classes=tuple(ClassInfo(name, entries[name].number, entries[name].ok) for name in described.classes),
        geometry=Geometry(wrapped.height, wrapped.width),
        operating_points={"standard": described.point},
        label_book_version=book.version,
        training={
            "imported": True,
            "name": described.name,
            "architecture": f"imported: {described.name}",
            "source_sha256": described.source_sha256,
            "side_px": max(wrapped.height, wrapped.width),
            "images": 0,
            "groups": 0,
            "batch": wrapped.batch,
            "convention": described.convention.to_json(),
        },
        software={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__},
    )
    frozen = _frozen(stores, product)
    images = frozenset(item.image_sha256 for item in frozen.items) if frozen is not None else frozenset()
    return Draft(product, wrapped, card, book if book is not before else None, frozen, images)


def _book(before: LabelBook | None, product: str, classes: Mapping[str, bool]) -> LabelBook:
    """The product's label book with the model's classes in it.

    Raises WrongLabelBook.
    """
    good = [name for name, ok in classes.items() if ok]
    # Good classes that this model does not know stay good.
    kept = [entry.name for entry in before.classes if entry.ok and entry.name not in classes] if before else []
    return grown(before, product, classes, {*good, *kept}, now())


def _frozen(stores: Stores, product: str) -> Rows | None:
    with stores.database.read() as connection:
        newest = datasets.newest(connection, product)
        is_filled = newest is not None and bool(datasets.items(connection, newest.id))
    if newest is None or not is_filled:
        return None
    rows = load_rows(stores.database, stores.images, newest).of(TEST)
    return rows if rows.items else None


def shortcomings(draft: Draft, images: Sequence[GivenImage]) -> list[str]:
    """What these images can't do for the model, however it judges them."""
    found = []
    if draft.frozen is None:
        found.append(
            f"product {draft.product} has no frozen test parts, so the model will not pass its gates: import labelled "
            "images first (`loupe import`)"
        )
    labelled = [one for one in images if one.is_defect is not None]
    usable = [one for one in labelled if one.sha256 not in draft.frozen_images]
    bad, good = _parts(usable)
    if not labelled:
        found.append("no image is labelled, so none makes thresholds; --pass and --reject hold")
    elif min(bad, good) < MIN_CALIBRATION_PARTS:
        left_out = len(labelled) - len(usable)
        frozen = f"; images left out as frozen test parts: {left_out}" if left_out else ""
        found.append(
            f"labelled parts are too few for thresholds: {bad} defective, {good} good, at least "
            f"{MIN_CALIBRATION_PARTS} of each are needed{frozen}; --pass and --reject hold"
        )
    return found


def _parts(images: Sequence[GivenImage]) -> tuple[int, int]:
    """The numbers of defective and of good parts."""
    bad, good = (len({one.group for one in images if one.is_defect is kind}) for kind in (True, False))
    return bad, good


def store_candidate(stores: Stores, draft: Draft, gallery: Gallery) -> Model:
    """Measure, gate and store the model with its file and golden parts, and all that its row refers to.

    Raises OSError where a golden part can't be read any more.
    """
    dataset, run = _empty_dataset(draft.card, draft.product)
    card, measured = _on_frozen_parts(draft, replace(_measured(draft, gallery), dataset=dataset.id))
    content = draft.wrapped.with_card(card)
    sha256 = Classifier(content).sha256
    golden = gallery.golden()
    stores.images.put_all([content, *(one.image.found.path.read_bytes() for one in golden)])
    sources, gates = ((), UNMEASURED) if draft.frozen is None else (draft.frozen.sources, GATES.values())
    model = Model(
        id=sha256[:12],
        product=draft.product,
        sha256=sha256,
        dataset_id=dataset.id,
        card=card.to_json(),
        gates=gate_answers(stores.database, stores.images, draft.product, sources, measured, gates),
        challenge=tuple(
            {"image_sha256": one.image.sha256, "media_type": one.image.media_type, "p_defect": round(one.p_defect, 6)}
            for one in golden
        ),
        created_at=now(),
    )
    with stores.database.write() as connection:
        if draft.new_book is not None:
            labels.add_book(connection, draft.new_book)
        datasets.store_run(connection, run, [])
        datasets.store(connection, dataset, [])
        models.store(connection, model)
    return model


def _on_frozen_parts(draft: Draft, card: ModelCard) -> tuple[ModelCard, GateInput]:
    """The card with the figures on the product's frozen test parts, and what the gates look at."""
    rows = draft.frozen
    if rows is None:
        nobody = np.zeros(0)
        return card, GateInput(nobody, nobody.astype(bool), nobody, card)
    p_defect = file_scores(Classifier(draft.wrapped.with_card(card)), rows.sources)
    found = figures(p_defect, rows.is_defect, rows.group, card.operating_points["standard"])
    card = replace(card, metrics={**card.metrics, "test": found})
    return card, GateInput(p_defect, rows.is_defect, rows.group, card)


def _measured(draft: Draft, gallery: Gallery) -> ModelCard:
    """The card with thresholds, metrics and the effect of another resize."""
    labelled = [one for one in gallery.judged if one.image.is_defect is not None]
    usable = [one for one in labelled if one.image.sha256 not in draft.frozen_images]
    points, calibration = _calibrated(draft.card.operating_points, usable)
    parity = {
        "images": gallery.compared,
        "random_images": PROBES,
        "difference": max(gallery.difference, draft.wrapped.difference),
        "tolerance": draft.wrapped.tolerance,
    }
    # The keys of a trained model's metrics: what lists models looks for them.
    unknown = dict.fromkeys(("auroc", "escape", "overkill", "recheck"))
    metrics = {"cv_auroc": None, "cv_accuracy": None, "test": {"images": 0, **unknown}}
    return replace(
        draft.card,
        operating_points=points,
        metrics={**metrics, "calibration": calibration, "parity": parity},
        robustness={"resize": _resize_effects(gallery.judged, points["standard"])},
    )


def _calibrated(
    named: Mapping[str, OperatingPoint], used: Sequence[Judged]
) -> tuple[dict[str, OperatingPoint], dict[str, Any] | None]:
    """The operating points that labelled images make, or the named one; and how the model ranks these images."""
    if min(_parts([one.image for one in used])) < MIN_CALIBRATION_PARTS:
        return dict(named), None
    p_defect = np.array([one.p_defect for one in used])
    is_defect = np.array([bool(one.image.is_defect) for one in used])
    group = np.array([one.image.group for one in used])
    points = {name: operating_point(p_defect, is_defect, group, escape) for name, escape in PROMISES.items()}
    points["balanced"] = balanced_point(p_defect, is_defect, group)
    found = auroc_interval(p_defect, is_defect, group, np.random.default_rng(0))
    return points, {"images": len(used), "auroc": found.to_json()}


def _resize_effects(judged: Sequence[Judged], point: OperatingPoint) -> dict[str, Any]:
    """By the other resize's name; none where no image was given."""
    if not judged:
        return {}
    own = np.array([one.p_defect for one in judged])
    group = np.array([one.image.group for one in judged])
    return {
        name: resize_effect(
            own, np.array([one.others[name] for one in judged]), group, point.pass_below, point.reject_from
        ).to_json()
        for name in RESIZERS
    }


def _empty_dataset(card: ModelCard, product: str) -> tuple[Dataset, ConsensusRun]:
    """What stands where a trained model has its dataset: nothing is known of what this one learned from."""
    source = str(card.training["source_sha256"])
    content = json.dumps(["imported", product, source, card.label_book_version])
    digest = hashlib.sha256(content.encode()).hexdigest()
    reason = f"model {card.training['name']} was made elsewhere (file {source[:12]}); no label here went into it"
    run = ConsensusRun(
        id=digest,
        product=product,
        method=IMPORTED,
        reason=reason,
        book_version=card.label_book_version,
        image_count=0,
        label_count=0,
        settled_at=LONG_AGO,
    )
    return Dataset(digest, product, digest, card.label_book_version, 0, LONG_AGO), run
