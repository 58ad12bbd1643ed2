"""Every chart by itself as its definition reads, from the detectors and numpy: what the compiled ones are held to."""

from typing import Any

import numpy as np

from monitoring import charts, steps
from monitoring.baseline import Baseline
from monitoring.detectors.cusum import Cusum
from monitoring.detectors.ewma import Ewma
from monitoring.features import Floats

QUICK_IMAGES, LEARNING_SPREADS = 30, 4.0
MOST_LEVEL, MOST_DRIFT = 0.55, 1.2


def deviation(weight: Any) -> Any:
    """Of an average with this weight of the newest value (Roberts 1959)."""
    return np.sqrt(weight / (2 - weight))


def unsure(weight: float, images: int) -> float:
    """A baseline of so many images has a variance of its own, which the average does not average out."""
    return float(np.sqrt(deviation(weight) ** 2 + 1 / images) / deviation(weight))


class PlainCharts:
    """Fed one measurement an image: `update` while nothing stands, `stand` while an alarm does."""

    def __init__(self, baseline: Baseline, limits: Floats, own: Floats) -> None:
        layout = baseline.layout
        self.layout, self.baseline, self.features = layout, baseline, len(layout.features)
        charted, spread = len(layout.charted), baseline.spread
        still = np.array([of.still for of in layout.charted])[layout.places]
        jumps, drifts = limits[:charted][layout.places] * own[0], limits[charted:-1][layout.places]
        is_cell = np.arange(layout.size) >= self.features
        self.weight = np.where(is_cell, steps.CELL_WEIGHT, steps.LONG_WEIGHT)
        least = layout.widths("least_jump")
        width = np.where(still, charts._WIDTH, charts._MOVING_WIDTH)
        recent = deviation(steps.RECENT_WEIGHT) * spread
        self.jump = np.maximum(width * recent, charts._JUMP_SHARE * least) * jumps
        self.sudden = np.where(still, np.maximum(charts._SUDDEN_WIDTH * spread, least) * jumps, np.inf)
        self.cap = np.where(still, np.inf, charts._CAP * self.jump / steps.RECENT_WEIGHT)
        width = np.where(still, charts._DRIFT_WIDTH, charts._MOVING_WIDTH)
        slowly = np.maximum(width * deviation(self.weight) * spread, layout.widths("least_drift")) * own[1]
        self.drift = slowly * drifts
        self.beyond = charts._LASTING * slowly
        self.long_cap = np.where(still, np.inf, steps.MOST_LONG * self.drift / self.weight)
        self.most_square = charts._FLICKER * limits[-1]
        self.square_cap = charts._MOST_SQUARE if still[0] else charts._MOST_MOVING_SQUARE
        self.seen, self.square, self.previous = 0, 0.0, 0.0
        self.slow, self.quick = baseline.centre.copy(), baseline.centre.copy()
        self.level, self.lasting, self.outside = np.zeros((3, layout.size))
        self.jumps = [self._average(n) for n in range(self.features)]
        self.sums = [self._sum(n, bool(still[n])) for n in range(self.features)]

    def _average(self, n: int) -> Ewma:
        average = Ewma(steps.RECENT_WEIGHT, self.jump[n] / (deviation(steps.RECENT_WEIGHT) * self.baseline.spread[n]))
        average.cap = self.cap[n] / self.baseline.spread[n]
        return average

    def _sum(self, n: int, still: bool) -> Cusum:
        found = Cusum(self.baseline.band[n] / self.baseline.spread[n] + 1, charts._DECISION)
        found.cap = charts._DECISION if still else charts._SUM_CAP
        return found

    def update(self, measurement: Floats) -> Floats:
        self.seen += 1
        settles = self.seen <= steps.SETTLE_IMAGES
        if settles:
            self.slow = self.slow + (measurement - self.slow) / self.seen
            self.quick = self.slow.copy()
            self.level, self.lasting = np.zeros((2, self.layout.size))
            for average in self.jumps:
                average.reset()
        quick, slow = min(self.seen, QUICK_IMAGES), min(self.seen, steps.SLOW_IMAGES)
        spread, features = self.baseline.spread, self.features
        sudden = np.abs(measurement - self.quick)[:features] / self.sudden[:features] / unsure(1.0, quick)
        averages = [
            average.update(0.0 if settles else value) / unsure(steps.RECENT_WEIGHT, quick)
            for average, value in zip(self.jumps, ((measurement - self.quick) / spread)[:features], strict=True)
        ]
        local = np.zeros_like(measurement) if settles else measurement - self.slow
        self.level = self.level + steps.RECENT_WEIGHT * (np.clip(local, -self.cap, self.cap) - self.level)
        cells = np.abs(self.level) / self.jump / unsure(steps.RECENT_WEIGHT, slow)
        jumps = np.concatenate([np.maximum(averages, 0.0 if settles else sudden), cells[features:]])

        lasting = np.clip(measurement - self.slow, -self.long_cap, self.long_cap)
        self.lasting = self.lasting + self.weight * (lasting - self.lasting)
        widened = np.array([unsure(weight, slow) for weight in (steps.LONG_WEIGHT, steps.CELL_WEIGHT)])
        is_cell = (np.arange(self.layout.size) >= features).astype(int)
        drifts = np.abs(self.lasting) / self.drift / widened[is_cell]

        offset = measurement - self.baseline.centre
        sums = [chart.update(value) for chart, value in zip(self.sums, (offset / spread)[:features], strict=True)]
        band = self.baseline.band
        most = steps.MOST_LONG / steps.CELL_WEIGHT
        beyond = np.clip((offset - np.clip(offset, -band, band)) / self.beyond, -most, most)
        self.outside = self.outside + steps.CELL_WEIGHT * (beyond - self.outside)
        bands = np.concatenate([sums, np.abs(self.outside)[features:]])

        flicker = self._flicker(measurement, new=self.seen == 1)
        reach = LEARNING_SPREADS * spread
        self.slow = self.slow + np.clip(measurement - self.slow, -reach, reach) / slow
        self.quick = self.quick + np.clip(measurement - self.quick, -reach, reach) / quick
        return self._worst(jumps, drifts, bands, flicker)

    def stand(self, measurement: Floats, patience: float) -> Floats:
        """From `level` and `lasting` alone, which the averages of the features must have been copied to."""
        jump, drift = self.jump * patience, self.drift * patience
        local = measurement - self.slow
        most = MOST_LEVEL / steps.RECENT_WEIGHT
        self.level = self.level + steps.RECENT_WEIGHT * (np.clip(local, -most * jump, most * jump) - self.level)
        capped = np.clip(local, -MOST_DRIFT * drift, MOST_DRIFT * drift)
        self.lasting = self.lasting + self.weight * (capped - self.lasting)
        offset, band = measurement - self.baseline.centre, self.baseline.band
        limit = np.where(np.arange(self.layout.size) >= self.features, self.jump, self.baseline.spread)
        beyond = np.clip((offset - np.clip(offset, -band, band)) / limit, -most, most)
        self.outside = self.outside + steps.RECENT_WEIGHT * (beyond - self.outside)
        levels = np.abs(self.level) / jump, np.abs(self.lasting) / drift, np.abs(self.outside)
        return self._worst(*levels, self._flicker(measurement))

    def reset(self) -> None:
        """Forget what has been added up, as when an alarm was raised."""
        self.level, self.lasting, self.outside = np.zeros((3, self.layout.size))
        self.square = 0.0
        for jump, added in zip(self.jumps, self.sums, strict=True):
            jump.reset()
            added.reset()

    def _flicker(self, measurement: Floats, *, new: bool = False) -> float:
        step = 0.0 if new else float(measurement[0]) - self.previous
        self.previous = float(measurement[0])
        square = step**2 / (2 * float(self.baseline.spread[0]) ** 2)
        self.square += steps.SQUARE_WEIGHT * (min(square, self.square_cap) - self.square)
        return float(self.square / self.most_square)

    def _worst(self, jumps: Floats, drifts: Floats, bands: Floats, flicker: float) -> Floats:
        """Every chart: of the cells of a map the worst one."""
        of = [self.layout.places == n for n in range(len(self.layout.charted))]
        return np.array([*(kind[where].max() for kind in (jumps, drifts, bands) for where in of), flicker])
