"""Commands about which model decides: promote, rollback, models."""

from typing import Annotated, Any

import typer

from models import promotion as promotion_flow
from models.card import ModelCard
from service.recipe_rules import default_recipe
from service.settings import load_settings
from service.terminal import emit, note, say, table, user_name
from service.wiring import now, open_stores
from storage import models as model_store
from storage.records import Model

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    app.command("models")(list_models)


def promote(
    model: Annotated[str | None, typer.Argument(help="Model id; default: the newest.")] = None,
    product: Annotated[str | None, typer.Option("--product", help="Take the newest model of this product.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for ever.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Promote although a gate failed; needs --reason.")] = False,
    json: Json = False,
) -> None:
    """Make a model the champion that decides on the line; running line servers follow without a restart.

    Example: loupe promote 3f2a --reason "first model"
    """
    if force and not reason:
        raise typer.BadParameter("say why with --reason when you promote over a failed gate", param_hint="--force")
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        chosen = promotion_flow.find(connection, model, product)
        change = promotion_flow.promote(connection, chosen, user_name(), reason, now(), force=force)
        if model_store.recipe_for(model_store.newest_recipes(connection), chosen.product, "*") is None:
            model_store.add_recipe(connection, default_recipe(chosen.product, user_name(), now()))
        products = sorted(model_store.champions(connection))
    _show_change(change, json)
    if len(products) > 1:
        note(
            f"{len(products)} products have a champion ({', '.join(products)}): every request to the line server must "
            f"name its product now, as ?product={chosen.product}"
        )


def rollback(
    product: Annotated[str, typer.Argument(help="Product.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for ever.")] = "",
    json: Json = False,
) -> None:
    """Let the champion before the present one decide again.

    Example: loupe rollback housing --reason "overkill on lot 17"
    """
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        change = promotion_flow.rollback(connection, product, user_name(), reason, now())
    _show_change(change, json)


def list_models(
    product: Annotated[str | None, typer.Option("--product", help="Only this product.")] = None, json: Json = False
) -> None:
    """List the models with their figures; the champion is marked.

    Example: loupe models
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        found = model_store.listing(connection, product)
        champions = {p.model_id for p in model_store.champions(connection).values()}
    if json:
        emit([model_json(one, champion=one.id in champions) for one in found])
        return
    rows = []
    for one in found:
        metrics = ModelCard.from_json(one.card).metrics
        failed = [str(gate["name"]) for gate in one.gates if not gate["passed"]]
        rows.append(
            (
                one.id,
                one.product,
                f"{one.created_at:%Y-%m-%d %H:%M}",
                _interval_text(metrics["cv_auroc"]),
                _interval_text(metrics["test"]["auroc"]),
                "passed" if not failed else f"failed: {', '.join(failed)}",
                "champion" if one.id in champions else "",
            )
        )
    table("models", ["id", "product", "made (UTC)", "AUROC by CV", "AUROC on test parts", "gates", ""], rows)
    if not rows:
        say("no models yet: loupe train")


def model_json(model: Model, *, champion: bool) -> dict[str, Any]:
    """A model as programs read it."""
    return {
        "model": model.id,
        "product": model.product,
        "sha256": model.sha256,
        "dataset": model.dataset_id,
        "created_at": model.created_at.isoformat(),
        "metrics": model.card["metrics"],
        "operating_points": model.card["operating_points"],
        "gates": list(model.gates),
        "gates_passed": all(gate["passed"] for gate in model.gates),
        "champion": champion,
    }


def _interval_text(value: dict[str, float] | None) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f}–{value['high']:.3f})" if value else "none"


def _show_change(change: promotion_flow.Change, json: bool) -> None:
    promotion = change.promotion
    if json:
        emit(
            {
                "product": promotion.product,
                "champion": promotion.model_id,
                "before": change.before,
                "kind": promotion.kind,
            }
        )
    else:
        say(f"{promotion.model_id} decides for {promotion.product} now (before: {change.before or 'nothing'})")
