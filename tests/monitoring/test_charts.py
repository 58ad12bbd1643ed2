"""The charts, computed side by side, against the same charts one at a time from the detectors and the definitions."""

import json
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring import steps
from monitoring.baseline import Baseline, Block
from monitoring.charts import Charts, calibrated_charts
from monitoring.features import FRAME, LAYOUTS, SCENE, Floats, Layout
from monitoring.saved import StateDamaged, packed
from monitoring.scene import Scene
from monitoring.signals import measure, signature
from tests.monitoring.line_light import (
    Change,
    Pixels,
    dimmed,
    flickering,
    grainy,
    moved,
    soiled,
    stream,
    weak_at,
)
from tests.monitoring.plain_charts import PlainCharts

BLOCK = 10


@cache
def scene() -> Scene:
    found = Scene.learn(stream(1, 40))
    assert found is not None
    return found


def measured(layout: Layout, images: list[Pixels]) -> list[Floats]:
    if layout is SCENE:
        return [scene().measure(image) for image in images]
    return [measure(signature(image)) for image in images]


@cache
def _normal(name: str) -> tuple[Floats, ...]:
    return tuple(measured(LAYOUTS[name], stream(1, 260, kind="fixture" if name == "scene" else "web")))


def normal(layout: Layout) -> list[Floats]:
    return list(_normal(layout.name))


def changed(layout: Layout, change: Change, count: int = 20) -> list[Floats]:
    return measured(layout, stream(2, count, change, kind="fixture" if layout is SCENE else "web"))


@cache
def _baseline(name: str) -> Baseline:
    found = [Block.of(np.stack(_normal(name)[first : first + BLOCK])) for first in range(0, 60, BLOCK)]
    return Baseline.learnt(LAYOUTS[name], found, BLOCK, 0.5)


def charts(layout: Layout) -> Charts:
    own = np.random.default_rng(0).uniform(1, 1.4, (2, layout.size))
    return Charts(_baseline(layout.name), np.linspace(1, 1.5, calibrated_charts(layout)), own)


def plain(layout: Layout) -> PlainCharts:
    of = charts(layout)
    return PlainCharts(of.baseline, of.limits, of.own)


def fed(of: Charts, measurements: list[Floats]) -> NDArray[np.float64]:
    quiet = np.zeros(len(of.layout.charts), np.int64)
    return np.array([of.update(measurement, quiet, 0)[steps.EXACT] for measurement in measurements])


CHANGES = {
    "dimmed": dimmed(0.04),
    "weak at the left": weak_at("left", 0.1),
    "soiled": soiled(0.8, 0.8, 8, 0.15),
    "moved": moved(0.5, -0.3),
    "flickering": flickering(0.01),
    "grainy": grainy(1.0),
}


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_charts_side_by_side_are_the_charts_one_by_one(layout: Layout, change: str) -> None:
    together, apart = charts(layout), plain(layout)
    measurements = normal(layout)[:60] + changed(layout, CHANGES[change]) + normal(layout)[60:90]
    ratios = fed(together, measurements)
    expected = np.array([apart.update(measurement) for measurement in measurements])
    assert ratios.shape == (len(measurements), len(layout.charts))
    assert ratios == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
def test_the_compared_streams_reach_limits_and_caps(layout: Layout) -> None:
    for change in CHANGES.values():
        ratios = fed(charts(layout), normal(layout)[:60] + changed(layout, change))
        if layout is SCENE:
            assert ratios.max() > 1 > ratios[:60].max() > 0
    long = fed(charts(layout), normal(layout))
    apart = plain(layout)
    assert long == pytest.approx(np.array([apart.update(m) for m in normal(layout)]), rel=1e-9, abs=1e-12)


def test_a_chart_stands_where_its_name_says() -> None:
    base = _baseline("scene")
    for name in ("level", "turn", "part_texture"):
        of = charts(SCENE)
        fed(of, [base.centre] * 100)
        far = base.centre.copy()
        far[SCENE.index(name)] += 20 * base.spread[SCENE.index(name)] + base.band[SCENE.index(name)]
        ratios = dict(zip(SCENE.charts, fed(of, [far] * 3)[-1], strict=True))
        assert max(ratios, key=lambda chart: ratios[chart]).startswith(name)
        assert all(ratio < 1e-6 for chart, ratio in ratios.items() if not chart.startswith(name))


def test_the_worst_cell_is_the_chart_of_its_map() -> None:
    base = _baseline("scene")
    for name in ("map", "texture"):
        of = charts(SCENE)
        fed(of, [base.centre] * 100)
        far = base.centre.copy()
        far[SCENE.cells(name)][123] += 1.0
        ratios = dict(zip(SCENE.charts, fed(of, [far] * 10)[-1], strict=True))
        assert min(ratios[f"{name}.{kind}"] for kind in ("jump", "drift", "band")) > 0.5
        assert all(ratio < 1e-6 for chart, ratio in ratios.items() if not chart.startswith(name))


def test_one_image_far_off_alarms_where_nothing_moves_and_nowhere_else() -> None:
    base = _baseline("scene")
    for n, feature in enumerate(SCENE.features):
        of = charts(SCENE)
        fed(of, [base.centre] * 100)
        far = base.centre.copy()
        far[n] += 100 * max(feature.gross_change, base.spread[n])
        (ratios,) = fed(of, [far])
        assert (ratios.max() > 1) == feature.still, feature.name


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
@pytest.mark.parametrize("patience", [1.0, 2.5, float("inf")])
def test_levels_are_the_averages_alone_and_teach_nothing(layout: Layout, patience: float) -> None:
    together, apart = charts(layout), plain(layout)
    fed(together, normal(layout)[:60])
    for measurement in normal(layout)[:60]:
        apart.update(measurement)
    # As when an alarm has been raised.
    together.reset()
    apart.reset()
    taught = together.local.tolist()
    for measurement in changed(layout, dimmed(0.04)) + normal(layout)[60:90]:
        exact, rounded = together.levels(measurement, patience)
        assert exact == pytest.approx(apart.stand(measurement, patience), rel=1e-9, abs=1e-12)
        assert rounded == pytest.approx(exact, abs=5.1e-5)
        assert together.worst == exact.max()
    assert together.local.tolist() == taught


def test_infinite_patience_leaves_the_bands_alone() -> None:
    of = charts(SCENE)
    fed(of, normal(SCENE)[:60])
    of.reset()
    for measurement in changed(SCENE, dimmed(0.04)):
        ratios = dict(zip(SCENE.charts, of.levels(measurement, float("inf"))[steps.EXACT], strict=True))
    assert max(ratio for chart, ratio in ratios.items() if chart.endswith((".jump", ".drift"))) == 0
    assert ratios["level.band"] > 0.8


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
def test_ratios_are_rounded_and_charts_that_say_nothing_are_noted(layout: Layout) -> None:
    of = charts(layout)
    last_quiet = np.full(len(layout.charts), -1)
    expected = last_quiet.copy()
    unquiet = 0
    for image, measurement in enumerate(normal(layout)[:60] + changed(layout, dimmed(0.04), 10)):
        exact, rounded = of.update(measurement, last_quiet, image)
        assert rounded == pytest.approx(exact, abs=5.1e-5)
        assert (rounded == rounded.round(4)).all()
        assert of.worst == exact.max()
        if exact.max() <= 1:
            expected[exact < 0.35] = image
        assert (last_quiet == expected).all()
        unquiet += int((last_quiet < image).sum())
    assert unquiet > 0


@pytest.mark.parametrize("place", [0, 4, -1])
def test_a_number_that_is_none_is_the_worst_and_is_told_by_its_charts_alone(place: int) -> None:
    of = charts(SCENE)
    fed(of, normal(SCENE)[:30])
    broken = normal(SCENE)[30].copy()
    broken[place] = np.nan
    (ratios,) = fed(of, [broken])
    name = SCENE.charted[SCENE.places[place]].name
    spoilt = {chart for chart, ratio in zip(SCENE.charts, ratios, strict=True) if np.isnan(ratio)}
    assert np.isnan(of.worst)
    assert spoilt
    assert {chart.partition(".")[0] for chart in spoilt} == {name}
    assert not of.worst > 1.0


def test_nothing_jumps_while_the_local_baseline_settles() -> None:
    base = _baseline("scene")
    rng = np.random.default_rng(1)
    of = charts(SCENE)
    level = base.centre + base.band * 0.9
    measurements = [level + base.spread * rng.standard_normal(SCENE.size) for _ in range(60)]
    ratios = fed(of, measurements)
    jumps = slice(0, len(SCENE.charted))
    assert (ratios[: steps.SETTLE_IMAGES, jumps] == 0).all()
    assert ratios.max() < 1
    # Now that is where it is normal, for the local baseline; the charts are not blind any more.
    far = level.copy()
    far[0] += 0.05
    assert fed(of, [far]).max() > 1


def test_relearning_forgets_the_local_baseline_and_resetting_only_what_was_added_up() -> None:
    of, again = charts(SCENE), charts(SCENE)
    fed(of, normal(SCENE)[:60] + changed(SCENE, dimmed(0.05)))
    local = of.local.tolist()
    of.reset()
    assert of.local.tolist() == local != again.local.tolist()
    of.relearn()
    assert fed(of, normal(SCENE)).tolist() == fed(again, normal(SCENE)).tolist()


def test_a_measurement_and_its_baseline_are_not_changed() -> None:
    of = charts(SCENE)
    centre = of.baseline.centre.copy()
    measurement = normal(SCENE)[0].copy()
    fed(of, [measurement] * 3)
    of.levels(measurement, 1.0)
    assert (measurement == normal(SCENE)[0]).all()
    assert (of.baseline.centre == centre).all()


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
def test_a_copy_and_a_restored_state_go_their_own_way_from_there(layout: Layout) -> None:
    first = charts(layout)
    fed(first, normal(layout)[:70])
    second, third = first.copy(), Charts.from_state(json.loads(json.dumps(first.state())))
    kept = first.state()
    rest = normal(layout)[70:100] + changed(layout, dimmed(0.05))
    expected = fed(second, rest).tolist()
    assert first.state() == kept
    assert fed(third, rest).tolist() == expected
    assert third.state() == second.state() != kept


def memory(row: int, value: float) -> str:
    rows = np.zeros((steps.PREVIOUS + 1, SCENE.size))
    rows[row] = value
    return packed(rows)


DAMAGES: dict[str, tuple[str, object]] = {
    "memory of another size": ("memory", packed(np.zeros((steps.PREVIOUS, SCENE.size)))),
    "memory that is no number": ("memory", memory(steps.SLOW, np.nan)),
    "memory beyond any": ("memory", memory(steps.SLOW, 1e300)),
    "memory that is a list": ("memory", [0.0]),
    "memory that is cut": ("memory", memory(0, 0.0)[:-8]),
    "limits of another size": ("limits", packed(np.ones(8))),
    "limits of nothing": ("limits", packed(np.zeros(calibrated_charts(SCENE)))),
    "limits beyond any": ("limits", packed(np.full(calibrated_charts(SCENE), 1e300))),
    "limits without end": ("limits", packed(np.full(calibrated_charts(SCENE), np.inf))),
    "less than nothing seen": ("seen", -1),
    "half an image seen": ("seen", 1.5),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damaged_state_is_refused(damage: str) -> None:
    field, value = DAMAGES[damage]
    with pytest.raises(StateDamaged) as refused:
        Charts.from_state({**charts(SCENE).state(), field: value})
    assert refused.value.what
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, value) for name in ("centre", "spread", "band") for value in (np.nan, np.inf, 1e300)),
        ("spread", 0.0),
        ("spread", -1.0),
        ("band", -1.0),
    ],
)
def test_a_damaged_baseline_is_refused(field: str, value: float) -> None:
    state = charts(SCENE).state()
    state["baseline"][field] = packed(np.full(SCENE.size, value))
    with pytest.raises(StateDamaged):
        Charts.from_state(state)


def test_a_layout_is_told_by_its_name() -> None:
    state = charts(SCENE).state()
    for name in ("frame", "none"):
        state["baseline"]["layout"] = name
        with pytest.raises((StateDamaged, KeyError)):
            Charts.from_state(state)
