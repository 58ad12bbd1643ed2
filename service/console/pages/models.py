"""`/models`: every version, how good it is and how sure that is, what its gates said, and which one decides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from service.console.frame import card, cell, framed, hint, row, table, tag
from service.console.words import age, moment, percent
from service.wiring import Stores, now
from storage import models
from storage.records import Model, Promotion


@dataclass(frozen=True, slots=True)
class ModelState:
    """What the page shows, read at one moment."""

    read_at: datetime
    versions: tuple[Model, ...]
    champions: dict[str, Promotion]


def register(stores: Stores) -> None:
    """Make the page known."""

    @ui.page("/models")
    async def models_page() -> None:
        state = await run_in_threadpool(read_models, stores, now())
        with framed("/models", "Models"):
            if not state.versions:
                hint("No model yet: import labelled images, then train.", "loupe train")
            for model in state.versions:
                _version(model, state)


def read_models(stores: Stores, at: datetime) -> ModelState:
    """Read the page's content."""
    with stores.database.read() as connection:
        return ModelState(at, tuple(models.listing(connection)), models.champions(connection))


def _version(model: Model, state: ModelState) -> None:
    promotion = state.champions.get(model.product)
    with tag("section", "card model").props(f'id="{model.id}"'):
        with tag("div", "modelhead"):
            tag("h2", text=f"{model.product} · {model.id}")
            if promotion is not None and promotion.model_id == model.id:
                tag("span", "champion", "★ champion").tooltip(f"{promotion.reason} ({promotion.promoted_by})")
            told = (
                f"{moment(model.created_at)}, {age(model.created_at, state.read_at)}, dataset {model.dataset_id[:12]}"
            )
            tag("span", "quiet", told)
        with tag("div", "columns"):
            with card("Metrics, 95 % intervals"):
                _metrics(model.card.get("metrics"))
            with card("Gates"):
                _gates(model)
        _operating_points(model.card.get("operating_points"))


def _metrics(metrics: Any) -> None:
    found = list(_intervals(metrics if isinstance(metrics, Mapping) else {}))
    if not found:
        hint("This version was stored without metrics.")
    for name, interval in found:
        low, high, value = (float(interval[key]) for key in ("low", "high", "value"))
        with tag("div", "bar"):
            tag("span", "name", name)
            with tag("span", "track"):
                tag("span", "range").style(f"left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%")
                tag("span", "dot").style(f"left: {100 * value:.2f}%")
            tag("span", "number", f"{value:.3f} ({low:.3f} to {high:.3f})")


def _intervals(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The estimates with an interval, however deep they lie, under names such as `test auroc`."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            name = f"{prefix}{key.replace('_', ' ')}"
            if {"value", "low", "high"} <= value.keys():
                yield name, value
            else:
                yield from _intervals(value, f"{name} ")


def _gates(model: Model) -> None:
    if not model.gates:
        hint("No gate was asked.")
    for gate in model.gates:
        with tag("div", "happening"):
            with tag("strong"):
                tag("span", "gate yes" if gate["passed"] else "gate no", "✓ passed" if gate["passed"] else "✗ failed")
                tag("span", text=f" {str(gate['name']).replace('_', ' ')}")
            tag("span", "quiet", str(gate["reason"]))


def _operating_points(points: Any) -> None:
    if not isinstance(points, Mapping) or not points:
        return
    columns = (
        "Operating point",
        "Passes below",
        "Rejects from",
        "Escape wanted",
        "Escape at most",
        "Overkill expected",
    )
    with table(columns):
        for name, point in points.items():
            with row():
                cell(name)
                cell(f"{point['pass']:.3f}", "number")
                cell(f"{point['reject']:.3f}", "number")
                cell(percent(point["wanted_escape"]), "number")
                cell(percent(point["escape_bound"]), "number")
                cell(percent(point["overkill_expected"]), "number")
