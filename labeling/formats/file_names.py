"""Names for image files that are written out: those that they have, made fit for any file system."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from labeling.formats.image_files import IMAGE_SUFFIXES, is_litter

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/bmp": ".bmp", "image/tiff": ".tiff"}
"""Suffix by media type; pixels of any other kind are written as PNG."""

_UNFIT = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')
_SEGMENT_LIMIT = 200


def file_names(images: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """A relative path with forward slashes for each image (SHA-256, name, media type), by SHA-256.

    A name is kept where it is the path of an image file that can lie under any folder, and no other image has it,
    whatever the case of its letters; others get a name made of the beginning of their hash.

    >>> given = [("ab" * 32, "good/1.png", "image/png"), ("cd" * 32, "press-1/t7/0", "image/jpeg")]
    >>> list(file_names(given).values())
    ['good/1.png', 'press-1/t7/0-cdcdcdcdcdcd.jpg']
    """
    names: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for sha256, name, media_type in sorted(images):
        fit = name if _is_fit(name) else _made(sha256, name, media_type)
        if _clashes(fit, files, folders):
            fit = f"images/{sha256}{_suffix(media_type)}"
        files.add(fit.casefold())
        folders.update(_parents(fit))
        names[sha256] = fit
    return names


def _is_fit(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        path.suffix.lower() in IMAGE_SUFFIXES
        and str(path) == name
        and not path.is_absolute()
        and all(_is_fit_segment(segment) for segment in path.parts)
    )


def _is_fit_segment(segment: str) -> bool:
    return (
        segment == segment.strip()
        and not segment.endswith(".")
        and not is_litter(segment)
        and not _UNFIT.search(segment)
        and len(segment.encode("utf-8", "replace")) <= _SEGMENT_LIMIT
    )


def _made(sha256: str, name: str, media_type: str) -> str:
    """The segments of the name as far as they are fit, told apart by the hash."""
    fit = [segment for segment in PurePosixPath(name).parts if _is_fit_segment(segment) and segment != "/"]
    *folders, last = fit or ["image"]
    stem = last.removesuffix(PurePosixPath(last).suffix) if PurePosixPath(last).suffix in IMAGE_SUFFIXES else last
    return "/".join([*folders, f"{stem}-{sha256[:12]}{_suffix(media_type)}"])


def _suffix(media_type: str) -> str:
    return SUFFIXES.get(media_type, ".png")


def _clashes(name: str, files: set[str], folders: set[str]) -> bool:
    return name.casefold() in files or name.casefold() in folders or bool(_parents(name) & files)


def _parents(name: str) -> set[str]:
    return {str(parent) for parent in PurePosixPath(name.casefold()).parents} - {"."}
