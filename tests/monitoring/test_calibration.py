import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.calibration import calibrate, clopper_pearson


def peaks(blocks: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).gumbel(0.8, 0.1, (blocks, 9))


def test_limits_alarm_no_more_often_than_wanted_on_peaks_never_seen() -> None:
    limits = np.array(calibrate(peaks(200), 40, alarms_per_10k=10.0).limits)
    unseen = peaks(20_000, seed=1)
    assert (unseen > limits).any(axis=1).mean() <= 10.0 / 1e4 * 40


def test_limits_are_never_below_nominal_nor_below_what_was_seen() -> None:
    assert calibrate(np.full((10, 9), 0.2), 40, 1.0).limits == (1.0,) * 9
    seen = peaks(10)
    assert (np.array(calibrate(seen, 40, 1.0).limits) >= seen.max(axis=0)).all()


def test_the_rate_is_seen_on_the_newer_half_alone() -> None:
    calm_then_wild = np.concatenate([np.full((5, 9), 0.5), np.full((5, 9), 3.0)])
    calibration = calibrate(calm_then_wild, 10, 1.0)
    assert (calibration.alarms, calibration.images) == (5, 50)
    assert calibration.rate_per_10k == 1000.0


def test_the_interval_covers_everything_where_nothing_was_tried() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_no_alarm_in_n_images_bounds_the_rate_near_three_and_a_half_over_n() -> None:
    low, high = clopper_pearson(0, 1000)
    assert low == 0.0
    # Closed form for no hits: 1 - 0.025 ** (1 / n).
    assert high == pytest.approx(1 - 0.025 ** (1 / 1000))
