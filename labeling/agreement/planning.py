"""How many parts a study needs: for an interval of a wanted width, to exclude a rate, to tell two kappas apart.

All by exact binomial sums (kappa of very many parts aside), with the two-sided 95 % intervals that the study itself
reports. Parts are the evidence: more looks at a part tell more about that part, not about parts, so a part counts once
here.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import betainc, ndtr, ndtri

from labeling.agreement.kappa import kappa_with_deviation
from labeling.agreement.shares import share
from labeling.agreement.weights import identity
from labeling.votes import Floats

MOST_PARTS = 10_000
"""Nobody judges more."""
MOST_FOR_KAPPA = 1000
"""The exact sum over tables takes seconds beyond."""
CONFIDENCE = 0.95


class WrongPlan(ValueError):
    """What is wanted of the study can't be had."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def parts_for_width(width: float, expected: float = 0.9) -> int:
    """The fewest parts whose interval is expected to be no wider, where the true share is `expected`.

    Raises WrongPlan.

    >>> parts_for_width(0.2, 0.9), parts_for_width(0.1, 0.9)
    (42, 155)
    """
    _in_open_interval(width=width)
    if not 0 <= expected <= 1:
        raise WrongPlan(f"an expected share of {expected} is none", "give a share from 0 to 1, such as 0.9")
    return _fewest(lambda n: expected_width(n, expected) <= width, f"a width of {width}")


def expected_width(n: int, expected: float) -> float:
    """The mean width of the interval over what n parts may show where the true share is `expected`.

    >>> round(expected_width(50, 0.9), 3)
    0.18
    """
    hits = np.arange(n + 1)
    weight = binomial(n, expected)
    seen = hits[weight > 1e-12]
    widths = np.array([found.high - found.low for found in (share(int(k), n, CONFIDENCE) for k in seen)])
    return float((widths * weight[seen]).sum() / weight[seen].sum())


def parts_to_exclude(rate: float, hits: int = 0) -> int:
    """The fewest parts, of which so many may show it, that leave an interval's upper end at or below the rate.

    For a miss rate these are defective parts, for a false-alarm rate good ones.

    Raises WrongPlan.

    >>> parts_to_exclude(0.02), parts_to_exclude(0.05), parts_to_exclude(0.05, hits=1)
    (183, 72, 110)
    """
    _in_open_interval(rate=rate)
    if hits < 0:
        raise WrongPlan(f"{hits} parts can't show it", "allow 0 parts or more")
    return _fewest(lambda n: n > hits and share(hits, n, CONFIDENCE).high <= rate, f"to exclude a rate of {rate}")


def power_to_exclude(n: int, rate: float, true_rate: float) -> float:
    """How probably n parts exclude the rate where the true rate is lower.

    >>> round(power_to_exclude(72, 0.05, 0.01), 3)
    0.485
    """
    allowed = [hits for hits in range(n + 1) if share(hits, n, CONFIDENCE).high <= rate]
    return float(binomial(n, true_rate)[: len(allowed)].sum())


def chance_of_wavering(trials: int, pass_rate: float) -> float:
    """How probably an inspector who passes a part now and then is seen to waver on it in so many looks.

    >>> chance_of_wavering(2, 0.5), chance_of_wavering(3, 0.5), round(chance_of_wavering(3, 0.8), 2)
    (0.5, 0.75, 0.48)
    """
    return 1 - pass_rate**trials - (1 - pass_rate) ** trials


def power_of_kappa(n: int, least: float, true: float, defective: float = 0.5) -> float:
    """How probably the interval of kappa over n parts lies wholly above `least` where kappa is truly `true`.

    Both judges reject the share `defective` of parts. The exact sum over every table that n parts may show, each with
    the interval the study would report; beyond MOST_FOR_KAPPA parts kappa is as good as normal, with the deviation of
    the expected table.

    Raises WrongPlan.

    >>> round(power_of_kappa(50, 0.75, 0.9), 2), round(power_of_kappa(200, 0.75, 0.9), 2)
    (0.55, 0.99)
    >>> round(power_of_kappa(5000, 0.75, 0.77), 2)
    0.6
    """
    _in_open_interval(least=least, true=true, defective=defective)
    apart = 2 * (1 - true) * defective * (1 - defective)
    both = defective**2 + true * defective * (1 - defective)
    quantile = float(ndtri((1 + CONFIDENCE) / 2))
    if n > MOST_FOR_KAPPA:
        table = np.array([[1 - apart - both, apart / 2], [apart / 2, both]])
        kappa, unit = kappa_with_deviation(table, identity(np.arange(2.0)))
        return float(ndtr((kappa - least) * n**0.5 / unit - quantile))
    found = 0.0
    for differ, weight in _likely(n, apart):
        one = np.arange(differ + 1)
        rejected, share_rejected = (np.array(of) for of in zip(*_likely(n - differ, both / (1 - apart)), strict=True))
        cells = np.zeros((len(rejected), len(one), 2, 2))
        cells[..., 0, 0] = (n - differ - rejected)[:, None]
        cells[..., 1, 1] = rejected[:, None]
        cells[..., 0, 1], cells[..., 1, 0] = one, differ - one
        kappa, unit = kappa_with_deviation(cells / n, identity(np.arange(2.0)))
        # Where nobody disagrees the interval has no width, and where all is one class there is no kappa.
        above = np.nan_to_num(kappa - quantile * unit / n**0.5, nan=-1.0) > least
        found += weight * float(share_rejected @ above @ binomial(differ, 0.5))
    return found


def parts_for_kappa(least: float, true: float, power: float = 0.8, defective: float = 0.5) -> int:
    """The fewest parts that give `power_of_kappa`.

    Raises WrongPlan.

    >>> parts_for_kappa(0.75, 0.9)
    86
    """
    _in_open_interval(least=least, true=true, power=power, defective=defective)
    if true <= least:
        raise WrongPlan(f"a kappa of {true} is not above {least}", "expect a larger kappa, or ask for a smaller one")
    return _fewest(
        lambda n: power_of_kappa(n, least, true, defective) >= power, f"to tell {true} from {least}", MOST_FOR_KAPPA
    )


def binomial(n: int, rate: float) -> Floats:
    """(n + 1,): how probably 0..n of n hit.

    >>> binomial(2, 0.5).round(9).tolist()
    [0.25, 0.5, 0.25]
    """
    if rate <= 0 or rate >= 1:
        return np.asarray(np.eye(n + 1)[n if rate >= 1 else 0], np.float64)
    below = np.concatenate([betainc(n - np.arange(n), np.arange(1.0, n + 1), 1 - rate), [1.0]])
    return np.diff(below, prepend=0.0)


def _likely(n: int, rate: float) -> list[tuple[int, float]]:
    weight = binomial(n, rate)
    return [(int(k), float(weight[k])) for k in np.flatnonzero(weight > 1e-7)]


def _fewest(is_enough: Callable[[int], bool], wanted: str, most: int = MOST_PARTS) -> int:
    """The first number that is enough, taking it that few fail beyond: found by doubling, then by halving."""
    high = 1
    low = 0
    while not is_enough(high):
        if high == most:
            raise WrongPlan(f"{wanted} takes more than {most} parts", "ask for less")
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _in_open_interval(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise WrongPlan(f"{name} {value} is not between 0 and 1", "give a share between 0 and 1, such as 0.05")
