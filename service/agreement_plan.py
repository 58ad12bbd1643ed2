"""The plan of an agreement study: how many parts, inspectors and looks, and what the customary study can tell."""

from typing import Any

from labeling.agreement import share
from labeling.agreement.planning import (
    chance_of_wavering,
    expected_width,
    parts_for_kappa,
    parts_for_width,
    parts_to_exclude,
    power_of_kappa,
    power_to_exclude,
)

CUSTOMARY = {"parts": 50, "inspectors": 3, "trials": 3}
"""AIAG's worked example, which most studies follow."""
BORDERLINE = 0.25
"""The share of parts near each side of the limit that AIAG's guidance comes to."""


def plan(
    *,
    width: float,
    effectiveness: float,
    miss: float,
    allowed: int,
    kappa: tuple[float, float],
    power: float,
    defective: float,
    inspectors: int,
    trials: int,
) -> dict[str, Any]:
    """How many parts each aim takes, how many all take together, and what the customary study can tell.

    Raises WrongPlan.
    """
    least, true = kappa
    defective_parts = parts_to_exclude(miss, allowed)
    aims = {
        "width": {"parts": parts_for_width(width, effectiveness), "width": width, "effectiveness": effectiveness},
        "miss": {
            "defective_parts": defective_parts,
            "parts": _rounded_up(defective_parts / defective),
            "rate": miss,
            "allowed": allowed,
        },
        "kappa": {
            "parts": parts_for_kappa(least, true, power, defective),
            "least": least,
            "true": true,
            "power": power,
        },
    }
    parts = max(int(aim["parts"]) for aim in aims.values())
    return {
        "aims": aims,
        "defective": defective,
        "parts": parts,
        "defective_parts": max(defective_parts, round(defective * parts)),
        "borderline_parts": round(2 * BORDERLINE * parts),
        "inspectors": inspectors,
        "trials": trials,
        "looks": parts * inspectors * trials,
        "wavering_seen": chance_of_wavering(trials, 0.5),
        "told_by": [
            _told(CUSTOMARY["parts"], CUSTOMARY["inspectors"], CUSTOMARY["trials"], 0.5, effectiveness, miss, kappa),
            _told(parts, inspectors, trials, defective, effectiveness, miss, kappa),
        ],
    }


def _told(
    parts: int,
    inspectors: int,
    trials: int,
    defective: float,
    effectiveness: float,
    miss: float,
    kappa: tuple[float, float],
) -> dict[str, Any]:
    """What a study of this size can tell of one inspector."""
    bad = round(defective * parts)
    least, true = kappa
    return {
        "parts": parts,
        "inspectors": inspectors,
        "trials": trials,
        "looks": parts * inspectors * trials,
        "defective_parts": bad,
        "expected_width": expected_width(parts, effectiveness),
        "miss_not_excluded": share(0, bad).high,
        "power_to_exclude_miss": power_to_exclude(bad, miss, miss / 5),
        "power_of_kappa": power_of_kappa(parts, least, true, defective),
        "false_claim_of_kappa": power_of_kappa(parts, least, least, defective),
    }


def _rounded_up(number: float) -> int:
    # 72 / 0.48 is a hair over 150 in binary.
    return -int(-(number - 1e-9) // 1)


def aim_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """An aim and what it takes, as text."""
    width, miss, kappa = (found["aims"][name] for name in ("width", "miss", "kappa"))
    allowed = "without a miss" if miss["allowed"] == 0 else f"with at most {miss['allowed']} missed"
    return [
        (
            f"effectiveness of {100 * width['effectiveness']:.0f} % to within an interval {100 * width['width']:.0f} "
            "points wide",
            f"{width['parts']} parts",
        ),
        (
            f"show a miss rate of at most {100 * miss['rate']:g} %",
            f"{miss['defective_parts']} defective parts {allowed}, so {miss['parts']} parts",
        ),
        (
            f"tell a kappa of {kappa['true']:g} from {kappa['least']:g} in {100 * kappa['power']:.0f} of 100 studies",
            f"{kappa['parts']} parts",
        ),
    ]


def told_columns(found: dict[str, Any]) -> list[str]:
    """The heads of `told_rows`."""
    return [
        "what it tells of one inspector",
        *(f"{t['parts']} × {t['inspectors']} × {t['trials']}" for t in found["told_by"]),
    ]


def told_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """A figure, and its value in the customary and in the planned study, as text."""
    aims, told = found["aims"], found["told_by"]
    miss, kappa = aims["miss"], aims["kappa"]
    return [
        ("looks in all", *(str(t["looks"]) for t in told)),
        ("defective parts", *(str(t["defective_parts"]) for t in told)),
        ("expected width of effectiveness", *(f"{100 * t['expected_width']:.0f} points" for t in told)),
        ("miss rate not excluded by 0 misses", *(f"{100 * t['miss_not_excluded']:.1f} %" for t in told)),
        (
            f"shows {100 * miss['rate']:g} % where it is {20 * miss['rate']:g} %",
            *(f"{100 * t['power_to_exclude_miss']:.0f} %" for t in told),
        ),
        (
            f"shows kappa {kappa['least']:g} where it is {kappa['true']:g}",
            *(f"{100 * t['power_of_kappa']:.0f} %" for t in told),
        ),
        (
            f"… wrongly, where it is only {kappa['least']:g}",
            *(f"{100 * t['false_claim_of_kappa']:.1f} %" for t in told),
        ),
    ]


def advice(found: dict[str, Any]) -> list[str]:
    """What to look for when the parts and the people are chosen."""
    return [
        f"Take {found['parts']} parts: about {found['defective_parts']} defective, and about "
        f"{found['borderline_parts']} of all near the limit, half of them on either side. Clear parts alone flatter "
        "everybody, borderline parts alone tell nothing of the line: say the mix in the report.",
        "Let people who did not choose the parts say what they are, before the study, in good light and with the label "
        "book at hand.",
        f"Take everybody who judges on the line, at least {found['inspectors']}. The figures hold for one inspector; "
        "with more of them the chance grows that one is unlucky.",
        f"Show every part {found['trials']} times to each, in a new random order, days apart, and do not say that it "
        f"is a study. {found['trials']} looks show {100 * found['wavering_seen']:.0f} % of the parts on which an "
        "inspector wavers evenly; more looks show more of these, but are no more parts.",
    ]
