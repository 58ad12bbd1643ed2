"""One view from pixels to a score: infer, pool, locate; what serving, challenges and evaluation share."""

from dataclasses import replace

from models.classifier import Scorer, ViewScore, pool
from models.preprocess import Frame, Prepared, prepare
from models.regions import find_regions


def score_prepared(classifier: Scorer, prepared: Prepared) -> ViewScore:
    """The score of a view that is decoded and cut already."""
    scores = classifier.predict(prepared.tiles)
    view = pool(scores, classifier.card)
    if scores.defect_map is None:
        return view
    regions = find_regions(scores.defect_map, classifier.card.geometry, prepared.width, prepared.height)
    return replace(view, regions=tuple(regions))


def score(classifier: Scorer, frame: Frame) -> ViewScore:
    """The score of a view.

    Raises UnreadableImage.
    """
    return score_prepared(classifier, prepare(frame, classifier.card.geometry))
