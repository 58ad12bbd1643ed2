"""What is normal for one camera: where its signals lie, how they scatter and how far they wander."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from monitoring.features import LAYOUTS, Floats, Layout
from monitoring.saved import StateDamaged, packed, unpacked

_NORMAL_QUANTILES: Final = np.array([[0.6745], [1.6449]])  # of |N(0, 1)|, at 0.5 and 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A few consecutive images: median and robust image-to-image deviation of every measurement, float64 (n,)."""

    centre: Floats
    spread: Floats

    @classmethod
    def of(cls, measurements: Floats) -> Self:
        """Summarise measurements (images, n)."""
        centre = np.median(measurements, axis=0)
        # Half of the images may agree exactly while the rest jumps between positions: one quantile would miss that.
        scatter = np.quantile(np.abs(measurements - centre), (0.5, 0.9), axis=0) / _NORMAL_QUANTILES
        return cls(centre, scatter.max(axis=0))

    def state(self) -> list[str]:
        """JSON-serialisable, exact."""
        return [packed(self.centre), packed(self.spread)]

    @classmethod
    def from_state(cls, state: Sequence[Any], size: int) -> Self:
        """The block of `size` measurements that `state` was taken from. Raises `monitoring.saved.StateDamaged`."""
        centre, spread = (unpacked("a block", text, np.float64, size) for text in state)
        return cls(centre, spread)


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Centre, image-to-image deviation and half-width of normal wandering of every measurement, float64 (n,)."""

    layout: Layout
    centre: Floats
    spread: Floats
    band: Floats

    @classmethod
    def learnt(cls, layout: Layout, blocks: Sequence[Block], block_images: int, unseen: float) -> Self:
        """What the blocks of so many images saw; `unseen`, 0 to 1, is the share of a natural cycle that they missed."""
        centres = np.stack([block.centre for block in blocks])
        low, high, scatter = centres.min(axis=0), centres.max(axis=0), _scatter(layout, blocks)
        variance = centres.var(axis=0)
        # A median of few images scatters by itself, which is not wandering.
        chance = np.pi / 2 * scatter**2 / block_images
        wandering = np.sqrt(np.maximum(variance - chance, 0) / np.maximum(variance, 1e-300))
        # What wandered so far in so many blocks will wander a little further in many more.
        reach = wandering * ((high - low) / 2 + 0.5 * np.sqrt(variance))
        return cls(layout, (low + high) / 2, scatter, reach + unseen * layout.widths("unseen_wander"))

    @classmethod
    def provisional(cls, layout: Layout, blocks: Sequence[Block]) -> Self:
        """Centred on the first blocks, with a band as wide as what nobody would call normal."""
        centre = np.median(np.stack([block.centre for block in blocks]), axis=0)
        return cls(layout, centre, _scatter(layout, blocks), layout.widths("gross_change"))

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {
            "layout": self.layout.name,
            "centre": packed(self.centre),
            "spread": packed(self.spread),
            "band": packed(self.band),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The baseline that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        layout = LAYOUTS[state["layout"]]
        widths = (unpacked(name, state[name], np.float64, layout.size) for name in ("centre", "spread", "band"))
        centre, spread, band = widths
        if spread.min() <= 0 or band.min() < 0:
            raise StateDamaged("a baseline without width")
        return cls(layout, centre, spread, band)


def _scatter(layout: Layout, blocks: Sequence[Block]) -> Floats:
    spread = np.median(np.stack([block.spread for block in blocks]), axis=0)
    # A still picture scatters less than the least that ever matters, and limits must not be zero.
    return np.asarray(np.maximum(spread, layout.widths("smallest_spread")))
