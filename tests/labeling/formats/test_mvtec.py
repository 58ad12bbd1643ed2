from collections.abc import Callable
from pathlib import Path

from labeling.formats.mvtec import read

Put = Callable[..., Path]


def test_split_class_and_mask_come_from_the_layout(put: Put) -> None:
    put("license.txt", "train/good/000.png", "test/good/000.png", "test/broken/000.png")
    listing = read(put("ground_truth/broken/000_mask.png"), {})
    rows = [(image.name, image.split, image.labels[0].label, image.mask) for image in listing.images]
    assert rows == [
        ("test/broken/000.png", "test", "broken", "ground_truth/broken/000_mask.png"),
        ("test/good/000.png", "test", "good", None),
        ("train/good/000.png", "train", "good", None),
    ]
    assert listing.problems == ()


def test_masks_and_defects_that_miss_each_other_are_problems(put: Put) -> None:
    put("train/good/000.png", "test/broken/000.png", "test/broken/001.png")
    listing = read(put("ground_truth/broken/000_mask.png", "ground_truth/broken/009_mask.png"), {})
    assert [problem.where for problem in listing.problems] == [
        "ground_truth/broken/009_mask.png",
        "test/broken/001.png",
    ]


def test_images_elsewhere_are_one_problem_a_folder(put: Put) -> None:
    listing = read(put("train/good/0.png", "test/good/0.png", "extra/1.png", "extra/2.png", "test/3.png"), {})
    assert len(listing.images) == 2
    assert [(problem.where, problem.what[:8]) for problem in listing.problems] == [
        ("extra", "2 images"),
        ("test", "1 images"),
    ]
