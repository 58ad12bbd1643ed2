import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.formats.coco import read
from labeling.formats.listing import UNANNOTATED, BrokenListing

Put = Callable[..., Path]
CATEGORIES = [{"id": 1, "name": "dent"}, {"id": 2, "name": "crack"}]


def coco(files: list[str], annotations: list[tuple[int, int, list[float]]]) -> str:
    return json.dumps(
        {
            "images": [{"id": number, "file_name": file} for number, file in enumerate(files)],
            "annotations": [
                {"id": number, "image_id": image, "category_id": category, "bbox": box}
                for number, (image, category, box) in enumerate(annotations)
            ],
            "categories": CATEGORIES,
        }
    )


def test_the_largest_box_gives_the_label_and_the_others_go_to_also(put: Put) -> None:
    put("a.png")
    root = put("c.json", content=coco(["a.png"], [(0, 1, [1, 2, 3, 4]), (0, 2, [5, 6, 7.5, 8]), (0, 1, [0, 0, 1, 1])]))
    (image,) = read(root, {}).images
    (label,) = image.labels
    assert (label.label, label.also, label.region) == ("crack", ("dent",), (5.0, 6.0, 7.5, 8.0))


def test_images_without_annotation_are_ok_and_say_so_in_one_line(put: Put) -> None:
    put("a.png", "b.png", "c.png")
    listing = read(put("c.json", content=coco(["a.png", "b.png", "c.png"], [(0, 1, [0, 0, 1, 1])])), {})
    assert [image.labels[0].label for image in listing.images] == ["dent", UNANNOTATED, UNANNOTATED]
    assert [problem.what for problem in listing.problems] == ["2 images have no annotation and are taken as 'ok'"]


def test_a_file_without_any_annotation_labels_nothing(put: Put) -> None:
    put("a.png")
    listing = read(put("c.json", content=coco(["a.png"], [])), {})
    assert [image.labels for image in listing.images] == [()]
    assert "unlabelled" in listing.problems[0].what


def test_images_beside_or_under_the_json_are_found(put: Put) -> None:
    put("deep/down/a.png", "b.png", "left.png")
    listing = read(put("c.json", content=coco(["/home/kim/a.png", "b.png", "gone.png"], [(0, 1, [0, 0, 1, 1])])), {})
    assert [image.name for image in listing.images] == ["b.png", "deep/down/a.png"]
    assert any("gone.png" in problem.what for problem in listing.problems)
    assert any("1 image files are in no JSON" in problem.what for problem in listing.problems)


def test_splits_come_from_the_names_of_several_files(put: Put) -> None:
    put("images/a.png", "images/b.png")
    put("annotations/instances_train2017.json", content=coco(["a.png"], [(0, 1, [0, 0, 1, 1])]))
    root = put("annotations/instances_test.json", content=coco(["b.png", "a.png"], [(0, 2, [0, 0, 1, 1])]))
    listing = read(root, {})
    assert [(image.name, image.split) for image in listing.images] == [
        ("images/a.png", "test"),
        ("images/b.png", "test"),
    ]
    assert any("already listed" in problem.what for problem in listing.problems)


def test_the_same_file_name_in_two_split_folders_is_two_images(put: Put) -> None:
    put("train/0.png", "test/0.png")
    put("train/_annotations.coco.json", content=coco(["0.png"], [(0, 1, [0, 0, 1, 1])]))
    root = put("test/_annotations.coco.json", content=coco(["0.png"], [(0, 2, [0, 0, 1, 1])]))
    rows = [(image.name, image.split, image.labels[0].label) for image in read(root, {}).images]
    assert rows == [("test/0.png", "test", "crack"), ("train/0.png", "train", "dent")]


def test_annotations_of_nothing_and_without_box_are_problems(put: Put) -> None:
    put("a.png")
    root = put("c.json", content=coco(["a.png"], [(9, 1, [0, 0, 1, 1]), (0, 9, [0, 0, 1, 1]), (0, 1, [])]))
    listing = read(root, {})
    assert listing.images[0].labels[0].region is None
    assert [problem.what[:12] for problem in listing.problems] == ["annotation 0", "annotation 1", "annotation 2"]


@pytest.mark.parametrize(
    ("content", "line"),
    [('{\n"images": [,]}', 2), ("[" * 100_000, None), (b"\xff", None), ("[]", None), ("1" * 5000, None)],
)
def test_broken_json_names_the_line(put: Put, content: str | bytes, line: int | None) -> None:
    with pytest.raises(BrokenListing) as caught:
        read(put("c.json", content=content) / "c.json", {})
    assert caught.value.line == line
    assert str(caught.value).endswith(caught.value.remedy)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.just("a.png"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "file_name", "image_id", "category_id", "bbox", "name"]), inner)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(("images", "annotations", "categories"), json_values)))
def test_any_json_is_read_or_refused(put: Put, data: dict[str, Any]) -> None:
    put("a.png")
    root = put("c.json", content=json.dumps(data))
    with contextlib.suppress(BrokenListing):
        assert {image.name for image in read(root, {}).images} <= {"a.png"}
