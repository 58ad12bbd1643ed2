"""Label Studio's JSON export: a list of tasks, each with the annotations of one or more people.

Read are `choices` (the first is the label, the others go to `also`) and `rectanglelabels` (the largest box is the
label where there is no choice), `lead_time`, and controls that are named for what they hold: a choice `unsure`, texts
`comment` and `shift`, numbers `severity` and `occasion`; of a task's data also `group` and `lot`. A cancelled
annotation is skipped; a submitted one without any result is UNANNOTATED in a project of boxes and says nothing in a
project of choices. Times without zone are UTC.
Format: https://labelstud.io/guide/export
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from labeling.formats.image_files import Matches, is_image, match, walk
from labeling.formats.json_files import Entry, contains, entries, load, number, text
from labeling.formats.judgements import Mark, Region, judge, utc_time, with_occasions
from labeling.formats.listing import (
    INSPECTOR,
    UNANNOTATED,
    BrokenListing,
    FoundImage,
    FoundLabel,
    Listing,
    Problem,
    refuse_columns,
)

NAME = "label_studio"
LOOKS_LIKE = "a Label Studio JSON export (not JSON-MIN)"
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")  # put before the name of every uploaded file


def recognises(path: Path) -> bool:
    """Whether the file, or a JSON directly in the folder, is a list of tasks with data and annotations."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    candidates = [path] if path.is_file() else path.glob("*.json")
    return sorted(file for file in candidates if file.suffix.lower() == ".json" and _has_tasks(file))


def _has_tasks(file: Path) -> bool:
    if not contains(file, b'"data"', b'"annotations"'):
        return False
    with file.open("rb") as start:
        return start.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


@dataclass(slots=True)
class _Found:
    """What one export says: images by the path it gives them, and what could not be used."""

    labels: dict[str, list[tuple[FoundLabel, int | None]]] = field(default_factory=dict)
    """With the number of the look where it is given."""
    where: dict[str, str] = field(default_factory=dict)
    about: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """Group and lot, by the path that the image is given."""
    problems: list[Problem] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    unannotated: int = 0


def read(path: Path, columns: Mapping[str, str]) -> Listing:
    """List the images of an export, looked up under its folder by file name. Raises BrokenListing, WrongColumn."""
    refuse_columns(path, columns)
    path = path.resolve()
    files = [path] if path.is_file() else _files(path)
    if len(files) != 1:
        raise BrokenListing(path, None, f"there are {len(files)} Label Studio exports", "give the JSON file itself")
    file, root = files[0], files[0].parent
    under = walk(root)
    found = _tasks(file)
    matches = _match(found, under.images)
    problems = [
        Problem(found.where[reference], reason, "put the image file under the folder of the JSON")
        for reference, reason in matches.missing.items()
    ]
    labels: dict[str, list[tuple[FoundLabel, int | None]]] = defaultdict(list)
    about: dict[str, tuple[str | None, str | None]] = {}
    for reference, name in matches.found.items():
        labels[name] += found.labels[reference]
        about.setdefault(name, found.about[reference])
    images = tuple(_image(root, name, labels[name], *about[name]) for name in sorted(labels))
    return Listing(NAME, root, images, (*under.problems, *found.problems, *problems, *_notes(file.name, found)))


def _image(
    root: Path, name: str, labels: list[tuple[FoundLabel, int | None]], group: str | None, lot: str | None
) -> FoundImage:
    given = Counter((label.inspector, occasion) for label, occasion in labels)
    # A number that two looks claim says nothing about either.
    occasions = [occasion if given[label.inspector, occasion] == 1 else None for label, occasion in labels]
    return FoundImage(
        path=root / name,
        name=name,
        labels=with_occasions([label for label, _ in labels], occasions),
        group=group,
        split=None,
        lot=lot,
        part_id=None,
        captured_at=None,
        mask=None,
    )


def _match(found: _Found, names: tuple[str, ...]) -> Matches:
    first = match(found.labels, names)
    bare = {
        reference: _UPLOAD_PREFIX.sub("", reference.rsplit("/", 1)[-1], count=1)
        for reference in first.missing
        if _UPLOAD_PREFIX.match(reference.rsplit("/", 1)[-1])
    }
    claims = Counter(bare.values())  # the same name uploaded twice: nobody knows which upload is the file here
    taken = set(first.found.values())
    second = match(
        (name for name, count in claims.items() if count == 1), [name for name in names if name not in taken]
    )
    more = {reference: second.found[name] for reference, name in bare.items() if name in second.found}
    missing = {reference: reason for reference, reason in first.missing.items() if reference not in more}
    return Matches(first.found | more, missing)


def _tasks(file: Path) -> _Found:
    data = load(file)
    if not isinstance(data, list):
        raise BrokenListing(file, None, "is not a list of tasks", "export the project as JSON, not as JSON-MIN or COCO")
    tasks = entries(data)
    has_choices = any(
        result.get("type") == "choices" and result.get("from_name") != UNSURE
        for task in tasks
        for annotation in entries(task.get("annotations"))
        for result in entries(annotation.get("result"))
    )
    found = _Found()
    for index, task in enumerate(tasks, start=1):
        where = f"{file.name}:task {text(task.get('id')) or index}"
        reference = _reference(task.get("data"))
        if not reference:
            what = "the task's data names no image"
            found.problems.append(Problem(where, what, "export tasks with data.image"))
            continue
        found.where.setdefault(reference, where)
        data = entries([task.get("data")])[0]
        found.about.setdefault(reference, (text(data.get("group")) or None, text(data.get("lot")) or None))
        labels = found.labels.setdefault(reference, [])
        for annotation in entries(task.get("annotations")):
            label = _judgement(annotation, where, has_choices, found)
            if label is not None:
                results = entries(annotation.get("result"))
                labels.append((_in_full(label, annotation, results), _whole(results, "occasion")))
    return found


def _reference(data: object) -> str:
    """The image's path as the export gives it: data.image, else the only value that ends like an image file."""
    if not isinstance(data, dict):
        return ""
    plain = {key: _plain_path(value) for key, value in data.items() if isinstance(value, str)}
    if plain.get("image"):
        return plain["image"]
    images = [path for path in plain.values() if is_image(path)]
    return images[0] if len(images) == 1 else ""


def _plain_path(url: str) -> str:
    """The path in an URL, without host and escapes; local storage keeps it in ?d=.

    >>> _plain_path("/data/local-files/?d=line%201/a.png"), _plain_path("s3://parts/lot7/b.png")
    ('line 1/a.png', 'lot7/b.png')
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # such as an unclosed [ in what would be the host
        return url.strip()
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    if parts.scheme or parts.path.startswith("/data/"):
        return unquote(parts.path).lstrip("/")
    return url.strip()


def _in_full(label: FoundLabel, annotation: Entry, results: list[Entry]) -> FoundLabel:
    """The label with what is said about it beside its class."""
    return replace(
        label,
        unsure=any(_words(result, "choices") for result in results if _is(result, "choices", UNSURE)),
        comment=_written(results, "comment"),
        shift=_written(results, "shift"),
        severity=_whole(results, "severity"),
        seconds=_lead_time(annotation),
    )


def _is(result: Entry, kind: str, control: str) -> bool:
    return result.get("type") == kind and result.get("from_name") == control


def _written(results: list[Entry], control: str) -> str:
    return "\n".join(word for result in results if _is(result, "textarea", control) for word in _words(result, "text"))


def _whole(results: list[Entry], control: str) -> int | None:
    """The whole number from 0 of a control; anything else is none."""
    for result in results:
        value = result.get("value")
        if _is(result, "number", control) and isinstance(value, dict):
            found = value.get("number")
            if isinstance(found, int | float) and not isinstance(found, bool) and found in range(10**6):
                return int(found)
    return None


def _lead_time(annotation: Entry) -> float | None:
    try:
        seconds = number(annotation.get("lead_time"))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def _judgement(annotation: Entry, where: str, has_choices: bool, found: _Found) -> FoundLabel | None:
    if annotation.get("was_cancelled") is True:
        return None
    results = entries(annotation.get("result"))
    at = _time(annotation, where, found)
    inspector = _inspector(annotation.get("completed_by"))
    choices = _choices(results, found)
    marks = _marks(results, where, found)
    found.unread.update(
        f"{kind} results"
        for kind, control in ((text(result.get("type")), result.get("from_name")) for result in results)
        if kind not in _READ and (kind, control) not in _READ_BY_NAME
    )
    boxed = judge(marks, inspector, at) if marks else None
    if choices:
        also = ({*choices[1:]} | {mark.label for mark in marks}) - {choices[0]}
        return FoundLabel(choices[0], inspector, at, tuple(sorted(also)), region=boxed.region if boxed else None)
    if boxed is None and not results and not has_choices:
        found.unannotated += 1
        return FoundLabel(UNANNOTATED, inspector, at)
    return boxed


UNSURE = "unsure"
_READ = ("choices", "rectanglelabels")
_READ_BY_NAME = (("textarea", "comment"), ("textarea", "shift"), ("number", "severity"), ("number", "occasion"))


def _time(annotation: Entry, where: str, found: _Found) -> datetime | None:
    created = annotation.get("created_at")
    try:
        return utc_time(created) if isinstance(created, str) and created else None
    except ValueError:
        found.problems.append(Problem(where, f"created_at {created!r} is no time", "write it as 2024-03-01T08:00:00Z"))
        return None


def _inspector(completed_by: object) -> str:
    """Who annotated: exports hold a number, or an object with e-mail and number."""
    if isinstance(completed_by, dict):
        return text(completed_by.get("email")) or text(completed_by.get("id")) or INSPECTOR
    return text(completed_by) or INSPECTOR


def _choices(results: list[Entry], found: _Found) -> list[str]:
    """The choices of the first control; those of a second one answer another question, so are no classes."""
    controls: dict[str, list[str]] = {}
    for result in results:
        if result.get("type") == "choices" and result.get("from_name") != UNSURE:
            controls.setdefault(text(result.get("from_name")), []).extend(_words(result, "choices"))
    first, *others = controls or [""]
    found.unread.update(f"choices of {control!r}" for control in others)
    return controls.get(first, [])


def _words(result: Entry, key: str) -> list[str]:
    value = result.get("value")
    words = value.get(key) if isinstance(value, dict) else None
    return [word for word in map(text, words) if word] if isinstance(words, list) else []


def _marks(results: list[Entry], where: str, found: _Found) -> list[Mark]:
    marks: list[Mark] = []
    for result in results:
        if result.get("type") != "rectanglelabels":
            continue
        try:
            region: Region | None = _region(result)
        except ValueError as error:
            what = f"a box can't be placed ({error}): its class counts"
            found.problems.append(
                Problem(where, what, "export x, y, width, height with original_width, original_height")
            )
            region = None
        marks += [Mark(label, region) for label in _words(result, "rectanglelabels")]
    return marks


def _region(result: Entry) -> Region:
    """The box in pixels, upright around a rotated one. Percent turn to pixels before the rotation, not after."""
    value = result.get("value")
    if not isinstance(value, dict):
        raise ValueError("no value")
    across, down = (number(result.get(key)) / 100 for key in ("original_width", "original_height"))
    x, y, width, height = (number(value.get(key)) for key in ("x", "y", "width", "height"))
    width, height = width * across, height * down
    if width <= 0 or height <= 0:
        raise ValueError("no area")
    angle = math.radians(number(value.get("rotation") or 0))  # clockwise, around the box's first corner
    corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)]
    rights = [right * math.cos(angle) - below * math.sin(angle) for right, below in corners]
    belows = [right * math.sin(angle) + below * math.cos(angle) for right, below in corners]
    box = (x * across + min(rights), y * down + min(belows), max(rights) - min(rights), max(belows) - min(belows))
    # A millionth of a pixel is less than the way through percent adds.
    left, top, width, height = (round(side, 6) for side in box)
    return left, top, width, height


def _notes(where: str, found: _Found) -> list[Problem]:
    notes = [
        Problem(where, f"{count} {kind} were not read", "only the first choices and rectanglelabels become labels")
        for kind, count in sorted(found.unread.items())
    ]
    if found.unannotated:
        what = f"{found.unannotated} annotations are empty and are taken as {UNANNOTATED!r}"
        notes.append(Problem(where, what, "delete those that nobody has looked at"))
    return notes
