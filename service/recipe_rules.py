"""What a recipe may hold: the one place where recipes are checked, whoever writes them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from service.line.requests import DEFAULT_VIEW, FIELD_LIMIT, STATION_REMEDY, VIEW_LIMIT, wrong_name, wrong_station
from storage.records import LabelBook, Model, Recipe

DISPOSITIONS = ("reject", "rework", "recheck")
"""What may happen to a part with a defect: never `pass`."""
FAIL_SAFES = ("recheck", "reject")
ON_ALARM = ("not_decidable", "correct", "continue")

DEADLINE_LIMIT_MS = 1e7
NAME_REMEDY = f"use 1 to {FIELD_LIMIT} printable characters, without a space at either end"


class WrongRecipe(ValueError):
    """A recipe can't hold this."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a recipe that can't hold, or can't be held against anything yet."""

    field: str
    """Name of the field, with the class or view behind a dot where it is about one."""
    what: str
    remedy: str
    is_error: bool = True
    """False: a warning. The product has no champion or no label book yet that could tell."""


KEEP_OK_SHARE = 0.1
"""Of the good parts' images. All of them would fill a disk in weeks, none would leave nothing to learn from."""


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
        keep_ok_share=KEEP_OK_SHARE,
        created_by=created_by,
        created_at=at,
    )


def problems(recipe: Recipe, book: LabelBook | None, champion: Model | None) -> list[Problem]:
    """Everything that is wrong with a recipe, by itself and for its product as it is now; empty: it holds."""
    return [
        *_wrong_names(recipe),
        *_wrong_choices(recipe),
        *_wrong_numbers(recipe),
        *_wrong_views(recipe.expected_views),
        *_wrong_lamps(recipe),
        *_wrong_classes(recipe, book),
        *_wrong_point(recipe, champion),
    ]


def _wrong_names(recipe: Recipe) -> Iterator[Problem]:
    for field in ("product", "operating_point"):
        name: str = getattr(recipe, field)
        if (problem := wrong_name(name)) is not None:
            yield Problem(field, f"{field} {problem}", NAME_REMEDY)
    if (problem := wrong_station(recipe.station)) is not None:
        yield Problem("station", f"station {problem}", STATION_REMEDY)


def _wrong_choices(recipe: Recipe) -> Iterator[Problem]:
    for field, allowed in (("fail_safe", FAIL_SAFES), ("on_optics_alarm", ON_ALARM)):
        value = getattr(recipe, field)
        if value not in allowed:
            yield Problem(field, f"{field} {value!r} is unknown", f"use {', '.join(allowed[:-1])} or {allowed[-1]}")
    for name, disposition in recipe.class_disposition.items():
        if disposition not in DISPOSITIONS:
            why = "a part with a defect never passes" if disposition == "pass" else "it is unknown"
            yield Problem(
                f"class_disposition.{name}",
                f"disposition {disposition!r} of class {name!r} can't be: {why}",
                f"use {', '.join(DISPOSITIONS[:-1])} or {DISPOSITIONS[-1]}",
            )


def _wrong_numbers(recipe: Recipe) -> Iterator[Problem]:
    if not 0 <= recipe.keep_ok_share <= 1:
        yield Problem(
            "keep_ok_share", f"keep_ok_share {recipe.keep_ok_share:g} is no share", "give a number from 0 to 1"
        )
    deadline = recipe.deadline_ms
    if deadline is not None and not 0 < deadline < DEADLINE_LIMIT_MS:
        yield Problem(
            "deadline_ms",
            f"deadline_ms {deadline:g} is no time in ms",
            f"give a number above 0 and below {DEADLINE_LIMIT_MS:.0f}; none: `--deadline-ms 0`, in a file `null`",
        )
    hours = recipe.challenge_every_h
    if hours is not None and not (math.isfinite(hours) and hours > 0):
        yield Problem(
            "challenge_every_h",
            f"challenge_every_h {hours:g} is no time in hours",
            "give a number above 0; none: `--challenge-every-h 0`, in a file `null`",
        )


def _wrong_views(views: tuple[str, ...]) -> Iterator[Problem]:
    if len(views) > VIEW_LIMIT:
        yield Problem("expected_views", f"{len(views)} views are expected", f"use at most {VIEW_LIMIT}")
    for n, name in enumerate(views):
        if (problem := wrong_name(name)) is not None:
            yield Problem("expected_views", f"view {n + 1} {problem}", NAME_REMEDY)
        elif name in views[:n]:
            yield Problem("expected_views", f"view {name!r} is expected twice", "name each view once")


def _wrong_lamps(recipe: Recipe) -> Iterator[Problem]:
    views = recipe.expected_views or (DEFAULT_VIEW,)
    for view, lamp in recipe.lamps.items():
        field = f"lamps.{view}"
        if (problem := wrong_name(view)) is not None:
            yield Problem(field, f"view of lamp {lamp!r} {problem}", NAME_REMEDY)
        elif view not in views:
            yield Problem(
                field,
                f"view {view!r} has a lamp, but the recipe has no such view",
                f"use one of {', '.join(views)}, expect this view too, or take its lamp away: `--lamp '{view}='`, in a "
                "file leave it out",
            )
        if (problem := wrong_name(lamp)) is not None:
            yield Problem(field, f"lamp of view {view!r} {problem}", NAME_REMEDY)


def _wrong_classes(recipe: Recipe, book: LabelBook | None) -> Iterator[Problem]:
    if book is None:
        yield Problem(
            "product", f"there is no product {recipe.product!r} yet", "import labelled images of it", is_error=False
        )
        return
    is_ok = {one.name: one.ok for one in book.classes}
    defects = ", ".join(sorted(name for name, ok in is_ok.items() if not ok))
    for name in recipe.class_disposition:
        if is_ok.get(name, True):
            what = f"class {name!r} is good" if name in is_ok else f"there is no class {name!r}"
            yield Problem(
                f"class_disposition.{name}",
                f"{what} in the label book of {recipe.product}",
                f"use one of its defect classes: {defects}"
                if defects
                else "leave it out: there is no defect class yet",
            )


def _wrong_point(recipe: Recipe, champion: Model | None) -> Iterator[Problem]:
    if champion is None:
        yield Problem(
            "operating_point",
            f"{recipe.product} has no champion: nobody knows yet whether it will have operating point "
            f"{recipe.operating_point!r}",
            "train and promote a model",
            is_error=False,
        )
        return
    points = champion.card["operating_points"]
    assert isinstance(points, dict), "a stored card has operating points"
    if recipe.operating_point not in points:
        yield Problem(
            "operating_point",
            f"model {champion.id} has no operating point {recipe.operating_point!r}",
            f"use one of {', '.join(points)}",
        )
