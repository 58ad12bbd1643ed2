"""The map of artefacts against its definition, and what its limits and caps are for."""

import numpy as np
import pytest
from scipy import special

from monitoring.detectors.artefact_map import ArtefactMap
from monitoring.detectors.ranges import SettingOutOfRange
from monitoring.detectors.tails import two_sided
from monitoring.saved import StateDamaged


def test_it_is_an_average_of_capped_cells() -> None:
    maps = 3 * np.random.default_rng(0).standard_normal((50, 5, 7))
    chart = ArtefactMap((5, 7), weight=0.2, width=3.0)
    average = np.zeros((5, 7))
    for value in maps:
        ratio = chart.update(value)
        average += 0.2 * (value.clip(-chart.cap, chart.cap) - average)
        assert ratio == pytest.approx(np.abs(average).max() / chart.limit, rel=1e-12)
        assert chart.worst == divmod(int(np.abs(average).argmax()), 7)
        np.testing.assert_array_equal(chart.hot, np.abs(average) > chart.limit)
    np.testing.assert_allclose(chart.average, average, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (24, 24)])
def test_the_worst_cell_passes_its_limit_as_rarely_as_one_number_would(shape: tuple[int, int]) -> None:
    chart = ArtefactMap(shape, width=3.0)
    rng = np.random.default_rng(0)
    found = np.mean([chart.update(rng.standard_normal(shape)) > 1 for _ in range(40_000)])
    wanted = two_sided(3.0)
    assert 0.4 * wanted < found < 1.4 * wanted


def test_more_cells_have_a_wider_limit_each() -> None:
    widths = [ArtefactMap(shape).cell_width for shape in ((1, 1), (8, 8), (32, 32))]
    one_side = special.ndtr(-5.0)
    assert widths == pytest.approx([5.0, -special.ndtri(one_side / 64), -special.ndtri(one_side / 1024)], rel=1e-9)


def test_the_same_defect_on_three_parts_in_a_row_does_not_alarm_and_dirt_does() -> None:
    chart = ArtefactMap((8, 8))
    spot = np.zeros((8, 8))
    spot[3, 4] = -50.0
    ratios = [chart.update(spot) for _ in range(6)]
    assert max(ratios[:3]) < 1
    assert ratios[3] > 1
    assert chart.worst == (3, 4)


def test_one_wild_image_among_noise_does_not_alarm() -> None:
    rng = np.random.default_rng(0)
    chart = ArtefactMap()
    wild = np.full((32, 32), 1e9)
    ratios = [chart.update(wild if n % 200 == 99 else rng.standard_normal((32, 32))) for n in range(2000)]
    assert max(ratios) < 1


def test_masked_cells_say_nothing_and_keep_their_average() -> None:
    chart = ArtefactMap((4, 4))
    for _ in range(10):
        chart.update(np.full((4, 4), 1.0))
    before = chart.average.copy()
    masked = np.full((4, 4), 2.0)
    masked[1, 1] = np.nan
    chart.update(masked)
    assert chart.average[1, 1] == before[1, 1]
    assert (np.delete(chart.average.ravel(), 5) > np.delete(before.ravel(), 5)).all()


def test_a_half_faint_stain_is_found_in_time() -> None:
    rng = np.random.default_rng(1)
    chart = ArtefactMap()
    stain = np.zeros((32, 32))
    stain[10:12, 20:23] = 2.0
    assert max(chart.update(rng.standard_normal((32, 32)) + stain) for _ in range(60)) > 1
    assert chart.hot.sum() <= 6
    assert not chart.hot[stain == 0].any()


@pytest.mark.parametrize("settings", [{"shape": (0, 4)}, {"shape": (10**6, 10**6)}, {"weight": 0.0}, {"width": 0.0}])
def test_settings_without_a_chart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingOutOfRange):
        ArtefactMap(**settings)  # type: ignore[arg-type]  # a shape is among them


@pytest.mark.parametrize(
    "damage", [{"shape": [4]}, {"shape": [4, 5]}, {"shape": [0, 0]}, {"weight": 2.0}, {"average": [[1e9] * 4] * 4}]
)
def test_a_memory_no_maps_lead_to_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(StateDamaged):
        ArtefactMap.from_state({**ArtefactMap((4, 4)).state(), **damage})
