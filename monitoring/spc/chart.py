"""What every control chart of rejects is: values, limits, and which points say that something has changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from monitoring.spc.counts import Counts, Flags, Floats, WrongCounts, wilson
from monitoring.spc.dispersion import Dispersion, dispersion

ENOUGH_SUBGROUPS: Final = 20
"""So many subgroups make limits dependable (Montgomery, section 7.2.1: 20 to 25)."""
OUTSIDE: Final = frozenset({"beyond_3_sigma", "beyond_limits"})
"""The rules that are about the limits; others are broken by chance now and then in a long baseline."""


@dataclass(frozen=True, slots=True)
class ControlChart:
    """One chart of m subgroups; shares from 0 to 1 on all charts but np, numbers of parts on an np chart."""

    centre: float
    centre_low: float
    centre_high: float
    """Wilson interval of the centre line; all three are equal where the centre was given."""
    value: Floats
    """(m,)"""
    low: Floats
    high: Floats
    """(m,) Wilson interval of each value: where the rate behind it may lie."""
    lower_limit: Floats
    upper_limit: Floats
    """(m,) Control limits, never outside what the value can be."""
    rules: tuple[tuple[str, ...], ...]
    """Names of the rules that each point breaks; empty: none."""
    baseline: int
    """So many first points drew the limits and are not judged; 0: all points drew them, or the centre was given, and
    all are judged."""
    dispersion: Dispersion
    """Of the baseline; of all points where there is none."""
    chance_outside: float | None
    """How probable it is that a judged point lies outside its limits though nothing has changed, on average, from the
    binomial distribution; 0.0027 where many rejects are expected. None: not known of this chart, or limits of no
    width."""
    cautions: tuple[str, ...]
    """What keeps the chart from meaning what it seems to, with what to do; mostly none."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What the limits of a chart are drawn from."""

    centre: float
    low: float
    high: float
    """Wilson interval of the centre, a share; all three are equal where it was given."""
    given: bool
    baseline: int
    """So many first subgroups are not judged."""
    rejects: Counts
    parts: Counts
    """(b,) The subgroups that tell how far subgroups scatter, and the centre where it was not given."""
    dispersion: Dispersion


def basis(rejects: Counts, parts: Counts, centre: float | None, baseline: int | None) -> Basis:
    """What `rejects` of `parts` (m,) are held against: the first `baseline` of them, or all, or a given `centre`.

    Raises WrongCounts.
    """
    if baseline is not None and not 1 <= baseline <= rejects.size:
        raise WrongCounts(
            f"a baseline of {baseline} subgroups, of which there are {rejects.size}",
            f"give from 1 to {rejects.size}, or none",
        )
    if centre is not None and not 0 <= centre <= 1:
        raise WrongCounts(f"a centre of {centre} is no share", "give a number from 0 to 1")
    first = slice(0, baseline)
    k, n = rejects[first], parts[first]
    if centre is None:
        middle = float(k.sum() / n.sum())
        low, high = (float(end) for end in wilson(k.sum(), n.sum()))
    else:
        middle = low = high = float(centre)
    return Basis(middle, low, high, centre is not None, baseline or 0, k, n, dispersion(k, n, middle))


def by_phase(points: int, baseline: int, judge: Callable[[slice], Mapping[str, Flags]]) -> tuple[tuple[str, ...], ...]:
    """Names of the rules that each point breaks; a pattern never reaches from the baseline into what is judged.

    `judge` gives for a phase, for each rule, True at the points of the phase that break it.
    """
    told: list[tuple[str, ...]] = []
    for phase in phases(points, baseline):
        broken = judge(phase)
        told += [()] * (phase.stop - phase.start)
        for name, flags in broken.items():
            for at in np.flatnonzero(flags) + phase.start:
                told[at] += (name,)
    return tuple(told)


def phases(points: int, baseline: int) -> list[slice]:
    """The baseline and what is judged after it; one where there is but one."""
    ends = (0, baseline, points)
    return [slice(start, stop) for start, stop in pairwise(ends) if stop > start]


def cautions(found: Basis, rules: Sequence[Sequence[str]], heeds_scatter: bool = False) -> list[str]:
    """What to be careful about, whatever the chart; `heeds_scatter`: its limits are as wide as subgroups scatter."""
    said = _without_width(found)
    subgroups = found.parts.size
    if (not found.given or heeds_scatter) and subgroups < ENOUGH_SUBGROUPS:
        named = "1 subgroup" if subgroups == 1 else f"{subgroups} subgroups"
        said.append(
            f"the limits are drawn from {named}; {ENOUGH_SUBGROUPS} or more make them dependable: begin earlier, or "
            "take smaller subgroups"
        )
    outside = sum(1 for names in rules[: found.baseline] if OUTSIDE & set(names))
    if outside:
        said.append(
            f"{outside} of the {found.baseline} points of the baseline lie outside its own limits: find out why, and "
            "draw the limits from a period without them, or give the centre that is wanted"
        )
    return said if heeds_scatter else said + _scatter(found.dispersion)


def _without_width(found: Basis) -> list[str]:
    if 0 < found.centre < 1:
        return []
    kind = "reject" if found.centre == 0 else "good part"
    if found.given:
        return [
            f"a centre of {found.centre:g} leaves the limits without width: one {kind} lies outside them; give the "
            "share that can be borne"
        ]
    bound = found.high if found.centre == 0 else 1 - found.low
    return [
        f"there is no {kind} among {found.parts.sum()} parts, so the limits have no width and one {kind} lies outside "
        f"them; the true share of them may be anything up to {100 * bound:.2g} %: give the centre that is wanted, or "
        "draw the limits from more parts"
    ]


def _scatter(found: Dispersion) -> list[str]:
    if found.verdict == "over":
        return [
            f"subgroups scatter more than chance explains (variance {found.variance_ratio:.2g} times that of chance): "
            "limits that heed chance alone give false alarms; take Laney's p′ chart, and look for what differs from "
            "subgroup to subgroup"
        ]
    if found.verdict == "under":
        return [
            f"subgroups scatter less than chance explains (variance {found.variance_ratio:.2g} times that of chance): "
            "they may mix parts of several streams in fixed shares; split them, or take Laney's p′ chart"
        ]
    return []
