"""What a new version of a label book changes, and which labels it calls into question."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from labeling.formats import INSPECTOR
from labeling.label_book import WantedClass, WrongLabelBook, changed
from storage import labels, pictures, tasks
from storage.database import Connection
from storage.labels import BookChanged
from storage.records import ImageClass, Label, LabelBook, LimitSample, Task

JUDGE_AGAIN = "judge_again"


@dataclass(frozen=True, slots=True)
class BookChange:
    """What became of a change."""

    before: LabelBook | None
    after: LabelBook
    """The same as `before` where nothing changed."""
    judge_again: tuple[Label, ...]
    """Labels whose definition changed: their inspectors are asked again."""


def change(
    connection: Connection,
    product: str,
    made_from: int,
    wanted: Sequence[WantedClass],
    *,
    author: str,
    note: str,
    now: datetime,
    wording_only: bool = False,
) -> BookChange:
    """Write the next version of a product's label book, and ask again for the labels that it calls into question.

    `made_from` is the version that whoever changes it has seen, 0 for none. With `wording_only` the definitions are
    said otherwise but mean the same, so nothing is judged again.

    Raises WrongLabelBook, BookChanged.
    """
    labels.hold(connection, product)
    before = labels.newest_book(connection, product)
    newest = before.version if before else 0
    if made_from != newest:
        raise BookChanged(product, made_from, newest)
    after = changed(before, product, wanted, author=author, note=note, now=now)
    if after is before:
        return BookChange(before, after, ())
    _check_samples(connection, before, after)
    doubtful: tuple[Label, ...] = ()
    if before is not None and not wording_only:
        doubtful = labels_to_judge_again(before, after, labels.of_product(connection, product))
    labels.add_book(connection, after)
    tasks.ask(connection, list({task.id: task for task in _tasks(doubtful, after, now)}.values()), None)
    return BookChange(before, after, doubtful)


def redefined(before: LabelBook, after: LabelBook) -> frozenset[int]:
    """Numbers of the classes of `before` whose definition is another one: words, good or not, limit samples."""
    former = {entry.number: _definition(entry) for entry in before.classes}
    return frozenset(
        entry.number for entry in after.classes if entry.number in former and former[entry.number] != _definition(entry)
    )


def labels_to_judge_again(before: LabelBook, after: LabelBook, judged: Sequence[Label]) -> tuple[Label, ...]:
    """The labels that `after` calls into question, out of those given under `before` or earlier (names as in `before`).

    These are the labels that name a redefined class, and all others of the same images: where inspectors differ
    between that class and another one, both sides drew the line by the old definition.
    """
    changed_names = {entry.name for entry in before.classes if entry.number in redefined(before, after)}
    doubtful = {label.image_sha256 for label in judged if changed_names & {label.class_name, *label.also}}
    return tuple(label for label in judged if label.image_sha256 in doubtful and label.book_version <= before.version)


def differences(before: LabelBook | None, after: LabelBook) -> tuple[str, ...]:
    """What a version changed, one sentence a change.

    >>> first = LabelBook("cap", 1, (ImageClass("ok", 0, True), ImageClass("dent", 1, False)), datetime(2026, 1, 1))
    >>> renamed = ImageClass("Delle", 1, False, "deeper than 0.1 mm")
    >>> second = LabelBook("cap", 2, (first.classes[0], renamed), datetime(2026, 1, 2))
    >>> differences(first, second)
    ('Delle: was called dent', "Delle: definition '' -> 'deeper than 0.1 mm'")
    """
    former = {entry.number: entry for entry in before.classes} if before else {}
    return tuple(
        f"{entry.name}: {what}" for entry in after.classes for what in _differences(former.get(entry.number), entry)
    )


def _differences(before: ImageClass | None, after: ImageClass) -> Iterator[str]:
    if before is None:
        yield f"new, number {after.number}, {_goodness(after)}"
        return
    if before.name != after.name:
        yield f"was called {before.name}"
    if before.ok != after.ok:
        yield f"is {_goodness(after)} now"
    for name, told in (
        ("description", "definition"),
        ("severity_rank", "severity rank"),
        ("expected_share", "expected share"),
    ):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{told} {_told(old)} -> {_told(new)}"
    if before.retired != after.retired:
        yield "retired" if after.retired else "in use again"
    yield from _sample_differences("accept", before.accept, after.accept)
    yield from _sample_differences("reject", before.reject, after.reject)


def _sample_differences(side: str, before: Sequence[LimitSample], after: Sequence[LimitSample]) -> Iterator[str]:
    former = {sample.image_sha256: sample.caption for sample in before}
    present = {sample.image_sha256: sample.caption for sample in after}
    for sha256 in sorted({*former, *present}):
        if sha256 not in present:
            yield f"{side} sample {sha256[:12]} removed"
        elif sha256 not in former:
            yield f"{side} sample {sha256[:12]} added"
        elif former[sha256] != present[sha256]:
            yield f"{side} sample {sha256[:12]} has another caption"


def _goodness(entry: ImageClass) -> str:
    return "good" if entry.ok else "a defect"


def _told(value: object) -> str:
    return "none" if value is None else repr(value)


def _definition(entry: ImageClass) -> tuple[object, ...]:
    """What decides whether an image is of the class; captions only explain."""
    samples = (frozenset(sample.image_sha256 for sample in side) for side in (entry.accept, entry.reject))
    return (entry.description, entry.ok, *samples)


def _check_samples(connection: Connection, before: LabelBook | None, after: LabelBook) -> None:
    """New limit samples must be images that can be shown."""
    known = {sha256 for entry in (before.classes if before else ()) for sha256 in _samples(entry)}
    for entry in after.classes:
        for sha256 in _samples(entry):
            if sha256 not in known and not pictures.has(connection, after.product, sha256):
                raise WrongLabelBook(
                    f"the limit sample {sha256[:12]} of {entry.name!r} is no image of product {after.product}",
                    "import or label the image first",
                )


def _samples(entry: ImageClass) -> list[str]:
    return [sample.image_sha256 for sample in (*entry.accept, *entry.reject)]


def _tasks(doubtful: Sequence[Label], book: LabelBook, now: datetime) -> Iterator[Task]:
    """One task an image and inspector; where nobody knows who labelled, anybody may do it."""
    for label in doubtful:
        inspector = "" if label.inspector == INSPECTOR else label.inspector
        content = "\0".join([book.product, str(book.version), label.image_sha256, inspector])
        yield Task(
            id="again-" + hashlib.sha256(content.encode()).hexdigest()[:32],
            product=book.product,
            image_sha256=label.image_sha256,
            inspector=inspector,
            kind=JUDGE_AGAIN,
            book_version=book.version,
            created_at=now,
            expires_at=None,
        )
