"""Image files under a folder: find them all, find the one a text names, never leave the folder."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labeling.formats.listing import BrokenListing, Problem

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"})


@dataclass(frozen=True, slots=True)
class Walk:
    """Names under a root, sorted, with forward slashes; hidden and system files are in neither tuple."""

    images: tuple[str, ...]
    others: tuple[str, ...]
    problems: tuple[Problem, ...]


def is_image(name: str) -> bool:
    """Whether the name ends like an image that can be decoded (JPEG, PNG, BMP, TIFF)."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or made by an operating system, so nobody's data."""
    return name.startswith(".") or name.lower() in _LITTER


def walk(root: Path) -> Walk:
    """All files under the folder `root` (absolute, resolved). Raises BrokenListing where it is no folder.

    Links to folders are not followed and links out of the root are refused, each with a Problem.
    """
    if not root.is_dir():
        raise BrokenListing(root, None, "is not a folder", "give the folder that holds the images")
    names: list[str] = []
    problems: list[Problem] = []
    for found in _files(root):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            names.append(found)
    names.sort()
    return Walk(
        images=tuple(name for name in names if is_image(name)),
        others=tuple(name for name in names if not is_image(name)),
        problems=tuple(sorted(problems, key=lambda problem: problem.where)),
    )


def _files(root: Path) -> Iterator[str | Problem]:
    pending = [""]
    while pending:  # a stack, not recursion: the depth of a stranger's folder has no limit
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as scan:
                entries = [entry for entry in scan if not is_litter(entry.name)]
        except OSError as error:
            reason = error.strerror or "unknown fault"
            yield Problem(folder or str(root), f"the folder can't be read: {reason}", "check its permissions")
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                pending.append(name)
            else:
                yield _refusal(root, name, entry) or name


def _refusal(root: Path, name: str, entry: os.DirEntry[str]) -> Problem | None:
    if not _is_text(name):
        shown = os.fsencode(name).decode("utf-8", "replace")
        return Problem(shown, "the file name is not valid UTF-8; the file was left out", "rename the file")
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(root):
            return Problem(name, "the link leaves the folder and was not followed", "copy what it points to here")
        if target.is_dir():
            return Problem(name, "the link to a folder was not followed", "replace it by the folder itself")
        if not target.is_file():
            return Problem(name, "the link leads nowhere", "remove it")
    elif not entry.is_file(follow_symlinks=False):
        return Problem(name, "is neither a file nor a folder", "remove it")
    return None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def locate(root: Path, reference: str, where: str) -> str | Problem:
    """The name of the file under `root` (absolute, resolved) that a listing refers to by relative path, or why not."""
    slashed = reference.replace("\\", "/")
    if slashed.startswith("/") or re.match(r"[A-Za-z]:/", slashed):
        return Problem(where, f"{reference!r} is an absolute path", "write it relative to the folder of the listing")
    name = os.path.normpath(slashed).replace(os.sep, "/")
    if name == ".." or name.startswith("../"):
        return Problem(where, f"{reference!r} leaves the folder of the listing", "move the file into the folder")
    try:
        target = Path(os.path.realpath(root / name))
        there = target.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL or half a surrogate pair: no such file can exist
        there = False
    if not there or not _is_text(name):
        return Problem(where, f"there is no file {reference!r}", "add the file or take the row out")
    if not target.is_relative_to(root):
        return Problem(where, f"{reference!r} is a link that leaves the folder", "copy what it points to here")
    return name


@dataclass(frozen=True, slots=True)
class Matches:
    """For each reference its file's name, or the reason why none was taken."""

    found: dict[str, str]
    missing: dict[str, str]


def match(references: Iterable[str], names: Iterable[str], *, near: str = "", by_stem: bool = False) -> Matches:
    """Find for each reference (a path on some other machine) the file meant, by file name.

    Of several files of that name the one wins that shares most folders with the reference, counted from the end; a
    reference that is exactly a name, also below the folder `near`, always wins. Ties, and files that several
    references would claim, are given to nobody: a guess would put labels on the wrong image. `by_stem` compares
    without suffixes; the references then have none.

    >>> match(["/home/kim/b/1.png", "1.png"], ["a/1.png", "b/1.png"]).found
    {'/home/kim/b/1.png': 'b/1.png'}
    """
    whole: dict[tuple[str, ...], list[str]] = defaultdict(list)
    by_ending: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        parts = PurePosixPath(name).with_suffix("").parts if by_stem else PurePosixPath(name).parts
        whole[parts].append(name)
        for start in range(len(parts)):
            by_ending[parts[start:]].append(name)
    exact: dict[str, list[str]] = {}
    guessed: dict[str, list[str]] = {}
    for reference in references:
        tail = _tail(reference)
        same = whole.get(_tail(near) + tail) or whole.get(tail)
        if same:
            exact[reference] = same
        else:
            endings = (tail[start:] for start in range(len(tail)))
            guessed[reference] = next((by_ending[ending] for ending in endings if ending in by_ending), [])
    return _settle(exact, guessed)


def _tail(reference: str) -> tuple[str, ...]:
    parts: list[str] = []
    for part in reference.replace("\\", "/").split("/"):
        if part == "..":
            parts.clear()
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def _settle(exact: dict[str, list[str]], guessed: dict[str, list[str]]) -> Matches:
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    claims = Counter(names[0] for names in (exact | guessed).values() if len(names) == 1)
    for reference, names in (exact | guessed).items():
        if not names:
            missing[reference] = f"there is no file {reference!r}"
        elif len(names) > 1:
            missing[reference] = f"{len(names)} files could be {reference!r}"
        elif reference in exact or claims[names[0]] == 1:
            found[reference] = names[0]
        else:
            missing[reference] = f"{reference!r} and other entries would all be the file {names[0]!r}"
    return Matches(found, missing)
