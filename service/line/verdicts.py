"""From scores to a verdict: pure rules, and a part never passes by default."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.card import ModelCard, OperatingPoint
from models.classifier import ViewScore
from service.line.looking import Look
from storage.records import Recipe

PASS = 0
NOT_INSPECTED = 900
"""The request was refused, or something inside broke: the reasons say which."""
DEADLINE = 901
OVERLOAD = 902
MISSING_VIEW = 903
OPTICS = 904
UNFAMILIAR = 905
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
    looks: Sequence[Look], missing: Sequence[str], card: ModelCard, point: OperatingPoint, recipe: Recipe
) -> Verdict:
    """The verdict on a part from its views; `missing` names those that did not come.

    What keeps one view from being judged keeps the part from being decided. Else the worst view speaks for the part:
    below the pass threshold it is good, from the reject threshold on it is a defect, between them nobody can say.
    """
    if missing:
        return undecided(recipe.fail_safe, MISSING_VIEW, f"missing: view {', '.join(missing)}")
    for look in looks:
        obstacle = _obstacle(look, recipe)
        if obstacle is not None:
            code, reason = obstacle
            return undecided(recipe.fail_safe, code, reason if len(looks) == 1 else f"view {look.view_id}: {reason}")
    return _by_threshold([look.score for look in looks if look.score is not None], card, point, recipe)


def _obstacle(look: Look, recipe: Recipe) -> tuple[int, str] | None:
    """The code and the reason why nothing can be said about this view; None where something can."""
    if look.unreadable is not None:
        return UNREADABLE, look.unreadable
    if look.score is None or not math.isfinite(look.score.p_defect):
        return NOT_INSPECTED, look.broken or "the model gave no number for this image"
    if look.optics_cause is not None and recipe.on_optics_alarm != "continue" and look.correction is None:
        return OPTICS, f"optics alarm: {look.optics_cause}; scores can't be trusted until it is cleared"
    if look.score.novelty is not None and look.score.novelty > 1.0:
        return UNFAMILIAR, f"unfamiliar: novelty {look.score.novelty:.2f} is above that of every known good part"
    return None


def _by_threshold(scores: Sequence[ViewScore], card: ModelCard, point: OperatingPoint, recipe: Recipe) -> Verdict:
    worst = max(scores, key=lambda score: score.p_defect)
    p = worst.p_defect
    if p < point.pass_below:
        return Verdict("ok", "pass", PASS, ())
    suspect = _likeliest_defect(worst, card)
    number = next(c.number for c in card.classes if c.name == suspect)
    if p >= point.reject_from:
        reason = f"{suspect}: p_defect {p:.3f} >= {point.reject_from:.3f}"
        return Verdict("not_ok", recipe.class_disposition.get(suspect, "reject"), number, (reason,))
    reason = f"maybe {suspect}: p_defect {p:.3f} lies between {point.pass_below:.3f} and {point.reject_from:.3f}"
    return Verdict("not_decidable", recipe.fail_safe, number, (reason,))


def _likeliest_defect(score: ViewScore, card: ModelCard) -> str:
    defects = [(float(p), c.name) for p, c in zip(score.class_probability, card.classes, strict=True) if not c.ok]
    return max(defects)[1]
