"""The attribute study of measurement system analysis (AIAG, MSA, 4th edition 2010, chapter III C).

Parts are judged several times by every inspector: how far does each agree with herself, with what is known of the
parts, and with the others?
"""

from collections.abc import Collection

import numpy as np

from labeling.agreement.coefficients import coefficients
from labeling.agreement.comparisons import Level, Looks, counts, of_inspector, of_pair, right
from labeling.agreement.decisions import UNDECIDED, decisions
from labeling.agreement.results import CLASSES, DECIDED, GIVEN, OTHERS, AgreementStudy
from labeling.agreement.shares import Bools, repeatability
from labeling.agreement.weights import WEIGHTS
from labeling.others import others
from labeling.votes import Ints, Votes, WrongVotes


def study(
    votes: Votes,
    reference: Ints | None = None,
    *,
    ok: Collection[int] | None = None,
    undecided: Collection[int] = (),
    part: Ints | None = None,
    weights: str = "identity",
) -> AgreementStudy:
    """Every figure, on the level of decisions where `ok` names the good labels, else on the level of classes.

    reference: (n,) the label that item 0..n-1 truly has, -1 where nobody knows; without it each inspector is held
    against what more than half of the others say (`labeling.others`), and items on which they are undecided are left
    out and counted. undecided: labels that decide nothing. part: (n,) which part an item shows; default: each its own.
    weights: a name in WEIGHTS, for classes that have an order; decisions have none.

    Handbooks and programs differ in what they count. Here:

    - Evidence is counted in parts: a part is judged right, or the same, when all looks at all its items are.
    - Misses, false alarms, bias and undecided looks are shares of looks, as in AIAG's table, of which every part brings
      the fraction of its looks; with equal looks a part that is the plain share of looks (AIAG's 3 of 48 are 6.25 %).
      Only their interval is that of so many parts. Minitab counts parts that are wrong at every look instead.
    - Within an inspector AIAG and Minitab count parts judged the same every time; so do we.
    - Kappa with the reference is Cohen's over all looks; `fleiss` is Fleiss' over all looks. Minitab and JASP show the
      mean of Fleiss' kappas trial by trial, which differs in the second or third digit.
    - Fleiss' kappa over all inspectors takes every look as one column, repeats too, as Minitab and JASP do.
    - On the level of classes there is no good and no bad: miss, false alarm and bias are None.

    An undecided look does not pass the part: it is no miss, it is a false alarm on a good part, and it is never right.

    Raises WrongVotes.

    >>> votes = Votes(item=np.array([0, 0, 1, 1, 2, 2]), inspector=np.array([0, 1] * 3),
    ...               label=np.array([0, 0, 1, 1, 0, 1]), occasion=np.zeros(6, dtype=np.int64))
    >>> found = study(votes)
    >>> found.level, found.reference, found.between.hits, found.inspectors[0].effectiveness.hits
    ('classes', 'others', 2, 2)
    """
    if weights not in WEIGHTS:
        raise WrongVotes(f"'{weights}' is no weighting of classes", f"use one of {', '.join(WEIGHTS)}")
    known = None if reference is None else np.asarray(reference, np.int64)
    items = _item_count(votes, known, part)
    highest = max(int(votes.label.max(initial=0)), int(known.max(initial=0)) if known is not None else 0)
    checked = votes.checked(1 + highest)
    groups = np.arange(items) if part is None else np.unique(part, return_inverse=True)[1]
    by_class = _figures(checked, known, tuple(undecided), Level(CLASSES, 1 + highest, weights), groups)
    if ok is None:
        return by_class
    said = Votes(
        checked.item,
        checked.inspector,
        decisions(checked.label, ok, undecided),
        checked.occasion,
        checked.weight,
        checked.time,
    )
    truth = None if known is None else decisions(known, ok, undecided)
    return _figures(said, truth, (UNDECIDED,), Level(DECIDED, 1 + UNDECIDED, "identity"), groups, by_class)


def _item_count(votes: Votes, reference: Ints | None, part: Ints | None) -> int:
    needed = 1 + int(votes.item.max(initial=-1))
    lengths = {len(given) for given in (reference, part) if given is not None} or {needed}
    if len(lengths) > 1 or min(lengths) < needed:
        raise WrongVotes(
            f"the votes name {needed} items, reference and part name {sorted(lengths)}",
            "pass one entry an item in both",
        )
    return lengths.pop()


def _figures(
    votes: Votes,
    reference: Ints | None,
    undecided: tuple[int, ...],
    level: Level,
    groups: Ints,
    by_class: AgreementStudy | None = None,
) -> AgreementStudy:
    if reference is not None and bool(np.isin(reference, undecided).any()):
        raise WrongVotes("the reference leaves an item undecided", "take the item out, or say what it is")
    true = others(votes, level.classes, undecided).label if reference is None else reference[votes.item]
    looks = Looks(votes.item, votes.inspector, votes.occasion, votes.label, true, groups)
    inspectors = np.unique(looks.inspector).tolist()
    shared = looks.of(_judged_by_all(looks, len(inspectors))[looks.group])
    return AgreementStudy(
        level=level.name,
        reference=OTHERS if reference is None else GIVEN,
        inspectors=tuple(of_inspector(one, looks.of(looks.inspector == one), undecided, level) for one in inspectors),
        pairs=tuple(
            of_pair(first, second, looks, level) for first in inspectors for second in inspectors if first < second
        ),
        between=repeatability(shared.group, shared.group, shared.said) if len(inspectors) > 1 else None,
        effectiveness=None if reference is None else right(shared),
        together=coefficients(counts(looks, level.classes), level.weights, groups),
        by_class=by_class,
    )


def _judged_by_all(looks: Looks, inspectors: int) -> Bools:
    """(parts,): whether every inspector looked at the part."""
    pairs = np.unique(np.stack([looks.group, looks.inspector], axis=1), axis=0)
    return np.asarray(np.bincount(pairs[:, 0], minlength=1 + int(looks.part_of.max(initial=-1))) == inspectors, bool)
