import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.formats.image_files import locate, match, walk
from labeling.formats.listing import Problem

Put = Callable[..., Path]


def test_hidden_and_system_files_are_skipped_silently(put: Put) -> None:
    root = put("a/x.png", ".git/x.png", "a/.hidden.png", "a/Thumbs.db", "__MACOSX/x.png", "desktop.ini")
    files = walk(root)
    assert (files.images, files.others, files.problems) == (("a/x.png",), (), ())


def test_suffixes_count_in_any_case(put: Put) -> None:
    assert walk(put("a.JPG", "b.Tif", "c.txt")).images == ("a.JPG", "b.Tif")


def test_links_that_leave_the_folder_are_refused(put: Put, tmp_path: Path) -> None:
    put("outside/x.png", "in/y.png")
    root = tmp_path / "in"
    (root / "x.png").symlink_to(tmp_path / "outside" / "x.png")
    (root / "folder").symlink_to(tmp_path / "outside")
    files = walk(root)
    assert files.images == ("y.png",)
    assert [(problem.where, "leaves" in problem.what) for problem in files.problems] == [
        ("folder", True),
        ("x.png", True),
    ]


def test_links_inside_the_folder_never_loop(put: Put) -> None:
    root = put("a/x.png")
    (root / "a" / "loop").symlink_to(root)
    (root / "same.png").symlink_to(root / "a" / "x.png")
    (root / "dead.png").symlink_to(root / "nowhere.png")
    files = walk(root)
    assert files.images == ("a/x.png", "same.png")
    assert [problem.where for problem in files.problems] == ["a/loop", "dead.png"]


def test_a_pipe_named_like_an_image_is_not_read(put: Put) -> None:
    root = put("a.png")
    os.mkfifo(root / "b.png")
    assert walk(root).images == ("a.png",)
    assert walk(root).problems[0].where == "b.png"


def test_a_name_that_is_not_utf8_is_a_problem(put: Put) -> None:
    root = put("a.png")
    try:
        (root / os.fsdecode(b"caf\xe9.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    files = walk(root)
    assert files.images == ("a.png",)
    assert files.problems[0].where == "caf\ufffd.png"


@pytest.mark.parametrize("reference", ["x/a.png", "./x/a.png", "x\\a.png", "x/../x/a.png", "y/../x/a.png"])
def test_a_reference_is_found_however_it_is_written(put: Put, reference: str) -> None:
    assert locate(put("x/a.png", "y/b.png"), reference, "row") == "x/a.png"


@pytest.mark.parametrize(
    ("reference", "word"),
    [
        ("/etc/passwd", "absolute"),
        ("C:\\a.png", "absolute"),
        ("../a.png", "leaves"),
        ("x/../../a.png", "leaves"),
        ("link.png", "leaves"),
        ("x", "no file"),
        ("b.png", "no file"),
        ("a\0.png", "no file"),
        ("a" * 5000, "no file"),
        ("\ud800.png", "no file"),
    ],
)
def test_a_reference_never_leaves_the_folder(put: Put, tmp_path: Path, reference: str, word: str) -> None:
    put("a.png", "root/x/a.png")
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "a.png")
    found = locate(tmp_path / "root", reference, "row")
    assert isinstance(found, Problem)
    assert word in found.what
    assert found.where == "row"


def test_most_shared_folders_win() -> None:
    found = match(["C:\\data\\b\\1.png"], ["a/1.png", "b/1.png"]).found
    assert found == {"C:\\data\\b\\1.png": "b/1.png"}


def test_ties_and_double_claims_go_to_nobody() -> None:
    assert match(["1.png"], ["a/1.png", "b/1.png"]).found == {}
    claimed = match(["train/1.png", "test/1.png"], ["val/1.png"])
    assert claimed.found == {}
    assert set(claimed.missing) == {"train/1.png", "test/1.png"}


def test_an_exact_name_keeps_its_file_against_a_guess() -> None:
    assert match(["old/1.png", "new/1.png"], ["new/1.png"]).found == {"new/1.png": "new/1.png"}


def test_near_the_listing_goes_before_elsewhere() -> None:
    assert match(["1.png"], ["1.png", "train/1.png"], near="train").found == {"1.png": "train/1.png"}


@given(st.lists(st.text(alphabet="ab./\\", max_size=8)), st.lists(st.sampled_from(["a", "b/a", "a/b", "b.a", "a/a.b"])))
def test_each_reference_is_either_found_or_missing(references: list[str], names: list[str]) -> None:
    matches = match(references, sorted(set(names)))
    assert matches.found.keys() | matches.missing.keys() == set(references)
    assert not matches.found.keys() & matches.missing.keys()
    assert set(matches.found.values()) <= set(names)
