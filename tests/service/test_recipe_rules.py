from typing import Any

import pytest

from service.line.requests import DEFAULT_VIEW, FIELD_LIMIT, VIEW_LIMIT
from service.recipe_rules import DISPOSITIONS, FAIL_SAFES, ON_ALARM, default_recipe, problems
from tests.storage import samples
from tests.storage.samples import NOW, PRODUCT

CHAMPION = samples.model(card={"operating_points": {"standard": {}}})


def wrong_fields(**changes: Any) -> list[str]:
    found = problems(samples.recipe(**changes), samples.book(), CHAMPION)
    assert all(problem.is_error and problem.what and problem.remedy for problem in found)
    return [problem.field for problem in found]


def test_the_default_recipe_and_a_full_one_hold() -> None:
    assert wrong_fields() == []
    assert problems(default_recipe(PRODUCT, "mira", NOW), samples.book(), CHAMPION) == []


def test_nothing_that_a_recipe_may_hold_lets_a_defect_pass() -> None:
    assert "pass" not in {*DISPOSITIONS, *FAIL_SAFES, *ON_ALARM}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fail_safe", "pass"),
        ("fail_safe", "rework"),
        ("fail_safe", ""),
        ("on_optics_alarm", "ignore"),
        ("keep_ok_share", -0.01),
        ("keep_ok_share", 1.01),
        ("keep_ok_share", float("nan")),
        ("deadline_ms", 0.0),
        ("deadline_ms", -1.0),
        ("deadline_ms", float("nan")),
        ("deadline_ms", float("inf")),
        ("challenge_every_h", 0.0),
        ("challenge_every_h", float("inf")),
        ("product", " cap"),
        ("station", ""),
        ("station", "a\nb"),
        ("station", "s" * (FIELD_LIMIT + 1)),
        ("station", "line/1"),
        ("operating_point", "lax"),
        ("expected_views", ("top", "top")),
        ("expected_views", ("",)),
        ("expected_views", ("a\x00",)),
        ("expected_views", tuple(str(n) for n in range(VIEW_LIMIT + 1))),
    ],
)
def test_a_value_that_can_not_hold_is_named(field: str, value: Any) -> None:
    assert wrong_fields(**{"lamps": {}, field: value}) == [field]


@pytest.mark.parametrize("name", ["", " red", "red\n", "r" * (FIELD_LIMIT + 1)])
def test_a_lamp_and_its_view_have_printable_names(name: str) -> None:
    assert wrong_fields(lamps={"top": name}) == ["lamps.top"]
    assert wrong_fields(lamps={name: "red"}) == [f"lamps.{name}"]


@pytest.mark.parametrize(
    ("views", "view", "others"),
    [(("top", "side"), "bottom", "top, side"), (("top",), DEFAULT_VIEW, "top"), ((), "top", DEFAULT_VIEW)],
)
def test_only_a_view_of_the_recipe_has_a_lamp(views: tuple[str, ...], view: str, others: str) -> None:
    of_a_view = {views[0] if views else DEFAULT_VIEW: "red"}
    assert wrong_fields(expected_views=views, lamps=of_a_view) == []
    found = problems(samples.recipe(expected_views=views, lamps={**of_a_view, view: "red"}), samples.book(), CHAMPION)
    assert [problem.field for problem in found] == [f"lamps.{view}"]
    assert f"use one of {others}, " in found[0].remedy
    assert f"`--lamp '{view}='`" in found[0].remedy


@pytest.mark.parametrize("disposition", ["pass", "scrap", ""])
def test_a_class_that_is_not_good_never_passes(disposition: str) -> None:
    assert wrong_fields(class_disposition={"scratch": disposition}) == ["class_disposition.scratch"]


@pytest.mark.parametrize("name", ["good", "hole"])
def test_only_defect_classes_of_the_label_book_have_a_disposition(name: str) -> None:
    assert wrong_fields(class_disposition={name: "rework"}) == [f"class_disposition.{name}"]


def test_what_nobody_can_tell_yet_is_a_warning() -> None:
    recipe = samples.recipe(operating_point="to-come", class_disposition={"to-come": "rework"})
    found = problems(recipe, None, None)
    assert [(problem.field, problem.is_error) for problem in found] == [("product", False), ("operating_point", False)]
