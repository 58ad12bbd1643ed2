"""One view from bytes to a score: decode, cut, infer, pool; what serving, challenges and evaluation share."""

from models.classifier import Classifier, ViewScore, pool
from models.preprocess import Frame, prepare


def score(classifier: Classifier, frame: Frame) -> ViewScore:
    """The score of a view.

    Raises UnreadableImage.
    """
    prepared = prepare(frame, classifier.card.geometry)
    return pool(classifier.predict(prepared.tiles), classifier.card)
