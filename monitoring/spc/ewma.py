"""The share of rejects as an exponentially weighted moving average: slow where a p chart is blind to small changes.

S. W. Roberts, Technometrics 1 (1959). J. M. Lucas and M. S. Saccucci, Technometrics 32 (1990): the width of the limits
by weight, for one false alarm in 500 points.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from monitoring.spc.chart import Basis, ControlChart, basis, by_phase, cautions, phases
from monitoring.spc.counts import Counts, Flags, Floats, WrongCounts, checked, wilson

WEIGHT: Final = 0.2
WEIGHT_LEAST: Final = 0.05
WIDTHS: Final = {0.05: 2.615, 0.1: 2.814, 0.2: 2.962, 0.25: 2.998, 0.3: 3.023, 0.4: 3.054, 0.5: 3.071, 1.0: 3.09}
"""Weight of the newest subgroup, and the sigmas between centre and limit; between them: straight lines."""
OUTSIDE: Final = "beyond_limits"
EWMA_RULES: Final = {OUTSIDE: "the average lies outside its control limits"}
"""The one rule of this chart: neighbouring averages share most of their parts, so runs of them mean nothing."""


def ewma_chart(
    rejects: ArrayLike,
    parts: ArrayLike,
    *,
    centre: float | None = None,
    baseline: int | None = None,
    weight: float = WEIGHT,
) -> ControlChart:
    """The moving average of the shares of rejects, in subgroups of any size; arguments as for `p_chart`.

    `weight` (WEIGHT_LEAST..1) is that of the newest subgroup: the smaller, the smaller the changes that are found, and
    the later. The average begins at the centre, anew where the baseline ends. Limits follow from the binomial variance
    of the average as it is, subgroup by subgroup: narrow at the beginning, wide after a small subgroup. `low` and
    `high` are of the average, by as many parts as an unweighted share of the same variance has.

    Raises WrongCounts.
    """
    k, n = checked(rejects, parts)
    if not WEIGHT_LEAST <= weight <= 1:
        raise WrongCounts(f"a weight of {weight} can't be used", f"give a number from {WEIGHT_LEAST} to 1")
    found = basis(k, n, centre, baseline)
    value, spread = _averages(k, n, found, weight)
    middle, width = found.centre, float(np.interp(weight, list(WIDTHS), list(WIDTHS.values())))
    sigma = np.sqrt(middle * (1 - middle) * spread)
    lower, upper = np.clip(middle - width * sigma, 0, 1), np.clip(middle + width * sigma, 0, 1)

    def judge(phase: slice) -> dict[str, Flags]:
        return {OUTSIDE: (value[phase] < lower[phase]) | (value[phase] > upper[phase])}

    told = by_phase(n.size, found.baseline, judge)
    low, high = wilson(value / spread, 1 / spread)
    return ControlChart(
        centre=middle,
        centre_low=found.low,
        centre_high=found.high,
        value=value,
        low=low,
        high=high,
        lower_limit=lower,
        upper_limit=upper,
        rules=told,
        baseline=found.baseline,
        dispersion=found.dispersion,
        chance_outside=None,
        cautions=tuple(cautions(found, told)),
    )


def _averages(k: Counts, n: Counts, found: Basis, weight: float) -> tuple[Floats, Floats]:
    """(m,) The averages, and how many times the variance of a single part they have."""
    share = k / n
    value, spread = np.empty(n.size), np.empty(n.size)
    for phase in phases(n.size, found.baseline):
        average, variance = found.centre, 0.0
        for at in range(phase.start, phase.stop):
            average += weight * (share[at] - average)
            variance = (1 - weight) ** 2 * variance + weight**2 / n[at]
            value[at], spread[at] = average, variance
    # Rounding may carry an average of nothing but rejects a hair beyond 1.
    return np.clip(value, 0, 1), spread
