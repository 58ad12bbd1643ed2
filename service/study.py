"""The capability study: parts with known answers sent to the line several times, Loupe as one more inspector."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from labeling.agreement import GOOD, NOT_GOOD, UNDECIDED, AgreementStudy, study
from labeling.formats import INSPECTOR, FoundImage, Listing, Problem
from labeling.label_book import USUAL_OK_NAMES
from labeling.votes import Votes
from models.preprocess import sniff
from service.line_client import post_image
from storage import labels
from storage.database import Connection

LOUPE = "Loupe"
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
DECISION_OF = {"ok": GOOD, "not_ok": NOT_GOOD, "not_decidable": UNDECIDED}
SAID = {GOOD: "ok", NOT_GOOD: "not_ok", UNDECIDED: "recheck"}

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


class SeveralViews(ValueError):
    """The recipe joins several views to a part; a study sends one image a part."""

    def __init__(self, station: str) -> None:
        super().__init__(f"the recipe of station {station} waits for more views of the part")
        self.remedy = (
            "study at a station whose recipe expects one view: loupe recipe set PRODUCT --station S --no-views"
        )


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image whose answer is known."""

    path: Path
    name: str
    part: str
    class_name: str
    ok: bool
    media_type: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Look:
    """What Loupe said of an image (its number) in a round."""

    image: int
    round: int
    evaluation: str
    result_code: int
    latency_ms: float
    product: str
    made_by: tuple[tuple[str, str | int], ...]
    """Model, recipe and execution provider, as pairs of name and value."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of an image (its number); `decision` as in labeling.agreement."""

    image: int
    inspector: str
    occasion: int
    decision: int


@dataclass(frozen=True, slots=True)
class Found:
    """A study's figures; the inspector with number n is names[n], of which the first is Loupe."""

    names: tuple[str, ...]
    agreement: AgreementStudy


def known_images(
    listing: Listing, ok: Collection[str], report: Report = lambda done, total: None
) -> tuple[list[KnownImage], list[Problem]]:
    """The images whose labels agree whether the part is good, and what was left out.

    `ok` names the good classes; without any, classes named `ok` or `good` are good.

    Raises NothingKnown, UnknownOk.
    """
    classes = sorted({label.label for image in listing.images for label in image.labels})
    if unknown := sorted(set(ok) - set(classes)):
        raise UnknownOk(unknown, classes)
    good = good_classes(classes, ok)
    found, problems = [], list(listing.problems)
    for done, image in enumerate(listing.images, start=1):
        read = _known(image, good)
        if isinstance(read, Problem):
            problems.append(read)
        elif read is not None:
            found.append(read)
        report(done, len(listing.images))
    if not found:
        raise NothingKnown(listing.root, len(problems))
    return found, problems


def good_classes(classes: Collection[str], ok: Collection[str]) -> set[str]:
    """Which of the classes are good.

    >>> sorted(good_classes(["Good", "dent"], []))
    ['Good']
    """
    return set(ok) or {name for name in classes if name.lower() in USUAL_OK_NAMES}


def _known(image: FoundImage, good: Collection[str]) -> KnownImage | Problem | None:
    names = list(dict.fromkeys(label.label for label in image.labels))
    if not names:
        return None
    if len({name in good for name in names}) > 1:
        return Problem(image.name, f"is labelled {' and '.join(names)}: left out", "say in one label what it is")
    try:
        data = image.path.read_bytes()
    except OSError as error:
        return Problem(image.name, f"can't be read ({error.strerror}): left out", "check its permissions")
    media_type = sniff(data)
    if media_type is None:
        return Problem(image.name, "is no JPEG, PNG, BMP or TIFF: left out", "convert it")
    return KnownImage(
        path=image.path,
        name=image.name,
        part=image.group or image.part_id or image.name,
        class_name=names[0],
        ok=names[0] in good,
        media_type=media_type,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def send_rounds(
    http: httpx.Client,
    images: Sequence[KnownImage],
    query: dict[str, str],
    rounds: int,
    takt_ms: float,
    rng: np.random.Generator,
    report: Report = lambda done, total: None,
) -> list[Look]:
    """Post every image once a round, each round in an order of its own, each post with a trigger of its own.

    query: station, trigger_epoch and whatever else every post says. A part that is found wrong stops nothing: posts are
    inspections in challenge mode, not challenges. takt_ms: the least time from post to post.

    Raises LineUnreachable, LineRefused, SeveralViews.
    """
    looks: list[Look] = []
    due = time.monotonic()
    for number in range(rounds):
        for image in rng.permutation(len(images)).tolist():
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic()) + takt_ms / 1000
            looks.append(_look(http, images[image], image, number, {**query, "trigger_id": str(len(looks) + 1)}))
            report(len(looks), rounds * len(images))
    return looks


def _look(http: httpx.Client, known: KnownImage, image: int, number: int, query: dict[str, str]) -> Look:
    data = known.path.read_bytes()
    began = time.perf_counter()
    answer = post_image(
        http, "/v1/inspections", data, known.media_type, {**query, "mode": "challenge"}, pauses_s=PAUSES_S
    )
    latency_ms = 1000 * (time.perf_counter() - began)
    if answer["result_state"] == "processing":
        raise SeveralViews(query["station"])
    provenance = answer["provenance"]
    names = ("model", "model_sha256", "recipe", "recipe_version", "execution_provider")
    return Look(
        image,
        number,
        answer["evaluation"],
        answer["result_code"],
        latency_ms,
        answer["product"],
        tuple((name, provenance[name]) for name in names),
    )


def judgements(
    connection: Connection, product: str, images: Sequence[KnownImage], strangers: Collection[str]
) -> list[Judgement]:
    """What people said in Loupe of the very same images; an unsure label decides nothing.

    strangers: inspectors who are left out, because the known answers are theirs.
    """
    numbers: dict[str, list[int]] = {}
    for number, image in enumerate(images):
        numbers.setdefault(image.sha256, []).append(number)
    book = labels.newest_book(connection, product)
    good = {c.name for c in book.classes if c.ok} if book else set()
    return [
        Judgement(
            number,
            label.inspector,
            label.occasion,
            UNDECIDED if label.unsure else GOOD if label.class_name in good else NOT_GOOD,
        )
        for label in labels.of_product(connection, product)
        if label.inspector not in {INSPECTOR, *strangers}
        for number in numbers.get(label.image_sha256, ())
    ]


def figures(images: Sequence[KnownImage], looks: Sequence[Look], people: Sequence[Judgement]) -> Found:
    """The attribute study of Loupe and of people over the same images."""
    names = (LOUPE, *sorted({one.inspector for one in people}))
    number_of = {name: number for number, name in enumerate(names[1:], start=1)}
    rows = [(look.image, 0, DECISION_OF[look.evaluation], look.round) for look in looks]
    rows += [(one.image, number_of[one.inspector], one.decision, one.occasion) for one in people]
    item, inspector, label, occasion = np.array(rows, np.int64).reshape(-1, 4).T
    found = study(
        Votes(item, inspector, label, occasion),
        np.array([GOOD if image.ok else NOT_GOOD for image in images]),
        ok=[GOOD],
        undecided=[UNDECIDED],
        part=np.unique([image.part for image in images], return_inverse=True)[1],
    )
    return Found(names, found)


def wrong_images(images: Sequence[KnownImage], looks: Sequence[Look]) -> list[dict[str, Any]]:
    """The images that Loupe did not judge as they are every time, and what it said, round by round; escapes first."""
    said: dict[int, list[str]] = {}
    for look in sorted(looks, key=lambda look: look.round):
        said.setdefault(look.image, []).append(SAID[DECISION_OF[look.evaluation]])
    wrong = [
        {
            "path": image.name,
            "part": image.part,
            "class": image.class_name,
            "expected": "ok" if image.ok else "not_ok",
            "said": said.get(number, []),
        }
        for number, image in enumerate(images)
        if set(said.get(number, [])) - {"ok" if image.ok else "not_ok"}
    ]
    return sorted(wrong, key=lambda one: (one["expected"] == "ok", -one["said"].count("ok"), one["path"]))


def provenance(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Under what the verdicts were made, most first; more than one where something changed meanwhile."""
    return [{**dict(made_by), "answers": n} for made_by, n in Counter(look.made_by for look in looks).most_common()]
