"""A label book changes on purpose only, and what it calls into question comes up again."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from labeling.book_changes import BookChange, change, differences, labels_to_judge_again, redefined
from labeling.formats import INSPECTOR
from labeling.label_book import (
    LAST_NUMBER,
    UnknownProduct,
    UnknownVersion,
    WantedClass,
    WrongLabelBook,
    book_of,
    changed,
    expected_shares,
)
from storage import labels, pictures, tasks
from storage.database import Connection, Database, to_row
from storage.labels import BookChanged
from storage.records import LabelBook, LimitSample
from tests.storage.samples import NOW, PRODUCT, book, full_book, hash_of, image, label, later

GOOD = WantedClass("good", True, 0, description="as drawn")
SCRATCH = WantedClass("scratch", False, 1)
DENT = WantedClass("dent", False, 2)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        labels.add_book(opened, book())
        pictures.store(opened, [image("1.png"), image("2.png")])
        yield opened


def after(*wanted: WantedClass, before: LabelBook | None = None) -> LabelBook:
    return changed(before or book(), PRODUCT, wanted, author="lea", note="why", now=later(1))


def refused(*wanted: WantedClass) -> str:
    with pytest.raises(WrongLabelBook) as error:
        after(*wanted)
    assert error.value.remedy
    return f"{error.value}: {error.value.remedy}"


def write(connection: Connection, *wanted: WantedClass, made_from: int = 1, **more: Any) -> BookChange:
    return change(connection, PRODUCT, made_from, wanted, author="lea", note="why", now=later(1), **more)


def test_the_same_classes_are_the_same_book_in_any_order() -> None:
    before = book()
    assert after(DENT, SCRATCH, GOOD, before=before) is before
    full = full_book()
    assert after(*(WantedClass(**to_row(entry)) for entry in full.classes), before=full) is full


def test_a_change_is_a_version_with_author_and_reason() -> None:
    new = after(GOOD, replace(SCRATCH, description="longer than 1 mm"), DENT)
    assert (new.version, new.author, new.note, new.created_at) == (2, "lea", "why", later(1))
    assert [entry.number for entry in new.classes] == [0, 1, 2]


def test_new_classes_get_numbers_that_no_class_ever_had() -> None:
    retired = replace(DENT, retired=True)
    new = after(GOOD, SCRATCH, retired, WantedClass("chip", False), WantedClass("burr", False, 7))
    assert {entry.name: entry.number for entry in new.classes} == {
        "good": 0,
        "scratch": 1,
        "dent": 2,
        "burr": 7,
        "chip": 8,
    }


def test_a_first_book_keeps_the_numbers_that_it_brings() -> None:
    wanted = [WantedClass("crack", False, 17), WantedClass("fine", True), WantedClass("dent", False)]
    new = changed(None, PRODUCT, wanted, author="", note="", now=NOW)
    assert {entry.name: entry.number for entry in new.classes} == {"fine": 0, "crack": 17, "dent": 18}
    assert new.version == 1


def test_a_class_is_renamed_only_by_saying_so() -> None:
    new = after(GOOD, replace(SCRATCH, name="Kratzer", renamed_from="scratch"), DENT)
    assert [(entry.number, entry.name) for entry in new.classes] == [(0, "good"), (1, "Kratzer"), (2, "dent")]
    swapped = (
        replace(SCRATCH, name="dent", renamed_from="scratch"),
        replace(DENT, name="scratch", renamed_from="dent"),
    )
    assert [entry.name for entry in after(GOOD, *swapped).classes] == ["good", "dent", "scratch"]
    once_more = replace(SCRATCH, name="Kratzer", renamed_from="Kratzer")
    assert after(GOOD, once_more, DENT, before=new) is new


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([GOOD, replace(SCRATCH, name="Kratzer"), DENT], "number 1 is class 'scratch', not 'Kratzer'"),
        ([GOOD, replace(SCRATCH, number=2), replace(DENT, number=1)], "to rename it, add renamed_from"),
        ([GOOD, SCRATCH, replace(DENT, number=9)], "class 'dent' has number 2, not 9"),
        ([GOOD, SCRATCH, DENT, WantedClass("x", False, renamed_from="dent")], "can't be renamed from 'dent'"),
        ([GOOD, SCRATCH], "class 'dent' is missing"),
        ([GOOD, SCRATCH, DENT, WantedClass("dent", False, 5)], "class 'dent' has number 2, not 5"),
        ([GOOD, SCRATCH, DENT, DENT], "the name 'dent' is there twice"),
        ([GOOD, SCRATCH, DENT, WantedClass("a", False, 5), WantedClass("b", False, 5)], "number 5 is there twice"),
        ([GOOD, SCRATCH, DENT, WantedClass("a|b", False)], "'a|b' can't be the name"),
        ([GOOD, SCRATCH, DENT, WantedClass(" a", False)], "can't be the name"),
        ([GOOD, SCRATCH, DENT, WantedClass("", False)], "can't be the name"),
        ([GOOD, SCRATCH, DENT, WantedClass("a" * 121, False)], "can't be the name"),
        ([GOOD, SCRATCH, DENT, WantedClass("a", False, LAST_NUMBER + 1)], "can't have number 900"),
        ([GOOD, SCRATCH, DENT, WantedClass("a", False, LAST_NUMBER), WantedClass("b", False)], "full at class 'b'"),
        ([GOOD, SCRATCH, DENT, WantedClass("a", False, -1)], "can't have number -1"),
        ([replace(GOOD, ok=False), SCRATCH, DENT], "can't have number 0"),
        ([replace(GOOD, severity_rank=1), SCRATCH, DENT], "is good and has a severity rank"),
        ([GOOD, replace(SCRATCH, severity_rank=-1), DENT], "severity rank -1"),
        ([replace(one, retired=True) for one in (GOOD, SCRATCH, DENT)], "no class is in use"),
        ([replace(GOOD, expected_share=1.0), SCRATCH, DENT], "class 'scratch' has no expected share"),
        ([replace(one, expected_share=0.4) for one in (GOOD, SCRATCH, DENT)], "sum to 1.2"),
        ([replace(one, expected_share=float("nan")) for one in (GOOD, SCRATCH, DENT)], "sum to nan"),
        ([GOOD, replace(SCRATCH, accept=(LimitSample("1.png"),)), DENT], "'1.png'"),
        (
            [GOOD, replace(SCRATCH, accept=(LimitSample("a" * 64),), reject=(LimitSample("a" * 64),)), DENT],
            "limit sample of 'scratch' twice",
        ),
    ],
)
def test_what_can_not_be_a_label_book_is_refused_with_what_can(wanted: list[WantedClass], said: str) -> None:
    assert said in refused(*wanted)


def test_shares_are_known_for_all_classes_in_use_or_for_none() -> None:
    shares = {"good": 0.97, "scratch": 0.028, "dent": None}
    wanted = [replace(one, expected_share=shares[one.name], retired=one is DENT) for one in (GOOD, SCRATCH, DENT)]
    found = expected_shares(after(*wanted))
    assert found == pytest.approx((0.97 / 0.998, 0.028 / 0.998, 0.0))
    assert expected_shares(book()) is None


def test_only_what_decides_redefines_a_class() -> None:
    before = full_book()
    wanted = {entry.name: WantedClass(**to_row(entry)) for entry in before.classes}
    sample = before.classes[1].accept[0]

    def number(which: str, **changes: Any) -> frozenset[int]:
        new = after(*{**wanted, which: replace(wanted[which], **changes)}.values(), before=before)
        return redefined(before, new)

    assert number("scratch", description="longer than 2 mm") == {1}
    assert number("scratch", accept=()) == {1}
    assert number("scratch", accept=(), reject=(sample,)) == {1}
    assert number("dent", ok=True, retired=True) == {2}
    assert number("scratch", accept=(replace(sample, caption="said better"),)) == frozenset()
    assert number("scratch", severity_rank=9) == frozenset()
    assert number("scratch", name="Kratzer", renamed_from="scratch") == frozenset()


def test_labels_of_a_redefined_class_and_those_beside_them_are_judged_again() -> None:
    new = after(GOOD, replace(SCRATCH, description="longer than 1 mm"), DENT)
    other = hash_of("2.png")
    given = [
        label("scratch", class_name="scratch", also=()),
        label("confused with it", class_name="good", also=(), inspector="olaf"),
        label("also", class_name="dent", also=("scratch",), image_sha256=hash_of("3.png")),
        label("elsewhere", class_name="dent", also=(), image_sha256=other),
        label("since", class_name="scratch", book_version=2),
    ]
    found = labels_to_judge_again(book(), new, given)
    assert [one.id for one in found] == ["scratch", "confused with it", "also"]
    assert labels_to_judge_again(book(), book(), given) == ()


def test_a_change_is_stored_and_asks_each_inspector_once_an_image(connection: Connection) -> None:
    labels.store(
        connection,
        [
            label("1", occasion=0),
            label("2", occasion=1),
            label("3", inspector=INSPECTOR, occasion=0),
            label("4", inspector="olaf", class_name="dent", also=(), image_sha256=hash_of("2.png")),
        ],
    )
    done = write(connection, GOOD, replace(SCRATCH, description="longer than 1 mm"), DENT)
    assert labels.newest_book(connection, PRODUCT) == done.after
    assert {one.id for one in done.judge_again} == {"1", "2", "3"}
    waiting = tasks.waiting(connection, PRODUCT, "mira")
    assert {(task.inspector, task.image_sha256, task.book_version) for task in waiting} == {
        ("mira", hash_of("1.png"), 2),
        ("", hash_of("1.png"), 2),
    }
    assert {task.inspector for task in tasks.waiting(connection, PRODUCT, "olaf")} == {""}


def test_other_words_for_the_same_ask_nobody(connection: Connection) -> None:
    labels.store(connection, [label("1")])
    done = write(connection, GOOD, replace(SCRATCH, description="Scratch."), DENT, wording_only=True)
    assert (done.after.version, done.judge_again) == (2, ())
    assert tasks.waiting(connection, PRODUCT, "mira") == []


def test_a_change_of_an_older_version_is_refused(connection: Connection) -> None:
    write(connection, GOOD, SCRATCH, DENT, WantedClass("chip", False))
    with pytest.raises(BookChanged, match="at version 2, the change was made from 1"):
        write(connection, GOOD, SCRATCH, DENT, WantedClass("burr", False))
    unchanged = write(connection, GOOD, SCRATCH, DENT, WantedClass("chip", False), made_from=2)
    assert unchanged.after is unchanged.before


def test_a_limit_sample_is_an_image_of_the_product(connection: Connection) -> None:
    with pytest.raises(WrongLabelBook, match="is no image of product cap"):
        write(connection, GOOD, replace(SCRATCH, accept=(LimitSample(hash_of("unknown")),)), DENT)
    sample = LimitSample(hash_of("2.png"), "0.8 mm, passes")
    done = write(connection, GOOD, replace(SCRATCH, accept=(sample,)), DENT)
    assert done.after.classes[1].accept == (sample,)
    assert differences(done.before, done.after) == (f"scratch: accept sample {hash_of('2.png')[:12]} added",)


def test_a_book_is_had_by_version(connection: Connection) -> None:
    labels.add_book(connection, book(2))
    assert book_of(connection, PRODUCT) == book(2)
    assert book_of(connection, PRODUCT, 1) == book(1)
    with pytest.raises(UnknownVersion, match="no version 3") as refused:
        book_of(connection, PRODUCT, 3)
    assert "1 to 2" in refused.value.remedy
    with pytest.raises(UnknownProduct, match="'lid'"):
        book_of(connection, "lid")


def test_every_difference_is_said() -> None:
    before = full_book()
    wanted = {entry.name: WantedClass(**to_row(entry)) for entry in before.classes}
    sample = before.classes[1].accept[0]
    new = after(
        replace(wanted["good"], expected_share=0.8),
        replace(
            wanted["scratch"],
            name="Kratzer",
            renamed_from="scratch",
            severity_rank=None,
            expected_share=0.2,
            accept=(replace(sample, caption="better"),),
            reject=(),
        ),
        replace(wanted["dent"], ok=True, retired=False, expected_share=0.0),
        WantedClass("chip", False, expected_share=0.0),
        before=before,
    )
    assert differences(before, new) == (
        "good: expected share 0.9 -> 0.8",
        "Kratzer: was called scratch",
        "Kratzer: severity rank 1 -> none",
        "Kratzer: expected share 0.1 -> 0.2",
        f"Kratzer: accept sample {sample.image_sha256[:12]} has another caption",
        f"Kratzer: reject sample {hash_of('2.png')[:12]} removed",
        "dent: is good now",
        "dent: expected share none -> 0.0",
        "dent: in use again",
        "chip: new, number 3, a defect",
    )
