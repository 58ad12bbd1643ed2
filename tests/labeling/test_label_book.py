import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.label_book import LAST_NUMBER, WrongLabelBook, grow, grown
from storage import labels
from storage.database import Database
from storage.records import LabelBook
from tests.storage.samples import NOW, PRODUCT, later

NAMES = st.sets(st.sampled_from(["good", "ok", "scratch", "dent", "chip", "stain"]), min_size=1)


def new(names: list[str], ok: list[str] | None = None, book: LabelBook | None = None) -> LabelBook:
    return grown(book, PRODUCT, names, ok or [], NOW)


def numbers(book: LabelBook) -> dict[str, int]:
    return {c.name: c.number for c in book.classes}


def good(book: LabelBook) -> set[str]:
    return {c.name for c in book.classes if c.ok}


def test_the_good_class_is_0_and_defects_count_from_1() -> None:
    assert numbers(new(["scratch", "Good", "dent"])) == {"Good": 0, "dent": 1, "scratch": 2}


def test_named_good_classes_are_good_and_only_one_of_them_is_0() -> None:
    book = new(["a", "b", "c"], ["b", "c"])
    assert numbers(book) == {"b": 0, "c": 1, "a": 2}
    assert good(book) == {"b", "c"}


def test_a_book_of_defects_alone_keeps_0_free() -> None:
    book = new(["scratch"])
    assert numbers(book) == {"scratch": 1}
    assert numbers(new(["good"], book=book)) == {"scratch": 1, "good": 0}


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_numbers_are_never_reused_or_changed(steps: list[set[str]]) -> None:
    book: LabelBook | None = None
    for step in steps:
        after = grown(book, PRODUCT, step, [], NOW)
        assert len(set(numbers(after).values())) == len(after.classes)
        if book is not None:
            assert numbers(book).items() <= numbers(after).items()
            assert good(book) == good(after) & set(numbers(book))
            assert (after.version > book.version) == (len(after.classes) > len(book.classes))
            assert after is book or after.version == book.version + 1
        book = after


def test_a_class_can_not_change_its_meaning() -> None:
    book = new(["a", "b"], ["a"])
    with pytest.raises(WrongLabelBook, match="'a' of product cap is good"):
        new(["a", "b"], ["b"], book)
    assert new(["a", "b"], ["a"], book) is book


def test_a_good_class_must_exist() -> None:
    with pytest.raises(WrongLabelBook, match="'perfect'") as refused:
        new(["a", "b"], ["perfect"])
    assert "a, b" in refused.value.remedy


def test_a_full_book_is_refused() -> None:
    names = [f"class {n:03d}" for n in range(LAST_NUMBER)]
    assert max(numbers(new(names)).values()) == LAST_NUMBER
    with pytest.raises(WrongLabelBook, match="full"):
        new([*names, "one more"])


def test_only_a_change_makes_a_version(database: Database) -> None:
    with database.write() as connection:
        first = grow(connection, PRODUCT, ["good", "dent"], [], NOW)
        assert grow(connection, PRODUCT, ["dent"], [], later(1)) == first
        second = grow(connection, PRODUCT, ["chip"], [], later(2))
        assert second.version == 2
        assert labels.newest_book(connection, PRODUCT) == second
        assert labels.book(connection, PRODUCT, 1) == first
