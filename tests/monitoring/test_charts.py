"""The charts, computed side by side, against the same charts one at a time from the detectors and the definitions."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.baseline import CELLS, FEATURES, Baseline, Block, least_jump, measure, per_measurement, relative
from monitoring.charts import CHARTS, JUMPS, Charts
from monitoring.detectors.cusum import Cusum
from monitoring.detectors.ewma import Ewma
from monitoring.saved import StateDamaged
from tests.monitoring.line_light import Picture, stream

Floats = NDArray[np.float64]


def bright(picture: Picture) -> Picture:
    return 1.06 * picture


SIGNATURES = stream(1, 200) + stream(2, 20, bright) + stream(3, 60)
MEASUREMENTS = [measure(signature) for signature in SIGNATURES]
BLOCKS = [Block.of(np.stack(MEASUREMENTS[first : first + 10])) for first in range(0, 60, 10)]


def charts() -> Charts:
    return Charts(Baseline.learnt(BLOCKS, 0.5), np.linspace(1, 1.5, len(JUMPS)))


def plain_relative(deviation: Floats) -> Floats:
    cells = deviation[..., CELLS]
    common = np.median(cells, axis=-1, keepdims=True)
    return np.concatenate([deviation[..., : CELLS.start], cells - common], axis=-1)


class PlainCharts:
    """Every chart by itself, as its definition reads."""

    def __init__(self, baseline: Baseline, limits: Floats) -> None:
        self.baseline = baseline
        recent = (0.4 / 1.6) ** 0.5 * baseline.spread
        self.jump_reach = np.maximum(5 * recent, least_jump()) * per_measurement(limits)
        self.band_reach = np.concatenate([baseline.spread[: CELLS.start], 5 * recent[CELLS]])
        self.jumps = [Ewma(0.4, self.jump_reach[n] / recent[n]) for n in range(len(FEATURES))]
        self.bands = [Cusum(baseline.band[n] / baseline.spread[n] + 1, 10.0) for n in range(len(FEATURES))]
        self.slow, self.seen = baseline.centre, 0
        self.jump_level = self.band_level = np.zeros_like(baseline.centre)

    def update(self, measurement: Floats) -> Floats:
        self.seen += 1
        if self.seen <= 30:
            self.slow = self.slow + (measurement - self.slow) / self.seen
            self.jump_level = np.zeros_like(self.slow)
            for chart in self.jumps:
                chart.reset()
        deviation, spread = measurement - self.slow, self.baseline.spread
        offset = plain_relative(measurement - self.baseline.centre)
        outside = offset - np.clip(offset, -self.baseline.band, self.baseline.band)
        most = 0.55 / 0.4
        jump = np.clip(plain_relative(deviation) / self.jump_reach, -most, most)
        band = np.clip(outside / self.band_reach, -most, most)
        self.jump_level = self.jump_level + 0.4 * (jump - self.jump_level)
        self.band_level = self.band_level + 0.4 * (band - self.band_level)
        self.slow = self.slow + np.clip(deviation, -4 * spread, 4 * spread) / min(self.seen, 300)
        standardised = ((measurement - self.baseline.centre) / spread).tolist()
        return np.array(
            [
                *(chart.update(value) for chart, value in zip(self.jumps, deviation / spread, strict=False)),
                np.abs(self.jump_level[CELLS]).max(),
                *(chart.update(value) for chart, value in zip(self.bands, standardised, strict=False)),
                np.abs(self.band_level[CELLS]).max(),
            ]
        )


def test_charts_side_by_side_are_the_charts_one_by_one() -> None:
    together = charts()
    apart = PlainCharts(together.baseline, together.limits)
    ratios = np.array([together.update(measurement) for measurement in MEASUREMENTS])
    assert ratios == pytest.approx(np.array([apart.update(measurement) for measurement in MEASUREMENTS]), rel=1e-12)
    # The stream has to reach what it is to tell apart: limits, caps and dead bands.
    assert ratios.shape == (len(MEASUREMENTS), len(CHARTS))
    assert ratios.max() > 1 > ratios[:200].max() > 0


def test_watching_signatures_gives_what_their_measurements_give_and_notes_who_is_quiet() -> None:
    watched, updated = charts(), charts()
    last_quiet = np.full(len(CHARTS), -1)
    expected = last_quiet.copy()
    measurement = np.empty(CELLS.stop)
    unquiet = 0
    for image, signature in enumerate(SIGNATURES):
        exact, rounded = watched.watch(signature, measurement, last_quiet, image)
        ratios = updated.update(MEASUREMENTS[image])
        assert (measurement == MEASUREMENTS[image]).all()
        assert (exact == ratios).all()
        assert (rounded == ratios.round(4)).all()
        assert watched.worst == updated.worst == ratios.max()
        if ratios.max() <= 1:
            expected[ratios < 0.35] = image
        assert (last_quiet == expected).all()
        unquiet += int((last_quiet < image).sum())
    assert watched.state() == updated.state()
    assert unquiet > 0


@pytest.mark.parametrize("patience", [1.0, 2.5, float("inf")])
def test_levels_are_the_averages_alone_and_teach_nothing(patience: float) -> None:
    together = charts()
    for measurement in MEASUREMENTS[:100]:
        together.update(measurement)
    apart = PlainCharts(together.baseline, together.limits)
    for measurement in MEASUREMENTS[:100]:
        apart.update(measurement)
    taught = together.state()["slow"]
    most = 0.55 / 0.4
    for measurement in MEASUREMENTS[200:230]:
        exact, rounded = together.levels(measurement, patience)
        offset = plain_relative(measurement - apart.baseline.centre)
        outside = offset - np.clip(offset, -apart.baseline.band, apart.baseline.band)
        jump = np.clip(plain_relative(measurement - apart.slow) / (apart.jump_reach * patience), -most, most)
        band = np.clip(outside / apart.band_reach, -most, most)
        apart.jump_level = apart.jump_level + 0.4 * (jump - apart.jump_level)
        apart.band_level = apart.band_level + 0.4 * (band - apart.band_level)
        levels = [np.abs(level) for level in (apart.jump_level, apart.band_level)]
        expected = np.concatenate([[*level[: CELLS.start], level[CELLS].max()] for level in levels])
        assert exact == pytest.approx(expected, rel=1e-12)
        assert (rounded == exact.round(4)).all()
        assert together.worst == exact.max()
    assert together.state()["slow"] == taught


def test_a_number_that_is_none_is_the_worst() -> None:
    watched = charts()
    for measurement in MEASUREMENTS[:50]:
        watched.update(measurement)
    broken = MEASUREMENTS[50].copy()
    broken[4] = np.nan
    assert np.isnan(watched.update(broken)).any()
    assert np.isnan(watched.worst)


def test_what_is_common_to_the_cells_is_their_median() -> None:
    deviations = np.random.default_rng(2).normal(0, 1, (5, 3, CELLS.stop))
    before = deviations.copy()
    assert (relative(deviations) == plain_relative(deviations)).all()
    assert (deviations == before).all()


def test_lean_is_right_over_left_and_bottom_over_top() -> None:
    measurement = measure(stream(1, 1)[0])
    light = measurement[CELLS].reshape(8, 8)
    assert measurement[6] == pytest.approx(light[:, 4:].mean() - light[:, :4].mean(), abs=1e-12)
    assert measurement[7] == pytest.approx(light[4:].mean() - light[:4].mean(), abs=1e-12)


def test_a_copy_and_a_restored_state_go_their_own_way_from_there() -> None:
    first = charts()
    for measurement in MEASUREMENTS[:150]:
        first.update(measurement)
    second, third = first.copy(), Charts.from_state(json.loads(json.dumps(first.state())))
    kept = first.state()
    expected = [second.update(measurement).tolist() for measurement in MEASUREMENTS[150:]]
    assert first.state() == kept
    assert [third.update(measurement).tolist() for measurement in MEASUREMENTS[150:]] == expected
    assert third.state() == second.state() != kept


@pytest.mark.parametrize(
    ("field", "damage"),
    [
        ("slow", [0.0]),
        ("recent", [float("nan")] * CELLS.stop),
        ("jump_level", ["0.5"] * CELLS.stop),
        ("limits", [1.0] * 8),
        ("seen", -1),
        ("slow", [1e300] * CELLS.stop),
        ("limits", [0.0] * len(JUMPS)),
        ("jumps", []),
        ("bands", [{"dead_band": 1.0, "limit": float("inf"), "above": 0.0, "below": 0.0}] * len(FEATURES)),
        ("baseline", {name: [0.0] * CELLS.stop for name in ("centre", "spread", "band")}),
    ],
)
def test_damaged_state_is_refused(field: str, damage: object) -> None:
    with pytest.raises(StateDamaged) as refused:
        Charts.from_state({**charts().state(), field: damage})
    assert refused.value.what
    assert refused.value.remedy
