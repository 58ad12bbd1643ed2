"""Recipes as YAML files: what a plant keeps under version control and carries from one machine to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML publishes no types
from pydantic import BaseModel, ConfigDict, ValidationError

from service.recipe_rules import DISPOSITIONS, KEEP_OK_SHARE, Problem, default_recipe, problems
from service.yaml_text import Lines, WrongYaml, parse
from storage.records import LabelBook, Model, Recipe

CONTENT = (
    "operating_point",
    "fail_safe",
    "on_optics_alarm",
    "deadline_ms",
    "keep_ok_share",
    "challenge_every_h",
    "expected_views",
    "lamps",
    "class_disposition",
)
"""The fields of a recipe that a person decides, in the order in which they are written."""

MADE_BY = "loupe recipe export"
HEADER = "# Recipes of Loupe. `loupe recipe import FILE` reads this back; a field left out has its default.\n"


class _Entry(BaseModel):
    """The types of one recipe in a file; what the values may be is for `recipe_rules` to say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    product: str
    station: str = "*"
    operating_point: str = ""
    fail_safe: str = ""
    on_optics_alarm: str = ""
    deadline_ms: float | None = None
    keep_ok_share: float = KEEP_OK_SHARE
    challenge_every_h: float | None = None
    expected_views: list[str] = []
    lamps: dict[str, str] = {}
    class_disposition: dict[str, str] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    recipes: list[_Entry]


@dataclass(frozen=True, slots=True)
class Change:
    """What a file changes about one recipe."""

    before: Recipe | None
    """None: the station has none of its own for this product."""
    after: Recipe

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """(before, after) by field, for the fields that differ; all of them where there was no recipe."""
        return differences(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Plan:
    """What importing a file would do."""

    changes: tuple[Change, ...]
    unchanged: tuple[Recipe, ...]
    """Recipes that hold already as the file says: they get no new version."""
    warnings: tuple[str, ...]


def differences(before: Recipe | None, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """(before, after) by field, for the fields that a person decides and that differ."""
    pairs = {name: (getattr(before, name, None), getattr(after, name)) for name in CONTENT}
    return {name: pair for name, pair in pairs.items() if before is None or pair[0] != pair[1]}


def to_yaml(recipes: Sequence[Recipe]) -> str:
    """The recipes as a file, ordered by product and station; equal recipes give equal bytes."""
    entries = [
        {
            "product": recipe.product,
            "station": recipe.station,
            **{name: getattr(recipe, name) for name in CONTENT},
            "expected_views": list(recipe.expected_views),
            "lamps": dict(sorted(recipe.lamps.items())),
            "class_disposition": dict(sorted(recipe.class_disposition.items())),
        }
        for recipe in sorted(recipes, key=lambda recipe: (recipe.product, recipe.station))
    ]
    text: str = yaml.safe_dump({"recipes": entries}, sort_keys=False, allow_unicode=True, width=120)
    return HEADER + text


def plan_import(
    text: str,
    name: str,
    *,
    present: Mapping[tuple[str, str], Recipe],
    books: Mapping[str, LabelBook],
    champions: Mapping[str, Model],
    by: str,
    at: datetime,
) -> Plan:
    """What the file changes about the `present` recipes, after checking it as a whole.

    `name` is the file's, for messages; `books` and `champions` are the newest by product.

    Raises WrongYaml with every problem of the file and its line.
    """
    lines, entries = _read(text, name)
    found: list[str] = []
    warnings: list[str] = []
    changes: list[Change] = []
    unchanged: list[Recipe] = []
    first_lines: dict[tuple[str, str], int] = {}
    for n, entry in enumerate(entries):
        place = (entry.product, entry.station)
        before = present.get(place)
        after = _recipe_of(entry, before.version + 1 if before else 1, by, at)
        line = lines.of("recipes", n)
        if place in first_lines:
            found.append(f"line {line}: {_named(after)} is there twice, first on line {first_lines[place]}: keep one")
        first_lines.setdefault(place, line)
        for problem in problems(after, books.get(after.product), champions.get(after.product)):
            told = _told(problem, after, lines.of("recipes", n, *problem.field.split(".", 1)))
            (found if problem.is_error else warnings).append(told)
        if before is not None and not differences(before, after):
            unchanged.append(before)
        else:
            changes.append(Change(before, after))
    if found:
        raise WrongYaml(name, found, MADE_BY)
    return Plan(tuple(changes), tuple(unchanged), tuple(dict.fromkeys(warnings)))


def _read(text: str, name: str) -> tuple[Lines, list[_Entry]]:
    lines, data = parse(text, name, MADE_BY)
    try:
        return lines, _File.model_validate(data).recipes
    except ValidationError as error:
        found = [_type_problem(lines, detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
        raise WrongYaml(name, found, MADE_BY) from error


def _recipe_of(entry: _Entry, version: int, by: str, at: datetime) -> Recipe:
    given = entry.model_dump(exclude_unset=True)
    if "expected_views" in given:
        given["expected_views"] = tuple(given["expected_views"])
    return replace(default_recipe(entry.product, by, at), **given, version=version)


_TYPE_WORDS = {
    "missing": "is missing: every recipe names its product",
    "extra_forbidden": f"is no field of a recipe; its fields: product, station, {', '.join(CONTENT)}",
    "string_type": "is no text: put it in quotes",
    "float_type": "is no number: write one such as 1, without quotes",
    "list_type": "is no list: write one such as [top, side]",
    "model_type": "is no recipe: begin it with `product:`",
}
_TABLE_WORDS = {
    "class_disposition": "is no table of class: disposition: write {CLASS: DISPOSITION}, "
    f"one of {', '.join(DISPOSITIONS)}",
    "lamps": "is no table of view: lamp: write {VIEW: LAMP}",
}


def _type_problem(lines: Lines, place: tuple[str | int, ...], kind: str, said: str) -> str:
    if len(place) < 2:
        return f"line {lines.of(*place)}: the file must hold one list, `recipes:`, and nothing beside it"
    names = [str(part) for part in place[2:] if part != "[key]"]
    if kind == "dict_type":
        what = _TABLE_WORDS[names[0]]
    else:
        what = _TYPE_WORDS["string_type"] if place[-1] == "[key]" else _TYPE_WORDS.get(kind, said)
    return f"line {lines.of(*place)}: {'.'.join(names) or 'this'} {what}"


def _told(problem: Problem, recipe: Recipe, line: int) -> str:
    return f"line {line}: {_named(recipe)}: {problem.what}: {problem.remedy}"


def _named(recipe: Recipe) -> str:
    return f"{recipe.product}@{recipe.station}"
