"""The looks of an agreement study from the labels that are stored."""

from collections.abc import Collection, Sequence
from pathlib import Path

from labeling.formats import INSPECTOR, Problem
from service.agreement_table import known_labels
from service.agreement_votes import ADJUDICATED, COLUMN, NONE, Judged, Said, WrongStudy, judged, ordered
from storage import adjudications, labels, pictures
from storage.database import Connection
from storage.records import Label, LabelBook

UNSURE = "(unsure)"
"""The class of stored labels that were marked unsure: they decide nothing."""


def from_labels(
    connection: Connection, product: str, *, reference: str | None = None, order: Sequence[str] = ()
) -> Judged:
    """The looks that are stored for a product, with the good classes of its label book.

    An unsure label decides nothing. Labels whose source names nobody are left out: they are no inspector's. reference:
    `adjudicated`, `none` or a file (`known_labels`, by SHA-256 or name of the image); default: adjudicated images where
    an inspector judged any, else none. Classes come in the order of their severity rank, where the book ranks them.

    Raises WrongStudy.
    """
    book = labels.newest_book(connection, product)
    stored = labels.of_product(connection, product)
    if book is None or not stored:
        raise WrongStudy(f"product {product!r} has no labels", "import or label images first, or name another product")
    named = [one for one in stored if one.inspector != INSPECTOR]
    problems = []
    if len(named) < len(stored):
        what = f"{len(stored) - len(named)} labels name no inspector: left out"
        problems.append(Problem(product, what, "import them with a column inspector"))
    pictured = {one.sha256: one for one in pictures.of_product(connection, product)}
    known: dict[str, str] | None = None
    reference_from = ""
    if reference == COLUMN:
        raise WrongStudy("stored labels have no column of known labels", "use --reference adjudicated, none or a file")
    if reference in (None, ADJUDICATED):
        known = {sha256: str(one.class_name) for sha256, one in adjudications.holding(connection, product).items()}
        if reference == ADJUDICATED and not known:
            raise WrongStudy(
                f"no image of product {product} has been adjudicated", "adjudicate some, or use --reference none"
            )
        known, reference_from = (known, "adjudications") if known else (None, "")
        if reference is None and known and not known.keys() & {one.image_sha256 for one in named}:
            what = (
                f"no inspector judged any of the {len(known)} adjudicated images: the reference is what the others say"
            )
            problems.append(Problem(product, what, "have inspectors judge adjudicated images too"))
            known, reference_from = None, ""
    elif reference != NONE:
        by_name = {one.name: sha256 for sha256, one in pictured.items()}
        found = known_labels(Path(reference))
        known, reference_from = {by_name.get(name, name): label for name, label in found.items()}, Path(reference).name
    said = [_of_label(one) for one in named]
    classes = _of_book(book, {one.label for one in said} | set((known or {}).values()), order)
    good = {entry.name for entry in book.classes if entry.ok}
    ranked = {entry.name for entry in book.classes if entry.severity_rank is not None}
    is_ordered = bool(order) or len(classes) < 3 or set(classes) <= ranked | good
    return judged(
        f"product {product}",
        said,
        classes,
        is_ordered,
        [n for n, name in enumerate(classes) if name in good],
        [n for n, name in enumerate(classes) if name == UNSURE],
        known,
        reference_from,
        {sha256: one.part_group for sha256, one in pictured.items()},
        problems,
        {sha256: one.name for sha256, one in pictured.items()},
    )


def _of_label(label: Label) -> Said:
    return Said(
        label.image_sha256,
        label.inspector,
        UNSURE if label.unsure else label.class_name,
        label.occasion,
        label.shift,
        None if label.judged_at is None else label.judged_at.timestamp(),
    )


def _of_book(book: LabelBook, used: Collection[str], order: Sequence[str]) -> list[str]:
    if order:
        return ordered(used, (), order)
    entries = sorted(
        (entry for entry in book.classes if entry.name in used),
        key=lambda entry: (not entry.ok, entry.severity_rank or 0, entry.number),
    )
    named = [entry.name for entry in entries]
    return [*named, *sorted(set(used) - set(named))]
