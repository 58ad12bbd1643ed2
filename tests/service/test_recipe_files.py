from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.line.requests import DEFAULT_VIEW, VIEW_LIMIT
from service.recipe_files import CONTENT, Plan, plan_import, to_yaml
from service.recipe_rules import DISPOSITIONS, FAIL_SAFES, ON_ALARM
from service.yaml_text import WrongYaml
from storage.records import Model, Recipe
from tests.storage import samples
from tests.storage.samples import NOW, PRODUCT

CARD: dict[str, object] = {"operating_points": {"standard": {}, "strict": {}}}
CHAMPION = samples.model(card=CARD)


def plan(text: str, *present: Recipe, champion: Model | None = CHAMPION) -> Plan:
    return plan_import(
        text,
        "recipes.yaml",
        present={(recipe.product, recipe.station): recipe for recipe in present},
        books={PRODUCT: samples.book()},
        champions={PRODUCT: champion} if champion else {},
        by="mira",
        at=NOW,
    )


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(WrongYaml) as refused:
        plan(text)
    assert refused.value.remedy
    assert "recipes.yaml" in str(refused.value)
    return refused.value.found


printable = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
names = st.text(printable, min_size=1, max_size=20).filter(lambda name: name == name.strip())
numbers = st.floats(0, 1e6, exclude_min=True)
without_lamps = st.builds(
    Recipe,
    product=st.just(PRODUCT),
    station=names.filter(lambda name: not set(name) & set("/+#")),
    version=st.integers(1, 99),
    operating_point=st.sampled_from(["standard", "strict"]),
    fail_safe=st.sampled_from(FAIL_SAFES),
    class_disposition=st.dictionaries(st.sampled_from(["scratch", "dent"]), st.sampled_from(DISPOSITIONS)),
    deadline_ms=st.none() | numbers,
    on_optics_alarm=st.sampled_from(ON_ALARM),
    keep_ok_share=st.floats(0, 1),
    created_by=st.just("olaf"),
    created_at=st.just(NOW),
    expected_views=st.lists(names, max_size=VIEW_LIMIT, unique=True).map(tuple),
    challenge_every_h=st.none() | numbers,
)


def with_lamps(recipe: Recipe) -> st.SearchStrategy[Recipe]:
    views = st.sampled_from(recipe.expected_views or (DEFAULT_VIEW,))
    return st.dictionaries(views, names).map(lambda lamps: replace(recipe, lamps=lamps))


recipes = without_lamps.flatmap(with_lamps)


@settings(max_examples=40, deadline=None)
@given(st.lists(recipes, unique_by=lambda recipe: recipe.station, max_size=4))
def test_whatever_is_written_is_read_back_as_it_was(written: list[Recipe]) -> None:
    text = to_yaml(written)
    assert to_yaml(written[::-1]) == text
    found = plan(text, *written)
    assert found.changes == ()
    assert sorted(found.unchanged, key=lambda r: r.station) == sorted(written, key=lambda r: r.station)
    on_another_machine = [change.after for change in plan(text).changes]
    assert on_another_machine == [
        replace(recipe, version=1, created_by="mira") for recipe in sorted(written, key=lambda r: r.station)
    ]


def test_what_is_left_out_has_its_default_and_not_what_held_before() -> None:
    present = samples.recipe(4)
    (change,) = plan(f"recipes:\n- product: {PRODUCT}\n", present).changes
    assert change.before == present
    assert (change.after.version, change.after.station, change.after.created_by) == (5, "*", "mira")
    assert change.differences == {
        "deadline_ms": (80.5, None),
        "keep_ok_share": (0.05, 0.1),
        "challenge_every_h": (12.5, None),
        "expected_views": (("top", "side"), ()),
        "lamps": ({"top": "dark field", "side": "«Rotlicht»"}, {}),
        "class_disposition": ({"dent": "rework"}, {}),
    }


def test_recipes_that_are_not_in_the_file_are_left_alone() -> None:
    found = plan("recipes: []", samples.recipe())
    assert (found.changes, found.unchanged) == ((), ())


EVERYTHING_WRONG = f"""\
recipes:
- product: {PRODUCT}
  station: a/b
  fail_safe: pass
  on_optics_alarm: ignore
  deadline_ms: -3
  keep_ok_share: 1.5
  challenge_every_h: .nan
  operating_point: lax
  expected_views: [top, top, " x"]
  lamps:
    top: " red"
    bottom: red
  class_disposition:
    scratch: pass
    good: reject
    hole: rework
- product: {PRODUCT}
  station: s2
- product: {PRODUCT}
  station: s2
"""


def test_every_problem_is_named_with_its_line() -> None:
    found = problems(EVERYTHING_WRONG)
    lines = [int(one.split(":")[0].removeprefix("line ")) for one in found]
    assert sorted(lines) == [3, 4, 5, 6, 7, 8, 9, 10, 10, 12, 13, 15, 16, 17, 20]
    by_line = dict(zip(lines, found, strict=True))
    assert "lamp of view 'top' ' red' begins or ends with a space" in by_line[12]
    assert "view 'bottom' has a lamp, but the recipe has no such view" in by_line[13]
    assert "a part with a defect never passes" in by_line[15]
    assert "class 'good' is good" in by_line[16]
    assert "defect classes: dent, scratch" in by_line[17]
    assert "first on line 18" in by_line[20]
    assert all(f"{PRODUCT}@" in one for one in found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the file must hold one list, `recipes:`"),
        ("[]", "line 1: the file must hold one list"),
        ("recipes:", "line 1: the file must hold one list"),
        ("recipes: {}", "line 1: the file must hold one list"),
        ("recipes: []\nrecipe: []", "line 2: the file must hold one list"),
        ("recipes:\n- housing", "line 2: this is no recipe"),
        ("recipes:\n- station: s1", "line 2: product is missing"),
        ("recipes:\n- product: 4711", "line 2: product is no text: put it in quotes"),
        ("recipes:\n- product: no", "line 2: product is no text: put it in quotes"),
        ("recipes:\n- product: cap\n  dedline_ms: 3", "line 3: dedline_ms is no field"),
        ("recipes:\n- product: cap\n  deadline_ms: fast", "line 3: deadline_ms is no number"),
        ("recipes:\n- product: cap\n  deadline_ms: true", "line 3: deadline_ms is no number"),
        ("recipes:\n- product: cap\n  expected_views: top", "line 3: expected_views is no list"),
        ("recipes:\n- product: cap\n  expected_views:\n  - top\n  - 2", "line 5: expected_views.1 is no text"),
        ("recipes:\n- product: cap\n  class_disposition: [scratch]", "line 3: class_disposition is no table"),
        ("recipes:\n- product: cap\n  class_disposition:\n    1: rework", "line 4: class_disposition.1 is no text"),
        ("recipes:\n- product: cap\n  lamps: red", "line 3: lamps is no table of view: lamp"),
        ("recipes:\n- product: cap\n  lamps:\n    0: red", "line 4: lamps.0 is no text: put it in quotes"),
        ("recipes:\n- product: cap\n  lamps: {top: 2}", "line 3: lamps.top is no text: put it in quotes"),
        ("recipes:\n- product: cap\n  product: lid", "line 3: 'product' is there twice, first on line 2"),
        ("recipes:\n- product: cap\n  station: [", "line 3: "),
        ("recipes:\n- product: &a cap\n- product: *a", "line 3: aliases (*a) are not read here"),
        ("recipes:\n- product: !!python/object/apply:os.getcwd []", "line 2: could not determine a constructor"),
        ("recipes: []\n---\nrecipes: []", "line 2: but found another document"),
        ("recipes:\n- product: 2026-02-31", "it can't be read: "),
        ("recipes: \x07", "it is no YAML: special characters are not allowed"),
        ("[" * 700 + "]" * 700, "it can't be read: "),
    ],
)
def test_what_is_no_list_of_recipes_is_named_with_its_line(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_product_without_a_champion_is_a_warning_and_no_problem() -> None:
    found = plan(f"recipes:\n- product: {PRODUCT}\n  operating_point: to-come\n", champion=None)
    assert [change.after.operating_point for change in found.changes] == ["to-come"]
    (warning,) = found.warnings
    assert warning.startswith(f"line 3: {PRODUCT}@*: {PRODUCT} has no champion")


@pytest.mark.parametrize("value", ["1" + "0" * 400, ".inf", "-.inf", "1e400", "-0.0", "0"])
def test_deadline_that_is_no_time_never_gets_through(value: Any) -> None:
    assert problems(f"recipes:\n- product: {PRODUCT}\n  deadline_ms: {value}\n")


def test_the_page_on_recipes_shows_every_field_and_a_file_that_can_be_imported() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    shown = page.partition("\n    recipes:\n")[2].partition("\n\n")[0]
    found = plan_import("recipes:\n" + shown, "page", present={}, books={}, champions={}, by="mira", at=NOW)
    (change,) = found.changes
    assert to_yaml([change.after]).endswith("recipes:\n" + dedent(shown) + "\n")
    assert [name for name in CONTENT if f"| `{name}` |" not in page] == []
