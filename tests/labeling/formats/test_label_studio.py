import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.formats.label_studio import read
from labeling.formats.listing import UNANNOTATED, BrokenListing, Listing

Put = Callable[..., Path]


def choice(*words: str, control: str = "class") -> dict[str, Any]:
    return {"type": "choices", "from_name": control, "value": {"choices": list(words)}}


def box(word: str, x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": [word], **more}
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value}


def annotation(*results: dict[str, Any], by: Any = 3, **more: Any) -> dict[str, Any]:
    return {"completed_by": by, "result": list(results), "lead_time": 4.2, **more}


def listed(put: Put, *tasks: tuple[str, list[dict[str, Any]]]) -> Listing:
    content = [{"id": n, "data": {"image": image}, "annotations": done} for n, (image, done) in enumerate(tasks, 1)]
    return read(put("export.json", content=json.dumps(content)), {})


def test_each_annotation_is_a_label_of_its_inspector(put: Put) -> None:
    put("a.png")
    done = [
        annotation(
            choice("dent", "crack"), by={"id": 4, "email": "kim@plant.example"}, created_at="2024-03-01T08:00:00Z"
        ),
        annotation(choice("ok"), by=3),
        annotation(choice("dent"), by=3, was_cancelled=True),
    ]
    (image,) = listed(put, ("a.png", done)).images
    first, second = image.labels
    assert (first.inspector, first.label, first.also) == ("3", "ok", ())
    assert (second.inspector, second.label, second.also) == ("kim@plant.example", "dent", ("crack",))
    assert (first.at, second.at) == (None, datetime(2024, 3, 1, 8, tzinfo=UTC))


def test_a_second_look_of_an_inspector_is_occasion_one_also_over_two_tasks(put: Put) -> None:
    put("a.png")
    late = annotation(choice("late"), created_at="2024-03-02T08:00:00Z")
    early = annotation(choice("early"), created_at="2024-03-01T08:00:00Z")
    (image,) = listed(put, ("a.png", [late]), ("a.png", [early])).images
    assert [(label.label, label.occasion) for label in image.labels] == [("early", 0), ("late", 1)]


def test_percent_become_pixels_and_the_largest_box_gives_the_label(put: Put) -> None:
    put("a.png")
    done = [annotation(box("dent", 1, 1, 2, 2), box("crack", 10, 20, 30, 40))]
    (label,) = listed(put, ("a.png", done)).images[0].labels
    assert (label.label, label.also, label.region) == ("crack", ("dent",), (20.0, 20.0, 60.0, 40.0))


def test_the_region_of_a_rotated_box_is_the_upright_box_around_it(put: Put) -> None:
    put("a.png")
    (label,) = listed(put, ("a.png", [annotation(box("crack", 50, 20, 10, 10, rotation=90))])).images[0].labels
    assert label.region == pytest.approx((90.0, 20.0, 10.0, 20.0))  # 20 x 10 px at (100, 20), turned on its corner


def test_a_choice_goes_before_boxes(put: Put) -> None:
    put("a.png")
    (label,) = listed(put, ("a.png", [annotation(box("dent", 0, 0, 50, 50), choice("reject"))])).images[0].labels
    assert (label.label, label.also, label.region) == ("reject", ("dent",), (0.0, 0.0, 100.0, 50.0))


def test_a_second_question_and_other_tools_are_named_not_mixed_in(put: Put) -> None:
    put("a.png")
    done = [annotation(choice("dent"), choice("minor", control="severity"), {"type": "brushlabels", "value": {}})]
    listing = listed(put, ("a.png", done))
    (label,) = listing.images[0].labels
    assert (label.label, label.also) == ("dent", ())
    assert [problem.what for problem in listing.problems] == [
        "1 brushlabels results were not read",
        "1 choices of 'severity' were not read",
    ]


def test_controls_named_for_what_they_hold_are_read(put: Put) -> None:
    put("a.png")
    done = annotation(
        choice("dent"),
        choice("unsure", control="unsure"),
        {"type": "textarea", "from_name": "comment", "value": {"text": ["near the rim", "0.3 mm"]}},
        {"type": "textarea", "from_name": "shift", "value": {"text": ["früh"]}},
        {"type": "number", "from_name": "severity", "value": {"number": 2}},
        {"type": "number", "from_name": "occasion", "value": {"number": 1}},
    )
    listing = listed(put, ("a.png", [done]))
    (label,) = listing.images[0].labels
    assert (label.label, label.unsure, label.comment) == ("dent", True, "near the rim\n0.3 mm")
    assert (label.shift, label.severity, label.occasion, label.seconds) == ("früh", 2, 1, 4.2)
    assert listing.problems == ()


@pytest.mark.parametrize("wrong", [-1, 2.5, True, None, "2", 1e300])
def test_a_number_that_counts_nothing_is_left_out(put: Put, wrong: Any) -> None:
    put("a.png")
    severity = {"type": "number", "from_name": "severity", "value": {"number": wrong}}
    done = annotation(choice("dent"), severity, lead_time=-3)
    (label,) = listed(put, ("a.png", [done])).images[0].labels
    assert (label.severity, label.seconds) == (None, None)


def test_two_looks_that_claim_one_number_are_numbered_by_time(put: Put) -> None:
    put("a.png")
    first = {"type": "number", "from_name": "occasion", "value": {"number": 1}}
    done = [
        annotation(choice("late"), first, created_at="2024-03-02T08:00:00Z"),
        annotation(choice("early"), first, created_at="2024-03-01T08:00:00Z"),
    ]
    (image,) = listed(put, ("a.png", done)).images
    assert [(label.label, label.occasion) for label in image.labels] == [("early", 0), ("late", 1)]


def test_group_and_lot_of_the_task_are_those_of_the_image(put: Put) -> None:
    put("a.png")
    data = {"image": "a.png", "group": "P9", "lot": "L7"}
    listing = read(put("export.json", content=json.dumps([{"data": data, "annotations": []}])), {})
    assert [(image.group, image.lot) for image in listing.images] == [("P9", "L7")]


def test_an_empty_annotation_is_ok_among_boxes_and_nothing_among_choices(put: Put) -> None:
    put("a.png", "b.png")
    boxes = listed(put, ("a.png", [annotation()]), ("b.png", [annotation(box("dent", 0, 0, 1, 1))]))
    assert boxes.images[0].labels[0].label == UNANNOTATED
    assert "1 annotations are empty" in boxes.problems[0].what
    choices = listed(put, ("a.png", [annotation()]), ("b.png", [annotation(choice("dent"))]))
    assert choices.images[0].labels == ()


def test_a_task_without_annotation_is_an_unlabelled_image(put: Put) -> None:
    put("a.png")
    assert listed(put, ("a.png", [])).images[0].labels == ()


@pytest.mark.parametrize(
    "reference",
    [
        "line 1/a.png",
        "/data/upload/2/a.png",
        "/data/upload/2/0a1b2c3d-a.png",
        "/data/local-files/?d=store%2Fline%201%2Fa.png",
        "s3://parts/lot7/a.png",
        "https://plant.example/img/a.png?token=x",
    ],
)
def test_the_image_is_found_by_file_name(put: Put, reference: str) -> None:
    put("images/line 1/a.png")
    assert [image.name for image in listed(put, (reference, [])).images] == ["images/line 1/a.png"]


def test_an_image_that_is_not_there_or_not_clear_is_a_problem_of_its_task(put: Put) -> None:
    put("a.png", "x/b.png", "y/b.png")
    uploads: list[tuple[str, list[dict[str, Any]]]] = [
        ("/data/upload/1/00000000-a.png", []),
        ("/data/upload/2/11111111-a.png", []),
    ]
    listing = listed(put, *uploads, ("b.png", []), ("gone.png", []), ("http://[", []))
    assert listing.images == ()
    assert [problem.where for problem in listing.problems] == [f"export.json:task {n}" for n in (1, 2, 3, 4, 5)]


def test_a_box_without_the_size_of_its_image_keeps_its_class(put: Put) -> None:
    put("a.png")
    result = box("dent", 0, 0, 1, 1)
    del result["original_width"]
    listing = listed(put, ("a.png", [annotation(result)]))
    assert (listing.images[0].labels[0].label, listing.images[0].labels[0].region) == ("dent", None)
    assert len(listing.problems) == 1


def test_a_bad_time_is_a_problem_and_the_label_stays(put: Put) -> None:
    put("a.png")
    listing = listed(put, ("a.png", [annotation(choice("dent"), created_at="soon")]))
    assert listing.images[0].labels[0].at is None
    assert "soon" in listing.problems[0].what


def test_two_exports_in_a_folder_ask_which(put: Put) -> None:
    content = json.dumps([{"data": {"image": "a.png"}, "annotations": []}])
    with pytest.raises(BrokenListing, match="2 Label Studio exports"):
        read(put("one.json", "two.json", content=content), {})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["a.png", "choices"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "data", "image", "annotations", "result", "type", "value", "choices", "completed_by"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(json_values, json_values)
def test_any_json_is_read_or_refused(put: Put, anything: Any, results: Any) -> None:
    put("a.png")
    tasks = [anything, {"data": {"image": "a.png"}, "annotations": [{"result": results, "created_at": "\ud800"}]}]
    listing = read(put("export.json", content=json.dumps(tasks)) / "export.json", {})
    for image in listing.images:
        for label in image.labels:
            label.label.encode()
