import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.formats.labels_csv import MEANINGS, read
from labeling.formats.listing import BrokenListing, FoundImage, FoundLabel, Listing, WrongColumn

Put = Callable[..., Path]


@pytest.fixture
def table(put: Put) -> Callable[..., Listing]:
    """Reads a labels.csv of the given text, beside the images a.png, b.png and sub/c.png."""

    def listing(content: str | bytes, **columns: str) -> Listing:
        put("a.png", "b.png", "sub/c.png")
        return read(put("labels.csv", content=content), columns)

    return listing


Table = Callable[..., Listing]


def test_every_meaning_arrives_in_its_field(put: Put, table: Table) -> None:
    put("masks/a.png")
    judgement = "a.png,dent,kim,2024-03-01T09:00+01:00,crack|chip,1 2 3.5 4,yes,near edge,2,3,4.5,late"
    listing = table(f"{','.join(MEANINGS)}\n{judgement},g1,Train,L7,P9,2024-03-01,masks/a.png\n")
    label = FoundLabel(
        label="dent",
        inspector="kim",
        at=datetime(2024, 3, 1, 8, tzinfo=UTC),
        also=("chip", "crack"),
        unsure=True,
        region=(1.0, 2.0, 3.5, 4.0),
        comment="near edge",
        occasion=2,
        severity=3,
        seconds=4.5,
        shift="late",
    )
    captured_at = datetime(2024, 3, 1, tzinfo=UTC)
    assert listing.images == (
        FoundImage(listing.root / "a.png", "a.png", (label,), "g1", "train", "L7", "P9", captured_at, "masks/a.png"),
    )
    assert (listing.problems, listing.columns) == ((), ())


def test_unknown_columns_are_named_and_harm_nothing(table: Table) -> None:
    listing = table("path,label,colour,width\na.png,ok,red,3\n")
    assert listing.columns == ("colour", "width")
    assert listing.problems == ()


def test_several_rows_of_a_path_are_several_labels(table: Table) -> None:
    text = "path,label,inspector,time\na.png,late,kim,2024-03-02\n./a.png,early,kim,2024-03-01\na.png,ok,lee,\n"
    (image,) = table(text).images
    assert [(label.inspector, label.label, label.occasion) for label in image.labels] == [
        ("kim", "early", 0),
        ("kim", "late", 1),
        ("lee", "ok", 0),
    ]


def test_an_occasion_given_twice_moves_to_the_next_free_one(table: Table) -> None:
    listing = table("path,label,occasion\na.png,x,0\na.png,y,0\na.png,z,1\n")
    assert [(label.label, label.occasion) for label in listing.images[0].labels] == [("x", 0), ("z", 1), ("y", 2)]
    assert [problem.where for problem in listing.problems] == ["labels.csv:3"]


def test_an_empty_label_is_an_image_without_labels(table: Table) -> None:
    (image,) = table("path,label\na.png,\n").images
    assert image.labels == ()


def test_mapped_columns_go_before_columns_of_that_name(table: Table) -> None:
    listing = table("path,label,Defect\na.png,1,dent\n", Defect="label")
    assert listing.images[0].labels[0].label == "dent"
    assert listing.columns == ("label",)


def test_a_mapped_column_loses_its_own_meaning(table: Table) -> None:
    listing = table("path,label,time\na.png,ok,2024-03-01\n", time="captured_at")
    assert listing.images[0].captured_at == datetime(2024, 3, 1, tzinfo=UTC)
    assert listing.images[0].labels[0].at is None


@pytest.mark.parametrize(
    ("header", "columns", "column"),
    [
        ("path,label", {"defect": "label"}, "defect"),
        ("path,label", {"label": "colour"}, "label"),
        ("path,label,a,b", {"a": "group", "b": "group"}, "b"),
        ("path,defect", {}, "label"),
        ("file,label", {}, "path"),
        ("path,label,Label", {}, "label"),
    ],
)
def test_a_wrong_column_names_those_that_exist(table: Table, header: str, columns: dict[str, str], column: str) -> None:
    with pytest.raises(WrongColumn) as caught:
        table(f"{header}\n", **columns)
    assert caught.value.column == column
    assert caught.value.columns == tuple(header.split(","))
    assert ", ".join(header.split(",")) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("path", ["gone.png", "/etc/passwd", "../a.png", "sub", "a.png\ta"])
def test_paths_that_cannot_be_used_are_problems_with_their_row(table: Table, path: str) -> None:
    listing = table(f'path,label\nb.png,ok\n"{path}",ok\n')
    assert [image.name for image in listing.images] == ["b.png"]
    assert [problem.where for problem in listing.problems] == ["labels.csv:3"]


def test_the_same_fault_in_many_rows_is_one_problem(table: Table) -> None:
    listing = table("path,label,split\ngone.png,a,\ngone.png,b,\na.png,ok,dev\nb.png,ok,dev\n")
    assert [(problem.where, problem.what) for problem in listing.problems] == [
        ("labels.csv:2", "there is no file 'gone.png' (in 2 rows)"),
        ("labels.csv:4", "split 'dev' can't be read and was left out (in 2 rows)"),
    ]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("time", "yesterday"),
        ("captured_at", "25:00"),
        ("unsure", "perhaps"),
        ("region", "1 2 3"),
        ("region", "1 2 0 4"),
        ("region", "1 2 nan 4"),
        ("occasion", "-1"),
        ("occasion", "²"),
        ("severity", "minor"),
        ("seconds", "-1"),
        ("seconds", "inf"),
        ("split", "dev"),
        ("mask", "gone.png"),
    ],
)
def test_a_cell_that_cannot_be_read_is_a_problem_and_the_row_stays(table: Table, column: str, cell: str) -> None:
    listing = table(f"path,label,{column}\na.png,dent,{cell}\n")
    assert listing.images[0].labels == (FoundLabel("dent", "import", None),)
    assert [problem.where for problem in listing.problems] == ["labels.csv:2"]


def test_rows_that_contradict_each_other_about_the_image_are_a_problem(table: Table) -> None:
    listing = table("path,label,inspector,group\na.png,ok,kim,g1\na.png,ok,lee,g2\na.png,ok,max,\n")
    assert listing.images[0].group == "g1"
    assert len(listing.images[0].labels) == 3
    assert [problem.where for problem in listing.problems] == ["labels.csv:3"]


def test_a_row_repeated_in_full_is_listed_and_counts_once(table: Table) -> None:
    listing = table("path,label\na.png,ok\nb.png,ok\na.png,ok\n")
    assert len(listing.images[0].labels) == 1
    assert [(problem.where, problem.what) for problem in listing.problems] == [
        ("labels.csv:4", "the row repeats line 2 and was left out")
    ]


def test_rows_too_long_are_left_out_and_rows_too_short_completed(table: Table) -> None:
    listing = table("path,label,group\na.png,ok,g,more\nb.png,ok\nsub/c.png,ok,g,,\n")
    assert [image.name for image in listing.images] == ["b.png", "sub/c.png"]
    assert [problem.where for problem in listing.problems] == ["labels.csv:2", "labels.csv:3"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_understood(table: Table, separator: str, encoding: str, newline: str) -> None:
    rows = [["path", "label"], ["a.png", "Kratzer, schräg"], [], ["b.png", "ok"]]
    text = newline.join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    listing = table(text.encode(encoding))
    assert [image.labels[0].label for image in listing.images] == ["Kratzer, schräg", "ok"]
    assert listing.problems == ()


def test_latin1_is_read_and_said(table: Table) -> None:
    listing = table("path,label\na.png,schräg\n".encode("latin-1"))
    assert listing.images[0].labels[0].label == "schräg"
    assert [(problem.where, "Latin-1" in problem.what) for problem in listing.problems] == [("labels.csv", True)]


def test_rows_are_counted_by_the_line_where_they_start(table: Table) -> None:
    listing = table('path,label,comment\na.png,ok,"two\nlines"\n\ngone.png,ok,\n')
    assert [problem.where for problem in listing.problems] == ["labels.csv:5"]


@pytest.mark.parametrize(
    ("content", "line"),
    [("", None), ("\n\n", None), ('path,label\na.png,ok\nb.png,"open\nsub/c.png,ok\n', 3), ("path\0,label", None)],
)
def test_a_broken_table_names_the_line(table: Table, content: str, line: int | None) -> None:
    with pytest.raises(BrokenListing) as caught:
        table(content)
    assert caught.value.line == line
    assert caught.value.remedy


def test_a_table_of_another_name_is_read(put: Put) -> None:
    put("a.png")
    listing = read(put("march.tsv", content="path\tlabel\na.png\tok\n") / "march.tsv", {})
    assert [image.name for image in listing.images] == ["a.png"]


HEADER = f"{','.join(MEANINGS)}\n".encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda rows: HEADER + rows)
    | st.text(max_size=60).map(lambda path: b"path,label,time\n" + path.encode() + b",x," + path.encode())
    | st.lists(st.text(max_size=12), max_size=15).map(lambda row: HEADER + b"a.png," + ",".join(row).encode())
)
def test_arbitrary_bytes_are_read_or_refused(table: Table, content: bytes) -> None:
    with contextlib.suppress(BrokenListing, WrongColumn):
        listing = table(content)
        assert all(image.path.is_relative_to(listing.root) for image in listing.images)
