"""Images given with a stranger's model: what can be known of them at once, and what the model makes of them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labeling.formats import FORMATS, FoundImage, detect
from models.card import ModelCard
from models.classifier import Classifier, pool
from models.preprocess import Frame, Pixels, UnreadableImage, prepare, sniff
from models.resize_report import RESIZERS, decode_in_full
from models.scoring import score_prepared
from models.wrap import NotEqual, Wrapped, largest_difference

PARITY_IMAGES = 32
GOLDEN_PARTS = 3

Report = Callable[[int, int], None]
"""Told (done, total) as work goes on."""


class WrongImages(ValueError):
    """The given images can't be used with the model."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Listed:
    """The images under a path, by name only. ok: label -> good; empty where no label is a class of the model."""

    path: Path
    images: tuple[FoundImage, ...]
    ok: Mapping[str, bool]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GivenImage:
    """An image file. is_defect: None where nobody labelled it. group: which part it shows."""

    found: FoundImage
    sha256: str
    media_type: str
    is_defect: bool | None
    group: str


@dataclass(frozen=True, slots=True)
class GivenImages:
    """The image files under a path; skipped: `path` and `reason` of each other one."""

    path: Path
    images: tuple[GivenImage, ...]
    skipped: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """An image as the wrapped model judges it. others: p_defect after each other resize."""

    image: GivenImage
    p_defect: float
    others: dict[str, float]


@dataclass(frozen=True, slots=True)
class Gallery:
    """What the given images say; scores of golden parts and thresholds come from here.

    difference: between the graph alone and wrapped, on the first `compared` of the images.
    """

    judged: tuple[Judged, ...] = ()
    skipped: tuple[dict[str, str], ...] = ()
    difference: float = 0.0
    compared: int = 0

    def golden(self) -> list[Judged]:
        """The surest good and defective images; of unlabelled ones, from the lowest p_defect to the highest."""
        ordered = sorted(self.judged, key=lambda one: (one.p_defect, one.image.sha256))
        if any(one.image.is_defect is not None for one in ordered):
            good = [one for one in ordered if one.image.is_defect is False and one.p_defect < 0.5][:GOLDEN_PARTS]
            bad = [one for one in reversed(ordered) if one.image.is_defect and one.p_defect >= 0.5][:GOLDEN_PARTS]
            return [*good, *bad]
        places = np.linspace(0, len(ordered) - 1, min(2 * GOLDEN_PARTS, len(ordered))).round().astype(int)
        return [ordered[place] for place in places]


def list_images(path: Path, columns: Mapping[str, str], ok: Mapping[str, bool]) -> Listed:
    """The images under a path, as `loupe import` finds them, with labels that the model knows.

    columns: meaning by column name. ok: class of the model -> good.

    Raises WrongImages, BrokenListing, UnknownFormat, WrongColumn.
    """
    listing = FORMATS[detect(path)](path, columns)
    notes = [f"{problem.where}: {problem.what}" for problem in listing.problems]
    said = {label.label for image in listing.images for label in image.labels}
    if unknown := sorted(said - set(ok)):
        if said & set(ok):
            raise WrongImages(
                f"images under {path} are labelled {', '.join(unknown)}", f"the model's classes are {', '.join(ok)}"
            )
        # Sub folders may be dates or lots.
        ok = {}
        notes.append(f"{path}: no label is a class of the model ({', '.join(unknown[:5])}); all count as unlabelled")
    return Listed(path, listing.images, ok, tuple(notes))


def look_at(listed: Listed, report: Report) -> GivenImages:
    """Open every file; whether its pixels can be decoded shows only when it is judged.

    Raises WrongImages where none is an image.
    """
    images: list[GivenImage] = []
    skipped: list[dict[str, str]] = []
    for done, found in enumerate(listed.images, start=1):
        try:
            images.append(_given(found, listed.ok))
        except (OSError, UnreadableImage) as error:
            skipped.append({"path": found.name, "reason": str(error)})
        report(done, len(listed.images))
    if not images:
        raise _nothing_readable(listed.path)
    return GivenImages(listed.path, tuple(images), tuple(skipped))


def _given(found: FoundImage, ok: Mapping[str, bool]) -> GivenImage:
    data = found.path.read_bytes()
    media_type = sniff(data)
    if media_type is None:
        raise UnreadableImage("this is no JPEG, PNG, BMP or TIFF", "convert it, or leave it out")
    said = [label.label for label in found.labels if ok]
    likeliest = max(sorted(set(said)), key=said.count) if said else None
    sha256 = hashlib.sha256(data).hexdigest()
    return GivenImage(
        found=found,
        sha256=sha256,
        media_type=media_type,
        is_defect=None if likeliest is None else not ok[likeliest],
        group=found.group or found.part_id or sha256[:16],
    )


def _nothing_readable(path: Path) -> WrongImages:
    return WrongImages(f"no readable image under {path}", "name a folder with images, or a labels.csv")


def judge(wrapped: Wrapped, card: ModelCard, given: GivenImages, report: Report) -> Gallery:
    """Score the images after Loupe's resize and after the others, and compare with the graph alone.

    Raises WrongImages where none can be decoded, NotEqual.
    """
    classifier = Classifier(wrapped.with_card(card))
    judged: list[Judged] = []
    skipped = list(given.skipped)
    difference, compared = 0.0, 0
    for done, image in enumerate(given.images, start=1):
        try:
            one, tiles = _judged(classifier, image)
        except (OSError, UnreadableImage) as error:
            skipped.append({"path": image.found.name, "reason": str(error)})
        else:
            judged.append(one)
            if compared < PARITY_IMAGES:
                alone = wrapped.direct(tiles)
                difference = max(difference, largest_difference(classifier.predict(tiles).class_probability, alone))
                compared += 1
        report(done, len(given.images))
    if not judged:
        raise _nothing_readable(given.path)
    if not difference <= wrapped.tolerance:
        raise NotEqual(difference, wrapped.tolerance)
    return Gallery(tuple(judged), tuple(skipped), difference, compared)


def _judged(classifier: Classifier, image: GivenImage) -> tuple[Judged, Pixels]:
    frame = Frame(image.found.path.read_bytes(), image.media_type)
    geometry = classifier.card.geometry
    prepared = prepare(frame, geometry)
    pixels = decode_in_full(frame)
    others = {
        name: pool(classifier.predict(resize(pixels, geometry.height, geometry.width)[None]), classifier.card).p_defect
        for name, resize in RESIZERS.items()
    }
    return Judged(image, score_prepared(classifier, prepared).p_defect, others), prepared.tiles
