"""Limits far out in the tails, against scipy and against a published integral."""

import math

import numpy as np
import pytest
from scipy import integrate, special

from monitoring.detectors import tails

TAILS = [0.5, 0.05, 1e-3, 5.7e-7, 1e-12]
FREEDOM = [0.5, 1.0, 3.0, 10.7, 100.0, 5000.5]


@pytest.mark.parametrize("width", [0.1, 1.0, 3.0, 5.0, 12.0, 30.0])
def test_the_normal_limit_of_one_side_is_the_width_itself(width: float) -> None:
    assert tails.normal_limit(tails.two_sided(width) / 2) == pytest.approx(width, rel=1e-12)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("freedom", FREEDOM)
def test_chi_square_limits_are_scipys(tail: float, freedom: float) -> None:
    assert tails.chi_square_limit(tail, freedom) == pytest.approx(2 * special.gammainccinv(freedom / 2, tail), rel=1e-9)
    assert tails.chi_square_floor(tail, freedom) == pytest.approx(2 * special.gammaincinv(freedom / 2, tail), rel=1e-9)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("freedom", FREEDOM)
@pytest.mark.parametrize("below", [1.0, 4.0, 30.0, 20000.0])
def test_fisher_limits_are_scipys(tail: float, freedom: float, below: float) -> None:
    left = special.betaincinv(below / 2, freedom / 2, tail)
    assert tails.fisher_limit(tail, freedom, below) == pytest.approx((1 / left - 1) * below / freedom, rel=1e-8)


def test_tables_of_old() -> None:
    assert tails.chi_square_limit(0.05, 10) == pytest.approx(18.307, abs=5e-4)
    assert tails.chi_square_floor(0.05, 10) == pytest.approx(3.940, abs=5e-4)
    assert tails.fisher_limit(0.01, 3, 20) == pytest.approx(4.938, abs=5e-4)


def above(value: float, variances: list[float]) -> float:
    """Imhof's integral (1961): how often a sum of squared normal values of these variances exceeds `value`."""
    weights = np.array(variances)

    def integrand(u: float) -> float:
        angle = 0.5 * np.arctan(weights * u).sum() - 0.5 * value * u
        size = np.prod((1 + weights**2 * u**2) ** 0.25)
        return math.sin(angle) / (u * float(size))

    found, _ = integrate.quad(integrand, 0, 400, limit=2000)
    return 0.5 + float(found) / math.pi


def test_imhofs_own_example() -> None:
    assert above(2.0, [0.6, 0.3, 0.1]) == pytest.approx(0.1240, abs=2e-4)


@pytest.mark.parametrize(
    "variances", [[1.0] * 7, [0.1 * 0.9**n for n in range(100)], [3.0, 2.0, 1.0, 0.5, 0.5, 0.1]], ids=len
)
@pytest.mark.parametrize("tail", [0.01, 0.001])
def test_a_weighted_chi_square_exceeds_its_limit_as_often_as_it_should(variances: list[float], tail: float) -> None:
    sums = tuple(sum(variance**power for variance in variances) for power in (1, 2, 3))
    limit = tails.weighted_chi_square_limit(tail, (sums[0], sums[1], sums[2]))
    assert above(limit, variances) == pytest.approx(tail, rel=0.15)


def test_a_weighted_chi_square_of_equal_weights_is_exact() -> None:
    assert tails.weighted_chi_square_limit(1e-6, (14.0, 28.0, 56.0)) == pytest.approx(
        2 * tails.chi_square_limit(1e-6, 7), rel=1e-9
    )
