"""What a stranger's graph expects around it: which pixels it wants, and what its scores still lack."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.preprocess import Pixels

LAYOUTS = ("nchw", "nhwc")
COLOURS = ("rgb", "bgr", "grey")
ACTIVATIONS = ("softmax", "sigmoid", "none")

Floats = NDArray[np.float32]


class CannotWrap(ValueError):
    """The graph can't be made into a model file as it was described."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}")


@dataclass(frozen=True, slots=True)
class Convention:
    """How a graph wants its pixels and gives its scores: (pixel / scale - mean) / std, and what follows its output.

    mean, std: one number, or one a channel in the graph's own order. layout, colour, activation: of LAYOUTS, COLOURS,
    ACTIVATIONS; none where the output is probabilities already.

    Raises CannotWrap.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 255.0
    layout: str = "nchw"
    colour: str = "rgb"
    activation: str = "softmax"

    def __post_init__(self) -> None:
        """Refuse what no graph can mean."""
        for name, value, known in (
            ("layout", self.layout, LAYOUTS),
            ("colour", self.colour, COLOURS),
            ("activation", self.activation, ACTIVATIONS),
        ):
            if value not in known:
                raise CannotWrap(f"the {name} {value!r} is unknown", f"name one of {', '.join(known)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise CannotWrap(
                    f"{name} has {len(values)} numbers, colour {self.colour} needs {self.channels}",
                    "give one number" + (f", or {self.channels}" if self.channels > 1 else ""),
                )
        numbers = (*self.mean, *self.std, self.scale)
        if not np.isfinite(numbers).all() or min(*self.std, self.scale) <= 0:
            raise CannotWrap(
                f"mean {self.mean}, std {self.std} and scale {self.scale} can't be applied",
                "give finite numbers, std and scale above 0",
            )

    @property
    def channels(self) -> int:
        """That the graph sees."""
        return 1 if self.colour == "grey" else 3

    @property
    def changes_values(self) -> bool:
        """Whether pixels are scaled or shifted at all."""
        return self.scale != 1 or any(self.mean) or any(one != 1 for one in self.std)

    def apply(self, images: Pixels) -> Floats:
        """uint8 (N, H, W, 3) RGB -> what the graph wants, float32, in plain numpy."""
        if self.colour == "grey":
            grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
            values = grey[..., None].astype(np.float32)
        else:
            values = (images[..., ::-1] if self.colour == "bgr" else images).astype(np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (values / np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if self.layout == "nchw" else values)

    def probabilities(self, scores: Floats) -> Floats:
        """The graph's output (N, K) -> class probabilities (N, max(K, 2)), in plain numpy.

        One column is the probability of the second class. Independent ones are divided by their sum where that is
        above 1; where it is below, what is missing counts as defect.
        """
        values = scores.astype(np.float64)
        if self.activation == "softmax":
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values = values / values.sum(axis=1, keepdims=True)
        elif self.activation == "sigmoid":
            values = 1.0 / (1.0 + np.exp(-values))
        if values.shape[1] == 1:
            values = np.concatenate([1.0 - values, values], axis=1)
        elif self.activation != "softmax":
            values = values / np.maximum(values.sum(axis=1, keepdims=True), 1.0)
        return values.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "scale": self.scale,
            "layout": self.layout,
            "colour": self.colour,
            "activation": self.activation,
        }
