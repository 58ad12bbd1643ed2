"""Commands by which people decide: recipes and keys, and a look at the machine."""

import getpass
import importlib.metadata
import os
import platform
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer

from models.classifier import CPU
from service.settings import load_settings
from service.terminal import emit, say, table
from service.wiring import data_folder, now, open_stores
from storage import keys as key_store
from storage import labels
from storage import models as model_store
from storage.database import DatabaseUnavailable
from storage.records import Key, LabelBook, Recipe

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

DISPOSITIONS = ("reject", "rework", "recheck")
FAIL_SAFES = ("recheck", "reject")
ON_ALARM = ("not_decidable", "continue")


class WrongRecipe(ValueError):
    """A recipe can't hold this."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class KeyUnknown(LookupError):
    """There is no such key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key {key_id}")
        self.remedy = "`loupe keys list` shows the keys"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    recipe = typer.Typer(help="How a product is inspected: thresholds, fail-safe, deadline.", no_args_is_help=True)
    recipe.command("show")(show_recipes)
    recipe.command("set")(set_recipe)
    app.add_typer(recipe, name="recipe")
    keys = typer.Typer(help="Keys that let stations post from other machines.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke_key)
    app.add_typer(keys, name="keys")
    app.command("doctor")(doctor)


def default_recipe(product: str, created_by: str, at: datetime) -> Recipe:
    """What holds for a product until somebody says otherwise."""
    return Recipe(
        product=product,
        station="*",
        version=1,
        operating_point="standard",
        fail_safe="recheck",
        class_disposition={},
        deadline_ms=None,
        on_optics_alarm="not_decidable",
        keep_ok_share=1.0,
        created_by=created_by,
        created_at=at,
    )


def show_recipes(json: Json = False) -> None:
    """Show the recipes that hold now.

    Example: loupe recipe show
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        recipes = list(model_store.newest_recipes(connection).values())
    if json:
        emit([_recipe_json(recipe) for recipe in recipes])
        return
    table(
        "recipes",
        [
            "product",
            "station",
            "version",
            "operating point",
            "fail-safe",
            "deadline ms",
            "optics alarm",
            "keep ok",
            "by",
        ],
        [
            (
                r.product,
                r.station,
                r.version,
                r.operating_point,
                r.fail_safe,
                r.deadline_ms or "none",
                r.on_optics_alarm,
                r.keep_ok_share,
                r.created_by,
            )
            for r in recipes
        ],
    )


def set_recipe(
    product: Annotated[str, typer.Argument(help="Product.")],
    station: Annotated[str, typer.Option("--station", help="Station, or * for all.")] = "*",
    operating_point: Annotated[
        str | None, typer.Option("--operating-point", help="Name of an operating point of the model.")
    ] = None,
    fail_safe: Annotated[
        str | None, typer.Option("--fail-safe", help="recheck or reject, where nothing can be decided.")
    ] = None,
    deadline_ms: Annotated[float | None, typer.Option("--deadline-ms", help="Deadline in ms; 0 for none.")] = None,
    on_optics_alarm: Annotated[str | None, typer.Option("--on-optics-alarm", help="not_decidable or continue.")] = None,
    keep_ok_share: Annotated[
        float | None, typer.Option("--keep-ok-share", min=0.0, max=1.0, help="Share of good parts whose image is kept.")
    ] = None,
    disposition: Annotated[
        list[str] | None, typer.Option("--disposition", help="CLASS=reject|rework|recheck; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a new version of a recipe; the line server follows within a second.

    Example: loupe recipe set housing --deadline-ms 80 --disposition scratch=rework
    """
    changes: dict[str, Any] = {
        "operating_point": operating_point,
        "fail_safe": _one_of("--fail-safe", fail_safe, FAIL_SAFES),
        "on_optics_alarm": _one_of("--on-optics-alarm", on_optics_alarm, ON_ALARM),
        "keep_ok_share": keep_ok_share,
    }
    if deadline_ms is not None:
        if deadline_ms < 0:
            raise WrongRecipe(f"--deadline-ms {deadline_ms:g} is below 0", "give ms above 0, or 0 for none")
        changes["deadline_ms"] = deadline_ms
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        recipes = model_store.newest_recipes(connection)
        before = model_store.recipe_for(recipes, product, station) or default_recipe(product, user_name(), now())
        own = recipes.get((product, station))
        given = {name: value for name, value in changes.items() if value is not None}
        after = replace(
            before,
            **given,
            station=station,
            version=own.version + 1 if own else 1,
            class_disposition={**before.class_disposition, **_dispositions(disposition or [])},
            created_by=user_name(),
            created_at=now(),
        )
        if deadline_ms == 0:
            after = replace(after, deadline_ms=None)
        _check_names(labels.newest_book(connection, product), after)
        _check_point(model_store.champions(connection), stores.database, after)
        model_store.add_recipe(connection, after)
    emit(_recipe_json(after)) if json else say(f"recipe {product}@{station} is now version {after.version}")


def create_key(
    station: Annotated[str, typer.Option("--station", help="Station, or * for all.")], json: Json = False
) -> None:
    """Create a key; it is shown once. From the first key on, every request needs one.

    Example: loupe keys create --station s1
    """
    secret = secrets.token_urlsafe(32)
    key = Key(secrets.token_hex(4), station, key_store.secret_hash(secret), now(), None)
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        key_store.add(connection, key)
    if json:
        emit({"id": key.id, "station": station, "key": secret})
    else:
        say(f"key {key.id} for station {station} (it is not shown again):")
        say(secret)


def list_keys(json: Json = False) -> None:
    """List the keys, without their secrets.

    Example: loupe keys list
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        found = key_store.listing(connection)
    if json:
        emit(
            [{"id": k.id, "station": k.station, "created_at": k.created_at, "revoked_at": k.revoked_at} for k in found]
        )
        return
    rows = [
        (k.id, k.station, f"{k.created_at:%Y-%m-%d %H:%M}", f"{k.revoked_at:%Y-%m-%d %H:%M}" if k.revoked_at else "")
        for k in found
    ]
    table("keys", ["id", "station", "created (UTC)", "revoked (UTC)"], rows)


def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Revoke a key; the line server follows within a second.

    Example: loupe keys revoke 1a2b3c4d
    """
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        found = [key for key in key_store.listing(connection) if key.id == key_id]
        if not found:
            raise KeyUnknown(key_id)
        key_store.revoke(connection, replace(found[0], revoked_at=now()))
    say(f"key {key_id} is revoked")


def doctor(json: Json = False) -> None:
    """Say what this machine has, and what is missing.

    Example: loupe doctor
    """
    settings = load_settings()
    facts: dict[str, str] = {
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "data folder": str(data_folder(settings)),
    }
    problems: list[str] = []
    facts.update(_packages())
    if facts["onnxruntime"] != "missing" and facts["onnxruntime-gpu"] != "missing":
        problems.append("onnxruntime and onnxruntime-gpu are both installed and break each other: uninstall one")
    facts["execution providers"], problem = _providers(settings.provider)
    problems += [problem] if problem else []
    try:
        with open_stores(settings) as stores:
            facts["database"] = stores.database.url
            facts["image store"] = stores.images.address
            with stores.database.read() as connection:
                champions = model_store.champions(connection)
            facts["champions"] = ", ".join(f"{p}: {c.model_id}" for p, c in champions.items()) or "none yet"
    except DatabaseUnavailable as error:
        problems.append(f"{error}: {error.remedy}")
    if json:
        emit({"ok": not problems, "facts": facts, "problems": problems})
    else:
        table("this machine", ["what", "found"], facts.items())
        for problem in problems:
            say(f"problem: {problem}")
        say("all is well" if not problems else f"{len(problems)} problems")
    if problems:
        raise typer.Exit(1)


def _packages() -> dict[str, str]:
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu", "torch", "nicegui", "psycopg"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _providers(wanted: str) -> tuple[str, str | None]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if wanted in available:
        return ", ".join(available), None
    install = (
        "pip install 'loupe-inspect[cpu]'"
        if wanted == CPU
        else "pip install 'loupe-inspect[gpu]' with CUDA 13 and cuDNN 9"
    )
    return ", ".join(available), f"LOUPE_PROVIDER={wanted} is not available: {install}"


def _check_names(book: LabelBook | None, recipe: Recipe) -> None:
    """A recipe is for a product that exists, and disposes of classes that it has."""
    if book is None:
        raise WrongRecipe(f"there is no product {recipe.product!r}", "import labelled images of it first")
    defects = {c.name for c in book.classes if not c.ok}
    if unknown := sorted(set(recipe.class_disposition) - defects):
        raise WrongRecipe(
            f"{recipe.product} has no defect class {unknown[0]!r}", f"its defect classes: {', '.join(sorted(defects))}"
        )


def _check_point(champions: dict[str, Any], database: Any, recipe: Recipe) -> None:
    """A recipe may only name an operating point that its product's champion has."""
    promotion = champions.get(recipe.product)
    if promotion is None:
        return
    with database.read() as connection:
        model = model_store.models_by_id(connection, [promotion.model_id])[promotion.model_id]
    points = model.card["operating_points"]
    assert isinstance(points, dict), "a stored card has operating points"
    if recipe.operating_point not in points:
        raise WrongRecipe(
            f"model {model.id} has no operating point {recipe.operating_point!r}", f"use one of {', '.join(points)}"
        )


def _dispositions(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or value not in DISPOSITIONS:
            raise WrongRecipe(f"--disposition {pair!r} can't be understood", f"write CLASS={'|'.join(DISPOSITIONS)}")
        found[name] = value
    return found


def _one_of(option: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is not None and value not in allowed:
        raise WrongRecipe(f"{option} {value!r} is unknown", f"use {' or '.join(allowed)}")
    return value


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}


def user_name() -> str:
    """Who is at the command line."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without an entry in /etc/passwd
        return f"uid {os.getuid()}"
