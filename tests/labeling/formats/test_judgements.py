from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.formats.judgements import Mark, judge, utc_time, with_occasions
from labeling.formats.listing import FoundLabel


def look(label: str, hour: int | None = None, inspector: str = "kim") -> FoundLabel:
    return FoundLabel(label, inspector, None if hour is None else datetime(2024, 3, 1, hour, tzinfo=UTC))


def numbered(labels: tuple[FoundLabel, ...]) -> list[tuple[str, str, int]]:
    return [(label.inspector, label.label, label.occasion) for label in labels]


def test_repeats_are_numbered_by_time() -> None:
    assert numbered(with_occasions([look("late", 9), look("early", 8), look("other", 7, "lee")])) == [
        ("kim", "early", 0),
        ("kim", "late", 1),
        ("lee", "other", 0),
    ]


def test_repeats_are_numbered_by_row_where_a_time_is_missing() -> None:
    assert numbered(with_occasions([look("first", 9), look("second"), look("third", 7)])) == [
        ("kim", "first", 0),
        ("kim", "second", 1),
        ("kim", "third", 2),
    ]


def test_given_occasions_stay_and_the_others_fill_the_gaps() -> None:
    labels = [look("a"), look("b"), look("c")]
    assert numbered(with_occasions(labels, [None, 1, None])) == [("kim", "a", 0), ("kim", "b", 1), ("kim", "c", 2)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 23))))
def test_occasions_are_distinct_for_an_inspector_and_start_at_zero(rows: list[tuple[str, int | None]]) -> None:
    labels = with_occasions([look("x", hour, inspector) for inspector, hour in rows])
    for inspector in "ab":
        mine = [label.occasion for label in labels if label.inspector == inspector]
        assert mine == list(range(len(mine)))


def test_equal_boxes_keep_the_order_of_the_file() -> None:
    assert judge([Mark("b", (0, 0, 2, 2)), Mark("a", (9, 9, 4, 1))], "kim").label == "b"


def test_a_mark_without_place_counts_as_the_smallest() -> None:
    found = judge([Mark("somewhere", None), Mark("dent", (0, 0, 1, 1))], "kim")
    assert (found.label, found.also) == ("dent", ("somewhere",))


@pytest.mark.parametrize(
    "text", ["", "yesterday", "28.02.2024", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        utc_time(text)
