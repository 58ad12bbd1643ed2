"""What is exported comes back equal, and Label Studio's files have their real shape."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.exporting import EXPORTS, Export, UnfitClass, gather
from labeling.formats import FORMATS, detect
from labeling.formats.file_names import file_names
from labeling.importing import ImportReport, import_listing
from labeling.label_book import UnknownProduct
from service.commands.data import probe
from storage import labels, pictures
from storage.database import Database, ensure_schema, open_database
from storage.images import open_image_store
from storage.images.content import ContentStore
from storage.records import ImageClass, Label, LabelBook
from tests.storage.samples import NOW, PRODUCT, hash_of, image, label, later, withdrawal

CLASSES = (ImageClass("gut", 0, True), ImageClass("Kratzer, schräg", 1, False), ImageClass('Loch "groß"', 2, False))
INDIA = timezone(timedelta(hours=5, minutes=30))
NAMES = ("gut/über 1.png", "line 2/b.png", "c.png")


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def images(tmp_path: Path) -> ContentStore:
    return open_image_store(f"file://{tmp_path / 'images'}")


@pytest.fixture
def hashes(database: Database, images: ContentStore) -> list[str]:
    """A product with three images; their hashes."""
    found = images.put_all([picture(n) for n in range(3)])
    rows = [
        image(name, sha256=sha256, width=48, height=32, part_group=f"Teil {n // 2}", lot="L7" if n else None)
        for n, (name, sha256) in enumerate(zip(NAMES, found, strict=True))
    ]
    with database.write() as connection:
        labels.add_book(connection, LabelBook(PRODUCT, 1, CLASSES, NOW))
        pictures.store(connection, rows)
    return found


def judged(label_id: str, sha256: str, inspector: str, class_name: str, **more: Any) -> Label:
    plain = label(
        label_id,
        image_sha256=sha256,
        inspector=inspector,
        class_name=class_name,
        also=(),
        severity=None,
        unsure=False,
        region=None,
        comment="",
        seconds=None,
        occasion=0,
        judged_at=NOW,
        shift="",
    )
    return replace(plain, **more)


def full(hashes: list[str]) -> list[Label]:
    first, second, _ = hashes
    return [
        judged(
            "1",
            first,
            "Jürgen Müller-Lüdenscheid",
            CLASSES[1].name,
            also=('Loch "groß"',),
            severity=2,
            unsure=True,
            region=(1.5, 2.25, 30.125, 4.0),
            comment='nahe am „Rand“,\n"0,3 mm"; =SUMME(A1)',
            seconds=4.25,
            shift="Früh",
            judged_at=NOW.astimezone(INDIA),
        ),
        judged("2", first, "检查员", "gut", judged_at=later(5)),
        judged("3", first, "检查员", CLASSES[2].name, occasion=1, judged_at=later(90), seconds=0.0, severity=0),
        judged("4", second, "mira", "gut", occasion=3, judged_at=None, comment="only a fourth look"),
        judged("5", second, "olaf", "gut", judged_at=later(7), shift="night 2"),
    ]


def export_to(folder: Path, export: Export, kind: str, images: ContentStore | None) -> Path:
    for name, text in EXPORTS[kind](export).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    for sha256, name in export.names.items() if images else ():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(images.get(sha256) if images else b"")
    return folder


def bring_in(folder: Path, database: Database, images: ContentStore) -> ImportReport:
    listing = FORMATS[detect(folder)](folder, {})
    return import_listing(listing, PRODUCT, ["gut"], database, images, probe, later(9))


def gathered(database: Database) -> Export:
    with database.read() as connection:
        return gather(connection, PRODUCT)


def essence(found: Label) -> tuple[Any, ...]:
    """All that a label says, without where and when it was stored."""
    return tuple(getattr(found, name) for name in Label.__slots__ if name not in {"id", "source", "stored_at"})


@pytest.fixture
def elsewhere(tmp_path: Path) -> Database:
    opened = open_database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    ensure_schema(opened)
    return opened


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_comes_back_equal_elsewhere(
    database: Database, images: ContentStore, hashes: list[str], elsewhere: Database, tmp_path: Path, kind: str
) -> None:
    with database.write() as connection:
        labels.store(connection, full(hashes))
    export = gathered(database)
    report = bring_in(export_to(tmp_path / "out", export, kind, images), elsewhere, images)
    assert report.problems == ()
    assert (report.images, report.new_labels) == (3, 5)
    with database.read() as here, elsewhere.read() as there:
        assert sorted(map(essence, labels.of_product(here, PRODUCT)), key=repr) == sorted(
            map(essence, labels.of_product(there, PRODUCT)), key=repr
        )
        for before, after in zip(pictures.of_product(here, PRODUCT), pictures.of_product(there, PRODUCT), strict=True):
            assert (after.sha256, after.name, after.part_group, after.lot) == (
                before.sha256,
                before.name,
                before.part_group,
                before.lot,
            )
    elsewhere.close()


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_imported_where_it_came_from_changes_nothing(
    database: Database, images: ContentStore, hashes: list[str], tmp_path: Path, kind: str
) -> None:
    with database.write() as connection:
        labels.store(connection, full(hashes))
    before = gathered(database)
    report = bring_in(export_to(tmp_path / "out", before, kind, images), database, images)
    assert (report.new_images, report.new_labels, report.problems) == (0, 0, ())
    assert gathered(database) == before


def test_withdrawn_labels_are_left_out_and_unlabelled_images_are_listed(database: Database, hashes: list[str]) -> None:
    with database.write() as connection:
        labels.store(connection, full(hashes))
        for label_id in ("1", "2", "3"):
            labels.withdraw(connection, withdrawal(label_id))
    rows = list(csv.DictReader(io.StringIO(EXPORTS["labels.csv"](gathered(database))["labels.csv"])))
    assert [(row["path"], row["label"]) for row in rows] == [
        ("c.png", ""),
        ("gut/über 1.png", ""),
        ("line 2/b.png", "gut"),
        ("line 2/b.png", "gut"),
    ]
    assert [row["book_version"] for row in rows] == ["", "", "1", "1"]


def test_label_studio_gets_the_shape_of_its_own_exports(database: Database, hashes: list[str]) -> None:
    with database.write() as connection:
        labels.store(connection, full(hashes))
    files = EXPORTS["label-studio"](gathered(database))
    tasks = json.loads(files["label-studio.json"])
    assert [task["id"] for task in tasks] == [1, 2, 3]
    task = next(task for task in tasks if len(task["annotations"]) == 3)
    assert task["data"]["image"] == "/data/local-files/?d=gut/%C3%BCber%201.png"
    first = task["annotations"][0]
    assert first["completed_by"]["email"] == "Jürgen Müller-Lüdenscheid"
    assert (first["created_at"], first["lead_time"]) == ("2026-03-01T06:30:00.123456Z", 4.25)
    by_control = {result["from_name"]: result for result in first["result"]}
    assert by_control["class"]["value"] == {"choices": ["Kratzer, schräg", 'Loch "groß"']}
    box = by_control["region"]
    assert (box["type"], box["original_width"], box["original_height"]) == ("rectanglelabels", 48, 32)
    percent = [box["value"][side] for side in ("x", "y", "width", "height")]
    assert percent == pytest.approx([3.125, 7.03125, 62.7604167, 12.5])
    interface = ET.fromstring(files["label-studio.xml"])
    controls = {element.get("name") for element in interface.iter() if element.get("toName") == "image"}
    assert {result["from_name"] for done in task["annotations"] for result in done["result"]} <= controls
    assert [choice.get("value") for choice in interface.iter("Label")] == [entry.name for entry in CLASSES]


def test_a_class_that_would_fall_apart_in_a_list_is_refused_for_csv(database: Database, hashes: list[str]) -> None:
    entries = (*CLASSES, ImageClass("a|b", 3, False))
    with database.write() as connection:
        labels.add_book(connection, LabelBook(PRODUCT, 2, entries, NOW))
        labels.store(connection, [judged("1", hashes[0], "mira", CLASSES[1].name, also=("a|b",))])
    with pytest.raises(UnfitClass, match=r"a\|b") as refused:
        EXPORTS["labels.csv"](gathered(database))
    assert "label-studio" in refused.value.remedy
    assert EXPORTS["label-studio"](gathered(database))


def test_a_product_without_a_label_book_is_refused(database: Database) -> None:
    with database.read() as connection, pytest.raises(UnknownProduct):
        gather(connection, "lid")


def test_names_are_kept_where_they_can_be() -> None:
    given = {
        "fine": "gut/über 1.PNG",
        "without suffix": "press-1/t7/0",
        "leaves": "../up.png",
        "absolute": "/etc/a.png",
        "hidden": ".git/a.png",
        "other case": "Gut/Über 1.png",
        "below a file": "gut/über 1.PNG/x.png",
        "windows": "a\\b.png",
        "blank": "a/ b.png",
        "dots": "a/./b.png",
    }
    found = file_names((hash_of(what), name, "image/png") for what, name in given.items())
    names = {what: found[hash_of(what)] for what in given}
    assert len({name.casefold() for name in names.values()}) == len(given)
    assert names["without suffix"] == f"press-1/t7/0-{hash_of('without suffix')[:12]}.png"
    for name in names.values():
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert "\\" not in name
    kept = [what for what in ("fine", "other case", "below a file") if names[what] == given[what]]
    assert len(kept) == 1, "of names that can't lie side by side one is kept"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=12) | st.sampled_from(["a.png", "A.png", "a.png/b.png", "a", ""]), max_size=6))
def test_any_names_become_files_that_can_lie_side_by_side(names: list[str]) -> None:
    given_images = [(hash_of(f"{n}"), name, "image/png") for n, name in enumerate(names)]
    found = file_names(given_images)
    assert len(found) == len(names)
    folded = [name.casefold() for name in found.values()]
    assert len(set(folded)) == len(folded)
    for name in folded:
        assert name.endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
        assert not any(other.startswith(f"{name}/") for other in folded)
        assert all(segment not in ("", ".", "..") for segment in name.split("/"))


words = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(bool)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inspector=words,
    comment=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30).map(str.strip),
    severity=st.none() | st.integers(0, 99),
    seconds=st.none() | st.floats(0, 1e6),
    region=st.none() | st.tuples(*[st.integers(1, 3000).map(lambda n: n / 64)] * 4),
    shift=words | st.just(""),
    kind=st.sampled_from(list(EXPORTS)),
)
def test_whatever_people_write_comes_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, inspector: str, **said: Any
) -> None:
    folder = tmp_path_factory.mktemp("any")
    given_label = judged("1", hash_of("a"), inspector, "gut", **said)
    shown = image("a.png", sha256=hash_of("a"), width=48, height=32)
    export = Export(
        LabelBook(PRODUCT, 1, CLASSES, NOW), (shown,), {hash_of("a"): [given_label]}, {hash_of("a"): "a.png"}
    )
    (folder / "a.png").write_bytes(b"not decoded here")
    for name, text in EXPORTS[kind](export).items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    listing = FORMATS[detect(folder)](folder, {})
    assert listing.problems == ()
    (found,) = listing.images[0].labels
    assert (found.inspector, found.comment, found.severity, found.seconds, found.shift) == (
        inspector,
        said["comment"],
        said["severity"],
        said["seconds"],
        said["shift"],
    )
    assert found.region == said["region"]
