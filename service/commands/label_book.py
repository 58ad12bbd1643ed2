"""Commands about label books: which classes there are, and what they mean."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from labeling.book_changes import BookChange, change, differences
from labeling.label_book import UnknownProduct, WantedClass, WrongLabelBook, book_of
from service.book_files import MADE_BY, read_books, to_yaml
from service.label_json import book_json, change_json, history_json
from service.settings import load_settings
from service.terminal import emit, say, table, user_name
from service.wiring import now, open_stores
from service.yaml_text import read_file
from storage import labels, pictures
from storage.database import Connection, to_row
from storage.records import ImageClass, LabelBook, LimitSample

SHORTEST_HASH = 6

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Product = Annotated[str | None, typer.Option("--product", help="Product; not needed where there is one only.")]
Image = Annotated[str, typer.Argument(help="Image: its name, or the beginning of its SHA-256.")]
ClassName = Annotated[str, typer.Option("--class", help="Class of the label book.")]
Note = Annotated[str, typer.Option("--note", help="Why.")]


class WhichProduct(LookupError):
    """Several products have a label book."""

    def __init__(self, products: list[str]) -> None:
        super().__init__("there is no label book yet" if not products else "several products have a label book")
        self.remedy = (
            f"name one with --product: {', '.join(products)}" if products else "loupe import PATH, or book import"
        )


class ImageNotClear(LookupError):
    """No image, or several, go by this name."""

    def __init__(self, product: str, given: str, count: int) -> None:
        super().__init__(f"{count or 'no'} images of product {product} go by {given!r}")
        self.remedy = f"give the name of one image, or {SHORTEST_HASH} and more digits of its SHA-256"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    book = typer.Typer(help="Which classes a product has, and what they mean.", no_args_is_help=True)
    book.command("show")(show_book)
    book.command("history")(show_history)
    book.command("export")(export_books)
    book.command("import")(import_books)
    sample = typer.Typer(help="Images that show where a class begins.", no_args_is_help=True)
    sample.command("add")(add_sample)
    sample.command("remove")(remove_sample)
    book.add_typer(sample, name="limit-sample")
    app.add_typer(book, name="book")


def show_book(
    product: Product = None,
    version: Annotated[int | None, typer.Option("--version", help="A former version.")] = None,
    json: Json = False,
) -> None:
    """Show the classes of a product.

    Example: loupe book show --product housing
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        book = book_of(connection, _product(connection, product), version)
    if json:
        emit(book_json(book))
        return
    table(
        f"label book of {book.product}, version {book.version}",
        ["no.", "class", "meaning", "definition", "rank", "share", "limit samples"],
        [_row(entry) for entry in book.classes],
    )
    written = f"{book.created_at:%Y-%m-%d %H:%M} UTC"
    say(f"written {written}" + (f" by {book.author}" if book.author else "") + (f": {book.note}" if book.note else ""))


def show_history(product: Product = None, json: Json = False) -> None:
    """Show every version of a label book, newest first, and what each changed.

    Example: loupe book history --product housing
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        name = _product(connection, product)
        history = labels.book_history(connection, name)
    if not history:
        raise UnknownProduct(name)
    found = history_json(history)
    if json:
        emit(found)
        return
    rows = [
        (one["version"], f"{book.created_at:%Y-%m-%d %H:%M}", book.author, book.note, "\n".join(one["changed"]))
        for one, book in zip(found, history, strict=True)
    ]
    table(f"label book of {name}", ["version", "written (UTC)", "by", "why", "changed"], rows)


def export_books(product: Product = None) -> None:
    """Print label books as YAML, for `loupe book import` here or on another machine.

    Example: loupe book export > label-books.yaml
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        books = labels.newest_books(connection)
    if product is not None and product not in books:
        raise UnknownProduct(product)
    sys.stdout.write(to_yaml([book for name, book in books.items() if product in (None, name)]))


def import_books(
    file: Annotated[Path, typer.Argument(help="YAML file as `loupe book export` writes it; - reads standard input.")],
    product: Annotated[str | None, typer.Option("--product", help="Take over this product only.")] = None,
    note: Note = "",
    wording_only: Annotated[
        bool, typer.Option("--wording-only", help="Definitions mean what they meant: nothing is judged again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    json: Json = False,
) -> None:
    """Take over the label books of a file: all of them, or none when one is wrong; equal ones get no new version.

    Example: loupe book import label-books.yaml --note "scratches from 0.5 mm"
    """
    entries = read_books(*read_file(file, MADE_BY))
    if product is not None:
        entries = tuple(entry for entry in entries if entry.product == product)
        if not entries:
            raise WrongLabelBook(f"{file} has no label book of {product!r}", "name a product that is in the file")
    done = []
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        for entry in entries:
            newest = labels.newest_book(connection, entry.product)
            here = newest.version if newest else 0
            done.append(
                change(
                    connection,
                    entry.product,
                    # Where the product is new, there is nothing that somebody else could have changed meanwhile.
                    entry.version if entry.version is not None and here else here,
                    entry.classes,
                    author=user_name(),
                    note=note or entry.note,
                    now=now(),
                    wording_only=wording_only,
                )
            )
        if dry_run:
            connection.rollback()
    if json:
        emit({"written": not dry_run, "label_books": [change_json(one) for one in done]})
        return
    for one in done:
        _say_change(one, dry_run)


def add_sample(
    image: Image,
    class_name: ClassName,
    side: Annotated[str, typer.Option("--as", help="accept: just not of this class; reject: just of it.")],
    caption: Annotated[str, typer.Option("--caption", help="What to look at.")] = "",
    product: Product = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Make an image a limit sample of a class; labels of this class are then judged again.

    Example: loupe book limit-sample add 3fa9c1d2 --class scratch --as accept --caption "0.4 mm, just passes"
    """
    if side not in ("accept", "reject"):
        raise typer.BadParameter("take accept or reject", param_hint="--as")
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        book = book_of(connection, _product(connection, product))
        sample = LimitSample(_image(connection, book.product, image), caption)
        done = _resample(connection, book, class_name, sample, side, note or f"limit sample of {class_name}")
    _show(done, json)


def remove_sample(
    image: Image, class_name: ClassName, product: Product = None, note: Note = "", json: Json = False
) -> None:
    """Take an image out of the limit samples of a class; labels of this class are then judged again.

    Example: loupe book limit-sample remove 3fa9c1d2 --class scratch
    """
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        book = book_of(connection, _product(connection, product))
        sample = LimitSample(_image(connection, book.product, image))
        done = _resample(connection, book, class_name, sample, None, note or f"limit sample of {class_name} removed")
    _show(done, json)


def _resample(
    connection: Connection, book: LabelBook, class_name: str, sample: LimitSample, side: str | None, note: str
) -> BookChange:
    """The book with the sample on that side of the class only; None: on neither."""
    if class_name not in {entry.name for entry in book.classes}:
        known = ", ".join(entry.name for entry in book.classes)
        raise WrongLabelBook(f"{class_name!r} is no class of product {book.product!r}", f"use one of {known}")
    wanted = [_as_it_is(entry) for entry in book.classes]
    for n, entry in enumerate(wanted):
        if entry.name == class_name:
            sides = {
                name: tuple(one for one in getattr(entry, name) if one.image_sha256 != sample.image_sha256)
                + ((sample,) if name == side else ())
                for name in ("accept", "reject")
            }
            wanted[n] = replace(entry, accept=sides["accept"], reject=sides["reject"])
    return change(connection, book.product, book.version, wanted, author=user_name(), note=note, now=now())


def _as_it_is(entry: ImageClass) -> WantedClass:
    return WantedClass(**to_row(entry))


def _product(connection: Connection, given: str | None) -> str:
    products = list(labels.newest_books(connection))
    if given is not None:
        return given
    if len(products) != 1:
        raise WhichProduct(products)
    return products[0]


def _image(connection: Connection, product: str, given: str) -> str:
    found = [
        image.sha256
        for image in pictures.of_product(connection, product)
        if image.name == given or (len(given) >= SHORTEST_HASH and image.sha256.startswith(given))
    ]
    if len(found) != 1:
        raise ImageNotClear(product, given, len(found))
    return found[0]


def _show(done: BookChange, json: bool) -> None:
    if json:
        emit(change_json(done))
    else:
        _say_change(done, dry_run=False)


def _say_change(done: BookChange, dry_run: bool) -> None:
    after = done.after
    if after is done.before:
        say(f"label book of {after.product} stays at version {after.version}: nothing changed")
        return
    say(f"label book of {after.product} {'would be' if dry_run else 'is now'} version {after.version}")
    for what in differences(done.before, after):
        say(f"  {what}")
    if done.judge_again:
        people = sorted({label.inspector for label in done.judge_again})
        say(f"  {len(done.judge_again)} labels to judge again, by {', '.join(people)}")


def _row(entry: ImageClass) -> tuple[object, ...]:
    return (
        entry.number,
        entry.name,
        "retired" if entry.retired else "good" if entry.ok else "defect",
        entry.description,
        "" if entry.severity_rank is None else entry.severity_rank,
        "" if entry.expected_share is None else f"{entry.expected_share:.2%}",
        f"{len(entry.accept)} accept, {len(entry.reject)} reject" if entry.accept or entry.reject else "",
    )
