"""The classes of a product: numbers are never reused, a change is a new version."""

from collections.abc import Collection, Iterable
from datetime import datetime

from storage import labels
from storage.database import Connection
from storage.records import ImageClass, LabelBook

USUAL_OK_NAMES = frozenset({"ok", "good"})
LAST_NUMBER = 899


class WrongLabelBook(ValueError):
    """The classes asked for can't become a label book."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def grown(book: LabelBook | None, product: str, names: Iterable[str], ok: Collection[str], now: datetime) -> LabelBook:
    """The book with the new class names added; the same book where nothing is new.

    `ok` names the good classes; without any, classes named `ok` or `good` are good. Good parts have number 0 as far as
    there is one class of them; every other class gets the next free number of 1..899.

    Raises WrongLabelBook when `ok` names a class that does not exist or changes what a known class means.
    """
    known = {c.name: c for c in (book.classes if book else ())}
    wanted = sorted({*names, *known})
    good = set(ok) if ok else {n for n in wanted if (n in known and known[n].ok) or n.lower() in USUAL_OK_NAMES}
    if unknown := sorted(good - set(wanted)):
        raise WrongLabelBook(
            f"no image is labelled {', '.join(repr(u) for u in unknown)}",
            f"name good classes among: {', '.join(wanted)}",
        )
    for name, entry in known.items():
        if ok and entry.ok != (name in good):
            raise WrongLabelBook(
                f"class {name!r} of product {product} is {'good' if entry.ok else 'a defect'} in its label book",
                "import under another --product, or keep the meaning of the class",
            )
    added = [n for n in wanted if n not in known]
    if book is not None and not added:
        return book
    classes = tuple(known.values()) + tuple(_numbered(known.values(), added, good))
    return LabelBook(product, 1 + (book.version if book else 0), classes, now)


def _numbered(known: Iterable[ImageClass], added: list[str], good: set[str]) -> Iterable[ImageClass]:
    used = {c.number for c in known}
    for name in sorted(added, key=lambda n: (n not in good, n)):
        number = 0 if name in good and 0 not in used else max(used | {0}) + 1
        if number > LAST_NUMBER:
            raise WrongLabelBook(
                f"the label book is full at class {name!r}", f"a book holds classes 1..{LAST_NUMBER}; merge some"
            )
        used.add(number)
        yield ImageClass(name=name, number=number, ok=name in good)


def grow(connection: Connection, product: str, names: Iterable[str], ok: Collection[str], now: datetime) -> LabelBook:
    """Bring the stored book up to the names; returns the version that holds now.

    Raises WrongLabelBook.
    """
    before = labels.newest_book(connection, product)
    after = grown(before, product, names, ok, now)
    if after is not before:
        labels.add_book(connection, after)
    return after
