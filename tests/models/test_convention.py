from dataclasses import replace
from typing import Any

import pytest

from models.convention import CannotWrap, Convention

IMAGENET = Convention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": "chwn"}, "nchw, nhwc"),
        ({"colour": "cmyk"}, "rgb, bgr, grey"),
        ({"activation": "relu"}, "softmax, sigmoid, none"),
        ({"mean": (0.5, 0.5)}, "one number, or 3"),
        ({"colour": "grey"}, "colour grey needs 1; give one number$"),
        ({"std": (1.0, 0.0, 1.0)}, "above 0"),
        ({"std": (float("nan"),)}, "finite"),
        ({"scale": -1.0}, "above 0"),
    ],
)
def test_a_wrong_convention_says_what_is_possible(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CannotWrap, match=said):
        replace(IMAGENET, **change)
