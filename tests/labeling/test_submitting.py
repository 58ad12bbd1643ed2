import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from labeling.formats import INSPECTOR
from labeling.submitting import (
    Contradiction,
    IdTaken,
    Judgement,
    NotYourLabel,
    UnknownClass,
    UnknownImage,
    UnknownLabel,
    submit,
    take_back,
)
from storage import inspections, labels, pictures, tasks
from storage.database import Connection, Database
from storage.records import Label
from tests.storage.samples import NOW, PRODUCT, book, hash_of, image, inspection, label, later, task, view

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


@pytest.mark.parametrize(
    "other",
    [
        {"class_name": "dent"},
        {"also": ("dent",)},
        {"inspector": "olaf"},
        {"unsure": False},
        {"comment": "deep"},
        {"seconds": 3.6},
        {"severity": 1},
        {"region": (1.0, 2.0, 3.0, 4.0)},
        {"shift": "late"},
        {"judged_at": later(1)},
        {"product": "lid"},
    ],
)
def test_another_judgement_under_a_taken_id_is_refused(connection: Connection, other: dict[str, Any]) -> None:
    labels.add_book(connection, book(product="lid"))
    pictures.store(connection, [image("1.png", product="lid")])
    submit(connection, JUDGEMENT, "console", NOW)
    with pytest.raises(IdTaken, match="'j1'") as refused:
        submit(connection, replace(JUDGEMENT, **other), "console", later(5))
    assert refused.value.remedy
    assert len(labels.ids(connection, PRODUCT) | labels.ids(connection, "lid")) == 1


def test_all_of_a_judgement_sent_again_is_the_same(connection: Connection) -> None:
    full = replace(
        JUDGEMENT, also=("dent",), severity=2, region=(1.5, 2.0, 30.25, 4.0), judged_at=later(-1), shift="late"
    )
    assert submit(connection, full, "console", NOW)
    assert not submit(connection, full, "console", later(5))
    assert not submit(connection, replace(full, class_name="dent", also=("scratch",)), "console", later(5)), "as a set"


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


def test_a_retired_class_is_refused(connection: Connection) -> None:
    retired = [replace(entry, retired=entry.name == "scratch") for entry in book().classes]
    labels.add_book(connection, book(2, classes=tuple(retired)))
    with pytest.raises(UnknownClass) as refused:
        submit(connection, JUDGEMENT, "console", NOW)
    assert refused.value.remedy == "use one of good, dent"


def test_all_that_an_inspector_says_is_stored(connection: Connection) -> None:
    said = replace(JUDGEMENT, also=("dent",), severity=3, region=(1.0, 2.0, 3.0, 4.0), shift="Spätschicht")
    submit(connection, said, "console", NOW)
    (stored,) = labels.of_product(connection, PRODUCT)
    assert (stored.class_name, stored.also, stored.severity) == ("scratch", ("dent",), 3)
    assert (stored.region, stored.shift, stored.seconds) == ((1.0, 2.0, 3.0, 4.0), "Spätschicht", 3.5)


def test_the_most_severe_class_is_that_of_the_label_where_the_book_ranks_them(connection: Connection) -> None:
    ranks = {"scratch": 1, "dent": 4}
    ranked = [replace(entry, severity_rank=ranks.get(entry.name)) for entry in book().classes]
    labels.add_book(connection, book(2, classes=tuple(ranked)))
    submit(connection, replace(JUDGEMENT, also=("dent", "scratch")), "console", NOW)
    (stored,) = labels.of_product(connection, PRODUCT)
    assert (stored.class_name, stored.also) == ("dent", ("scratch",))


def test_a_part_is_not_good_and_defective_at_once(connection: Connection) -> None:
    with pytest.raises(Contradiction, match="'good'"):
        submit(connection, replace(JUDGEMENT, also=("good",)), "console", NOW)
    assert labels.of_product(connection, PRODUCT) == []


def test_submissions_at_the_same_moment_are_looks_of_different_numbers(database: Database) -> None:
    count = 8
    with database.write() as connection:
        labels.add_book(connection, book())
        pictures.store(connection, [image("1.png")])
    together = threading.Barrier(count)

    def send(n: int) -> bool:
        together.wait()
        with database.write() as connection:
            return submit(connection, replace(JUDGEMENT, id=f"j{n}"), "console", NOW)

    with ThreadPoolExecutor(count) as pool:
        assert all(pool.map(send, range(count)))
    with database.read() as connection:
        stored = labels.of_product(connection, PRODUCT)
    assert sorted(found.occasion for found in stored) == list(range(count))


def test_the_same_submission_twice_at_the_same_moment_is_one_label(database: Database) -> None:
    with database.write() as connection:
        labels.add_book(connection, book())
        pictures.store(connection, [image("1.png")])
    together = threading.Barrier(4)

    def send(_: int) -> bool:
        together.wait()
        with database.write() as connection:
            return submit(connection, JUDGEMENT, "console", NOW)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(4))) == 1


def test_a_label_taken_back_no_longer_counts_and_its_correction_takes_its_place(connection: Connection) -> None:
    for n in range(2):
        submit(connection, replace(JUDGEMENT, id=f"j{n}"), "console", later(n))
    assert take_back(connection, "j0", "mira", "wrong key", later(5))
    assert not take_back(connection, "j0", "mira", "wrong key", later(6)), "sent again"
    submit(connection, replace(JUDGEMENT, id="j2", class_name="dent"), "console", later(7))
    counting = {found.occasion: found.class_name for found in labels.of_product(connection, PRODUCT)}
    assert counting == {0: "dent", 1: "scratch"}
    assert [(one.label_id, one.reason) for one in labels.withdrawn(connection, PRODUCT)] == [("j0", "wrong key")]


def test_only_who_gave_a_label_takes_it_back(connection: Connection) -> None:
    submit(connection, JUDGEMENT, "console", NOW)
    with pytest.raises(NotYourLabel, match="'olaf'") as refused:
        take_back(connection, "j1", "olaf", "", NOW)
    assert "adjudication" in refused.value.remedy
    with pytest.raises(UnknownLabel, match="'j9'"):
        take_back(connection, "j9", "mira", "", NOW)
    assert len(labels.of_product(connection, PRODUCT)) == 1


def test_what_was_asked_is_done_and_open_again_once_the_label_is_taken_back(connection: Connection) -> None:
    tasks.ask(connection, [task("t1", expires_at=None, label_id=None)], None)
    submit(connection, JUDGEMENT, "console", NOW)
    assert tasks.waiting(connection, PRODUCT, "mira") == []
    take_back(connection, "j1", "mira", "", later(1))
    assert [found.id for found in tasks.waiting(connection, PRODUCT, "mira")] == ["t1"]


@pytest.mark.parametrize(("inspector", "former"), [("mira", "mira"), ("", INSPECTOR)])
def test_a_label_judged_again_takes_the_place_of_those_under_the_older_definition(
    connection: Connection, inspector: str, former: str
) -> None:
    given: list[Label] = [
        label("old", inspector=former, occasion=0, book_version=1),
        label("other", inspector="olaf", occasion=0, book_version=1),
        label("since", inspector=former, occasion=1, book_version=2),
    ]
    for version in (2, 3):
        labels.add_book(connection, book(version))
    labels.store(connection, given)
    asked = task("t1", inspector=inspector, kind="judge_again", book_version=2, expires_at=None, label_id=None)
    tasks.ask(connection, [asked], None)
    submit(connection, JUDGEMENT, "console", NOW)
    assert {found.id for found in labels.of_product(connection, PRODUCT)} == {"other", "since", "j1"}
    (withdrawn,) = labels.withdrawn(connection, PRODUCT)
    assert (withdrawn.label_id, "version 2" in withdrawn.reason) == ("old", True)
