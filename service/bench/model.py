"""The models under test: a real backbone with an arbitrary head, and thresholds under which 95 % of the parts pass."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.card import ClassInfo, ModelCard, OperatingPoint
from models.preprocess import Frame, Geometry, prepare
from service.bench.parts import Part
from service.recipe_rules import default_recipe
from service.wiring import Stores
from storage import datasets
from storage import models as model_store
from storage.records import ConsensusRun, Dataset, Model, Promotion

PRODUCT = "bench"
POINT = "standard"
PASSING = 0.95
CLASSES = (ClassInfo("ok", 0, True), ClassInfo("defect", 1, False))


def export_bench_model(architecture: str, side_px: int, parts: Sequence[Part], path: Path, seed: int = 0) -> None:
    """Write a model whose answers mean nothing, but of which 95 % are `pass`: speed depends on both alone.

    What is not ok costs more on a line, where every such image is kept, so the share has to be a real one. side_px: of
    its square input, a multiple of the backbones' stride; the cost grows with its square.

    Raises KeyError for an architecture that there is not.
    """
    import torch

    from models.export import EMBEDDING, InspectionNetwork, export_model, software_versions
    from models.features import build_extractor
    from models.training import Head

    geometry = Geometry(side_px, side_px)
    extractor = build_extractor(architecture)
    tiles = np.concatenate([prepare(Frame(part.data, part.media_type), geometry).tiles for part in parts])
    with torch.inference_mode():
        features = np.concatenate([extractor(torch.from_numpy(tile[None])).numpy() for tile in tiles])
    spread = features.std(axis=0)
    # Features that hardly vary would turn rounding into answers.
    mean, scale = features.mean(axis=0), spread + spread.mean() + 1e-6
    weight = np.random.default_rng(seed).normal(0, 0.05, (features.shape[1], len(CLASSES)))
    head = Head(mean, scale, weight, np.zeros(len(CLASSES)))
    logits = ((features - mean) / scale) @ weight
    p_defect = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    threshold = _threshold(p_defect)
    card = ModelCard(
        classes=CLASSES,
        geometry=geometry,
        operating_points={POINT: OperatingPoint(threshold, threshold, 0.05, 0.05, 0.05, 100, 100)},
        capabilities=(EMBEDDING,),
        software=software_versions(),
    )
    export_model(InspectionNetwork(extractor, head, 1.0), card, path, tiles[:1])


def _threshold(p_defect: NDArray[np.float64]) -> float:
    """Between the part that only just passes and the next one."""
    ordered = np.sort(p_defect)
    passing = min(len(ordered) - 1, round(PASSING * len(ordered)))
    return float((ordered[passing - 1] + ordered[passing]) / 2) if passing else 1.0


def publish(stores: Stores, paths: Sequence[Path], at: datetime) -> list[str]:
    """Store the model files as versions of the bench product, promote the first, add its recipe; returns their ids.

    The recipe is the default one but for `on_optics_alarm`: images that come again and again are no honest light, and
    an alarm would turn every verdict into `recheck`. Watching costs the same either way.
    """
    recipe = replace(default_recipe(PRODUCT, "bench", at), operating_point=POINT, on_optics_alarm="continue")
    ids = []
    with stores.database.write() as connection:
        datasets.store_run(connection, ConsensusRun("bench", PRODUCT, "none", "", 1, 0, 0, at), [])
        datasets.store(connection, Dataset("bench", PRODUCT, "bench", 1, 0, at), [])
        for path in paths:
            ids.append(path.stem)
            sha256 = stores.images.put(path.read_bytes())
            model_store.store(connection, Model(path.stem, PRODUCT, sha256, "bench", {}, (), (), at))
        model_store.add_recipe(connection, recipe)
    promote(stores, ids[0], at)
    return ids


def promote(stores: Stores, model_id: str, at: datetime) -> None:
    """Make a model the one that decides."""
    with stores.database.write() as connection:
        model_store.promote(connection, Promotion(PRODUCT, model_id, "promote", "", "bench", at))
