import copy

import numpy as np
import pytest

from monitoring.features import CELLS, FRAME, LAYOUTS, SCENE, Layout


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_number_of_a_measurement_has_its_place_and_its_widths(layout: Layout) -> None:
    features = len(layout.features)
    assert layout.size == features + CELLS * len(layout.maps) == len(layout.places)
    assert [layout.index(name) for name in layout.names] == list(range(features))
    assert layout.places[:features].tolist() == list(range(features))
    covered = list(range(features))
    for n, cell in enumerate(layout.maps):
        assert (layout.places[layout.cells(cell.name)] == features + n).all()
        covered += range(layout.size)[layout.cells(cell.name)]
    assert covered == list(range(layout.size))
    for width in ("smallest_spread", "least_jump", "least_drift", "unseen_wander", "gross_change"):
        found = layout.widths(width)
        assert found.dtype == np.float64
        for n in (0, features - 1, features, layout.size - 1):
            assert found[n] == getattr(layout.charted[layout.places[n]], width)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_charts_are_jumps_then_drifts_then_bands_then_flicker(layout: Layout) -> None:
    names = [of.name for of in layout.charted]
    kinds = ("jump", "drift", "band")
    assert layout.charts == (*(f"{name}.{kind}" for kind in kinds for name in names), "level.flicker")
    assert len(set(layout.charts)) == len(layout.charts)
    # The level's flicker is read from the first number of a measurement.
    assert layout.names[0] == "level"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_widths_go_from_what_is_believed_to_what_nobody_calls_normal(layout: Layout) -> None:
    for of in layout.charted:
        assert 0 < of.smallest_spread < of.least_jump < of.gross_change, of.name
        assert of.smallest_spread <= of.least_drift <= of.least_jump, of.name
        assert of.smallest_spread <= of.unseen_wander < of.gross_change, of.name


def test_a_layout_is_known_by_its_name_and_never_copied() -> None:
    assert LAYOUTS == {"frame": FRAME, "scene": SCENE}
    assert copy.deepcopy(SCENE) is SCENE
