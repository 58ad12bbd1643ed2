"""A small picture in any format."""

import cv2
import numpy as np

from models.preprocess import sniff
from service.bench.parts import Part


def painted(suffix: str = ".jpg", seed: int = 0) -> Part:
    """64 x 48 pixels of noise."""
    image = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    data = cv2.imencode(suffix, image)[1].tobytes()
    return Part(data, sniff(data) or "")
