"""Label books as YAML: what is written is read back, and every problem has its line."""

import contextlib
from dataclasses import fields
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.label_book import WantedClass, changed
from service.book_files import CLASS_FIELDS, ClassEntry, read_books, to_yaml
from service.yaml_text import WrongYaml
from storage.records import ImageClass, LabelBook, LimitSample
from tests.storage.samples import NOW, PRODUCT, book, full_book, hash_of


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(WrongYaml) as refused:
        read_books(dedent(text), "books.yaml")
    assert "books.yaml" in str(refused.value)
    assert "loupe book export" in refused.value.remedy
    return refused.value.found


texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
samples = st.builds(LimitSample, st.text("0123456789abcdef", min_size=64, max_size=64), texts)
entries = st.builds(
    ImageClass,
    name=texts,
    number=st.integers(0, 899),
    ok=st.booleans(),
    description=texts,
    severity_rank=st.none() | st.integers(0, 9),
    expected_share=st.none() | st.floats(0, 1),
    retired=st.booleans(),
    accept=st.lists(samples, max_size=2).map(tuple),
    reject=st.lists(samples, max_size=2).map(tuple),
)


@settings(deadline=None)
@given(st.lists(entries, min_size=1, max_size=4), texts)
def test_what_is_written_is_read_back(classes: list[ImageClass], product: str) -> None:
    written = LabelBook(product, 7, tuple(sorted(classes, key=lambda entry: entry.number)), NOW)
    (read,) = read_books(to_yaml([written]), "books.yaml")
    assert (read.product, read.version) == (product, 7)
    names = [field.name for field in fields(ImageClass)]
    assert [[getattr(entry, name) for name in names] for entry in read.classes] == [
        [getattr(entry, name) for name in names] for entry in written.classes
    ]


def test_a_file_changes_nothing_in_the_book_that_it_was_made_from() -> None:
    before = full_book()
    (read,) = read_books(to_yaml([before]), "books.yaml")
    assert changed(before, PRODUCT, read.classes, author="", note="", now=NOW) is before


def test_books_are_in_the_order_of_their_products_whatever_order_they_come_in() -> None:
    books = [book(), full_book(product="lid")]
    assert to_yaml(books) == to_yaml(books[::-1])
    assert [entry.product for entry in read_books(to_yaml(books), "books.yaml")] == [PRODUCT, "lid"]


def test_a_file_written_by_hand_may_be_short() -> None:
    text = "label_books:\n- product: cap\n  classes:\n  - {name: ok, ok: true}\n  - {name: dent, expected_share: 0}\n"
    (read,) = read_books(text, "books.yaml")
    assert (read.version, read.note) == (None, "")
    assert read.classes == (WantedClass("ok", True), WantedClass("dent", False, expected_share=0.0))


def test_fields_are_those_of_a_wanted_class() -> None:
    assert set(CLASS_FIELDS) == set(ClassEntry.model_fields)
    assert set(CLASS_FIELDS) == {field.name for field in fields(WantedClass)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipes: []", "line 1: the file must hold one list, `label_books:`"),
        ("label_books:\n- classes: []", "line 2: product is missing"),
        ("label_books:\n- product: cap\n  classes:\n  - name: 3", "line 4: classes.0.name is no text"),
        (
            "label_books:\n- product: cap\n  classes:\n  - name: a\n    ok: 1",
            "line 5: classes.0.ok is neither true nor",
        ),
        (
            "label_books:\n- product: cap\n  classes:\n  - name: a\n    colour: b",
            "line 5: classes.0.colour is no field",
        ),
        (
            "label_books:\n- product: cap\n  classes:\n  - name: a\n    number: x",
            "line 5: classes.0.number is no whole",
        ),
        (f"label_books:\n- product: cap\n  classes:\n  - name: a\n    accept: [{hash_of('a')}]", "line 5"),
        (
            "label_books:\n- {product: a, classes: []}\n- {product: a, classes: []}",
            "line 3: product 'a' is there twice",
        ),
        ("label_books:\n- product: a\n  product: b", "line 3: 'product' is there twice, first on line 2"),
        ("label_books: &x\n- *x", "line 2: aliases (*x) are not read here"),
        ("label_books: [", "line 1"),
        ("a: 2026-02-31", "it can't be read"),
        ("", "line 1: the file must hold one list"),
    ],
)
def test_every_problem_is_told_with_its_line(text: str, said: str) -> None:
    assert any(said in found for found in problems(text)), problems(text)


@settings(deadline=None)
@given(st.text(max_size=80) | st.text("label_books:- \n{}[]&*!a", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(WrongYaml):
        read_books(text, "books.yaml")
