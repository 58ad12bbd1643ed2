"""Commands about images and labels: import, datasets, migrate."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from labeling.formats import FORMATS, Problem, detect
from labeling.importing import import_listing
from labeling.settle import settle
from models.dataset import TEST_SHARE, snapshot
from models.preprocess import Frame, Geometry, UnreadableImage, prepare, sniff
from service.settings import load_settings
from service.terminal import emit, note, progress, say, table
from service.wiring import data_folder, now, open_stores
from storage.database import migrate as migrate_database
from storage.database import open_database

PROBLEMS_SHOWN = 20

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Product = Annotated[str | None, typer.Option("--product", help="Product; default: the name of the folder.")]


class WrongMap(ValueError):
    """--map is not COLUMN=MEANING."""

    def __init__(self, value: str) -> None:
        super().__init__(f"--map {value!r} can't be understood")
        self.remedy = "write --map COLUMN=MEANING, such as --map defect=label"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_images)
    app.command("migrate")(migrate)


def import_images(
    path: Annotated[
        Path,
        typer.Argument(help="Folder or file: folder per class, labels.csv, MVTec AD, COCO, VOC, Label Studio JSON."),
    ],
    ok: Annotated[str, typer.Option("--ok", help="Names of the good classes, separated by commas.")] = "",
    product: Product = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=MEANING for labels.csv; may be repeated.")
    ] = None,
    test_share: Annotated[
        float, typer.Option("--test-share", min=0.0, max=0.9, help="Share of the parts frozen for testing.")
    ] = TEST_SHARE,
    json: Json = False,
) -> None:
    """Store images and labels, settle them, and make a dataset. Importing the same again changes nothing.

    Example: loupe import parts/ --ok good
    """
    listing = FORMATS[detect(path)](path, read_columns(columns or []))
    name = product or _product_name(path)
    good = [part.strip() for part in ok.split(",") if part.strip()]
    settings = load_settings()
    with open_stores(settings) as stores:
        with progress("reading images") as report:
            imported = import_listing(listing, name, good, stores.database, stores.images, probe, now(), report)
        dataset_id, settlement = None, None
        if imported.classes or imported.new_labels:
            with stores.database.write() as connection:
                settlement = settle(connection, name, now())
                dataset, _ = snapshot(connection, settlement.run, now(), test_share)
                dataset_id = dataset.id
    result: dict[str, Any] = {
        "dataset": dataset_id,
        "product": name,
        "format": imported.format,
        "images": imported.images,
        "new_images": imported.new_images,
        "new_labels": imported.new_labels,
        "classes": imported.classes,
        "problems": [{"where": p.where, "what": p.what, "remedy": p.remedy} for p in imported.problems],
    }
    if json:
        emit(result)
        return
    _show_problems(imported.problems)
    say(f"{imported.images} images of product {name} ({imported.new_images} new), read as {imported.format}")
    if settlement is not None:
        table("labels", ["class", "labels"], imported.classes.items())
        run = settlement.run
        say(f"{run.label_count} labels by {len(settlement.inspectors)} inspectors settled by {run.method}")
        say(f"dataset {dataset_id}")
        say(f"next: loupe train --dataset {str(dataset_id)[:12]}")
    else:
        say("no labels yet: label them in the console (`loupe console`), or import a labels.csv")


def migrate(json: Json = False) -> None:
    """Bring the database to this version of Loupe. Stop the other processes and make a backup first.

    Example: loupe migrate
    """
    settings = load_settings()
    data_folder(settings)
    database = open_database(settings.database_address)
    try:
        before, after = migrate_database(database)
    finally:
        database.close()
    if json:
        emit({"before": before, "after": after})
    else:
        say(f"schema {after}" + (" (was there already)" if before == after else f" (before: {before or 'empty'})"))


def probe(data: bytes) -> tuple[str, int, int]:
    """Media type, width and height of an image that can be decoded in full.

    Raises UnreadableImage.
    """
    media_type = sniff(data)
    if media_type is None:
        raise UnreadableImage("this is no JPEG, PNG, BMP or TIFF", "convert it, or leave it out")
    prepared = prepare(Frame(data, media_type), Geometry(32, 32))
    return media_type, prepared.width, prepared.height


def read_columns(pairs: list[str]) -> dict[str, str]:
    """The pairs of --map.

    Raises WrongMap.
    """
    columns = {}
    for pair in pairs:
        column, separator, meaning = pair.partition("=")
        if not separator or not column.strip() or not meaning.strip():
            raise WrongMap(pair)
        columns[column.strip()] = meaning.strip()
    return columns


def _product_name(path: Path) -> str:
    """The folder's name, fit for a query string."""
    full = path.resolve()
    name = full.name if full.is_dir() else full.parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name) or "product"


def _show_problems(problems: tuple[Problem, ...]) -> None:
    for problem in problems[:PROBLEMS_SHOWN]:
        note(f"{problem.where}: {problem.what}; {problem.remedy}")
    if len(problems) > PROBLEMS_SHOWN:
        note(f"… and {len(problems) - PROBLEMS_SHOWN} more problems; --json lists all")
