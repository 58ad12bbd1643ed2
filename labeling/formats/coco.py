"""COCO object annotations: a JSON of images, annotations and categories, with the image files beside or under it.

COCO knows no severity: an image's label is the category of its largest box, the other categories go to `also`.
An image without annotations gets the class UNANNOTATED. `date_captured` is not read: exporters put the time of the
export there. Format: https://cocodataset.org/#format-data
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labeling.formats.image_files import match, walk
from labeling.formats.json_files import Entry, contains, entries, load, number, text
from labeling.formats.judgements import Mark, judge
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

NAME = "coco"
LOOKS_LIKE = "a COCO JSON with images, annotations and categories (also in annotations/)"


def recognises(path: Path) -> bool:
    """Whether the file, or a JSON in the folder or one level deeper, has the three lists of COCO."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    # one level deeper: annotations/instances_*.json, and train/_annotations.coco.json as some exporters write it
    candidates = [path] if path.is_file() else [*path.glob("*.json"), *path.glob("*/*.json")]
    return sorted(
        file
        for file in candidates
        if file.suffix.lower() == ".json" and contains(file, b'"images"', b'"annotations"', b'"categories"')
    )


def read(path: Path, columns: Mapping[str, str]) -> Listing:
    """List the images of one COCO file, or of all those in a folder. Raises BrokenListing, WrongColumn.

    Image files are looked up under the folder given, or that of the file given (one above if it is `annotations`).
    """
    refuse_columns(path, columns)
    path = path.resolve()
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise BrokenListing(path, None, "there is no COCO JSON", "give the JSON file itself")
    root = path
    if path.is_file():
        root = path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
    under = walk(root)
    problems = list(under.problems)
    images: dict[str, FoundImage] = {}
    for file in files:
        found, faults = _read_file(file, root, under.images)
        problems += faults
        again = sum(image.name in images for image in found)
        if again:
            remedy = "import one JSON at a time if the others are wanted"
            where = _where(file, root)
            problems.append(Problem(where, f"{again} images were already listed by another JSON", remedy))
        images = {image.name: image for image in found} | images
    unlisted = len(under.images) - len(images)
    if unlisted:
        what = f"{unlisted} image files are in no JSON and were left out"
        problems.append(Problem(str(root), what, "list them in the JSON, or import their folder by itself"))
    return Listing(NAME, root, tuple(images[name] for name in sorted(images)), tuple(problems))


def _where(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


@dataclass(frozen=True, slots=True)
class _Content:
    file_by_id: dict[str, str]
    marks_by_id: dict[str, list[Mark]]
    problems: list[Problem]


def _read_file(file: Path, root: Path, names: tuple[str, ...]) -> tuple[list[FoundImage], list[Problem]]:
    where = _where(file, root)
    data = load(file)
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise BrokenListing(file, None, "has no list 'images'", "give a COCO file with images and annotations")
    content = _content(data, where)
    problems = content.problems
    matches = match(content.file_by_id.values(), names, near=file.parent.relative_to(root).as_posix())
    problems += [
        Problem(where, reason, "put the image file under the folder of the JSON")
        for _, reason in sorted(matches.missing.items())
    ]
    marks: dict[str, list[Mark]] = defaultdict(list)
    for image_id, reference in content.file_by_id.items():
        if reference in matches.found:
            marks[matches.found[reference]] += content.marks_by_id.get(image_id, [])
    judged = any(content.marks_by_id.values())
    problems += _note_unannotated(where, sum(not found for found in marks.values()), judged)
    split = _split(file, root)
    images = [
        FoundImage(root / name, name, _labels(marks[name], judged), None, split, None, None, None, None)
        for name in sorted(marks)
    ]
    return images, problems


def _labels(marks: list[Mark], judged: bool) -> tuple[FoundLabel, ...]:
    if marks:
        return (judge(marks, INSPECTOR),)
    return (FoundLabel(UNANNOTATED, INSPECTOR, None),) if judged else ()


def _note_unannotated(where: str, count: int, judged: bool) -> list[Problem]:
    if not count:
        return []
    if not judged:  # as in the published test sets, where the answers are withheld
        remedy = "give the file with the annotations, or label the images"
        return [Problem(where, "no image has any annotation, so all are unlabelled", remedy)]
    what = f"{count} images have no annotation and are taken as {UNANNOTATED!r}"
    return [Problem(where, what, "take them out of the JSON if nobody has looked at them")]


def _split(file: Path, root: Path) -> str | None:
    words = _where(file, root).lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_")
    splits = {"train" if word.startswith("train") else "test" for word in words if word.startswith(("train", "test"))}
    return splits.pop() if len(splits) == 1 else None


def _content(data: Entry, where: str) -> _Content:
    problems: list[Problem] = []
    file_by_id: dict[str, str] = {}
    for image in entries(data["images"]):
        image_id, file_name = text(image.get("id")), text(image.get("file_name"))
        if not image_id or not file_name or image_id in file_by_id:
            what = f"image {image_id or '?'} has no id of its own or no file_name"
            problems.append(Problem(where, what, "export the file again"))
        else:
            file_by_id[image_id] = file_name
    categories = {text(entry.get("id")): text(entry.get("name")) for entry in entries(data.get("categories"))}
    marks_by_id: dict[str, list[Mark]] = defaultdict(list)
    for annotation in entries(data.get("annotations")):
        image_id, category = text(annotation.get("image_id")), categories.get(text(annotation.get("category_id")))
        which = f"annotation {text(annotation.get('id')) or '?'}"
        if image_id not in file_by_id or not category:
            what = f"{which} is of an image or a category that the file does not list"
            problems.append(Problem(where, what, "export the file again"))
            continue
        mark = _mark(category, annotation)
        marks_by_id[image_id].append(mark)
        if mark.region is None:
            what = f"{which} has no box of four numbers: its class counts, its place is unknown"
            problems.append(Problem(where, what, "export it with bbox"))
    return _Content(file_by_id, marks_by_id, problems)


def _mark(category: str, annotation: Entry) -> Mark:
    box = annotation.get("bbox")
    try:
        x, y, width, height = map(number, box if isinstance(box, list) else [])
    except ValueError:
        return Mark(category, None)
    return Mark(category, (x, y, width, height) if width > 0 and height > 0 else None)
