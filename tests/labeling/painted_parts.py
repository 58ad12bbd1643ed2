"""A folder of small painted parts, a class a sub folder; no two pictures are alike."""

from pathlib import Path

import cv2
import numpy as np

SIDE_PX = 64


def paint(folder: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Writes counts[class] PNG files for each class; everything but `good` has a bright line across it."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            pixels = rng.integers(70, 90, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
            if name != "good":
                row = int(rng.integers(8, SIDE_PX - 8))
                pixels[row : row + 4] = 250
            assert cv2.imwrite(str(folder / name / f"{seed}-{n:03d}.png"), pixels)
    return folder
