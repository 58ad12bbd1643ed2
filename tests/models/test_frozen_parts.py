import numpy as np
import pytest

from models.card import OperatingPoint
from models.evaluation import auroc
from models.frozen_parts import figures

POINT = OperatingPoint(0.3, 0.7, 0.05, 0.04, 0.1, 3, 3)
P_DEFECT = np.array([0.1, 0.2, 0.5, 0.2, 0.8, 0.9])
IS_DEFECT = np.array([False, False, False, True, True, True])


def test_figures_are_those_of_the_operating_point() -> None:
    found = figures(P_DEFECT, IS_DEFECT, np.arange(6), POINT)
    assert found["images"] == 6
    assert found["escape"]["value"] == pytest.approx(1 / 3)
    assert found["overkill"]["value"] == pytest.approx(1 / 3)
    assert found["recheck"]["value"] == pytest.approx(1 / 6)
    assert found["auroc"]["value"] == auroc(P_DEFECT, IS_DEFECT)


@pytest.mark.parametrize("count", [0, 3])
def test_parts_of_one_kind_have_no_auroc(count: int) -> None:
    found = figures(P_DEFECT[:count], IS_DEFECT[:count], np.arange(count), POINT)
    assert (found["images"], found["auroc"]) == (count, None)
    assert found["escape"]["n"] == 0
