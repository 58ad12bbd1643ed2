"""A product's images and labels as files that an import reads back."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from labeling.formats import label_studio_writing
from labeling.formats.file_names import file_names
from labeling.label_book import book_of
from storage import labels, pictures
from storage.database import Connection
from storage.records import Image, Label, LabelBook

COLUMNS = (
    "path",
    "label",
    "inspector",
    "time",
    "also",
    "region",
    "unsure",
    "comment",
    "occasion",
    "severity",
    "seconds",
    "shift",
    "group",
    "lot",
    "captured_at",
    "book_version",
)
"""Of labels.csv; an import reads all but the last, which counts the versions of this label book."""


class UnfitClass(ValueError):
    """A class can't stand in a list of classes."""

    def __init__(self, name: str) -> None:
        super().__init__(f"class {name!r} can't be written to labels.csv, where | and ; separate classes")
        self.remedy = "rename the class in the label book, or take --format label-studio"


@dataclass(frozen=True, slots=True)
class Export:
    """What to write."""

    book: LabelBook
    images: tuple[Image, ...]
    """Ordered by the name of their file."""
    labels: Mapping[str, Sequence[Label]]
    """Those that count, by SHA-256 of their image, ordered by inspector and look."""
    names: Mapping[str, str]
    """File names of the images by SHA-256, relative to the folder of the export."""


def gather(connection: Connection, product: str) -> Export:
    """All that an export of the product holds.

    Raises UnknownProduct.
    """
    book = book_of(connection, product)
    found = pictures.of_product(connection, product)
    names = file_names((image.sha256, image.name, image.media_type) for image in found)
    by_image: dict[str, list[Label]] = defaultdict(list)
    for label in labels.of_product(connection, product):
        by_image[label.image_sha256].append(label)
    for given in by_image.values():
        given.sort(key=lambda label: (label.inspector, label.occasion))
    images = sorted(found, key=lambda image: names[image.sha256])
    return Export(book, tuple(images), by_image, names)


def to_csv(export: Export) -> dict[str, str]:
    """labels.csv: a row a label; an image without any has a row with an empty label.

    Raises UnfitClass.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image in export.images:
        given: Sequence[Label | None] = export.labels.get(image.sha256) or [None]
        writer.writerows(_row(export.names[image.sha256], image, label) for label in given)
    return {"labels.csv": text.getvalue()}


def to_label_studio(export: Export) -> dict[str, str]:
    """Label Studio's JSON, and the labelling interface of a project that shows it."""
    content = label_studio_writing.tasks(export.images, export.labels, export.names)
    return {
        "label-studio.json": json.dumps(content, ensure_ascii=False, indent=1) + "\n",
        "label-studio.xml": label_studio_writing.interface(export.book.classes),
    }


EXPORTS: dict[str, Callable[[Export], dict[str, str]]] = {"labels.csv": to_csv, "label-studio": to_label_studio}
"""Name -> text of the files by name."""


def _row(path: str, image: Image, label: Label | None) -> list[object]:
    about = [image.part_group, image.lot, _time(image.captured_at)]
    if label is None:
        return [path, *[""] * (COLUMNS.index("group") - 1), *about, ""]
    for name in label.also:
        if "|" in name or ";" in name:
            raise UnfitClass(name)
    return [
        path,
        label.class_name,
        label.inspector,
        _time(label.judged_at),
        "|".join(label.also),
        "" if label.region is None else " ".join(repr(float(side)) for side in label.region),
        "yes" if label.unsure else "no",
        label.comment,
        label.occasion,
        label.severity,
        label.seconds,
        label.shift,
        *about,
        label.book_version,
    ]


def _time(at: datetime | None) -> str:
    return "" if at is None else at.isoformat()
