"""From scores to a verdict: pure rules, and a part never passes by default."""

import math
from dataclasses import dataclass

from models.card import ModelCard, OperatingPoint
from models.classifier import ViewScore
from storage.records import Recipe

PASS = 0
NOT_INSPECTED = 900
"""The request was refused, or something inside broke: the reasons say which."""
DEADLINE = 901
OVERLOAD = 902
OPTICS = 904
UNREADABLE = 906
NOT_READY = 907
STORAGE = 908


@dataclass(frozen=True, slots=True)
class Verdict:
    """Evaluation and disposition of a part, with the code that a PLC reads."""

    evaluation: str
    disposition: str
    result_code: int
    reasons: tuple[str, ...]


def undecided(fail_safe: str, result_code: int, reason: str) -> Verdict:
    """Nothing could be decided: the recipe's fail-safe disposition, never a pass."""
    return Verdict("not_decidable", fail_safe, result_code, (reason,))


def decide(
    score: ViewScore, card: ModelCard, point: OperatingPoint, recipe: Recipe, optics_cause: str | None
) -> Verdict:
    """The verdict on a part with one view.

    Below the pass threshold the part is good, from the reject threshold on it is a defect, between them nobody can say.
    `optics_cause` is the cause of an optics alarm that stands, or None.
    """
    p = score.p_defect
    if not math.isfinite(p):
        return undecided(recipe.fail_safe, NOT_INSPECTED, "the model gave no number for this image")
    if optics_cause is not None and recipe.on_optics_alarm == "not_decidable":
        return undecided(
            recipe.fail_safe, OPTICS, f"optics alarm: {optics_cause}; scores can't be trusted until it is cleared"
        )
    if p < point.pass_below:
        return Verdict("ok", "pass", PASS, ())
    suspect = _likeliest_defect(score, card)
    number = next(c.number for c in card.classes if c.name == suspect)
    if p >= point.reject_from:
        reason = f"{suspect}: p_defect {p:.3f} >= {point.reject_from:.3f}"
        return Verdict("not_ok", recipe.class_disposition.get(suspect, "reject"), number, (reason,))
    reason = f"maybe {suspect}: p_defect {p:.3f} lies between {point.pass_below:.3f} and {point.reject_from:.3f}"
    return Verdict("not_decidable", recipe.fail_safe, number, (reason,))


def _likeliest_defect(score: ViewScore, card: ModelCard) -> str:
    defects = [(float(p), c.name) for p, c in zip(score.class_probability, card.classes, strict=True) if not c.ok]
    return max(defects)[1]
