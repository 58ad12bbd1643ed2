"""Run rules: patterns of points that chance seldom makes.

Western Electric Company, Statistical Quality Control Handbook (1956), as in D. C. Montgomery, Introduction to
Statistical Quality Control, section 5.3.4. L. S. Nelson, The Shewhart control chart: tests for special causes, Journal
of Quality Technology 16 (1984).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
from scipy.special import bdtr, bdtrc, ndtr

from monitoring.spc.counts import Counts, Flags, Floats

WESTERN_ELECTRIC: Final = "western_electric"
NELSON: Final = "nelson"

_OUTSIDE = {"beyond_3_sigma": "the point lies outside the control limits"}
_ZONES = {
    "2_of_3_beyond_2_sigma": "two of three points in a row lie beyond two sigma on one side",
    "4_of_5_beyond_1_sigma": "four of five points in a row lie beyond one sigma on one side",
}
RULE_SETS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        WESTERN_ELECTRIC: MappingProxyType(
            {**_OUTSIDE, **_ZONES, "8_on_one_side": "eight points in a row lie on one side of the centre line"}
        ),
        NELSON: MappingProxyType(
            {
                **_OUTSIDE,
                "9_on_one_side": "nine points in a row lie on one side of the centre line",
                "6_rising_or_falling": "six points in a row rise, or six fall",
                "14_alternating": "fourteen points in a row go up and down by turns",
                **_ZONES,
                "15_within_1_sigma": "fifteen points in a row lie within one sigma of the centre line",
                "8_beyond_1_sigma": "eight points in a row lie beyond one sigma, on whichever side",
            }
        ),
    }
)
"""Name of a set -> its rules: name -> what it says. A rule is told at each point that completes its pattern."""

FEW: Final = 5.0
"""Where a subgroup is expected to hold fewer rejects than this (or fewer good parts), the normal distribution is no
guide to how rare a count is."""
_FAR = 1e9


@dataclass(frozen=True, slots=True)
class Zones:
    """Where m points lie, in sigmas from the centre line, and how rare the binomial distribution makes them."""

    z: Floats
    sparse: Flags
    """(m,) The subgroup is expected to hold few rejects, or few good parts."""
    as_high: Floats
    as_low: Floats
    """(m,) How probable a count at least this high, or this low, is at the centre."""
    near: Floats
    """(m,) How probable it is that a count of the subgroup lies within one sigma."""

    def part(self, phase: slice) -> "Zones":
        """The zones of some of the points."""
        return Zones(self.z[phase], self.sparse[phase], self.as_high[phase], self.as_low[phase], self.near[phase])

    def beyond(self, sigmas: float, side: int) -> Flags:
        """(m,) Points beyond `sigmas` above (side 1) or below (-1) the centre line.

        Of a sparse subgroup the count itself must be as rare as that: where most subgroups hold no reject at all, one
        without any says nothing, though its share lies below the centre line.
        """
        tail = self.as_high if side > 0 else self.as_low
        found: Flags = (side * self.z > sigmas) & (~self.sparse | (tail <= ndtr(-sigmas)))
        return found

    def within(self) -> Flags:
        """(m,) Points within one sigma; of a sparse subgroup only where that is no more probable than it should be."""
        found: Flags = (np.abs(self.z) < 1) & (~self.sparse | (self.near <= 2 * ndtr(1.0) - 1))
        return found


def zones(z: Floats, rejects: Counts, parts: Counts, centre: float) -> Zones:
    """The zones of m subgroups whose shares lie `z` sigmas from the centre; all (m,)."""
    sparse: Flags = parts * min(centre, 1 - centre) < FEW
    reach = np.sqrt(parts * centre * (1 - centre))
    top, bottom = np.ceil(parts * centre + reach) - 1, np.floor(parts * centre - reach)
    near = bdtr(np.clip(top, 0, parts), parts, centre) - np.where(
        bottom < 0, 0.0, bdtr(np.clip(bottom, 0, parts), parts, centre)
    )
    as_high = np.where(rejects == 0, 1.0, bdtrc(np.clip(rejects - 1, 0, None), parts, centre))
    return Zones(np.clip(z, -_FAR, _FAR), sparse, as_high, bdtr(rejects, parts, centre), near)


def broken(found: Zones, rules: str) -> dict[str, Flags]:
    """For each rule of the set, (m,) True at the points that break it."""
    return {name: PATTERNS[name](found) for name in RULE_SETS[rules]}


def _outside(found: Zones) -> Flags:
    outside: Flags = np.abs(found.z) > 3
    return outside


def _on_one_side(found: Zones, *, wanted: int, of: int, sigmas: float) -> Flags:
    """A point beyond `sigmas` completes `wanted` such points among the last `of`, all on one side."""
    told = np.zeros(found.z.size, np.bool_)
    for side in (1, -1):
        beyond = found.beyond(sigmas, side)
        told |= beyond & (_count(beyond, of) >= wanted)
    return told


def _trend(found: Zones) -> Flags:
    steps = np.diff(found.z)
    return _run(steps > 0, 5, found.z.size) | _run(steps < 0, 5, found.z.size)


def _alternating(found: Zones) -> Flags:
    steps = np.sign(np.diff(found.z))
    return _run(steps[1:] * steps[:-1] < 0, 12, found.z.size)


def _hugging(found: Zones) -> Flags:
    return _run(found.within(), 15, found.z.size)


def _avoiding(found: Zones) -> Flags:
    return _run(found.beyond(1.0, 1) | found.beyond(1.0, -1), 8, found.z.size)


def _run(flags: Flags, length: int, points: int) -> Flags:
    """(points,) Where `length` flags in a row end; the first points, before any flag, have none."""
    ends = np.zeros(points, np.bool_)
    if flags.size:
        ends[points - flags.size :] = _count(flags, length) >= length
    return ends


def _count(flags: Flags, of: int) -> Counts:
    """(m,) How many of the last `of` flags are set; m >= 1."""
    return np.convolve(flags.astype(np.int64), np.ones(of, np.int64))[: flags.size]


PATTERNS: Final[Mapping[str, Callable[[Zones], Flags]]] = MappingProxyType(
    {
        "beyond_3_sigma": _outside,
        "2_of_3_beyond_2_sigma": partial(_on_one_side, wanted=2, of=3, sigmas=2.0),
        "4_of_5_beyond_1_sigma": partial(_on_one_side, wanted=4, of=5, sigmas=1.0),
        "8_on_one_side": partial(_on_one_side, wanted=8, of=8, sigmas=0.0),
        "9_on_one_side": partial(_on_one_side, wanted=9, of=9, sigmas=0.0),
        "6_rising_or_falling": _trend,
        "14_alternating": _alternating,
        "15_within_1_sigma": _hugging,
        "8_beyond_1_sigma": _avoiding,
    }
)
"""Rule -> (m,) True at the points that complete its pattern."""
