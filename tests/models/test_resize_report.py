import numpy as np
import pytest
import torch

from models.resize_report import RESIZERS, resize_effect


@pytest.mark.parametrize("shape", [(97, 143), (48, 64), (20, 30)])
def test_antialias_is_that_of_torch(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), (32, 40), mode="bilinear", antialias=True
    )
    found = RESIZERS["antialias"](pixels, 32, 40).astype(float)
    # Rounded after each direction, as Pillow does on uint8: one level beside torch's, which rounds nothing.
    assert np.abs(found - expected[0].permute(1, 2, 0).numpy()).max() <= 1.01


def test_changed_verdicts_are_counted_with_their_interval() -> None:
    own, other = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0.1, 0.6, 0.6, 0.95])
    effect = resize_effect(own, other, np.arange(4), 0.5, 0.5)
    assert (effect.changed, effect.images, effect.share.n) == (1, 4, 4)
    assert effect.largest_change == pytest.approx(0.2)
    assert effect.share.low == pytest.approx(0.0063, abs=1e-4)  # Clopper-Pearson, 1 of 4
    assert effect.share.high == pytest.approx(0.8059, abs=1e-4)
