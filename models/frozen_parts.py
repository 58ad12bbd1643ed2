"""A model on its product's frozen test parts: its scores and figures there, and its gates beside the champion."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import OperatingPoint
from models.classifier import Classifier
from models.evaluation import OneSidedSample, auroc_interval, outcomes
from models.features import SourceImage
from models.gates import Gate, GateInput
from models.scoring import score
from storage import models
from storage.database import Database
from storage.images.content import ContentStore


def file_scores(classifier: Classifier, sources: Sequence[SourceImage]) -> NDArray[np.float64]:
    """p_defect (n,), as the line server would find it.

    Raises UnreadableImage.
    """
    return np.array([score(classifier, source.load()).p_defect for source in sources], np.float64)


def figures(
    p_defect: NDArray[np.float64], is_defect: NDArray[np.bool_], group: NDArray[Any], point: OperatingPoint
) -> dict[str, Any]:
    """What a card's metrics say under `test`: outcomes at one operating point, AUROC (None where a kind is missing).

    p_defect float (n,), is_defect bool (n,), group (n,): which part an image shows.
    """
    found = outcomes(p_defect, is_defect, group, point.pass_below, point.reject_from)
    try:
        auroc = auroc_interval(p_defect, is_defect, group, np.random.default_rng(0)).to_json()
    except OneSidedSample:
        auroc = None
    return {
        "images": len(p_defect),
        "escape": found.escape.to_json(),
        "overkill": found.overkill.to_json(),
        "recheck": found.recheck.to_json(),
        "auroc": auroc,
    }


def gate_answers(
    database: Database,
    images: ContentStore,
    product: str,
    sources: Sequence[SourceImage],
    candidate: GateInput,
    gates: Iterable[Gate],
) -> tuple[dict[str, Any], ...]:
    """The gates' answers to the candidate, beside the product's champion on the same images, which are `sources`.

    Each answer names that champion, because it holds only while that one decides.
    """
    with database.read() as connection:
        promotion = models.champions(connection).get(product)
        found = models.models_by_id(connection, [promotion.model_id]) if promotion else {}
    champion, against = None, None
    if promotion is not None:
        deciding = Classifier(images.get(found[promotion.model_id].sha256))
        champion = GateInput(file_scores(deciding, sources), candidate.is_defect, candidate.group, deciding.card)
        against = promotion.model_id
    return tuple({**asdict(gate(candidate, champion)), "champion": against} for gate in gates)
