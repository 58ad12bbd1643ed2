import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import ClassInfo, OperatingPoint
from models.classifier import ViewScore
from monitoring.correction import Correction
from service.line.looking import Look
from service.line.requests import ViewRequest
from service.line.verdicts import MISSING_VIEW, NOT_INSPECTED, OPTICS, PASS, UNFAMILIAR, UNREADABLE, Verdict, decide
from service.recipe_rules import DISPOSITIONS, FAIL_SAFES, ON_ALARM, default_recipe
from storage.records import Recipe
from tests.service.line.stocked import MADE_AT, PRODUCT
from tests.tiny_model import CLASSES, POINT, tiny_card

RECIPE = default_recipe(PRODUCT, "test", MADE_AT)
CARD = tiny_card(classes=(*CLASSES, ClassInfo("dent", 12, False)))

chances = st.floats(0, 1) | st.sampled_from([math.nan, math.inf, -math.inf, -0.1])
limits = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
recipes = st.builds(
    lambda fail_safe, on_alarm, scratch: replace(
        RECIPE, fail_safe=fail_safe, on_optics_alarm=on_alarm, class_disposition={"scratch": scratch}
    ),
    st.sampled_from(FAIL_SAFES), st.sampled_from(ON_ALARM), st.sampled_from(DISPOSITIONS),
)  # fmt: skip


def score(p_defect: float, scratch_share: float = 1.0, novelty: float | None = None) -> ViewScore:
    scratch = p_defect * scratch_share
    probability = np.array([1 - p_defect, scratch, p_defect - scratch], np.float32)
    return ViewScore(probability, p_defect, novelty, "good" if p_defect < 0.5 else "scratch")


def seen(name: str = "0", found: ViewScore | None = None, **more: Any) -> Look:
    """A view as it was looked at."""
    return Look(ViewRequest(name, name, "image/png"), "digest", 64, 48, found, **more)


def verdict_on(found: ViewScore, point: OperatingPoint, recipe: Recipe, alarm: str | None = None) -> Verdict:
    """The verdict on a part of one view."""
    return decide([seen(found=found, optics_cause=alarm)], (), CARD, point, recipe)


@given(chances, st.floats(0, 1), limits, recipes, st.none() | st.just("lamp_ageing"))
def test_only_a_score_below_the_pass_threshold_under_trusted_optics_passes(
    p_defect: float, share: float, thresholds: list[float], recipe: Recipe, alarm: str | None
) -> None:
    point = replace(POINT, pass_below=thresholds[0], reject_from=thresholds[1])
    verdict = verdict_on(score(p_defect, share), point, recipe, alarm)
    trusted = alarm is None or recipe.on_optics_alarm == "continue"
    may_pass = math.isfinite(p_defect) and p_defect < point.pass_below and trusted
    assert (verdict.disposition == "pass") == may_pass
    assert (verdict.result_code == PASS) == may_pass
    assert (verdict.evaluation == "ok") == may_pass
    assert may_pass or verdict.reasons
    assert verdict.evaluation != "not_decidable" or verdict.disposition == recipe.fail_safe


@pytest.mark.parametrize(
    ("p_defect", "expected"),
    [
        (0.0, ("ok", "pass", 0)),
        (math.nextafter(POINT.pass_below, 0), ("ok", "pass", 0)),
        (POINT.pass_below, ("not_decidable", "recheck", 7)),
        (math.nextafter(POINT.reject_from, 0), ("not_decidable", "recheck", 7)),
        (POINT.reject_from, ("not_ok", "reject", 7)),
        (1.0, ("not_ok", "reject", 7)),
        (math.nan, ("not_decidable", "recheck", NOT_INSPECTED)),
    ],
)
def test_thresholds_hold_to_the_last_bit(p_defect: float, expected: tuple[str, str, int]) -> None:
    verdict = verdict_on(score(p_defect), POINT, RECIPE)
    assert (verdict.evaluation, verdict.disposition, verdict.result_code) == expected


def test_likeliest_defect_gives_the_number_and_its_disposition() -> None:
    recipe = replace(RECIPE, class_disposition={"dent": "rework"})
    verdict = verdict_on(score(0.9, scratch_share=0.4), POINT, recipe)
    assert (verdict.disposition, verdict.result_code) == ("rework", 12)
    assert "dent" in verdict.reasons[0]


def test_optics_alarm_takes_the_decision_away_even_from_a_sure_defect() -> None:
    verdict = verdict_on(score(1.0), POINT, replace(RECIPE, fail_safe="reject"), "haze")
    assert (verdict.evaluation, verdict.disposition, verdict.result_code) == ("not_decidable", "reject", OPTICS)
    assert "haze" in verdict.reasons[0]


def test_a_corrected_image_is_judged_under_an_alarm_where_the_recipe_says_so() -> None:
    corrects = replace(RECIPE, on_optics_alarm="correct")
    look = seen(found=score(0.0), optics_cause="lamp_dim")
    corrected = replace(look, correction=Correction(1.1, 1.1, 1.1))
    assert decide([look], (), CARD, POINT, corrects).result_code == OPTICS
    assert decide([corrected], (), CARD, POINT, corrects).result_code == PASS


def test_worst_view_decides_wherever_it_stands() -> None:
    views = [seen("left", score(0.1)), seen("right", score(0.9, scratch_share=0.2)), seen("top", score(0.2))]
    for order in permutations(views):
        verdict = decide(order, (), CARD, POINT, RECIPE)
        assert (verdict.evaluation, verdict.disposition, verdict.result_code) == ("not_ok", "reject", 12)
    without = decide([views[0], views[2]], (), CARD, POINT, RECIPE)
    assert (without.evaluation, without.disposition, without.result_code) == ("ok", "pass", PASS)


OBSTACLES: dict[int, dict[str, Any]] = {
    UNREADABLE: {"unreadable": "no image"},
    NOT_INSPECTED: {"broken": "RuntimeError inside Loupe; see the log"},
    OPTICS: {"found": score(0.0), "optics_cause": "haze"},
    UNFAMILIAR: {"found": score(0.0, novelty=1.01)},
}


@pytest.mark.parametrize("code", OBSTACLES)
def test_view_that_can_not_be_judged_keeps_the_part_from_being_decided(code: int) -> None:
    views = [seen("left", score(0.0)), seen("right", **OBSTACLES[code]), seen("top", score(1.0))]
    for order in permutations(views):
        verdict = decide(order, (), CARD, POINT, replace(RECIPE, fail_safe="reject"))
        assert (verdict.evaluation, verdict.disposition, verdict.result_code) == ("not_decidable", "reject", code)
        assert verdict.reasons[0].startswith("view right: ")


def test_part_with_a_missing_view_is_not_decided_whatever_the_others_show() -> None:
    for p_defect in (0.0, 1.0):
        verdict = decide([seen("left", score(p_defect))], ("right", "top"), CARD, POINT, RECIPE)
        assert verdict == Verdict("not_decidable", "recheck", MISSING_VIEW, ("missing: view right, top",))


def test_part_at_the_edge_of_what_is_familiar_is_decided() -> None:
    assert verdict_on(score(0.0, novelty=1.0), POINT, RECIPE).disposition == "pass"
    assert verdict_on(score(1.0, novelty=1.5), POINT, RECIPE).result_code == UNFAMILIAR
