"""A folder with one sub folder a class; images may lie deeper, images beside the sub folders are unlabelled.

Where all sub folders are named after splits (train, test, val), the classes are one level deeper.
"""

from collections.abc import Mapping
from pathlib import Path

from labeling.formats.image_files import walk
from labeling.formats.listing import INSPECTOR, FoundImage, FoundLabel, Listing, Problem, refuse_columns

NAME = "folder"
LOOKS_LIKE = "one sub folder of images a class"
_SPLITS: Mapping[str, str | None] = {"train": "train", "test": "test", "val": None, "valid": None, "validation": None}


def recognises(path: Path) -> bool:
    """Whether an image lies anywhere under the folder."""
    return path.is_dir() and bool(walk(path.resolve()).images)


def read(path: Path, columns: Mapping[str, str]) -> Listing:
    """List the images of `path` with the name of their sub folder as label. Raises BrokenListing, WrongColumn."""
    refuse_columns(path, columns)
    root = path.resolve()
    files = walk(root)
    tops = {name.split("/")[0].lower() for name in files.images if "/" in name}
    in_splits = bool(tops) and tops <= _SPLITS.keys()
    others = tuple(
        Problem(name, "is not an image", "take it out, or convert it to PNG, JPEG, BMP or TIFF")
        for name in files.others
    )
    return Listing(
        NAME, root, tuple(_image(root, name, in_splits) for name in files.images), (*files.problems, *others)
    )


def _image(root: Path, name: str, in_splits: bool) -> FoundImage:
    folders = name.split("/")[:-1]
    split = _SPLITS[folders.pop(0).lower()] if in_splits and folders else None
    labels = (FoundLabel(folders[0], INSPECTOR, None),) if folders else ()
    return FoundImage(root / name, name, labels, None, split, None, None, None, None)
