"""Pooled features of a frozen backbone, and a cache of them on disk.

The extractor starts from uint8 tiles, so the very same module goes into the exported graph.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.architectures import ARCHITECTURES, STRIDE
from models.preprocess import Frame, Geometry, prepare

POOLING_VERSION = 1
BATCH_TILES = 16

Progress = Callable[[int, int], None]


class FeatureExtractor(nn.Module):
    """uint8 (N, H, W, 3) RGB -> float32 (N, D): mean and maximum of the backbone's maps at strides 8, 16 and 32.

    The mean says what a surface looks like, the maximum whether there is anything on it, however small.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Cast, extract and pool."""
        maps = self.backbone(images.permute(0, 3, 1, 2).float())
        pools = [pool for one in maps for pool in (one.mean((2, 3)), one.amax((2, 3)))]
        return torch.cat(pools, dim=1)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image to take features of: how to name it in the cache, and how to get its bytes when it is not there."""

    sha256: str
    load: Callable[[], Frame]


class FeatureCache:
    """Features on disk, one .npy an image, in a folder per architecture and geometry; several may write at once."""

    def __init__(self, folder: Path, architecture: str, geometry: Geometry) -> None:
        key = json.dumps([architecture, geometry.to_json(), POOLING_VERSION], sort_keys=True)
        self.folder = folder / f"{architecture}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def read(self, sha256: str) -> NDArray[np.float32] | None:
        """float32 (T, D), or None where there is none or the file is damaged (a damaged one is simply made again)."""
        try:
            return cast(NDArray[np.float32], np.load(self.folder / f"{sha256}.npy", allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None

    def write(self, sha256: str, features: NDArray[np.float32]) -> None:
        """Store float32 (T, D); readers see the whole file or none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            np.save(file, features)
        Path(file.name).replace(self.folder / f"{sha256}.npy")


def build_extractor(architecture: str) -> FeatureExtractor:
    """The extractor of an architecture, in evaluation mode.

    Raises:
        KeyError: no such architecture.
    """
    return FeatureExtractor(ARCHITECTURES[architecture]()).eval()


def extract(
    images: Sequence[SourceImage],
    architecture: str,
    geometry: Geometry,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Features float32 (n, T, D) of n images; progress is called with (done, n).

    Raises:
        ValueError: the tile size is no multiple of the backbone's stride.
        UnreadableImage: from the first image that cannot be decoded.
    """
    if geometry.height % STRIDE or geometry.width % STRIDE:
        raise ValueError(
            f"tiles of {geometry.height} × {geometry.width} pixels; both sides must be multiples of {STRIDE}"
        )
    found = [None if cache is None else cache.read(image.sha256) for image in images]
    missing = [index for index, features in enumerate(found) if features is None]
    done = len(images) - len(missing)
    if progress is not None and done:
        progress(done, len(images))
    if missing:
        extractor = build_extractor(architecture)
        for batch in _batches(missing, max(1, BATCH_TILES // geometry.tiles)):
            for index, features in zip(batch, _extract_batch(images, batch, extractor, geometry), strict=True):
                found[index] = features
                if cache is not None:
                    cache.write(images[index].sha256, features)
            done += len(batch)
            if progress is not None:
                progress(done, len(images))
    return np.stack([features for features in found if features is not None])


def _batches(indices: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _extract_batch(
    images: Sequence[SourceImage], batch: list[int], extractor: FeatureExtractor, geometry: Geometry
) -> NDArray[np.float32]:
    tiles = np.concatenate([prepare(images[index].load(), geometry).tiles for index in batch])
    with torch.inference_mode():
        features = extractor(torch.from_numpy(tiles)).numpy()
    return cast(NDArray[np.float32], features.reshape(len(batch), geometry.tiles, -1))
