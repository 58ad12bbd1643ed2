"""Commands about how products are inspected: recipes, one by one and as files."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from service.line.requests import DEFAULT_VIEW
from service.recipe_files import CONTENT, MADE_BY, Change, Plan, differences, plan_import, to_yaml
from service.recipe_rules import DISPOSITIONS, WrongRecipe, default_recipe, problems
from service.settings import load_settings
from service.terminal import emit, note, say, table, user_name
from service.wiring import now, open_stores
from service.yaml_text import read_file
from storage import labels
from storage import models as model_store
from storage.database import Connection
from storage.records import Model, Recipe

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Product = Annotated[str, typer.Argument(help="Product.")]
AnyProduct = Annotated[str | None, typer.Argument(help="Only this product.")]
Station = Annotated[str, typer.Option("--station", help="Station, or * for all.")]
AnyStation = Annotated[str | None, typer.Option("--station", help="Only this station; * is the recipe for all.")]


NO_RECIPES = (
    "there are none yet: `loupe promote` writes a product's first one, `loupe recipe import FILE` those of a file"
)


class RecipeUnknown(LookupError):
    """There is no such recipe; `known` are those that there are, by product and station."""

    def __init__(self, product: str, station: str, known: Iterable[tuple[str, str]]) -> None:
        super().__init__(f"there is no recipe {product}@{station}")
        there = ", ".join(f"{product}@{station}" for product, station in sorted(known))
        self.remedy = f"name one of {there}" if there else NO_RECIPES


class VersionUnknown(LookupError):
    """The recipe never had this version; `newest` is its last one, and the first is 1."""

    def __init__(self, product: str, station: str, version: int, newest: int) -> None:
        super().__init__(f"there is no version {version} of recipe {product}@{station}")
        self.remedy = f"name one from 1 to {newest}; `loupe recipe history {product} --station '{station}'` shows them"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    recipe = typer.Typer(help="How a product is inspected: thresholds, fail-safe, deadline.", no_args_is_help=True)
    recipe.command("show")(show_recipes)
    recipe.command("set")(set_recipe)
    recipe.command("check")(check_recipes)
    recipe.command("history")(show_history)
    recipe.command("rollback")(roll_back)
    recipe.command("export")(export_recipes)
    recipe.command("import")(import_recipes)
    app.add_typer(recipe, name="recipe")


def show_recipes(product: AnyProduct = None, station: AnyStation = None, json: Json = False) -> None:
    """Show the recipes that hold now.

    Example: loupe recipe show
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        recipes = _chosen(connection, product, station)
    if json:
        emit([_recipe_json(recipe) for recipe in recipes])
        return
    if len(recipes) == 1:
        _show_whole(recipes[0])
    elif recipes:
        rows = [(r.product, r.station, r.version, _set_apart(r)) for r in recipes]
        table("recipes", ["product", "station", "version", "other than the defaults"], rows)
        say("one in full: loupe recipe show PRODUCT --station S")
    else:
        say(NO_RECIPES)


def set_recipe(
    product: Product,
    station: Station = "*",
    operating_point: Annotated[
        str | None, typer.Option("--operating-point", help="Name of an operating point of the model.")
    ] = None,
    fail_safe: Annotated[
        str | None, typer.Option("--fail-safe", help="recheck or reject, where nothing can be decided.")
    ] = None,
    deadline_ms: Annotated[float | None, typer.Option("--deadline-ms", help="Deadline in ms; 0 for none.")] = None,
    on_optics_alarm: Annotated[
        str | None, typer.Option("--on-optics-alarm", help="not_decidable, correct or continue.")
    ] = None,
    keep_ok_share: Annotated[
        float | None, typer.Option("--keep-ok-share", min=0.0, max=1.0, help="Share of good parts whose image is kept.")
    ] = None,
    disposition: Annotated[
        list[str] | None, typer.Option("--disposition", help="CLASS=reject|rework|recheck; may be repeated.")
    ] = None,
    view: Annotated[
        list[str] | None, typer.Option("--view", help="Name of a view that makes a part; repeat it for each view.")
    ] = None,
    no_views: Annotated[bool, typer.Option("--no-views", help="Every request is a part of its own.")] = False,
    lamp: Annotated[
        list[str] | None,
        typer.Option(
            "--lamp", help="VIEW=NAME of its lighting, NAME alone without --view, VIEW= for none; may be repeated."
        ),
    ] = None,
    challenge_every_h: Annotated[
        float | None,
        typer.Option("--challenge-every-h", help="Hours after which a station needs a passed challenge; 0 for never."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a new version of a recipe; the line server follows within a second.

    Example: loupe recipe set housing --deadline-ms 80 --disposition scratch=rework --view top --view side
    """
    if view and no_views:
        raise typer.BadParameter("name views or take --no-views, not both", param_hint="--view")
    changes: dict[str, Any] = {
        "operating_point": operating_point,
        "fail_safe": fail_safe,
        "on_optics_alarm": on_optics_alarm,
        "keep_ok_share": keep_ok_share,
        "deadline_ms": deadline_ms,
        "challenge_every_h": challenge_every_h,
        "expected_views": tuple(view) if view else () if no_views else None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    none_at_0 = {name: None for name in ("deadline_ms", "challenge_every_h") if given.get(name) == 0}
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        recipes = model_store.newest_recipes(connection)
        _expect_product(connection, product, recipes)
        before = model_store.recipe_for(recipes, product, station) or default_recipe(product, user_name(), now())
        own = recipes.get((product, station))
        after = replace(
            before,
            **{**given, **none_at_0},
            station=station,
            version=own.version + 1 if own else 1,
            class_disposition={**before.class_disposition, **_dispositions(disposition or [])},
            lamps=_lamps(before.lamps, lamp or []),
            created_by=user_name(),
            created_at=now(),
        )
        warnings = _write(connection, after)
    _show_written(after, warnings, json)


def check_recipes(product: AnyProduct = None, station: AnyStation = None, json: Json = False) -> None:
    """Check the recipes that hold now against the champions and the label books; exits with 1 where one can't hold.

    Example: loupe recipe check
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        books, deciding = labels.newest_books(connection), _champion_models(connection)
        chosen = _chosen(connection, product, station)
        found = [(r, p) for r in chosen for p in problems(r, books.get(r.product), deciding.get(r.product))]
    if json:
        listed = [
            {"product": r.product, "station": r.station, "field": p.field, "problem": p.what, "remedy": p.remedy}
            for r, p in found
        ]
        emit({"ok": not found, "recipes": len(chosen), "problems": listed})
    else:
        for recipe, problem in found:
            say(f"{recipe.product}@{recipe.station}: {problem.what}: {problem.remedy}")
        say(f"{len(chosen)} recipes, {len(found)} problems")
    if found:
        raise typer.Exit(1)


def show_history(product: Product, station: Station = "*", json: Json = False) -> None:
    """Show every version of a recipe, newest first, and what each changed.

    Example: loupe recipe history housing --station s1
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        versions = _versions(connection, product, station)
    before = [*versions[1:], None]
    if json:
        emit(
            [
                {**_recipe_json(recipe), "changed": sorted(differences(former, recipe)) if former else None}
                for recipe, former in zip(versions, before, strict=True)
            ]
        )
        return
    rows = [
        (
            recipe.version,
            f"{recipe.created_at:%Y-%m-%d %H:%M}",
            recipe.created_by,
            _difference_text(former, recipe) if former else "first version",
        )
        for recipe, former in zip(versions, before, strict=True)
    ]
    table(f"recipe {product}@{station}", ["version", "written (UTC)", "by", "changed"], rows)


def roll_back(
    product: Product,
    version: Annotated[int, typer.Option("--version", help="The version whose content shall hold again.")],
    station: Station = "*",
    json: Json = False,
) -> None:
    """Write a former version of a recipe as a new one; the line server follows within a second.

    Example: loupe recipe rollback housing --station s1 --version 3
    """
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        versions = _versions(connection, product, station)
        former = next((recipe for recipe in versions if recipe.version == version), None)
        if former is None:
            raise VersionUnknown(product, station, version, versions[0].version)
        after = replace(former, version=versions[0].version + 1, created_by=user_name(), created_at=now())
        warnings = _write(connection, after)
    _show_written(after, warnings, json)


def export_recipes(product: AnyProduct = None, station: AnyStation = None) -> None:
    """Print the recipes that hold now as YAML, for `loupe recipe import` here or on another machine.

    Example: loupe recipe export > recipes.yaml
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        recipes = _chosen(connection, product, station)
    sys.stdout.write(to_yaml(recipes))


def import_recipes(
    file: Annotated[Path, typer.Argument(help="YAML file as `loupe recipe export` writes it; - reads standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    json: Json = False,
) -> None:
    """Take over the recipes of a file: all of them, or none when one is wrong; equal ones get no new version.

    Example: loupe recipe import recipes.yaml --dry-run
    """
    text, name = read_file(file, MADE_BY)
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        plan = plan_import(
            text,
            name,
            present=model_store.newest_recipes(connection),
            books=labels.newest_books(connection),
            champions=_champion_models(connection),
            by=user_name(),
            at=now(),
        )
        if not dry_run:
            for change in plan.changes:
                model_store.add_recipe(connection, change.after)
    _show_plan(plan, dry_run, json)


def _chosen(connection: Connection, product: str | None, station: str | None) -> list[Recipe]:
    recipes = model_store.newest_recipes(connection)
    chosen = [
        recipe
        for place, recipe in sorted(recipes.items())
        if product in (None, place[0]) and station in (None, place[1])
    ]
    if not chosen and (product is not None or station is not None):
        raise RecipeUnknown(product or "(any product)", station or "(any station)", recipes)
    return chosen


def _versions(connection: Connection, product: str, station: str) -> list[Recipe]:
    versions = model_store.recipe_history(connection, product, station)
    if not versions:
        raise RecipeUnknown(product, station, model_store.newest_recipes(connection))
    return versions


def _champion_models(connection: Connection) -> dict[str, Model]:
    """The model that decides, by product."""
    promotions = model_store.champions(connection)
    by_id = model_store.models_by_id(connection, [p.model_id for p in promotions.values()])
    return {product: by_id[promotion.model_id] for product, promotion in promotions.items()}


def _expect_product(connection: Connection, product: str, recipes: dict[tuple[str, str], Recipe]) -> None:
    """At the keyboard a product that nothing is known of is a slip; a file may come before its product."""
    known = {*labels.newest_books(connection), *(place[0] for place in recipes)}
    if product not in known:
        there = f"name one of {', '.join(sorted(known))}, or " if known else ""
        raise WrongRecipe(f"there is no product {product!r}", f"{there}import labelled images of it first")


def _write(connection: Connection, recipe: Recipe) -> list[str]:
    """Check and add the recipe; returns the warnings.

    Raises WrongRecipe, RecipeChanged.
    """
    book = labels.newest_book(connection, recipe.product)
    found = problems(recipe, book, _champion_models(connection).get(recipe.product))
    for problem in found:
        if problem.is_error:
            raise WrongRecipe(problem.what, problem.remedy)
    model_store.add_recipe(connection, recipe)
    return [f"{problem.what}: {problem.remedy}" for problem in found]


def _show_written(recipe: Recipe, warnings: list[str], json: bool) -> None:
    for warning in warnings:
        note(f"warning: {warning}")
    if json:
        emit(_recipe_json(recipe))
    else:
        say(f"recipe {recipe.product}@{recipe.station} is now version {recipe.version}")


def _show_plan(plan: Plan, dry_run: bool, json: bool) -> None:
    for warning in plan.warnings:
        note(f"warning: {warning}")
    if json:
        emit(
            {
                "written": not dry_run,
                "changed": [_change_json(change) for change in plan.changes],
                "unchanged": [f"{recipe.product}@{recipe.station}" for recipe in plan.unchanged],
                "warnings": list(plan.warnings),
            }
        )
        return
    for change in plan.changes:
        say(
            f"{change.after.product}@{change.after.station} version {change.after.version}: "
            f"{_difference_text(change.before, change.after)}"
        )
    done = "would change; nothing was written" if dry_run else "changed"
    say(f"{len(plan.changes)} recipes {done}, {len(plan.unchanged)} are as in the file already")


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "product": change.after.product,
        "station": change.after.station,
        "version": change.after.version,
        "before": change.before.version if change.before else None,
        "differences": {
            name: {"before": before, "after": after} for name, (before, after) in change.differences.items()
        },
    }


def _difference_text(before: Recipe | None, after: Recipe) -> str:
    found = differences(before, after)
    if before is None:
        return "new: " + ", ".join(f"{name} {_cell(value)}" for name, (_, value) in found.items())
    return ", ".join(f"{name} {_cell(old)} -> {_cell(new)}" for name, (old, new) in found.items()) or "nothing"


def _show_whole(recipe: Recipe) -> None:
    rows = [(name, _cell(getattr(recipe, name))) for name in CONTENT]
    rows += [
        ("version", str(recipe.version)),
        ("written", f"{recipe.created_at:%Y-%m-%d %H:%M} UTC by {recipe.created_by}"),
    ]
    table(f"recipe {recipe.product}@{recipe.station}", ["field", "value"], rows)


def _set_apart(recipe: Recipe) -> str:
    """What the recipe says other than the default one, in words."""
    found = differences(default_recipe(recipe.product, recipe.created_by, recipe.created_at), recipe)
    return "; ".join(f"{name} {_cell(value)}" for name, (_, value) in found.items()) or "nothing"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={of_it}" for name, of_it in sorted(value.items())) or "none"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _dispositions(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise WrongRecipe(f"--disposition {pair!r} can't be understood", f"write CLASS={'|'.join(DISPOSITIONS)}")
        found[name] = value
    return found


def _lamps(before: dict[str, str], said: list[str]) -> dict[str, str]:
    """The lamps by view, with what was said of some."""
    found = dict(before)
    for one in said:
        view, separator, name = one.partition("=")
        if separator and not name:
            found.pop(view, None)
        elif separator:
            found[view] = name
        else:
            found[DEFAULT_VIEW] = one
    return found


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}
