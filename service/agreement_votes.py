"""What inspectors said, as numbers for an agreement study."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.formats import Problem
from labeling.label_book import USUAL_OK_NAMES
from labeling.others import UNKNOWN
from labeling.votes import Ints, Votes

COLUMN, ADJUDICATED, NONE = "column", "adjudicated", "none"
"""Whose word the reference is, beside the name of a file."""


class WrongStudy(ValueError):
    """What was judged can't be studied as was asked."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Said:
    """One look: what an inspector said of an item."""

    item: str
    inspector: str
    label: str
    occasion: int
    shift: str = ""
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The looks of a study as numbers, and what the numbers stand for."""

    source: str
    votes: Votes
    items: tuple[str, ...]
    """As people know them."""
    inspectors: tuple[str, ...]
    classes: tuple[str, ...]
    ordered: bool
    """Whether the order of the classes says which are nearer."""
    ok: tuple[int, ...]
    """Good classes; none: only classes can be compared."""
    undecided: tuple[int, ...]
    reference: Ints | None
    """(items,), -1 where nobody knows."""
    reference_from: str
    """Whose word the reference is, in words; empty without one."""
    part: Ints
    """(items,)"""
    shifts: tuple[str, ...]
    """One a look; empty where nobody says."""
    left_out: tuple[Problem, ...]


def judged(
    source: str,
    said: Sequence[Said],
    classes: Sequence[str],
    ordered: bool,
    ok: Sequence[int],
    undecided: Sequence[int],
    known: Mapping[str, str] | None,
    reference_from: str,
    parts: Mapping[str, str],
    problems: Sequence[Problem],
    names: Mapping[str, str] | None = None,
) -> Judged:
    """Number the looks; known: what items truly are; parts, names: which part an item shows, and what it is called.

    Raises WrongStudy.
    """
    if not said:
        raise WrongStudy(f"{source} holds no look of an inspector", "give at least one row with item, inspector, label")
    items, inspectors = (in_order({getattr(one, name) for one in said}) for name in ("item", "inspector"))
    place, who, number = ({name: n for n, name in enumerate(of)} for of in (items, inspectors, classes))
    votes = Votes(
        np.array([place[one.item] for one in said], np.int64),
        np.array([who[one.inspector] for one in said], np.int64),
        np.array([number[one.label] for one in said], np.int64),
        np.array([one.occasion for one in said], np.int64),
        time=np.array([one.time for one in said], np.float64) if all(one.time is not None for one in said) else None,
    )
    reference = None
    if known is not None:
        reference = np.array([number[known[item]] if item in known else UNKNOWN for item in items], np.int64)
        if bool((reference == UNKNOWN).all()):
            raise WrongStudy(
                f"{reference_from} knows none of the items that were judged", "check the names of the items"
            )
    return Judged(
        source,
        votes,
        tuple((names or {}).get(item, item) for item in items),
        tuple(inspectors),
        tuple(classes),
        ordered,
        tuple(ok),
        tuple(undecided),
        reference,
        reference_from,
        np.unique([parts.get(item, item) for item in items], return_inverse=True)[1].astype(np.int64),
        tuple(one.shift for one in said),
        tuple(problems),
    )


def ordered(names: Collection[str], ok: Collection[str], order: Sequence[str]) -> list[str]:
    """The classes from best to worst: as `order` says, else the good ones first, then by number or name.

    Raises WrongStudy.
    """
    if order:
        if missing := sorted(set(names) - set(order)):
            raise WrongStudy(f"--order does not name {', '.join(missing)}", "name every class, from best to worst")
        return list(dict.fromkeys(order))
    good = good_classes(names, ok)
    return sorted(in_order(names), key=lambda name: name not in good)


def good_classes(classes: Collection[str], ok: Collection[str]) -> set[str]:
    """The good classes: `ok`, else those named ok or good. Raises WrongStudy for one that nobody said."""
    check_among(ok, classes, "--ok")
    return set(ok) or {name for name in classes if name.lower() in USUAL_OK_NAMES}


def check_among(names: Collection[str], classes: Collection[str], option: str) -> None:
    """Raises WrongStudy where the option names a class that nobody said."""
    if unknown := sorted(set(names) - set(classes)):
        raise WrongStudy(f"{option}: nobody said {', '.join(unknown)}", f"name classes among {', '.join(classes)}")


def in_order(names: Collection[str]) -> list[str]:
    """By the alphabet, but numbers by their size.

    >>> in_order(["part10", "part2", "cap"])
    ['cap', 'part2', 'part10']
    """
    return sorted(
        names, key=lambda name: [(float(n), "") if n.isdigit() else (0.0, n) for n in re.split(r"(\d+)", name)]
    )
