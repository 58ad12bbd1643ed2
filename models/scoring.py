"""One view from pixels to a score: infer and pool; what serving, challenges and evaluation share."""

from models.classifier import Classifier, ViewScore, pool
from models.preprocess import Frame, Prepared, prepare


def score_prepared(classifier: Classifier, prepared: Prepared) -> ViewScore:
    """The score of a view that is decoded and cut already."""
    return pool(classifier.predict(prepared.tiles), classifier.card)


def score(classifier: Classifier, frame: Frame) -> ViewScore:
    """The score of a view.

    Raises UnreadableImage.
    """
    return score_prepared(classifier, prepare(frame, classifier.card.geometry))
