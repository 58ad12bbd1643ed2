import numpy as np
import pytest

from monitoring.spc import CountsInvalid, p_chart


def test_limits_follow_each_samples_own_size() -> None:
    chart = p_chart([10, 40], [100, 400])
    assert chart.centre == pytest.approx(0.1)
    assert chart.upper.tolist() == pytest.approx([0.19, 0.145])
    assert chart.lower.tolist() == pytest.approx([0.01, 0.055])


def test_limits_stay_shares() -> None:
    chart = p_chart([0, 5, 1], [5, 5, 5])
    assert (chart.lower >= 0).all()
    assert (chart.upper <= 1).all()


def test_a_given_standard_is_the_centre() -> None:
    chart = p_chart([30], [100], centre=0.1)
    assert chart.centre == 0.1
    assert chart.outside.tolist() == [True]


def test_nothing_nonconforming_is_in_control() -> None:
    assert not p_chart(np.zeros(5, int), np.full(5, 20)).outside.any()


@pytest.mark.parametrize(
    ("count", "size"), [([], []), ([1], [1, 2]), ([3], [2]), ([-1], [2]), ([0], [0]), ([[1]], [[2]])]
)
def test_counts_no_samples_can_have_given_are_refused(count: list[int], size: list[int]) -> None:
    with pytest.raises(CountsInvalid):
        p_chart(count, size)
