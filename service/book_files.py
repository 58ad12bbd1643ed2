"""Label books as YAML files: what a plant keeps under version control and carries from one machine to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML publishes no types
from pydantic import BaseModel, ConfigDict, ValidationError

from labeling.label_book import WantedClass
from service.yaml_text import Lines, WrongYaml, parse
from storage.records import ImageClass, LabelBook, LimitSample

MADE_BY = "loupe book export"
HEADER = (
    "# Label books of Loupe. `loupe book import FILE` reads this back; `version` is the one that was changed.\n"
    "# A class keeps its number. To rename one: its new name and `renamed_from: OLD`. To drop one: `retired: true`.\n"
)
CLASS_FIELDS = (
    "name",
    "number",
    "ok",
    "renamed_from",
    "description",
    "severity_rank",
    "expected_share",
    "retired",
    "accept",
    "reject",
)


class SampleEntry(BaseModel):
    """A limit sample as a file or a request gives it."""

    model_config = ConfigDict(extra="forbid")

    image_sha256: str
    caption: str = ""


class ClassEntry(BaseModel):
    """A class as a file or a request gives it; what the values may be is for `labeling.label_book` to say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    ok: bool = False
    number: int | None = None
    renamed_from: str | None = None
    description: str = ""
    severity_rank: int | None = None
    expected_share: float | None = None
    retired: bool = False
    accept: list[SampleEntry] = []
    reject: list[SampleEntry] = []

    def wanted(self) -> WantedClass:
        """The class for a change of the label book."""
        sides = {
            side: tuple(LimitSample(one.image_sha256, one.caption) for one in getattr(self, side))
            for side in ("accept", "reject")
        }
        return WantedClass(**{**self.model_dump(exclude={"accept", "reject"}), **sides})


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    product: str
    version: int | None = None
    note: str = ""
    classes: list[ClassEntry]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    label_books: list[_Entry]


@dataclass(frozen=True, slots=True)
class BookEntry:
    """A label book in a file."""

    product: str
    version: int | None
    """The version that was changed; None: whichever holds."""
    note: str
    classes: tuple[WantedClass, ...]


def to_yaml(books: Sequence[LabelBook]) -> str:
    """The books as a file, ordered by product; equal books give equal bytes."""
    entries = [
        {
            "product": book.product,
            "version": book.version,
            "classes": [_class_fields(entry) for entry in sorted(book.classes, key=lambda entry: entry.number)],
        }
        for book in sorted(books, key=lambda book: book.product)
    ]
    text: str = yaml.safe_dump({"label_books": entries}, sort_keys=False, allow_unicode=True, width=120)
    return HEADER + text


def read_books(text: str, name: str) -> tuple[BookEntry, ...]:
    """The label books of a file; `name` is the file's, for messages.

    Raises WrongYaml with every problem of the file and its line.
    """
    lines, data = parse(text, name, MADE_BY)
    try:
        entries = _File.model_validate(data).label_books
    except ValidationError as error:
        found = [_problem(lines, detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
        raise WrongYaml(name, found, MADE_BY) from error
    seen: dict[str, int] = {}
    for n, entry in enumerate(entries):
        line = lines.of("label_books", n)
        if entry.product in seen:
            what = (
                f"line {line}: product {entry.product!r} is there twice, first on line {seen[entry.product]}: keep one"
            )
            raise WrongYaml(name, [what], MADE_BY)
        seen[entry.product] = line
    return tuple(
        BookEntry(entry.product, entry.version, entry.note, tuple(one.wanted() for one in entry.classes))
        for entry in entries
    )


def _class_fields(entry: ImageClass) -> dict[str, Any]:
    """What is not said has its default, so that a file stays short."""
    plain: dict[str, Any] = {"name": entry.name, "number": entry.number, "ok": entry.ok}
    if entry.description:
        plain["description"] = entry.description
    for field in ("severity_rank", "expected_share"):
        if getattr(entry, field) is not None:
            plain[field] = getattr(entry, field)
    if entry.retired:
        plain["retired"] = True
    for side in ("accept", "reject"):
        samples = [{"image_sha256": one.image_sha256, "caption": one.caption} for one in getattr(entry, side)]
        if samples:
            plain[side] = samples
    return plain


_TYPE_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": f"is no field here; those of a class: {', '.join(CLASS_FIELDS)}",
    "string_type": "is no text: put it in quotes",
    "float_type": "is no number: write one such as 0.97, without quotes",
    "int_type": "is no whole number: write one such as 3, without quotes",
    "bool_type": "is neither true nor false",
    "list_type": "is no list",
}


def _problem(lines: Lines, place: tuple[str | int, ...], kind: str, said: str) -> str:
    if len(place) < 2:
        return f"line {lines.of(*place)}: the file must hold one list, `label_books:`, and nothing beside it"
    return f"line {lines.of(*place)}: {'.'.join(map(str, place[2:])) or 'this'} {_TYPE_WORDS.get(kind, said)}"
