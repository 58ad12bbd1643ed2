import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import ClassInfo
from models.classifier import ViewScore
from service.commands.people import DISPOSITIONS, FAIL_SAFES, ON_ALARM, default_recipe
from service.line.verdicts import NOT_INSPECTED, OPTICS, PASS, decide
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


def score(p_defect: float, scratch_share: float = 1.0) -> ViewScore:
    scratch = p_defect * scratch_share
    probability = np.array([1 - p_defect, scratch, p_defect - scratch], np.float32)
    return ViewScore(probability, p_defect, None, "good" if p_defect < 0.5 else "scratch")


@given(chances, st.floats(0, 1), limits, recipes, st.none() | st.just("lamp_ageing"))
def test_only_a_score_below_the_pass_threshold_under_trusted_optics_passes(
    p_defect: float, share: float, thresholds: list[float], recipe: Recipe, alarm: str | None
) -> None:
    point = replace(POINT, pass_below=thresholds[0], reject_from=thresholds[1])
    verdict = decide(score(p_defect, share), CARD, point, recipe, alarm)
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
    verdict = decide(score(p_defect), CARD, POINT, RECIPE, None)
    assert (verdict.evaluation, verdict.disposition, verdict.result_code) == expected


def test_likeliest_defect_gives_the_number_and_its_disposition() -> None:
    recipe = replace(RECIPE, class_disposition={"dent": "rework"})
    verdict = decide(score(0.9, scratch_share=0.4), CARD, POINT, recipe, None)
    assert (verdict.disposition, verdict.result_code) == ("rework", 12)
    assert "dent" in verdict.reasons[0]


def test_optics_alarm_takes_the_decision_away_even_from_a_sure_defect() -> None:
    verdict = decide(score(1.0), CARD, POINT, replace(RECIPE, fail_safe="reject"), "haze")
    assert (verdict.evaluation, verdict.disposition, verdict.result_code) == ("not_decidable", "reject", OPTICS)
    assert "haze" in verdict.reasons[0]
