"""The classes of a product: numbers are never reused, a change is a new version."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from storage import labels
from storage.database import Connection
from storage.records import ImageClass, LabelBook, LimitSample

USUAL_OK_NAMES = frozenset({"ok", "good"})
LAST_NUMBER = 899
NAME_LIMIT = 120
SHARE_TOLERANCE = 0.005
"""Expected shares are rounded by those who write them down."""

_UNFIT_FOR_A_NAME = re.compile(r"[|;\x00-\x1f\x7f]")  # lists of classes in files are separated by | or ;
_SHA256 = re.compile(r"[0-9a-f]{64}")


class UnknownProduct(LookupError):
    """No label book belongs to this product."""

    def __init__(self, product: str) -> None:
        super().__init__(f"product {product!r} has no label book")
        self.remedy = f"import labelled images first: loupe import PATH --product {product or 'NAME'}"


class UnknownVersion(LookupError):
    """The label book never had this version."""

    def __init__(self, product: str, version: int, newest: int) -> None:
        super().__init__(f"there is no version {version} of the label book of {product}")
        self.remedy = f"name one from 1 to {newest}; `loupe book history --product {product}` shows them"


class WrongLabelBook(ValueError):
    """The classes asked for can't become a label book."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class WantedClass:
    """A class as somebody wants it to be in the next version.

    Without a number it is the class of this name, or a new one. Another name for a known number is a new name of that
    class; so that a slip can't give all its labels another meaning, `renamed_from` must say the name it had.
    """

    name: str
    ok: bool
    number: int | None = None
    renamed_from: str | None = None
    description: str = ""
    severity_rank: int | None = None
    expected_share: float | None = None
    retired: bool = False
    accept: tuple[LimitSample, ...] = ()
    reject: tuple[LimitSample, ...] = ()


def book_of(connection: Connection, product: str, version: int | None = None) -> LabelBook:
    """The product's label book in a version; None: the newest.

    Raises UnknownProduct, UnknownVersion.
    """
    newest = labels.newest_book(connection, product)
    if newest is None:
        raise UnknownProduct(product)
    if version is None:
        return newest
    found = labels.book(connection, product, version)
    if found is None:
        raise UnknownVersion(product, version, newest.version)
    return found


def in_use(book: LabelBook) -> tuple[ImageClass, ...]:
    """The classes that can be given."""
    return tuple(entry for entry in book.classes if not entry.retired)


def expected_shares(book: LabelBook) -> tuple[float, ...] | None:
    """The known mix of the classes in the order of the book, summing to 1; 0 for a retired class, None for no mix.

    A class that came with an import has no share, so from then on the mix is unknown until somebody states it anew.

    >>> entries = [ImageClass("ok", 0, True, expected_share=0.97), ImageClass("dent", 1, False, expected_share=0.03)]
    >>> expected_shares(LabelBook("cap", 1, tuple(entries), datetime(2026, 1, 1)))
    (0.97, 0.03)
    """
    shares = [0.0 if entry.retired else entry.expected_share for entry in book.classes]
    known = [share for share in shares if share is not None]
    if len(known) < len(shares) or sum(known) <= 0:
        return None
    return tuple(share / sum(known) for share in known)


def most_severe_first(book: LabelBook, names: Sequence[str]) -> tuple[str, ...]:
    """The classes of one judgement, each once, by falling rank; without ranks in the order given.

    >>> entries = (ImageClass("dent", 1, False, severity_rank=1), ImageClass("crack", 2, False, severity_rank=5))
    >>> most_severe_first(LabelBook("cap", 1, entries, datetime(2026, 1, 1)), ["dent", "crack", "dent"])
    ('crack', 'dent')
    """
    rank = {entry.name: entry.severity_rank for entry in book.classes}
    distinct = list(dict.fromkeys(names))
    if any(rank.get(name) is None for name in distinct):
        return tuple(distinct)
    return tuple(sorted(distinct, key=lambda name: -(rank[name] or 0)))


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
    used = {entry.number for entry in known.values()}
    classes = list(known.values())
    for name in sorted(added, key=lambda n: (n not in good, n)):
        classes.append(ImageClass(name=name, number=_next_number(used, name, name in good), ok=name in good))
        used.add(classes[-1].number)
    return LabelBook(product, 1 + (book.version if book else 0), tuple(classes), now)


def grow(connection: Connection, product: str, names: Iterable[str], ok: Collection[str], now: datetime) -> LabelBook:
    """Bring the stored book up to the names; returns the version that holds now.

    Raises WrongLabelBook.
    """
    labels.hold(connection, product)
    before = labels.newest_book(connection, product)
    after = grown(before, product, names, ok, now)
    if after is not before:
        after = replace(after, note="classes that an import brought")
        labels.add_book(connection, after)
    return after


def changed(
    book: LabelBook | None, product: str, wanted: Sequence[WantedClass], *, author: str, note: str, now: datetime
) -> LabelBook:
    """The next version of the book with the wanted classes; the same book where nothing changes.

    Raises WrongLabelBook.
    """
    known = {entry.number: entry for entry in (book.classes if book else ())}
    by_name = {entry.name: entry.number for entry in known.values()}
    used = set(known) | {one.number for one in wanted if one.number is not None}
    classes: list[ImageClass] = []
    for one in wanted:
        number = one.number if one.number is not None else by_name.get(one.name)
        if number is None:
            number = _next_number(used, one.name, one.ok)
            used.add(number)
        _check_identity(one, number, known, by_name)
        classes.append(_entry(one, number))
    _check_together(classes, known)
    after = tuple(sorted(classes, key=lambda entry: entry.number))
    if book is not None and after == tuple(sorted(book.classes, key=lambda entry: entry.number)):
        return book
    return LabelBook(product, 1 + (book.version if book else 0), after, now, author, note)


def _next_number(used: set[int], name: str, ok: bool) -> int:
    number = 0 if ok and 0 not in used else max(used | {0}) + 1
    if number > LAST_NUMBER:
        raise WrongLabelBook(
            f"the label book is full at class {name!r}", f"a book holds classes 1..{LAST_NUMBER}; merge some"
        )
    return number


def _check_identity(one: WantedClass, number: int, known: dict[int, ImageClass], by_name: dict[str, int]) -> None:
    """Whether the name and the number belong together."""
    before = known.get(number)
    if before is not None and before.name != one.name and one.renamed_from != before.name:
        raise WrongLabelBook(
            f"number {number} is class {before.name!r}, not {one.name!r}",
            f"to rename it, add renamed_from: {before.name}; a new class needs no number",
        )
    if by_name.get(one.name, number) != number and before is None:
        raise WrongLabelBook(
            f"class {one.name!r} has number {by_name[one.name]}, not {number}", "numbers stay: leave the number out"
        )
    if one.renamed_from is not None and (before is None or one.renamed_from not in (before.name, one.name)):
        raise WrongLabelBook(
            f"class {one.name!r} can't be renamed from {one.renamed_from!r}: number {number} never had that name",
            "give the number and the present name of the class that gets a new name",
        )
    if (before is None or before.name != one.name) and not _is_fit_name(one.name):
        raise WrongLabelBook(
            f"{one.name!r} can't be the name of a class",
            f"use 1 to {NAME_LIMIT} characters without | and ; and without blanks around",
        )
    if not 0 <= number <= LAST_NUMBER or (number == 0 and not one.ok):
        raise WrongLabelBook(
            f"class {one.name!r} can't have number {number}", f"0 is for good parts, 1 to {LAST_NUMBER} for the rest"
        )


def _is_fit_name(name: str) -> bool:
    return 0 < len(name) <= NAME_LIMIT and name == name.strip() and not _UNFIT_FOR_A_NAME.search(name)


def _entry(one: WantedClass, number: int) -> ImageClass:
    """The class itself, after what can be said of it alone has been checked."""
    if one.ok and one.severity_rank is not None:
        raise WrongLabelBook(f"class {one.name!r} is good and has a severity rank", "leave the rank out")
    if one.severity_rank is not None and one.severity_rank < 0:
        raise WrongLabelBook(f"class {one.name!r} has severity rank {one.severity_rank}", "count from 0, more is worse")
    images = Counter(sample.image_sha256 for sample in (*one.accept, *one.reject))
    for sha256, count in images.items():
        if not _SHA256.fullmatch(sha256):
            raise WrongLabelBook(f"a limit sample of {one.name!r} is {sha256!r}", "name it by its 64-digit SHA-256")
        if count > 1:
            raise WrongLabelBook(
                f"image {sha256[:12]} is a limit sample of {one.name!r} twice", "keep it under accept or under reject"
            )
    return ImageClass(
        name=one.name,
        number=number,
        ok=one.ok,
        description=one.description,
        severity_rank=one.severity_rank,
        expected_share=None if one.retired else one.expected_share,
        retired=one.retired,
        accept=one.accept,
        reject=one.reject,
    )


def _check_together(classes: Sequence[ImageClass], known: dict[int, ImageClass]) -> None:
    for what, values in (("name", [c.name for c in classes]), ("number", [c.number for c in classes])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise WrongLabelBook(f"the {what} {twice[0]!r} is there twice", "give each class its own")
    if gone := [entry.name for number, entry in known.items() if number not in {c.number for c in classes}]:
        raise WrongLabelBook(
            f"class {gone[0]!r} is missing", "a class is never removed, as labels name it: keep it with retired: true"
        )
    using = [entry for entry in classes if not entry.retired]
    if not using:
        raise WrongLabelBook("no class is in use", "keep at least one class that is not retired")
    shares = [entry.expected_share for entry in using]
    given = [share for share in shares if share is not None]
    if not given:
        return
    without = [entry.name for entry in using if entry.expected_share is None]
    if without:
        raise WrongLabelBook(
            f"class {without[0]!r} has no expected share, others have one", "give every class in use one, or none"
        )
    # Written so that NaN is refused too.
    if not (all(0 <= share <= 1 for share in given) and abs(sum(given) - 1) <= SHARE_TOLERANCE):
        raise WrongLabelBook(
            f"the expected shares sum to {sum(given):g}", "give shares from 0 to 1 that sum to 1, such as 0.97 and 0.03"
        )
