from collections.abc import Iterator
from dataclasses import replace

import pytest

from labeling.submitting import Judgement, UnknownClass, UnknownImage, submit
from storage import inspections, labels, pictures
from storage.database import Connection, Database
from tests.storage.samples import NOW, PRODUCT, book, hash_of, image, inspection, later, view

JUDGEMENT = Judgement("j1", PRODUCT, hash_of("1.png"), "mira", "scratch", unsure=True, comment="faint", seconds=3.5)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        labels.add_book(opened, book())
        pictures.store(opened, [image("1.png")])
        yield opened


def test_a_judgement_becomes_a_label_once(connection: Connection) -> None:
    assert submit(connection, JUDGEMENT, "console", NOW)
    assert not submit(connection, JUDGEMENT, "console", later(5)), "the page sent it again"
    (stored,) = labels.of_product(connection, PRODUCT)
    assert (stored.class_name, stored.inspector, stored.unsure, stored.comment) == ("scratch", "mira", True, "faint")
    assert (stored.occasion, stored.book_version, stored.source) == (0, 1, "console")
    assert (stored.judged_at, stored.stored_at) == (NOW, NOW)


def test_another_look_by_the_same_inspector_is_another_occasion(connection: Connection) -> None:
    for n, inspector in enumerate(["mira", "mira", "olaf"]):
        submit(connection, replace(JUDGEMENT, id=f"j{n}", inspector=inspector, judged_at=later(n)), "console", later(9))
    stored = labels.of_product(connection, PRODUCT)
    assert [(found.inspector, found.occasion) for found in stored] == [("mira", 0), ("mira", 1), ("olaf", 0)]
    assert [found.judged_at for found in stored] == [later(0), later(1), later(2)]


def test_an_image_of_the_line_becomes_one_of_the_product(connection: Connection) -> None:
    shown = view("r9", image_sha256=hash_of("line image"))
    inspections.store(connection, [inspection("r9", part_id="P9", views=(shown,))])
    assert submit(connection, replace(JUDGEMENT, image_sha256=hash_of("line image")), "console", NOW)
    (added,) = (found for found in pictures.of_product(connection, PRODUCT) if found.source == "line")
    assert (added.part_group, added.name, added.media_type) == ("P9", "press-1/t-r9/0", "image/jpeg")
    assert inspections.unlabelled(connection, PRODUCT, 9) == []


def test_an_image_that_was_not_kept_can_not_be_labelled(connection: Connection) -> None:
    gone = view("r9", image_sha256=hash_of("gone"), image_kept=False)
    inspections.store(connection, [inspection("r9", views=(gone,))])
    with pytest.raises(UnknownImage, match=hash_of("gone")):
        submit(connection, replace(JUDGEMENT, image_sha256=hash_of("gone")), "console", NOW)
    assert labels.of_product(connection, PRODUCT) == []


def test_a_class_outside_the_label_book_is_refused(connection: Connection) -> None:
    with pytest.raises(UnknownClass) as refused:
        submit(connection, replace(JUDGEMENT, class_name="crack"), "console", NOW)
    assert refused.value.remedy == "use one of good, scratch, dent"
    with pytest.raises(UnknownClass) as refused:
        submit(connection, replace(JUDGEMENT, product="lid"), "console", NOW)
    assert "import" in refused.value.remedy
