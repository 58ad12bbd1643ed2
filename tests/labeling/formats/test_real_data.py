"""The readers on published data sets, where they are present beside the checkout."""

import os
from collections import Counter
from pathlib import Path

import pytest

from labeling.formats import FORMATS, WrongColumn, detect

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir() and "data" not in os.environ.get("LOUPE_TEST_REQUIRE", ""), reason=f"no data sets at {DATA}"
)


def test_magnetic_tile_reads_in_full() -> None:
    assert detect(DATA / "magnetic_tile") == "labels_csv"
    listing = FORMATS["labels_csv"](DATA / "magnetic_tile", {"part": "part_id"})
    assert listing.problems == ()
    assert len(listing.images) == 1009
    assert all(image.group and image.part_id and image.mask for image in listing.images)
    assert len({image.group for image in listing.images}) == 166
    assert Counter(label.label for image in listing.images for label in image.labels) == {
        "free": 715,
        "blowhole": 85,
        "uneven": 79,
        "break": 64,
        "crack": 45,
        "fray": 21,
    }


def test_magnetic_tile_images_alone_are_a_folder_of_classes() -> None:
    images = DATA / "magnetic_tile" / "images"
    assert detect(images) == "folder"
    by_folder = {image.name: image.labels[0].label for image in FORMATS["folder"](images, {}).images}
    listing = FORMATS["labels_csv"](DATA / "magnetic_tile", {})
    by_table = {image.name.removeprefix("images/"): image.labels[0].label for image in listing.images}
    assert by_folder == by_table


def test_ball_screw_times_are_capture_times_when_mapped() -> None:
    listing = FORMATS["labels_csv"](DATA / "bsdata_wear", {"time": "captured_at"})
    assert listing.problems == ()
    assert (
        min(image.captured_at for image in listing.images if image.captured_at).isoformat()
        == "2020-08-28T11:00:14+00:00"
    )


def test_neu_det_annotations_agree_with_its_table() -> None:
    voc = FORMATS["voc"](DATA / "neu_det", {})
    table = FORMATS["labels_csv"](DATA / "neu_det", {})
    assert voc.problems == ()
    assert [image.name for image in voc.images] == [image.name for image in table.images]
    differ = [
        image.name
        for image, row in zip(voc.images, table.images, strict=True)
        if row.labels[0].label not in (image.labels[0].label, *image.labels[0].also)
    ]
    assert differ == []
    assert all(image.labels[0].region for image in voc.images)


@pytest.mark.parametrize("name", ["bluebirds", "dawid_skene_anaesthesia", "rte", "sp_amt"])
def test_label_tables_without_images_name_the_column_to_map_and_then_each_missing_file(name: str) -> None:
    folder = DATA / "annotators" / name
    with pytest.raises(WrongColumn, match="item, annotator, label"):
        FORMATS["labels_csv"](folder, {})
    listing = FORMATS["labels_csv"](folder, {"item": "path", "annotator": "inspector"})
    items = {line.split(",")[0] for line in (folder / "labels.csv").read_text().splitlines()[1:]}
    assert listing.images == ()
    assert len(listing.problems) == len(items)
