from collections.abc import Callable
from pathlib import Path

from labeling.formats.folder import read

Put = Callable[..., Path]


def labels(root: Path) -> dict[str, tuple[str, ...]]:
    return {image.name: tuple(label.label for label in image.labels) for image in read(root, {}).images}


def test_the_first_sub_folder_is_the_class_however_deep_the_image_lies(put: Put) -> None:
    root = put("dent/a.png", "dent/lot 7/day 2/b.png", "ok/a.png")
    assert labels(root) == {"dent/a.png": ("dent",), "dent/lot 7/day 2/b.png": ("dent",), "ok/a.png": ("ok",)}


def test_images_without_sub_folder_are_unlabelled(put: Put) -> None:
    assert labels(put("a.png", "dent/b.png")) == {"a.png": (), "dent/b.png": ("dent",)}


def test_other_files_are_problems(put: Put) -> None:
    listing = read(put("ok/a.png", "ok/notes.txt"), {})
    assert [problem.where for problem in listing.problems] == ["ok/notes.txt"]


def test_folders_named_after_splits_are_no_classes(put: Put) -> None:
    root = put("train/ok/a.png", "test/dent/b.png", "val/ok/c.png", "test/d.png")
    assert labels(root) == {
        "train/ok/a.png": ("ok",),
        "test/dent/b.png": ("dent",),
        "val/ok/c.png": ("ok",),
        "test/d.png": (),
    }
    assert {image.name: image.split for image in read(root, {}).images} == {
        "train/ok/a.png": "train",
        "test/dent/b.png": "test",
        "val/ok/c.png": None,
        "test/d.png": "test",
    }


def test_a_class_called_test_beside_other_classes_is_a_class(put: Put) -> None:
    assert labels(put("test/a.png", "ok/b.png"))["test/a.png"] == ("test",)
