"""Whether subgroups scatter as parts drawn by chance do: when a p chart is right, and when Laney's p′ is wanted.

D. B. Laney, Improved control charts for attributes, Quality Engineering 14 (2002): sigma z. J. von Neumann and others,
The mean square successive difference, Annals of Mathematical Statistics 12 (1941): the test's statistic. L. S. Nelson,
Control charts for individual measurements, Journal of Quality Technology 14 (1982): moving ranges too large to count.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtr, chdtrc

from monitoring.spc.counts import Counts, Floats

SIGNIFICANT: Final = 0.01
"""A scatter that chance makes this seldom is none of chance."""
MATTERS: Final = 1.2
"""A variance so many times that of chance, or its reciprocal: less moves the limits by under a tenth."""
D2: Final = 1.128
"""The mean range of two values from a normal distribution of unit deviation."""
RANGE_LIMIT: Final = 3.267
"""A moving range more than so many times the mean one is no scatter: something happened."""
LEFT: Final = 0.93
"""What that leaves of the mean square of ranges that nothing happened to."""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """The scatter of subgroups from one to the next, beside that of parts drawn by chance at one rate."""

    sigma_z: float
    """Laney's: the mean moving range of the standardised shares over D2; 1 where chance alone is at work, 0 where the
    shares do not vary."""
    variance_ratio: float
    """Half the mean square of the successive differences of the standardised shares, but of those beyond RANGE_LIMIT;
    expected: 1."""
    p_over: float
    p_under: float
    """How probable chance makes a ratio this large; and one as small as that of all differences."""
    verdict: str
    """`over`: they scatter more than chance explains; `under`: less; `chance`: as it does; `unknown`: nobody can say,
    for there are fewer than three subgroups, or all parts are alike."""


def dispersion(rejects: Counts, parts: Counts, centre: float) -> Dispersion:
    """Judge the scatter of m subgroups in the order of time; both (m,), `centre` (0..1) is for sigma z alone.

    Differences between neighbours are looked at, so that a slow drift, a shift or a single wild subgroup is not taken
    for scatter. The ratio is held against a chi-square distribution with its first two moments, which heed how few
    rejects are expected.
    """
    share = rejects.sum() / parts.sum()
    if rejects.size < 3 or share in (0.0, 1.0):
        return Dispersion(_sigma_z(rejects, parts, centre), 1.0, 1.0, 1.0, "unknown")
    squares = np.diff(_standardised(rejects, parts, share)) ** 2 / 2
    steps = np.sqrt(squares)
    whole, ratio = squares.mean(), squares[steps <= RANGE_LIMIT * steps.mean()].mean() / LEFT
    freedom = 2 / _variance(parts, share)
    over, under = float(chdtrc(freedom, freedom * ratio)), float(chdtr(freedom, freedom * whole))
    if over < SIGNIFICANT and ratio > MATTERS:
        verdict = "over"
    elif under < SIGNIFICANT and whole < 1 / MATTERS:
        verdict = "under"
    else:
        verdict = "chance"
    return Dispersion(_sigma_z(rejects, parts, centre), float(ratio), over, under, verdict)


def _standardised(rejects: Counts, parts: Counts, share: float) -> Floats:
    z: Floats = (rejects / parts - share) / np.sqrt(share * (1 - share) / parts)
    return z


def _sigma_z(rejects: Counts, parts: Counts, centre: float) -> float:
    if rejects.size < 2 or centre in (0.0, 1.0):
        return 0.0
    return float(np.abs(np.diff(_standardised(rejects, parts, centre))).mean() / D2)


def _variance(parts: Counts, share: float) -> float:
    """The variance of the ratio under chance.

    A square of a difference of two independent standardised counts varies by 8 and their excess kurtosis; two such
    squares that share a count covary by 2 and its excess kurtosis.
    """
    excess = (1 - 6 * share * (1 - share)) / (parts * share * (1 - share))
    own = (8 + excess[1:] + excess[:-1]).sum()
    shared = (2 + excess[1:-1]).sum()
    return float((own + 2 * shared) / (4 * (parts.size - 1) ** 2))
