"""Pascal VOC: one XML an image in Annotations/ (or beside the images), images in JPEGImages/ or images/.

VOC knows no severity: an image's label is the class of its largest box, the other classes go to `also`. An XML without
objects gives the class UNANNOTATED; an image without XML is unlabelled. ImageSets/Main/*.txt give the split.
Boxes are kept as written: VOC itself counts pixels from 1, most tools from 0.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labeling.formats.image_files import match, walk
from labeling.formats.json_files import contains
from labeling.formats.judgements import Mark, Region, judge
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

NAME = "voc"
LOOKS_LIKE = "Pascal VOC's Annotations/*.xml beside JPEGImages/ or images/"


@dataclass(frozen=True, slots=True)
class _Annotation:
    where: str
    file_name: str
    marks: tuple[Mark, ...]
    problems: tuple[Problem, ...]


def recognises(path: Path) -> bool:
    """Whether the folder has annotations in the form of VOC."""
    return path.is_dir() and any(contains(file, b"<annotation") for file in _xml_files(path))


def _sub_folder(root: Path, *names: str) -> Path:
    """The first of the sub folders that exists, whatever its case, or the root itself."""
    by_name = {folder.name.lower(): folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    return next((by_name[name] for name in names if name in by_name), root)


def _image_folder(root: Path) -> Path:
    return _sub_folder(root, "jpegimages", "images")


def _xml_files(root: Path) -> list[Path]:
    folder = _sub_folder(root, "annotations")
    return sorted(folder.glob("*.xml") if folder == root else folder.rglob("*.xml"))


def read(path: Path, columns: Mapping[str, str]) -> Listing:
    """List the images of a VOC folder. Raises BrokenListing (also for XML with a DOCTYPE), WrongColumn."""
    refuse_columns(path, columns)
    root = path.resolve()
    under = walk(root)
    files = _xml_files(root)
    if not files:
        raise BrokenListing(root, None, "there is no annotation XML", "give the folder that holds Annotations/")
    folder = _image_folder(root)
    prefix = "" if folder == root else f"{folder.name}/"
    names = tuple(name for name in under.images if name.startswith(prefix))

    annotations = [_read_xml(file, root) for file in files]
    problems = [*under.problems, *(problem for annotation in annotations for problem in annotation.problems)]
    labels_by_name: dict[str, tuple[FoundLabel, ...]] = {}
    for annotation, found in zip(annotations, _images_of(files, root, annotations, names), strict=True):
        if isinstance(found, Problem):
            problems.append(found)
        elif found in labels_by_name:
            remedy = "keep one XML an image"
            problems.append(Problem(annotation.where, f"{found!r} already has another annotation", remedy))
        else:
            label = judge(annotation.marks, INSPECTOR) if annotation.marks else FoundLabel(UNANNOTATED, INSPECTOR, None)
            labels_by_name[found] = (label,)
    problems += _notes(root, annotations, len(names) - len(labels_by_name))
    splits = _splits(root)
    images = tuple(
        FoundImage(
            root / name, name, labels_by_name.get(name, ()), None, splits.get(Path(name).stem), None, None, None, None
        )
        for name in names
    )
    return Listing(NAME, root, images, tuple(problems))


def _images_of(
    files: list[Path], root: Path, annotations: list[_Annotation], names: tuple[str, ...]
) -> list[str | Problem]:
    """The image of each XML: by the XML's own name, which survives a move, else by the file name written inside."""
    folder = _sub_folder(root, "annotations")
    stems = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    by_stem = match(stems, names, near=_image_folder(root).relative_to(root).as_posix(), by_stem=True)
    taken = set(by_stem.found.values())
    rest = [name for name in names if name not in taken]
    unnamed = [note.file_name for stem, note in zip(stems, annotations, strict=True) if stem not in by_stem.found]
    by_name = match(filter(None, unnamed), rest)
    images: list[str | Problem] = []
    for stem, annotation in zip(stems, annotations, strict=True):
        name = by_stem.found.get(stem) or by_name.found.get(annotation.file_name)
        problem = Problem(annotation.where, by_stem.missing.get(stem, ""), "add the image or remove the XML")
        images.append(name or problem)
    return images


def _notes(root: Path, annotations: list[_Annotation], without_xml: int) -> list[Problem]:
    notes = []
    empty = sum(not annotation.marks for annotation in annotations)
    if empty:
        what = f"{empty} annotations have no object and are taken as {UNANNOTATED!r}"
        notes.append(Problem(str(root), what, "remove the XML of images that nobody has looked at"))
    if without_xml:
        what = f"{without_xml} images have no annotation and are unlabelled"
        notes.append(Problem(str(root), what, "annotate them, or label them after the import"))
    return notes


def _splits(root: Path) -> dict[str, str]:
    """Split by image stem from ImageSets/Main; an image in both files is a test image, so that nothing leaks."""
    splits: dict[str, str] = {}
    for file, split in (("trainval.txt", "train"), ("train.txt", "train"), ("test.txt", "test")):
        path = root / "ImageSets" / "Main" / file
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            splits |= {line.split()[0]: split for line in text.splitlines() if line.strip()}
    return splits


def _read_xml(file: Path, root: Path) -> _Annotation:
    where = file.relative_to(root).as_posix()
    tree = _parse(file)
    marks: list[Mark] = []
    problems: list[Problem] = []
    for index, item in enumerate(tree.iter("object"), start=1):
        label = (item.findtext("name") or "").strip()
        if not label:
            problems.append(Problem(where, f"object {index} has no name and was left out", "name it"))
            continue
        region = _region(item)
        marks.append(Mark(label, region))
        if region is None:
            what = f"object {index} has no box of four numbers: its class counts, its place is unknown"
            problems.append(Problem(where, what, "write bndbox with xmin, ymin, xmax, ymax"))
    file_name = (tree.findtext("filename") or "").strip()
    return _Annotation(where, file_name, tuple(marks), tuple(problems))


def _parse(file: Path) -> ET.Element:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BrokenListing(file, None, f"can't be read ({error.strerror})", "check its permissions") from error
    # Latin-1 maps every byte, and in any other 8-bit code only text differs, not the tags. Parsing this very text
    # (the parser then ignores a declared encoding) means that no encoding can hide a DOCTYPE from the scan; only
    # UTF-16 the parser would still detect by its zero bytes.
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise BrokenListing(file, None, "holds zero bytes, so is UTF-16 or no text", "save it as UTF-8")
    for declaration in ("<!DOCTYPE", "<!ENTITY"):
        if declaration in text:
            line = text[: text.index(declaration)].count("\n") + 1
            reason = f"declares {declaration[2:]}, which no annotation needs and which can exhaust memory"
            raise BrokenListing(file, line, reason, "remove the declaration")
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise BrokenListing(file, error.position[0], f"is not valid XML ({error})", "export the file again") from error


def _region(item: ET.Element) -> Region | None:
    try:
        left, top, right, bottom = (
            float(item.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return None
    region = (left, top, right - left, bottom - top)
    return region if all(map(math.isfinite, region)) and region[2] > 0 and region[3] > 0 else None
