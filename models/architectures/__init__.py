"""ARCHITECTURES: name -> factory of a torch backbone in evaluation mode.

A backbone maps float RGB (N, 3, H, W) in 0..255, with H and W multiples of STRIDE, to three feature maps at strides
8, 16 and 32. It normalises its input itself, so that nothing about pixels has to be kept beside the model file.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from models.architectures.efficientnet_lite import pretrained_efficientnet_lite
from models.architectures.small_cnn import seeded_small_cnn

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "efficientnet_lite0": partial(pretrained_efficientnet_lite, 0),
    "efficientnet_lite1": partial(pretrained_efficientnet_lite, 1),
    "efficientnet_lite2": partial(pretrained_efficientnet_lite, 2),
    "small_cnn": seeded_small_cnn,
}
STRIDE = 32
