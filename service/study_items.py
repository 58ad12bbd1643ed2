"""What a capability study sends: images whose answers are known, or the views of parts, put together."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from labeling.formats import FoundImage, Listing, Problem
from labeling.label_book import USUAL_OK_NAMES
from models.preprocess import sniff

Report = Callable[[int, int], None]


class NothingKnown(ValueError):
    """No image has a known answer."""

    def __init__(self, path: Path, problems: int) -> None:
        super().__init__(f"no image with a known answer was found under {path}")
        remedy = "name a labels.csv, or a folder with one sub folder a class"
        self.remedy = f"look at the {problems} problems listed" if problems else remedy


class UnknownOk(ValueError):
    """--ok names a class that no image has."""

    def __init__(self, unknown: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(f"no image is labelled {', '.join(map(repr, unknown))}")
        self.remedy = f"name good classes among: {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class KnownView:
    """An image; without a view_id it is the view that the line takes by default."""

    view_id: str
    path: Path
    media_type: str
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownItem:
    """What is sent at once, and its answer: one image, or all views of a part. Several items may show one part."""

    name: str
    part: str
    views: tuple[KnownView, ...]
    class_name: str
    ok: bool


@dataclass(slots=True)
class _Group:
    """The images of one item, by view."""

    name: str
    part: str
    images: dict[str, FoundImage]
    twice: set[str] = field(default_factory=set)
    """Views of which there is another image."""


def known_items(
    listing: Listing, ok: Collection[str], views: Sequence[str] = (), report: Report = lambda done, total: None
) -> tuple[list[KnownItem], list[Problem]]:
    """The items whose labels agree whether the part is good, and what was left out.

    ok: the good classes; without any, classes named `ok` or `good` are good. views: several make one item of the images
    of a part, each named in its file's path; one is the view that every image shows.

    Raises UnknownOk.
    """
    classes = sorted({label.label for image in listing.images for label in image.labels})
    if unknown := sorted(set(ok) - set(classes)):
        raise UnknownOk(unknown, classes)
    good = good_classes(classes, ok)
    problems = list(listing.problems)
    if len(views) > 1:
        groups = list(_whole(_by_part(listing.images, views, problems), views, problems))
    else:
        view = views[0] if views else ""
        groups = [_Group(i.name, i.group or i.part_id or i.name, {view: i}) for i in listing.images]
    found = []
    for done, group in enumerate(groups, start=1):
        read = _known(group, good)
        if isinstance(read, Problem):
            problems.append(read)
        elif read is not None:
            found.append(read)
        report(done, len(groups))
    return found, problems


def good_classes(classes: Collection[str], ok: Collection[str]) -> set[str]:
    """Which of the classes are good.

    >>> sorted(good_classes(["Good", "dent"], []))
    ['Good']
    """
    return set(ok) or {name for name in classes if name.lower() in USUAL_OK_NAMES}


def view_and_part(name: str, views: Sequence[str]) -> tuple[str, str] | None:
    """Which view of which part an image shows, by the last word of its path that is a view; None where none is.

    >>> view_and_part("scratch/4711/top.png", ["top", "side"])
    ('top', 'scratch/4711')
    >>> view_and_part("scratch/side/4711.png", ["top", "side"]), view_and_part("4711_Side.png", ["top", "side"])
    (('side', 'scratch/4711'), ('side', '4711'))
    """
    by_name = {view.casefold(): view for view in views}
    # Of `left_top` and `top` the longer one is meant where both fit.
    words = "|".join(re.escape(view) for view in sorted(views, key=len, reverse=True))
    stem = str(PurePosixPath(name).with_suffix(""))
    places = list(re.finditer(rf"(?:(?<=[/_. -])|^)({words})(?=[/_. -]|$)", stem, re.IGNORECASE))
    if not places:
        return None
    start, end = places[-1].span()
    part = stem[:start] + stem[end + 1 :] if end < len(stem) else stem[: max(start - 1, 0)]
    return by_name[places[-1][1].casefold()], part or "."


def _by_part(images: Collection[FoundImage], views: Sequence[str], problems: list[Problem]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for image in images:
        shown = view_and_part(image.name, views)
        if shown is None:
            what = f"names none of the views {', '.join(views)}: left out"
            problems.append(Problem(image.name, what, "name the file as its view, or PART_VIEW"))
            continue
        view, rest = shown
        part = image.group or image.part_id or rest
        group = groups.setdefault(part, _Group(part, part, {}))
        if view in group.images:
            group.twice.add(view)
        group.images.setdefault(view, image)
    return list(groups.values())


def _whole(groups: Collection[_Group], views: Sequence[str], problems: list[Problem]) -> Iterator[_Group]:
    """The groups with one image of each view: of anything else nobody can say what the line would be sent."""
    for group in groups:
        missing = [view for view in views if view not in group.images]
        if missing:
            what = f"has no image of view {', '.join(missing)}: left out"
            problems.append(Problem(f"part {group.part}", what, "add the image"))
        elif group.twice:
            what = f"has several images of view {', '.join(sorted(group.twice))}: left out"
            remedy = "keep one, or give each presentation of the part a name of its own"
            problems.append(Problem(f"part {group.part}", what, remedy))
        else:
            yield _Group(group.name, group.part, {view: group.images[view] for view in views})


def _known(group: _Group, good: Collection[str]) -> KnownItem | Problem | None:
    """The item, why it is left out, or None where nobody says what it is; a part is as bad as its worst view."""
    said = {image.name: list(dict.fromkeys(label.label for label in image.labels)) for image in group.images.values()}
    if not any(said.values()):
        return None
    if (problem := _unclear(said, good)) is not None:
        return problem
    views = []
    for view_id, image in group.images.items():
        view = _view(view_id, image)
        if isinstance(view, Problem):
            return view
        views.append(view)
    names = list(dict.fromkeys(names[0] for names in said.values()))
    defects = [name for name in names if name not in good]
    return KnownItem(group.name, group.part, tuple(views), ", ".join(defects) or names[0], not defects)


def _unclear(said: Mapping[str, Sequence[str]], good: Collection[str]) -> Problem | None:
    for image, names in said.items():
        if not names:
            return Problem(image, "has no label, but other views of its part have: left out", "say what it shows")
        if len({name in good for name in names}) > 1:
            return Problem(image, f"is labelled {' and '.join(names)}: left out", "say in one label what it is")
    return None


def _view(view_id: str, image: FoundImage) -> KnownView | Problem:
    try:
        data = image.path.read_bytes()
    except OSError as error:
        return Problem(image.name, f"can't be read ({error.strerror}): left out", "check its permissions")
    media_type = sniff(data)
    if media_type is None:
        return Problem(image.name, "is no JPEG, PNG, BMP or TIFF: left out", "convert it")
    return KnownView(view_id, image.path, media_type, hashlib.sha256(data).hexdigest())
