"""Model versions, promotions and recipes: what decides where."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from storage.database import from_row, insert_new, to_row
from storage.records import Model, Promotion, Recipe
from storage.tables import models, promotions, recipes


class RecipeChanged(RuntimeError):
    """Somebody else wrote this version of a recipe at the same time."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(f"somebody else wrote version {recipe.version} of recipe {recipe.product}@{recipe.station}")
        self.remedy = "look at it with `loupe recipe show`, then write yours again"


def store(connection: Connection, model: Model) -> bool:
    """Store a model version; returns whether it was new. One made again keeps its file and takes the new gates."""
    if insert_new(connection, models, [to_row(model)]):
        return True
    connection.execute(update(models).where(models.c.id == model.id).values(gates=model.gates))
    return False


def find(connection: Connection, prefix: str) -> list[Model]:
    """Models whose id or file hash begins with `prefix`."""
    query = (
        select(models)
        .where(models.c.id.startswith(prefix, autoescape=True) | models.c.sha256.startswith(prefix, autoescape=True))
        .order_by(models.c.created_at)
    )
    return [from_row(Model, row) for row in connection.execute(query).mappings()]


def listing(connection: Connection, product: str | None = None) -> list[Model]:
    """Model versions, newest first."""
    query = select(models).order_by(models.c.created_at.desc(), models.c.id)
    if product is not None:
        query = query.where(models.c.product == product)
    return [from_row(Model, row) for row in connection.execute(query).mappings()]


def promote(connection: Connection, promotion: Promotion) -> None:
    """Append a promotion: the line servers follow it."""
    connection.execute(insert(promotions).values(to_row(promotion, without=["seq"])))


def history(connection: Connection, product: str) -> list[Promotion]:
    """The product's promotions, newest first."""
    query = select(promotions).where(promotions.c.product == product).order_by(promotions.c.seq.desc())
    return [from_row(Promotion, row) for row in connection.execute(query).mappings()]


def champions(connection: Connection) -> dict[str, Promotion]:
    """The promotion that holds, by product."""
    newest = select(func.max(promotions.c.seq)).group_by(promotions.c.product)
    rows = connection.execute(select(promotions).where(promotions.c.seq.in_(newest))).mappings()
    return {row["product"]: from_row(Promotion, row) for row in rows}


def add_recipe(connection: Connection, recipe: Recipe) -> None:
    """Add a version of a recipe.

    Raises RecipeChanged.
    """
    if not insert_new(connection, recipes, [to_row(recipe)]):
        raise RecipeChanged(recipe)


def newest_recipes(connection: Connection) -> dict[tuple[str, str], Recipe]:
    """The newest version of each recipe, by (product, station)."""
    query = select(recipes).order_by(recipes.c.version)
    found = (from_row(Recipe, row) for row in connection.execute(query).mappings())
    return {(recipe.product, recipe.station): recipe for recipe in found}


def recipe_history(connection: Connection, product: str, station: str) -> list[Recipe]:
    """All versions of one recipe, newest first."""
    query = (
        select(recipes)
        .where(recipes.c.product == product, recipes.c.station == station)
        .order_by(recipes.c.version.desc())
    )
    return [from_row(Recipe, row) for row in connection.execute(query).mappings()]


def recipe_for(recipes_by_place: dict[tuple[str, str], Recipe], product: str, station: str) -> Recipe | None:
    """The station's own recipe for the product, or the one for every station (`*`)."""
    return recipes_by_place.get((product, station)) or recipes_by_place.get((product, "*"))


def models_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, Model]:
    """Models by their exact ids."""
    rows = connection.execute(select(models).where(models.c.id.in_(ids))).mappings()
    return {row["id"]: from_row(Model, row) for row in rows}
