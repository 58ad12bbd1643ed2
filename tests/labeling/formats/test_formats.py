"""Every entry of FORMATS keeps the same promises; detect() tells them apart."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from labeling.formats import FORMATS, BrokenListing, UnknownFormat, WrongColumn, detect

Put = Callable[..., Path]

COCO = {
    "images": [{"id": 2, "file_name": "b.png"}, {"id": 1, "file_name": "a.png"}],
    "categories": [{"id": 7, "name": "dent"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
}
TASKS = [
    {
        "id": n,
        "data": {"image": name},
        "annotations": [{"result": [{"type": "choices", "value": {"choices": ["dent"]}}]}],
    }
    for n, name in enumerate(("b.png", "a.png"))
]
XML = "<annotation><object><name>dent</name></object></annotation>"
EXAMPLES: dict[str, dict[str, str]] = {
    "folder": {"dent/b.png": "", "dent/a.png": ""},
    "labels_csv": {"labels.csv": "path,label\nx/b.png,dent\nx/a.png,dent\n", "x/a.png": "", "x/b.png": ""},
    "mvtec": {"train/good/b.png": "", "train/good/a.png": "", "test/dent/a.png": ""},
    "coco": {"annotations/instances.json": json.dumps(COCO), "images/a.png": "", "images/b.png": ""},
    "voc": {"Annotations/a.xml": XML, "Annotations/b.xml": XML, "JPEGImages/a.png": "", "JPEGImages/b.png": ""},
    "label_studio": {"export.json": json.dumps(TASKS), "a.png": "", "b.png": ""},
}


@pytest.fixture(params=sorted(FORMATS))
def example(request: pytest.FixtureRequest, put: Put) -> tuple[str, Path]:
    name: str = request.param
    for file, content in EXAMPLES[name].items():
        root = put(file, content=content)
    return name, root


def test_each_format_is_detected_by_its_layout(example: tuple[str, Path]) -> None:
    name, root = example
    assert detect(root) == name


def test_images_are_sorted_exist_and_carry_the_label(example: tuple[str, Path]) -> None:
    name, root = example
    listing = FORMATS[name](root, {})
    names = [image.name for image in listing.images]
    assert listing.format == name
    assert len(names) >= 2
    assert names == sorted(names)
    assert "dent" in {label.label for image in listing.images for label in image.labels}
    for image in listing.images:
        assert image.path == listing.root / image.name
        assert image.path.is_absolute()
        assert image.path.is_file()
        assert "\\" not in image.name


def test_reading_twice_gives_the_same(example: tuple[str, Path]) -> None:
    name, root = example
    assert FORMATS[name](root, {}) == FORMATS[name](root, {})


def test_a_relative_path_gives_absolute_images(example: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, root = example
    monkeypatch.chdir(root)
    assert FORMATS[name](Path(), {}) == FORMATS[name](root, {})


def test_a_column_that_does_not_exist_is_refused(example: tuple[str, Path]) -> None:
    name, root = example
    with pytest.raises(WrongColumn, match="colour") as caught:
        FORMATS[name](root, {"colour": "label"})
    assert caught.value.remedy


def test_an_absent_path_is_a_broken_listing(example: tuple[str, Path]) -> None:
    name, root = example
    with pytest.raises(BrokenListing) as caught:
        FORMATS[name](root / "nowhere", {})
    assert caught.value.path.name == "nowhere"
    assert caught.value.remedy


@pytest.mark.parametrize(("name", "file"), [("coco", "annotations/instances.json"), ("label_studio", "export.json")])
def test_the_file_itself_reads_like_its_folder(put: Put, name: str, file: str) -> None:
    for example, content in EXAMPLES[name].items():
        root = put(example, content=content)
    assert detect(root / file) == name
    assert FORMATS[name](root / file, {}) == FORMATS[name](root, {})


def test_labels_csv_wins_over_the_folders_beside_it(put: Put) -> None:
    put("dent/a.png", "train/good/a.png", "test/dent/a.png")
    assert detect(put("labels.csv", content="path,label\n")) == "labels_csv"


def test_an_empty_folder_is_unknown_and_the_error_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat) as caught:
        detect(tmp_path)
    for word in ("labels.csv", "MVTec", "COCO", "Label Studio", "VOC", "sub folder"):
        assert word in caught.value.remedy


def test_a_path_that_does_not_exist_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match="nothing at this path"):
        detect(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["notes.txt", "settings.json"])
def test_another_file_is_unknown(put: Put, file: str) -> None:
    with pytest.raises(UnknownFormat):
        detect(put(file, content="{}") / file)


def test_several_data_sets_side_by_side_are_not_taken_for_classes(put: Put) -> None:
    root = put("bottle/train/good/a.png", "bottle/test/good/a.png", "cable/train/good/a.png")
    with pytest.raises(UnknownFormat, match="bottle"):
        detect(root)
