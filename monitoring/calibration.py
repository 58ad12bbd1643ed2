"""Limits that alarm as rarely as wanted, and how rarely that has been seen to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from scipy.special import betaincinv

from monitoring.features import Floats
from monitoring.saved import count, number

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Calibration:
    """Limits of a camera's charts, and the false-alarm rate seen on images that set neither baseline nor limits.

    limits        multiple of each chart's nominal limit, at least 1, as `monitoring.charts.Charts` takes them
    images        how many images checked the limits
    alarms        how many runs of them alarmed
    rate_per_10k  alarms per 10 000 images
    low, high     95 % Clopper-Pearson interval of `rate_per_10k`
    """

    limits: tuple[float, ...]
    images: int
    alarms: int
    rate_per_10k: float
    low: float
    high: float

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The calibration that `dataclasses.asdict` and JSON made `state` of.

        Raises `monitoring.saved.StateDamaged`.
        """
        limits = tuple(number("limits", limit) for limit in state["limits"])
        images, alarms = count("images", state["images"]), count("alarms", state["alarms"])
        rate, low, high = (number(name, state[name]) for name in ("rate_per_10k", "low", "high"))
        return cls(limits, images, alarms, rate, low, high)


def calibrate(peaks: Floats, block_images: int, alarms_per_10k: float, margin: Floats | float = 1.1) -> Calibration:
    """Set limits from the charts' peaks (blocks, charts) over held-out blocks of `block_images`, nominal limit 1.

    A peak that was not measured is NaN. Limits are `margin`, a number or (charts,), times what the peaks ask for.
    Limits from the older half of the blocks are checked on the newer half; the limits given back use both.
    """
    older = peaks[: (len(peaks) + 1) // 2]
    newer = peaks[len(older) :]
    checked = _limits(older, block_images, alarms_per_10k, margin)
    alarms = int((newer > checked).any(axis=1).sum())
    images = len(newer) * block_images
    low, high = clopper_pearson(alarms, images)
    limits = np.maximum(checked, _limits(peaks, block_images, alarms_per_10k, margin))
    rate = alarms / images if images else 0.0
    return Calibration(tuple(limits.tolist()), images, alarms, 1e4 * rate, 1e4 * low, 1e4 * high)


def _limits(peaks: Floats, block_images: int, alarms_per_10k: float, margin: Floats | float) -> Floats:
    """Level of each chart that a block's peak exceeds at its share of the wanted rate.

    Peaks of many correlated images follow a Gumbel law, whatever the chart; it is fitted by moments (Gumbel 1958).
    """
    share = min(0.5, alarms_per_10k / 1e4 * block_images / peaks.shape[1])
    found = np.ones(peaks.shape[1])
    for chart, column in enumerate(peaks.T):
        known = column[~np.isnan(column)]
        if known.size == 0:
            continue
        scale = known.std() * np.sqrt(6) / np.pi
        location = known.mean() - np.euler_gamma * scale
        wanted = location - scale * np.log(-np.log1p(-share))
        # A fit to few blocks errs by about one over their root; erring upwards costs an image of delay, not an alarm.
        unsure = 1 + 1 / np.sqrt(known.size)
        found[chart] = max(unsure * wanted, known.max())
    return np.asarray(np.maximum(1.0, margin * found))


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934); all of [0, 1] where nothing was tried.

    >>> [round(bound, 4) for bound in clopper_pearson(4, 20)]
    [0.0573, 0.4366]
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high
