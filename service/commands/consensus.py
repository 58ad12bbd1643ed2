"""The command that settles labels: what the consensus came to, and why inspectors disagree."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from labeling.consensus import CONSENSUS, aggregate
from labeling.label_book import book_of
from labeling.settle import Settlement, settle
from labeling.votes import Floats
from models.dataset import snapshot
from service.agreement_table import from_file
from service.commands.data import PROBLEMS_SHOWN, read_columns
from service.consensus_page import as_html
from service.consensus_report import Settled, as_csv, summary, unclear
from service.consensus_text import HEADS, cautions, item_rows, quiet, rows
from service.report_file import check_places, write_whole
from service.settings import load_settings
from service.terminal import REPORT_WIDTH, emit, note, progress, say, table, tell
from service.wiring import now, open_stores
from storage import labels, pictures
from storage.database import Connection
from storage.records import LabelBook

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class WrongMix(ValueError):
    """--mix is not CLASS=SHARE,… of classes that there are."""

    def __init__(self, what: str, classes: tuple[str, ...]) -> None:
        super().__init__(f"--mix: {what}")
        self.remedy = f"write CLASS=SHARE, separated by commas, 1 in all, of the classes {', '.join(classes)}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("consensus")(consensus)


def consensus(
    name: Annotated[str | None, typer.Argument(metavar="[PRODUCT]", help="The same as --product.")] = None,
    product: Annotated[str | None, typer.Option("--product", help="Settle the labels stored for this product.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--csv", help="Settle a table: item, inspector, label; occasion, shift, time where known."),
    ] = None,
    method: Annotated[str, typer.Option("--method", help=f"auto, or one of {', '.join(CONSENSUS)}.")] = "auto",
    mix: Annotated[
        str | None, typer.Option("--mix", help="Known mix of the classes, such as ok=.97,scratch=.03.")
    ] = None,
    with_model: Annotated[
        bool,
        typer.Option("--model", help="Heed what the newest model says of images that it was not trained on."),
    ] = False,
    ok: Annotated[
        str, typer.Option("--ok", help="Good classes of a table, separated by commas; default: those named ok or good.")
    ] = "",
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=MEANING for a table; may be repeated.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a printable page.")] = None,
    csv_out: Annotated[Path | None, typer.Option("--csv-out", help="Write one row an image as CSV.")] = None,
    json: Json = False,
) -> None:
    """Settle what inspectors said, and show why they disagree. Of stored labels, a new dataset is made.

    Example: loupe consensus housing --html why.html

    Example: loupe consensus --csv labels.csv --mix ok=.97,scratch=.02,dent=.01 --csv-out settled.csv
    """
    product = product or name
    if (product is None) == (file is None):
        raise typer.BadParameter("say what to settle: --product PRODUCT or --csv FILE", param_hint="--product / --csv")
    if product is not None and (ok or columns):
        raise typer.BadParameter("the label book knows the classes", param_hint="--ok / --map")
    reports = [(path, write) for path, write in ((html, as_html), (csv_out, as_csv)) if path is not None]
    check_places([path for path, _ in reports], [] if file is None else [file])
    more: dict[str, Any] = {}
    if product is not None:
        settled, more = _of_product(product, method, mix, with_model)
    else:
        assert file is not None, "one of both is given"
        settled = _of_table(file, method, mix, [part.strip() for part in ok.split(",") if part.strip()], columns or [])
    with progress("looking at disagreements"):
        result = {**more, **summary(settled)}
    for path, write in reports:
        write_whole(path, write(result))
    if json:
        emit(result)
        return
    show(result)
    for path, _ in reports:
        say(f"written: {path}")


def _of_table(file: Path, method: str, mix: str | None, ok: list[str], columns: list[str]) -> Settled:
    judged = from_file(file, columns=read_columns(columns), reference="none", ok=ok)
    for problem in judged.left_out[:PROBLEMS_SHOWN]:
        note(f"{problem.where}: {problem.what}; {problem.remedy}")
    if len(judged.left_out) > PROBLEMS_SHOWN:
        note(f"… and {len(judged.left_out) - PROBLEMS_SHOWN} more problems")
    prior = None if mix is None else read_mix(mix, judged.classes)
    found = aggregate(judged.votes, len(judged.classes), class_prior=prior, method=method)
    return Settled(
        judged.source,
        judged.votes,
        found,
        judged.items,
        judged.inspectors,
        judged.classes,
        judged.ok,
        judged.shifts,
    )


def _of_product(product: str, method: str, mix: str | None, with_model: bool) -> tuple[Settled, dict[str, Any]]:
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        shares = None if mix is None else _shares(mix, book_of(connection, product))
        settlement = settle(connection, product, now(), method, class_prior=shares, with_model=with_model)
        dataset, is_new = snapshot(connection, settlement.run, now())
        settled = _with_circumstances(connection, product, settlement)
    return settled, {
        "product": product,
        "run": settlement.run.id,
        "dataset": dataset.id,
        "dataset_is_new": is_new,
        "sha256": list(settlement.images),
    }


def _shares(mix: str, book: LabelBook) -> dict[str, float]:
    names = tuple(entry.name for entry in book.classes)
    return dict(zip(names, read_mix(mix, names).tolist(), strict=True))


def _with_circumstances(connection: Connection, product: str, settlement: Settlement) -> Settled:
    """The settlement with the names of its images, and the shift and time of every look as far as they are stored."""
    book = labels.newest_book(connection, product)
    good = {entry.name for entry in book.classes if entry.ok} if book else set()
    stored = {(one.image_sha256, one.inspector, one.occasion): one for one in labels.of_product(connection, product)}
    named = {one.sha256: one.name for one in pictures.of_product(connection, product)}
    votes = settlement.votes
    looks = [
        stored.get((settlement.images[item], settlement.inspectors[who], int(occasion)))
        for item, who, occasion in zip(votes.item, votes.inspector, votes.occasion, strict=True)
    ]
    time = np.array([one.judged_at.timestamp() if one and one.judged_at else np.nan for one in looks])
    return Settled(
        f"product {product}",
        replace(votes, time=time if bool(np.isfinite(time).any()) else None),
        settlement.consensus,
        tuple(named.get(image, image) for image in settlement.images),
        settlement.inspectors,
        settlement.classes,
        tuple(n for n, name in enumerate(settlement.classes) if name in good),
        tuple(one.shift if one else "" for one in looks),
    )


def read_mix(text: str, classes: tuple[str, ...]) -> Floats:
    """The shares of --mix, (K,); classes that are not named share what is left.

    Raises WrongMix.

    >>> read_mix("ok=.97, scratch=.02", ("ok", "scratch", "dent")).round(3).tolist()
    [0.97, 0.02, 0.01]
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or name not in classes:
            raise WrongMix(f"{part.strip()!r} names no class and share", classes)
        try:
            shares[name] = float(value)
        except ValueError as error:
            raise WrongMix(f"{value!r} is no number", classes) from error
        if not 0 <= shares[name] <= 1:
            raise WrongMix(f"{value} is no share", classes)
    left = 1 - sum(shares.values())
    others = [name for name in classes if name not in shares]
    if abs(left) > 1e-6 and (left < 0 or not others):
        raise WrongMix(f"the shares are {sum(shares.values()):g} in all", classes)
    return np.array([shares.get(name, max(left, 0.0) / max(len(others), 1)) for name in classes])


def show(result: dict[str, Any]) -> None:
    """The result for people."""
    tell(f"{result['labels']} labels of {result['images']} images settled by {result['method']}: {result['reason']}")
    for caution in cautions(result):
        tell(f"caution: {caution}")
    for kind, title in (("classes", "classes"), ("inspectors", "inspectors"), ("verdicts", "images")):
        table(title, HEADS[kind], rows(result, kind), REPORT_WIDTH)
    for verdict, title in (
        ("unclear", "least certain images"),
        ("book", "images for the label book"),
        ("noisy", "images that come out by chance"),
    ):
        if found := item_rows(unclear(result, verdict)):
            table(title, HEADS["items"], found, REPORT_WIDTH)
    for kind, title in (
        ("confusions", "who calls what what, more often than the others"),
        ("conditions", "who judges otherwise, and when"),
        ("drift", "who has begun to judge otherwise"),
        ("limits", "candidates for limit samples"),
        ("human", "human level: how often one inspector is wrong"),
    ):
        if found := rows(result, kind):
            table(title, HEADS[kind], found, REPORT_WIDTH)
    for text in (*quiet(result), result["human_level"]["classes"]["reason"]):
        tell(text)
    if "dataset" in result:
        say(f"dataset {result['dataset']}" + ("" if result["dataset_is_new"] else " (unchanged)"))
