from collections.abc import Callable
from pathlib import Path

import pytest

from labeling.formats.listing import UNANNOTATED, BrokenListing
from labeling.formats.voc import read

Put = Callable[..., Path]


def xml(*objects: tuple[str, int, int, int, int], file_name: str = "a.jpg") -> str:
    parts = [
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in objects
    ]
    return f"<annotation><filename>{file_name}</filename>{''.join(parts)}</annotation>"


def test_the_largest_object_gives_the_label(put: Put) -> None:
    put("JPEGImages/a.jpg")
    root = put("Annotations/a.xml", content=xml(("dent", 0, 0, 5, 5), ("crack", 10, 20, 40, 60)))
    (label,) = read(root, {}).images[0].labels
    assert (label.label, label.also, label.region) == ("crack", ("dent",), (10.0, 20.0, 30.0, 40.0))


def test_annotations_may_lie_beside_images_sorted_into_folders(put: Put) -> None:
    put("images/dent/a.jpg", "images/crack/b.jpg")
    root = put("annotations/a.xml", "annotations/b.xml", content=xml(("dent", 0, 0, 5, 5)))
    listing = read(root, {})
    assert [image.name for image in listing.images] == ["images/crack/b.jpg", "images/dent/a.jpg"]
    assert listing.problems == ()


def test_xml_beside_the_image_is_read(put: Put) -> None:
    put("a.jpg")
    assert read(put("a.xml", content=xml(("dent", 0, 0, 5, 5))), {}).images[0].labels[0].label == "dent"


def test_empty_annotations_are_ok_and_images_without_one_unlabelled_in_one_line_each(put: Put) -> None:
    put("JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg")
    listing = read(put("Annotations/a.xml", content=xml()), {})
    assert [[label.label for label in image.labels] for image in listing.images] == [[UNANNOTATED], [], []]
    assert [problem.what for problem in listing.problems] == [
        "1 annotations have no object and are taken as 'ok'",
        "2 images have no annotation and are unlabelled",
    ]


def test_the_file_name_inside_finds_the_image_where_the_name_of_the_xml_does_not(put: Put) -> None:
    put("JPEGImages/a.jpg", "JPEGImages/a.png", "JPEGImages/other.jpg")
    put("Annotations/a.xml", content=xml(("dent", 0, 0, 5, 5), file_name="a.png"))
    put("Annotations/7.xml", content=xml(("crack", 0, 0, 5, 5), file_name="other.jpg"))
    listing = read(put("Annotations/8.xml", content=xml(file_name="gone.jpg")), {})
    assert {image.name: [label.label for label in image.labels] for image in listing.images} == {
        "JPEGImages/a.jpg": [],
        "JPEGImages/a.png": ["dent"],
        "JPEGImages/other.jpg": ["crack"],
    }
    assert listing.problems[0].where == "Annotations/8.xml"


def test_image_sets_give_the_split_and_test_wins(put: Put) -> None:
    put("JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg")
    put("Annotations/a.xml", content=xml())
    put("ImageSets/Main/trainval.txt", content="a\nb\n")
    root = put("ImageSets/Main/test.txt", content="b\n")
    assert [image.split for image in read(root, {}).images] == ["train", "test", None]


@pytest.mark.parametrize("box", [("dent", 5, 5, 5, 9), ("dent", 9, 9, 1, 1)])
def test_a_box_without_area_keeps_its_class(put: Put, box: tuple[str, int, int, int, int]) -> None:
    put("JPEGImages/a.jpg")
    listing = read(put("Annotations/a.xml", content=xml(box)), {})
    assert (listing.images[0].labels[0].label, listing.images[0].labels[0].region) == ("dent", None)
    assert len(listing.problems) == 1


BOMB = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>\n<annotation>&c;</annotation>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-7"])
def test_entities_are_refused_in_whatever_encoding(put: Put, encoding: str) -> None:
    declared = BOMB.replace('"1.0"', f'"1.0" encoding="{encoding}"')
    with pytest.raises(BrokenListing):
        read(put("Annotations/a.xml", content=declared.encode(encoding)), {})


def test_the_refusal_of_a_doctype_names_its_line(put: Put) -> None:
    with pytest.raises(BrokenListing, match="DOCTYPE") as caught:
        read(put("Annotations/a.xml", content=BOMB), {})
    assert caught.value.line == 2


def test_broken_xml_names_the_line(put: Put) -> None:
    with pytest.raises(BrokenListing) as caught:
        read(put("Annotations/a.xml", content="<annotation>\n</wrong>"), {})
    assert caught.value.line == 2


def test_text_in_another_code_page_does_not_stop_the_import(put: Put) -> None:
    put("JPEGImages/a.jpg")
    content = '<?xml version="1.0" encoding="gbk"?><annotation><path>钢</path></annotation>'.encode("gbk")
    assert len(read(put("Annotations/a.xml", content=content), {}).images) == 1
