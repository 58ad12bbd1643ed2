"""A tiny convolutional backbone with fixed random weights: for tests and for measuring the server, not for accuracy."""

import torch
from torch import Tensor, nn

CHANNELS = (16, 32, 48, 64, 96)
SEED = 20240


class SmallCnn(nn.Module):
    """Backbone: float RGB (N, 3, H, W) in 0..255, H and W multiples of 32 -> maps at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *CHANNELS[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in zip(inputs, CHANNELS, strict=True)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Five stride-2 convolutions; the last three maps are returned."""
        maps = (images - 127.5) / 127.5
        outputs = []
        for layer in self.layers:
            maps = nn.functional.relu(layer(maps))
            outputs.append(maps)
        return outputs[2], outputs[3], outputs[4]


def seeded_small_cnn() -> SmallCnn:
    """The backbone in evaluation mode; the same weights on every call, without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return SmallCnn().eval()
