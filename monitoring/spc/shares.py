"""Shewhart charts of the share (p), the number (np), and the share where subgroups scatter more than chance (p′).

D. C. Montgomery, Introduction to Statistical Quality Control, 7th ed.: p and np charts section 7.2.1, subgroups of
varying size 7.2.2. D. B. Laney, Improved control charts for attributes, Quality Engineering 14 (2002): p′.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, bdtrc

from monitoring.spc.chart import Basis, ControlChart, basis, by_phase, cautions
from monitoring.spc.counts import Counts, Floats, WrongCounts, checked, wilson
from monitoring.spc.run_rules import FEW, RULE_SETS, WESTERN_ELECTRIC, broken, zones

SIGMAS: Final = 3.0
OFTEN: Final = 0.01
"""Points that lie outside their limits by chance more often than this make a caution (normal: 0.0027)."""
_HAIR: Final = 1e-9
"""Share of a count by which rounding may move a limit that falls on a whole number."""


def p_chart(
    rejects: ArrayLike,
    parts: ArrayLike,
    *,
    centre: float | None = None,
    baseline: int | None = None,
    rules: str = WESTERN_ELECTRIC,
) -> ControlChart:
    """The share of rejects in subgroups of any size.

    `rejects` and `parts` are whole numbers (m,), in the order of time, with 0 <= rejects <= parts and parts >= 1.
    `centre` is the share that is wanted or was found in a period under control (0..1); None: that of the first
    `baseline` subgroups, which are not judged then, or of all. `rules` is one of RULE_SETS. The rules are judged on
    each point's own sigma, so that size does not matter (Montgomery's standardised chart).
    The limits lean on the normal approximation: where a subgroup holds few rejects (centre * parts < 5), a point
    above them is weaker evidence than on a chart of measurements. `chance_outside` says how weak, and a caution where
    it is more than OFTEN; the other rules count such a point only where its own count is as rare as the rule says.

    >>> round(p_chart([1, 0], [50, 50], centre=0.02).chance_outside, 4)
    0.0178

    Raises WrongCounts.
    """
    k, n = checked(rejects, parts)
    found = basis(k, n, centre, baseline)
    chart = _shewhart(k, n, found, 1.0, rules)
    chance = _chance_outside(chart, n)
    careful = cautions(found, chart.rules)
    if chance is not None and chance > OFTEN:
        careful.append(_often(chance, found.centre))
    return replace(chart, chance_outside=chance, cautions=tuple(careful))


def np_chart(
    rejects: ArrayLike,
    parts: ArrayLike,
    *,
    centre: float | None = None,
    baseline: int | None = None,
    rules: str = WESTERN_ELECTRIC,
) -> ControlChart:
    """The number of rejects in subgroups of equal size; arguments as for `p_chart`, `centre` a share there as well.

    Raises WrongCounts, also where the subgroups differ in size.
    """
    k, n = checked(rejects, parts)
    if n.min() < n.max():
        raise WrongCounts(
            f"an np chart needs subgroups of equal size, these have from {n.min()} to {n.max()} parts",
            "make subgroups of a number of parts, or use a p chart",
        )
    share, size = p_chart(k, n, centre=centre, baseline=baseline, rules=rules), float(n[0])
    return replace(
        share,
        centre=share.centre * size,
        centre_low=share.centre_low * size,
        centre_high=share.centre_high * size,
        value=k.astype(np.float64),
        low=share.low * size,
        high=share.high * size,
        lower_limit=share.lower_limit * size,
        upper_limit=share.upper_limit * size,
    )


def laney_chart(
    rejects: ArrayLike,
    parts: ArrayLike,
    *,
    centre: float | None = None,
    baseline: int | None = None,
    rules: str = WESTERN_ELECTRIC,
) -> ControlChart:
    """Laney's p′: the share of rejects, with limits as wide as subgroups really scatter from one to the next.

    Arguments as for `p_chart`. The limits are those of a p chart times sigma z (`dispersion.sigma_z`), which the
    baseline tells, or all subgroups. Wanted where `dispersion.verdict` is `over` or `under`, mostly with large
    subgroups: there chance moves a share less than material and shifts do. Where sigma z can't be told (one subgroup,
    or shares that do not vary), the limits are those of a p chart, and a caution says so.

    Raises WrongCounts.
    """
    k, n = checked(rejects, parts)
    found = basis(k, n, centre, baseline)
    sigma_z = found.dispersion.sigma_z
    chart = _shewhart(k, n, found, sigma_z or 1.0, rules)
    careful = cautions(found, chart.rules, heeds_scatter=True)
    if not sigma_z and 0 < found.centre < 1:
        careful.append(
            "these subgroups can't tell how far subgroups scatter, so the limits are those of a p chart: draw them "
            "from more subgroups"
        )
    return replace(chart, cautions=tuple(careful))


def _shewhart(k: Counts, n: Counts, found: Basis, sigma_z: float, rules: str) -> ControlChart:
    if rules not in RULE_SETS:
        raise WrongCounts(f"rules {rules!r} are unknown", f"use {' or '.join(RULE_SETS)}")
    share, middle = k / n, found.centre
    sigma = sigma_z * np.sqrt(middle * (1 - middle) / n)
    where = zones(_in_sigmas(share - middle, sigma), k, n, middle)
    low, high = wilson(k, n)
    return ControlChart(
        centre=middle,
        centre_low=found.low,
        centre_high=found.high,
        value=share,
        low=low,
        high=high,
        lower_limit=np.clip(middle - SIGMAS * sigma, 0, 1),
        upper_limit=np.clip(middle + SIGMAS * sigma, 0, 1),
        rules=by_phase(n.size, found.baseline, lambda phase: broken(where.part(phase), rules)),
        baseline=found.baseline,
        dispersion=found.dispersion,
        chance_outside=None,
        cautions=(),
    )


def _in_sigmas(distance: Floats, sigma: Floats) -> Floats:
    """Where sigma is 0 (a centre of 0 or 1), any distance at all is beyond every limit."""
    beyond = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.divide(distance, sigma, out=beyond, where=sigma > 0)


def _chance_outside(chart: ControlChart, parts: Counts) -> float | None:
    n = parts[chart.baseline :]
    if not 0 < chart.centre < 1 or not n.size:
        return None
    top = np.floor(chart.upper_limit[chart.baseline :] * n * (1 + _HAIR))
    bottom = np.ceil(chart.lower_limit[chart.baseline :] * n * (1 - _HAIR)) - 1
    below = np.where(bottom < 0, 0.0, bdtr(np.clip(bottom, 0, n), n, chart.centre))
    above = np.where(top >= n, 0.0, bdtrc(np.clip(top, 0, n), n, chart.centre))
    return float((below + above).mean())


def _often(chance: float, centre: float) -> str:
    enough = int(np.ceil(FEW / min(centre, 1 - centre)))
    return (
        f"subgroups hold few rejects: {100 * chance:.2g} % of the points lie outside their limits by chance alone; "
        f"take subgroups of {enough} parts or more, or the EWMA chart, which takes several together"
    )
