"""From a promotion to a model that may decide: its file fetched, loaded, warmed, and proved on golden parts."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.card import ModelFileError
from models.classifier import UNLOADABLE, ExecutionProviderMismatch, Scorer
from models.preprocess import DECODE_VERSION, UnreadableImage, stored_frame
from models.scoring import score
from service.line.dispatch import Pace
from storage.images.content import ContentMissing, ContentStore
from storage.records import Model, Recipe

CHALLENGE_TOLERANCE = 0.02
"""How far p_defect of a golden part may lie from what the model gave when it was made."""
WARM_RUNS = 3


class ChallengeFailed(RuntimeError):
    """The model does not give here what it gave when it was made."""

    def __init__(self, model_id: str, image_sha256: str, expected: float, found: float) -> None:
        super().__init__(
            f"model {model_id} gives p_defect {found:.4f}, not {expected:.4f}, for golden part {image_sha256[:12]}"
        )
        self.remedy = "compare the software versions in the model card with `loupe doctor`; train again on this machine"


class PointMissing(ValueError):
    """The recipe names an operating point that the model does not have."""

    def __init__(self, model: Model, recipe: Recipe, known: Iterable[str]) -> None:
        super().__init__(
            f"recipe {recipe.product}@{recipe.station} version {recipe.version} wants operating point "
            f"'{recipe.operating_point}', model {model.id} has {', '.join(known) or 'none'}"
        )
        self.remedy = "change the recipe, or promote a model that has it"


REFUSED = (
    *UNLOADABLE,
    PointMissing,
    ModelFileError,
    ExecutionProviderMismatch,
    ChallengeFailed,
    UnreadableImage,
)
"""What makes a model unfit, however often it is tried."""
AWAY = (OSError, ContentMissing)
"""What keeps a model from being loaded now."""


@dataclass(slots=True)
class Loaded:
    """A model that is ready to decide."""

    model: Model
    classifier: Scorer
    pace: Pace
    used_at: float = field(default_factory=time.monotonic)
    """time.monotonic() of the last part."""


class ModelLoader:
    """Makes loaded models of stored ones; keeps their files on this machine, as a restart must not need the store."""

    def __init__(self, images: ContentStore, cache: Path, open_model: Callable[[Path], Scorer]) -> None:
        self._images, self._cache, self._open_model = images, cache, open_model

    def load(self, model: Model, recipes: Iterable[Recipe]) -> Loaded:
        """The model, warmed and proved; every recipe of its product must find its operating point in it.

        Raises one of REFUSED or AWAY.
        """
        classifier = self._open(model)
        for recipe in recipes:
            points = classifier.card.operating_points
            if recipe.product == model.product and recipe.operating_point not in points:
                raise PointMissing(model, recipe, points)
        geometry = classifier.card.geometry
        for _ in range(WARM_RUNS):
            classifier.warm(geometry.tiles)
        self._challenge(model, classifier)
        tiles = np.zeros((geometry.tiles, geometry.height, geometry.width, 3), np.uint8)
        began = time.perf_counter()
        classifier.predict(tiles)
        return Loaded(model, classifier, Pace(1000 * (time.perf_counter() - began)))

    def _open(self, model: Model) -> Scorer:
        classifier = self._open_model(self._cached(model.sha256, ".onnx"))
        if classifier.sha256 != model.sha256:
            raise ModelFileError(f"the file of model {model.id} is damaged", "restore the image store, or train again")
        version = classifier.card.geometry.decode_version
        if version != DECODE_VERSION:
            raise ModelFileError(
                f"model {model.id} needs decode version {version}, this program has {DECODE_VERSION}", "train it again"
            )
        return classifier

    def _challenge(self, model: Model, classifier: Scorer) -> None:
        """Golden parts through decoding, geometry and session must give what they gave in training."""
        for golden in model.challenge:
            sha256, expected = str(golden["image_sha256"]), float(str(golden["p_defect"]))
            data = self._cached(sha256, ".golden").read_bytes()
            found = score(classifier, stored_frame(data, str(golden["media_type"]))).p_defect
            if not abs(found - expected) <= CHALLENGE_TOLERANCE:
                raise ChallengeFailed(model.id, sha256, expected, found)

    def _cached(self, sha256: str, suffix: str) -> Path:
        path = self._cache / f"{sha256}{suffix}"
        if not _is_intact(path, sha256):
            self._cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
            partial.write_bytes(self._images.get(sha256))
            partial.replace(path)
        return path


def _is_intact(path: Path, sha256: str) -> bool:
    """A copy may be torn: it was written without waiting for the disk."""
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
