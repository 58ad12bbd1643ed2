"""What a reader of somebody else's image folder hands back, and the errors it stops with.

A reader looks at names and text only: it decodes no image, copies no file and knows no database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

INSPECTOR = "import"
"""The inspector of a label whose source names nobody."""

UNANNOTATED = "ok"
"""The class of an image that an object format (COCO, VOC, Label Studio) lists without any object in it."""


@dataclass(frozen=True, slots=True)
class FoundLabel:
    """One inspector's judgement of one image.

    `at` is aware UTC or None; `region` is (x, y, width, height) in pixels of the image; `occasion` is 0 for an
    inspector's first look at the image, 1.. for repeats; `severity` counts from 0, more is worse; `seconds` is how long
    the look took; `shift` is empty where unknown.
    """

    label: str
    inspector: str
    at: datetime | None
    also: tuple[str, ...] = ()
    unsure: bool = False
    region: tuple[float, float, float, float] | None = None
    comment: str = ""
    occasion: int = 0
    severity: int | None = None
    seconds: float | None = None
    shift: str = ""


@dataclass(frozen=True, slots=True)
class FoundImage:
    """One image file and all that its source says about it.

    `path` is absolute, `name` and `mask` are relative to the listing's root with forward slashes; `split` is
    "train", "test" or None; `captured_at` is aware UTC or None. No labels: nobody has judged the image.
    """

    path: Path
    name: str
    labels: tuple[FoundLabel, ...]
    group: str | None
    split: str | None
    lot: str | None
    part_id: str | None
    captured_at: datetime | None
    mask: str | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the reader left out or had to guess: `where` is a file, or file:row."""

    where: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All that was found under `root`: images sorted by name, and the `columns` that nothing was read from."""

    format: str
    root: Path
    images: tuple[FoundImage, ...]
    problems: tuple[Problem, ...]
    columns: tuple[str, ...] = ()


class BrokenListing(Exception):
    """A file can't be read at all; `line` is None where the fault has no line."""

    def __init__(self, path: Path, line: int | None, reason: str, remedy: str) -> None:
        place = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {reason}; {remedy}")
        self.path = path
        self.line = line
        self.reason = reason
        self.remedy = remedy


class UnknownFormat(Exception):
    """Nothing at `path` looks like a format that can be read."""

    def __init__(self, path: Path, remedy: str) -> None:
        super().__init__(f"{path}: no known layout of images and labels; {remedy}")
        self.path = path
        self.remedy = remedy


class WrongColumn(Exception):
    """A needed, mapped or repeated column: `column` is the one in question, `columns` are those that exist."""

    def __init__(self, path: Path, column: str, columns: tuple[str, ...], reason: str, remedy: str) -> None:
        present = ", ".join(columns) or "none"
        super().__init__(f"{path}: {reason}; columns: {present}; {remedy}")
        self.path = path
        self.column = column
        self.columns = columns
        self.reason = reason
        self.remedy = remedy


def refuse_columns(path: Path, columns: Mapping[str, str]) -> None:
    """Raise WrongColumn where a format without columns is asked to rename one: ignoring it would import wrongly."""
    for column in sorted(columns):
        raise WrongColumn(
            path, column, (), f"there is no column {column!r} to map", "only labels.csv has columns: leave --map out"
        )
