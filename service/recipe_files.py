"""Recipes as YAML files: what a plant keeps under version control and carries from one machine to the next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML publishes no types
from pydantic import BaseModel, ConfigDict, ValidationError

from service.recipe_rules import DISPOSITIONS, KEEP_OK_SHARE, Problem, default_recipe, problems
from storage.records import LabelBook, Model, Recipe

CONTENT = (
    "operating_point",
    "fail_safe",
    "on_optics_alarm",
    "deadline_ms",
    "keep_ok_share",
    "challenge_every_h",
    "expected_views",
    "class_disposition",
)
"""The fields of a recipe that a person decides, in the order in which they are written."""

HEADER = "# Recipes of Loupe. `loupe recipe import FILE` reads this back; a field left out has its default.\n"


class WrongRecipeFile(ValueError):
    """A file of recipes can't be taken over; nothing of it was."""

    def __init__(self, name: str, found: Sequence[str]) -> None:
        super().__init__(f"{name} can't be imported:\n" + "\n".join(f"  {one}" for one in found))
        self.found = tuple(found)
        self.remedy = "correct these places, nothing was written; `loupe recipe export` shows what a file looks like"


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

    Raises WrongRecipeFile with every problem of the file and its line.
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
        raise WrongRecipeFile(name, found)
    return Plan(tuple(changes), tuple(unchanged), tuple(dict.fromkeys(warnings)))


@dataclass(frozen=True, slots=True)
class _Lines:
    """Where in the file each value begins."""

    by_place: dict[tuple[str, ...], int]

    def of(self, *place: str | int) -> int:
        """Line (from 1) of the value, or of the nearest thing around it that is in the file."""
        names = tuple(map(str, place))
        while names not in self.by_place:
            names = names[:-1]
        return self.by_place[names]


def _read(text: str, name: str) -> tuple[_Lines, list[_Entry]]:
    try:
        alias = next((e for e in yaml.parse(text, yaml.SafeLoader) if isinstance(e, yaml.AliasEvent)), None)
        # A few lines of aliases can stand for more than fits into memory: where there is one, nothing is built.
        root = None if alias else yaml.compose(text, yaml.SafeLoader)
        data = None if alias else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WrongRecipeFile(name, [_yaml_problem(error)]) from error
    except (ValueError, RecursionError) as error:  # such as the date 2026-02-31, or a thousand brackets
        raise WrongRecipeFile(name, [f"it can't be read: {error}"]) from error
    if alias is not None:
        line = alias.start_mark.line + 1
        raise WrongRecipeFile(name, [f"line {line}: aliases (*{alias.anchor}) are not read here: write it out"])
    lines = _Lines({(): 1, **dict(_places(root))})
    found = list(_repeated_keys(root))
    try:
        entries = _File.model_validate(data).recipes
    except ValidationError as error:
        found += [_type_problem(lines, detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
    if found:
        raise WrongRecipeFile(name, found)
    return lines, entries


def _recipe_of(entry: _Entry, version: int, by: str, at: datetime) -> Recipe:
    given = entry.model_dump(exclude_unset=True)
    if "expected_views" in given:
        given["expected_views"] = tuple(given["expected_views"])
    return replace(default_recipe(entry.product, by, at), **given, version=version)


def _places(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    if node is not None:
        yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield from _places(value, inner)
            # A key is where its name stands: its value may begin lines below.
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for n, value in enumerate(node.value):
            yield from _places(value, (*place, str(n)))


def _repeated_keys(node: Any) -> Iterator[str]:
    """YAML takes the last of two equal keys without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in seen:
                yield f"line {line}: {key.value!r} is there twice, first on line {seen[str(key.value)]}: keep one"
            seen.setdefault(str(key.value), line)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value)


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return f"line {mark.line + 1}: {reason}" if mark else f"it is no YAML: {reason}"


_TYPE_WORDS = {
    "missing": "is missing: every recipe names its product",
    "extra_forbidden": f"is no field of a recipe; its fields: product, station, {', '.join(CONTENT)}",
    "string_type": "is no text: put it in quotes",
    "float_type": "is no number: write one such as 1, without quotes",
    "list_type": "is no list: write one such as [top, side]",
    "dict_type": f"is no table of class: disposition: write {{CLASS: DISPOSITION}}, one of {', '.join(DISPOSITIONS)}",
    "model_type": "is no recipe: begin it with `product:`",
}


def _type_problem(lines: _Lines, place: tuple[str | int, ...], kind: str, said: str) -> str:
    if len(place) < 2:
        return f"line {lines.of(*place)}: the file must hold one list, `recipes:`, and nothing beside it"
    names = [str(part) for part in place[2:] if part != "[key]"]
    what = "is no text: put it in quotes" if place[-1] == "[key]" else _TYPE_WORDS.get(kind, said)
    return f"line {lines.of(*place)}: {'.'.join(names) or 'this'} {what}"


def _told(problem: Problem, recipe: Recipe, line: int) -> str:
    return f"line {line}: {_named(recipe)}: {problem.what}: {problem.remedy}"


def _named(recipe: Recipe) -> str:
    return f"{recipe.product}@{recipe.station}"
