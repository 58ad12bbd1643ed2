"""Other people's image folders: what they look like, and one reader a format.

A format is one module with `NAME`, `LOOKS_LIKE`, `recognises(path)` and `read(path, columns)`, and its entry in
`_READERS`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from labeling.formats import coco, folder, label_studio, labels_csv, mvtec, voc
from labeling.formats.listing import (
    INSPECTOR,
    UNANNOTATED,
    BrokenListing,
    FoundImage,
    FoundLabel,
    Listing,
    Problem,
    UnknownFormat,
    WrongColumn,
)

__all__ = [
    "FORMATS",
    "INSPECTOR",
    "UNANNOTATED",
    "BrokenListing",
    "FoundImage",
    "FoundLabel",
    "Listing",
    "Problem",
    "UnknownFormat",
    "WrongColumn",
    "detect",
]


class _Reader(Protocol):
    NAME: str
    LOOKS_LIKE: str

    def recognises(self, path: Path) -> bool: ...

    def read(self, path: Path, columns: Mapping[str, str]) -> Listing: ...


# In the order they are tried: what is written down goes before what a layout suggests, any folder of images is last.
_READERS: tuple[_Reader, ...] = (labels_csv, mvtec, coco, label_studio, voc, folder)

FORMATS: dict[str, Callable[[Path, Mapping[str, str]], Listing]] = {reader.NAME: reader.read for reader in _READERS}
"""Name -> reader of (path, meaning by column name as in `--map column=meaning`)."""


def detect(path: Path) -> str:
    """The name in FORMATS of what lies at `path`, a folder or a file. Raises UnknownFormat."""
    if not path.exists():
        raise UnknownFormat(path, "there is nothing at this path: check how it is spelt")
    name = next((reader.NAME for reader in _READERS if reader.recognises(path)), None)
    if name is None:
        wanted = ", ".join(reader.LOOKS_LIKE for reader in _READERS)
        raise UnknownFormat(path, f"looked for {wanted}: give a path that holds one of these")
    if name == folder.NAME:
        _refuse_collection(path)
    return name


def _refuse_collection(path: Path) -> None:
    """Whole data sets side by side would read as classes named after the data sets."""
    for child in sorted(path.iterdir()):
        if child.is_dir() and (labels_csv.recognises(child) or mvtec.recognises(child)):
            raise UnknownFormat(path, f"it holds several data sets: import one at a time, as {child}")
