"""What an agreement study came to, under stable keys, and what to be careful about.

`docs/agreement.md` explains the keys.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from labeling.agreement import (
    DECIDED,
    GIVEN,
    GOOD,
    NOT_GOOD,
    AgreementStudy,
    Coefficient,
    Coefficients,
    InspectorAgreement,
    PairAgreement,
    band,
    decisions,
    study,
)
from labeling.others import UNKNOWN
from labeling.votes import Votes
from service.agreement_votes import Judged, WrongStudy
from service.figure_text import as_json, rated

SHARES = {
    "repeatability": "same every time",
    "effectiveness": "right every time",
    "miss": "misses",
    "false_alarm": "false alarms",
    "mixed": "now right, now wrong",
    "undecided": "undecided",
    "agreement": "looks that agree",
}
"""Shares of an inspector, and what a column of them is headed."""
PARADOXES_SHOWN = 4
FEW_PARTS = 50
"""With fewer, the intervals of coefficients are too narrow (docs/agreement.md)."""
COEFFICIENTS = ("kappa", "ac", "pabak", "fleiss", "bias")
COUNTING = (
    "Parts are counted, not looks: of misses, false alarms and bias a part brings the share of its looks. Intervals "
    "are 95 %: Clopper-Pearson for shares, large-sample for coefficients. Bands are those of the AIAG handbook, for "
    "the value found and, 'at worst', for what so few parts can't rule out. Bias is the share of looks that do not "
    "pass less the share of parts that should not: above 0 is stricter, below 0 more lenient than the reference."
)


@dataclass(frozen=True, slots=True)
class Studied:
    """What was judged, and the figures of it."""

    judged: Judged
    figures: AgreementStudy
    by_shift: tuple[tuple[str, AgreementStudy], ...]
    """The same of each shift alone, where looks have one and the parts have a reference."""
    weights: str


def studied(judged: Judged, weights: str = "identity") -> Studied:
    """The study of what was judged; decisions where good classes are known, else classes.

    Raises WrongVotes, WrongStudy.
    """
    if weights != "identity" and not judged.ordered:
        raise WrongStudy(
            f"{weights} weights need to know which classes are nearer to each other",
            "name all classes from best to worst: --order good,faint,deep",
        )
    shifts = np.array(judged.shifts)
    named = sorted(set(judged.shifts) - {""})
    found = []
    for shift in named if len(named) > 1 and judged.reference is not None else []:
        of = shifts == shift
        votes = judged.votes
        part = Votes(votes.item[of], votes.inspector[of], votes.label[of], votes.occasion[of])
        found.append((shift, _study(judged, part, weights)))
    return Studied(judged, _study(judged, judged.votes, weights), tuple(found), weights)


def _study(judged: Judged, votes: Votes, weights: str) -> AgreementStudy:
    return study(
        votes,
        judged.reference,
        ok=judged.ok or None,
        undecided=judged.undecided,
        part=judged.part,
        weights=weights,
    )


def summary(found: Studied) -> dict[str, Any]:
    """Everything that was found, under stable keys."""
    judged, figures = found.judged, found.figures
    result = {
        "source": judged.source,
        "reference": figures.reference,
        "reference_from": judged.reference_from,
        "level": figures.level,
        "weights": found.weights,
        "classes": list(judged.classes),
        "ok": [judged.classes[n] for n in judged.ok],
        "undecided": [judged.classes[n] for n in judged.undecided],
        "items": len(judged.items),
        "parts": len(set(judged.part.tolist())),
        "looks": len(judged.votes.item),
        **_kinds(judged),
        **_level(figures, judged),
        "by_class": None if figures.by_class is None else _level(figures.by_class, judged),
        "by_shift": [
            {"shift": shift, "inspectors": [_inspector(one, judged) for one in part.inspectors]}
            for shift, part in found.by_shift
        ],
        "wrong": _wrong(found),
        "left_out": [{"where": one.where, "what": one.what, "remedy": one.remedy} for one in judged.left_out],
    }
    return {**result, "cautions": cautions(result)}


def _kinds(judged: Judged) -> dict[str, int | None]:
    if judged.reference is None or not judged.ok:
        return {"good_parts": None, "defective_parts": None, "unreferenced_parts": None}
    true = decisions(judged.reference, judged.ok)
    parts = {
        name: len(set(judged.part[true == kind].tolist()))
        for name, kind in (("good_parts", GOOD), ("defective_parts", NOT_GOOD), ("unreferenced_parts", UNKNOWN))
    }
    return dict(parts)


def _level(figures: AgreementStudy, judged: Judged) -> dict[str, Any]:
    return {
        "labels": ["ok", "not ok", "undecided"] if figures.level == DECIDED else list(judged.classes),
        "inspectors": [_inspector(one, judged) for one in figures.inspectors],
        "pairs": [_pair(one, judged) for one in figures.pairs],
        "all_agree": as_json(figures.between),
        "all_right": rated("effectiveness", figures.effectiveness),
        "together": _together(figures.together),
    }


def _inspector(one: InspectorAgreement, judged: Judged) -> dict[str, Any]:
    return {
        "inspector": judged.inspectors[one.inspector],
        "looks": one.looks,
        "parts": one.parts,
        "unreferenced": one.unreferenced,
        **{name: rated(name, getattr(one, name)) for name in SHARES},
        **{name: as_json(getattr(one, name)) for name in COEFFICIENTS if name != "kappa"},
        "kappa": _banded(one.kappa),
        "within": _together(one.within),
        "confusion": None if one.confusion is None else [list(row) for row in one.confusion],
        "paradox": one.is_paradox,
    }


def _pair(one: PairAgreement, judged: Judged) -> dict[str, Any]:
    return {
        "inspectors": [judged.inspectors[one.first], judged.inspectors[one.second]],
        "agreement": as_json(one.agreement),
        "kappa": _banded(one.kappa),
        **{name: as_json(getattr(one, name)) for name in ("ac", "pabak", "alpha", "bias")},
        "paradox": one.is_paradox,
    }


def _together(one: Coefficients) -> dict[str, Any]:
    return {
        "agreement": as_json(one.agreement),
        "fleiss": _banded(one.fleiss),
        **{name: as_json(getattr(one, name)) for name in ("ac", "pabak", "alpha")},
        "paradox": one.is_paradox,
    }


def _banded(kappa: Coefficient | None) -> dict[str, Any] | None:
    if kappa is None:
        return None
    return {**(as_json(kappa) or {}), "band": band("kappa", kappa.value), "worst_band": band("kappa", kappa.low)}


def _wrong(found: Studied) -> list[dict[str, Any]]:
    """The items that somebody did not judge as they are, those that most looks got wrong first."""
    judged = found.judged
    if judged.reference is None:
        return []
    level = found.figures.level
    said, true = judged.votes.label, judged.reference
    if level == DECIDED:
        said, true = decisions(said, judged.ok, judged.undecided), decisions(true, judged.ok)
    wrong = (said != true[judged.votes.item]) & (true[judged.votes.item] != UNKNOWN)
    rows = []
    for item in np.unique(judged.votes.item[wrong]).tolist():
        here = judged.votes.item == item
        order = np.flatnonzero(here)[np.lexsort((judged.votes.occasion[here], judged.votes.inspector[here]))]
        by_inspector: dict[str, list[str]] = {}
        for look in order.tolist():
            name = judged.inspectors[judged.votes.inspector[look]]
            by_inspector.setdefault(name, []).append(judged.classes[judged.votes.label[look]])
        rows.append(
            {
                "item": judged.items[item],
                "reference": judged.classes[judged.reference[item]],
                "wrong": int(wrong[here].sum()),
                "looks": int(here.sum()),
                "said": by_inspector,
            }
        )
    return sorted(rows, key=lambda row: (-row["wrong"] / row["looks"], row["item"]))


def cautions(result: dict[str, Any]) -> list[str]:
    """What keeps the figures from meaning what they seem to; mostly nothing."""
    found = []
    if result["reference"] != GIVEN:
        unsure = max((one["unreferenced"] for one in result["inspectors"]), default=0)
        found.append(
            "nothing is known of the parts: each inspector is held against the consensus of the others, so 'right' "
            "means 'as the others say'. Left out, where the others are tied or missing: up to "
            f"{unsure} of {result['parts']} parts, by inspector"
        )
    elif result["level"] == DECIDED:
        found += [
            f"no part is {kind}: add such parts, the study can't tell {figure} without"
            for kind, figure, parts in (
                ("good", "false alarms", result["good_parts"]),
                ("defective", "misses", result["defective_parts"]),
            )
            if not parts
        ]
    if result["level"] != DECIDED:
        found.append(
            "no class is known to be good, so classes are compared and there are no misses and no false alarms: name "
            "the good classes with --ok"
        )
    if all(one["repeatability"] is None for one in result["inspectors"]):
        found.append("nobody looked twice at a part, so nothing is known of how far inspectors agree with themselves")
    if len(result["inspectors"]) == 1:
        found.append("there is one inspector, so nothing is known of how far inspectors agree with each other")
    if 0 < result["parts"] < FEW_PARTS:
        found.append(
            f"{result['parts']} parts are few: the intervals of kappa and its kin are too narrow with fewer than "
            f"{FEW_PARTS}, those of shares are not; 'loupe agreement plan' says how many parts a study takes"
        )
    return found + _paradoxes(result)


def _paradoxes(result: dict[str, Any]) -> list[str]:
    """Where kappa is low or missing although people agree, in words."""
    pieces = [
        *((f"{one['inspector']} and the reference", one, "kappa") for one in result["inspectors"]),
        *((" and ".join(one["inspectors"]), one, "kappa") for one in result["pairs"]),
        ("all inspectors together", result["together"], "fleiss"),
    ]
    name = coefficient_name(result["weights"])
    found = []
    for who, one, kappa in pieces:
        if one["paradox"]:
            value = "there is no kappa" if one[kappa] is None else f"kappa is {one[kappa]['value']:.2f}"
            found.append(
                f"{who}: {100 * one['agreement']['value']:.0f} % of looks agree and yet {value}. One class is said far "
                "oftener than the others, and kappa takes the agreement on it for chance; look at "
                f"{name} ({one['ac']['value']:.2f}) and at the misses, and study more parts of the rare kind"
            )
    if len(found) > PARADOXES_SHOWN:
        return [
            *found[:PARADOXES_SHOWN],
            f"the same holds of {len(found) - PARADOXES_SHOWN} others, marked 'paradox' in --json",
        ]
    return found


def coefficient_name(weights: str) -> str:
    """Gwet's name for his coefficient with these weights.

    >>> coefficient_name("identity"), coefficient_name("linear")
    ('AC1', 'AC2')
    """
    return "AC1" if weights == "identity" else "AC2"
