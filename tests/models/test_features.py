from pathlib import Path

import cv2
import numpy as np
import pytest

from models.architectures import ARCHITECTURES
from models.features import FeatureCache, SourceImage, extract
from models.preprocess import Frame, Geometry

GEOMETRY = Geometry(64, 64)


def image(seed: int, reads: list[int] | None = None) -> SourceImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()

    def load() -> Frame:
        if reads is not None:
            reads.append(seed)
        return Frame(data, "image/png")

    return SourceImage(f"{seed:064x}", load)


def test_batches_do_not_change_features() -> None:
    images = [image(seed) for seed in range(20)]
    together = extract(images, "small_cnn", GEOMETRY)
    assert together.shape == (20, 1, 2 * (48 + 64 + 96))
    assert together[17] == pytest.approx(extract(images[17:18], "small_cnn", GEOMETRY)[0], abs=1e-3)


def test_cached_images_are_not_read_again(tmp_path: Path) -> None:
    reads: list[int] = []
    images = [image(seed, reads) for seed in range(3)]
    cache = FeatureCache(tmp_path, "small_cnn", GEOMETRY)
    first = extract(images[:2], "small_cnn", GEOMETRY, cache=cache)
    second = extract(images, "small_cnn", GEOMETRY, cache=cache)
    assert reads == [0, 1, 2]
    assert (first == second[:2]).all()
    assert not list(tmp_path.rglob("*.part"))


def test_another_geometry_or_architecture_has_its_own_cache(tmp_path: Path) -> None:
    folders = {
        FeatureCache(tmp_path, name, geometry).folder
        for name in ("small_cnn", "efficientnet_lite0")
        for geometry in (GEOMETRY, Geometry(64, 96), Geometry(64, 64, tile_rows=2))
    }
    assert len(folders) == 6


def test_a_damaged_cache_file_is_made_again(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "small_cnn", GEOMETRY)
    expected = extract([image(0)], "small_cnn", GEOMETRY, cache=cache)
    (file,) = cache.folder.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert (extract([image(0)], "small_cnn", GEOMETRY, cache=cache) == expected).all()


def test_tiles_and_progress() -> None:
    seen: list[tuple[int, int]] = []
    features = extract(
        [image(seed) for seed in range(6)],
        "small_cnn",
        Geometry(32, 32, tile_rows=2, tile_cols=3),
        progress=lambda done, of: seen.append((done, of)),
    )
    assert features.shape[:2] == (6, 6)
    assert seen == [(2, 6), (4, 6), (6, 6)]


def test_a_size_that_the_backbone_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        extract([image(0)], next(iter(ARCHITECTURES)), Geometry(50, 64))
