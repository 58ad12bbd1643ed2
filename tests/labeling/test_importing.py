import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from labeling.formats import FORMATS, Listing
from labeling.importing import ImportReport, NothingFound, import_listing
from labeling.label_book import WrongLabelBook
from labeling.settle import settle
from models.dataset import snapshot
from service.commands.data import probe
from storage import datasets, labels, pictures
from storage.database import Database, ensure_schema, open_database
from storage.images import open_image_store
from storage.images.content import ContentStore
from tests.labeling.painted_parts import SIDE_PX, paint
from tests.storage.samples import NOW, PRODUCT, later, withdrawal

COUNTS = {"good": 6, "scratch": 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return paint(tmp_path / "parts", COUNTS)


@pytest.fixture
def images(tmp_path: Path) -> ContentStore:
    return open_image_store(f"file://{tmp_path / 'images'}")


def listing_of(folder: Path) -> Listing:
    return FORMATS["folder"](folder, {})


def bring_in(
    folder: Path,
    database: Database,
    images: ContentStore,
    *,
    ok: tuple[str, ...] = (),
    now: datetime = NOW,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    return import_listing(listing_of(folder), PRODUCT, ok, database, images, probe, now, progress)


def dataset_of(database: Database, now: datetime) -> tuple[str, bool]:
    with database.write() as connection:
        dataset, new = snapshot(connection, settle(connection, PRODUCT, now).run, now)
    return dataset.id, new


def test_images_and_labels_are_stored(folder: Path, database: Database, images: ContentStore) -> None:
    seen: list[tuple[int, int]] = []
    report = bring_in(folder, database, images, progress=lambda done, total: seen.append((done, total)))
    assert (report.images, report.new_images, report.new_labels) == (10, 10, 10)
    assert report.classes == COUNTS
    assert report.problems == ()
    assert seen == [(n, 10) for n in range(1, 11)]
    with database.read() as connection:
        stored = pictures.of_product(connection, PRODUCT)
        judged = {label.image_sha256: label.class_name for label in labels.of_product(connection, PRODUCT)}
        book = labels.newest_book(connection, PRODUCT)
    assert book is not None
    assert [(c.name, c.number, c.ok) for c in book.classes] == [("good", 0, True), ("scratch", 1, False)]
    for image in stored:
        assert images.get(image.sha256) == (folder / image.name).read_bytes()
        assert judged[image.sha256] == image.name.split("/")[0]
        assert (image.width, image.height, image.media_type) == (SIDE_PX, SIDE_PX, "image/png")


def test_importing_the_same_again_changes_nothing(folder: Path, database: Database, images: ContentStore) -> None:
    bring_in(folder, database, images)
    first, new = dataset_of(database, NOW)
    assert new
    again = bring_in(folder, database, images, now=later(3600))
    assert (again.images, again.new_images, again.new_labels) == (10, 0, 0)
    assert dataset_of(database, later(3600)) == (first, False)
    with database.read() as connection:
        book = labels.newest_book(connection, PRODUCT)
        assert book is not None
        assert book.version == 1
        assert len(datasets.items(connection, first)) == 10


def test_the_dataset_of_the_same_parts_has_the_same_id_anywhere(
    folder: Path, database: Database, images: ContentStore, tmp_path: Path
) -> None:
    bring_in(folder, database, images)
    elsewhere = open_database(f"sqlite:///{tmp_path / 'another machine.db'}")
    ensure_schema(elsewhere)
    bring_in(shutil.copytree(folder, tmp_path / "copied"), elsewhere, images, now=later(99))
    assert dataset_of(elsewhere, later(99))[0] == dataset_of(database, NOW)[0]
    elsewhere.close()


def test_duplicates_and_unreadable_files_are_listed_and_skipped(
    folder: Path, database: Database, images: ContentStore
) -> None:
    shutil.copy(folder / "good" / "0-000.png", folder / "scratch" / "9-twin.png")
    (folder / "good" / "9-text.png").write_text("no image")
    whole = (folder / "good" / "0-001.png").read_bytes()
    (folder / "good" / "9-torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "good" / "9-empty.png").touch()
    report = bring_in(folder, database, images)
    assert (report.images, report.new_images, report.new_labels) == (10, 10, 10)
    said = {problem.where: problem.what for problem in report.problems}
    assert set(said) == {"scratch/9-twin.png", "good/9-text.png", "good/9-torn.png", "good/9-empty.png"}
    assert said["scratch/9-twin.png"] == "skipped: the same bytes as good/0-000.png (its 1 labels are not stored)"
    assert all(problem.remedy for problem in report.problems)


def test_a_file_that_vanishes_meanwhile_is_a_problem(folder: Path, database: Database, images: ContentStore) -> None:
    listing = listing_of(folder)
    (folder / "good" / "0-000.png").unlink()
    report = import_listing(listing, PRODUCT, (), database, images, probe, NOW)
    assert (report.images, [problem.where for problem in report.problems]) == (9, ["good/0-000.png"])


@pytest.mark.parametrize("at", [1, 10])
def test_ctrl_c_leaves_nothing_and_a_second_import_completes(
    folder: Path, database: Database, images: ContentStore, at: int
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring_in(folder, database, images, progress=interrupt)
    with database.read() as connection:
        assert pictures.of_product(connection, PRODUCT) == []
        assert labels.of_product(connection, PRODUCT) == []
        assert labels.newest_book(connection, PRODUCT) is None
    assert bring_in(folder, database, images).new_labels == 10


def test_a_folder_without_a_readable_image_is_refused(tmp_path: Path, database: Database, images: ContentStore) -> None:
    (tmp_path / "parts" / "good").mkdir(parents=True)
    (tmp_path / "parts" / "good" / "1.png").write_text("no image")
    with pytest.raises(NothingFound, match="no readable image") as refused:
        bring_in(tmp_path / "parts", database, images)
    assert "1 problems" in refused.value.remedy
    with database.read() as connection:
        assert labels.newest_book(connection, PRODUCT) is None


def test_a_good_class_that_nobody_used_is_refused_and_nothing_is_stored(
    folder: Path, database: Database, images: ContentStore
) -> None:
    with pytest.raises(WrongLabelBook, match="perfect") as refused:
        bring_in(folder, database, images, ok=("perfect",))
    assert "good, scratch" in refused.value.remedy
    with database.read() as connection:
        assert pictures.of_product(connection, PRODUCT) == []


def test_more_parts_grow_the_label_book_and_the_dataset(folder: Path, database: Database, images: ContentStore) -> None:
    bring_in(folder, database, images)
    first, _ = dataset_of(database, NOW)
    paint(folder, {"dent": 3}, seed=1)
    report = bring_in(folder, database, images, now=later(60))
    assert (report.new_images, report.new_labels) == (3, 3)
    second, new = dataset_of(database, later(60))
    assert new
    assert second != first
    with database.read() as connection:
        book = labels.newest_book(connection, PRODUCT)
        assert book is not None
        assert (book.version, [c.number for c in book.classes]) == (2, [0, 1, 2])
        before = {item.part_group: item.split for item in datasets.items(connection, first)}
        after = {item.part_group: item.split for item in datasets.items(connection, second)}
    assert {group: after[group] for group in before} == before


def test_files_with_the_former_name_of_a_class_are_still_the_same_labels(
    folder: Path, database: Database, images: ContentStore
) -> None:
    bring_in(folder, database, images)
    with database.write() as connection:
        book = labels.newest_book(connection, PRODUCT)
        assert book is not None
        renamed = [replace(c, name="Kratzer") if c.name == "scratch" else c for c in book.classes]
        labels.add_book(connection, replace(book, version=2, classes=tuple(renamed)))
    again = bring_in(folder, database, images, now=later(60))
    assert (again.new_labels, again.problems) == (0, ())
    paint(folder, {"scratch": 1}, seed=5)
    assert bring_in(folder, database, images, now=later(90)).new_labels == 1
    with database.read() as connection:
        assert {label.class_name for label in labels.of_product(connection, PRODUCT)} == {"good", "Kratzer"}
        assert labels.newest_books(connection)[PRODUCT].version == 2


def test_what_was_withdrawn_is_not_brought_back(folder: Path, database: Database, images: ContentStore) -> None:
    bring_in(folder, database, images)
    with database.write() as connection:
        first = labels.of_product(connection, PRODUCT)[0]
        labels.withdraw(connection, withdrawal(first.id))
    assert bring_in(folder, database, images, now=later(60)).new_labels == 0
    with database.read() as connection:
        assert len(labels.of_product(connection, PRODUCT)) == 9
