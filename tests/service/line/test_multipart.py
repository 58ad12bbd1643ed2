"""Several views of one part in one request."""

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from httpx2 import Client

from service.line.requests import VIEW_LIMIT
from service.wiring import Stores
from tests.service.line.posting import (
    MULTIPART,
    PNG,
    drained,
    expect_views,
    form,
    post,
    post_form,
    post_views,
    recorded,
    server_of,
    settled,
    verdict,
)
from tests.service.line.stocked import BRIGHT, DARK, MIDDLE, encoded, picture, wait_until

META = {"station": "s1", "trigger_id": "1", "views": [{"view_id": "left"}, {"view_id": "right"}]}


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ({"left": DARK, "right": DARK}, (200, "pass", 0)),
        ({"left": DARK, "right": BRIGHT}, (200, "reject", 7)),
        ({"left": BRIGHT, "right": DARK}, (200, "reject", 7)),
        ({"left": MIDDLE, "right": DARK}, (200, "recheck", 7)),
        ({"left": MIDDLE, "right": BRIGHT, "top": DARK}, (200, "reject", 7)),
    ],
)
def test_worst_view_decides(line: Client, levels: dict[str, int], told: tuple[int, str, int]) -> None:
    images = {name: encoded(level, seed=n) for n, (name, level) in enumerate(levels.items())}
    response = post_views(line, images, part_id="P1")
    answer = response.json()
    assert verdict(response) == told
    assert (answer["result_state"], answer["is_partial"]) == ("completed", False)
    found = {view["view_id"]: view["p_defect"] for view in answer["views"]}
    assert found == {name: pytest.approx(level / 255, abs=0.03) for name, level in levels.items()}
    assert {"decode", "infer", "commit", "total"} <= {
        entry.split(";")[0] for entry in response.headers["server-timing"].split(", ")
    }
    wait_until(lambda: drained(line))
    (inspection,) = recorded(line)
    assert inspection.answer.encode() == response.content
    assert {v.view_id: v.image_sha256 for v in inspection.views} == {
        name: hashlib.sha256(image).hexdigest() for name, image in images.items()
    }


def test_views_may_be_named_by_the_files_alone(line: Client) -> None:
    text = json.dumps({"station": "s1", "trigger_id": 7}).encode()
    body = form([("left", PNG, encoded(DARK)), ("meta", "", text), ("right", PNG, encoded(BRIGHT))])
    response = post_form(line, body)
    assert verdict(response) == (200, "reject", 7)
    assert response.json()["trigger_id"] == "7"


def test_names_in_any_script_are_the_same_in_meta_and_file(line: Client) -> None:
    response = post_views(line, {"сверху": encoded(DARK), "unten é": encoded(BRIGHT)})
    assert verdict(response) == (200, "reject", 7)
    assert {view["view_id"] for view in response.json()["views"]} == {"сверху", "unten é"}


def test_camera_of_a_view_is_watched_under_its_own_name(line: Client) -> None:
    views = [{"view_id": "left", "camera": "C1"}, {"view_id": "right"}]
    post_views(line, {"left": encoded(DARK), "right": encoded(DARK, 1)}, views=views)
    assert set(line.get("/v1/stations/s1/state").json()["optics"]) == {"C1", "right"}


def test_same_part_again_gets_its_answer_byte_for_byte(line: Client) -> None:
    images = {"left": encoded(DARK), "right": encoded(BRIGHT)}
    first = post_views(line, images)
    assert post_views(line, images).content == first.content
    assert post_views(line, dict(reversed(images.items()))).content == first.content
    for name, image in images.items():
        assert post(line, image, view_id=name).content == first.content, "a view alone belongs to the same answer"
    text = {"accept": "text/plain"}
    assert post_views(line, images, headers=text).text == f"7 reject {first.json()['result_id']}\n"
    wait_until(lambda: drained(line))
    assert len(recorded(line)) == 1


def test_one_part_posted_many_times_at_once_is_judged_once(line: Client) -> None:
    images = {"left": encoded(DARK), "right": encoded(BRIGHT)}
    for trigger in ("1", "2", "3"):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: post_views(line, images, trigger), range(8)))  # noqa: B023 - used up here
        assert len({answer.content for answer in answers}) == 1
    wait_until(lambda: drained(line))
    assert Counter(i.trigger_id for i in recorded(line)) == {"1": 1, "2": 1, "3": 1}


def test_part_with_one_other_view_is_refused_and_the_first_stands(line: Client) -> None:
    images = {"left": encoded(DARK), "right": encoded(DARK, 1)}
    first = post_views(line, images)
    assert verdict(post_views(line, {**images, "right": encoded(BRIGHT)})) == (409, "recheck", 900)
    assert verdict(post_views(line, {"left": images["right"], "right": images["left"]})) == (409, "recheck", 900)
    assert post_views(line, images).content == first.content
    wait_until(lambda: drained(line))
    assert len(recorded(line)) == 1


def test_keys_are_for_each_view(line: Client) -> None:
    left, right = encoded(DARK), encoded(DARK, 1)
    assert verdict(post_views(line, {"left": left, "right": right})) == (200, "pass", 0)
    assert verdict(post_views(line, {"left": right, "right": left}, "2")) == (200, "pass", 0)
    assert verdict(post(line, encoded(BRIGHT), view_id="top")) == (200, "reject", 7), "a view nobody sent yet"
    assert verdict(post(line, encoded(BRIGHT), view_id="left")) == (409, "recheck", 900)


def test_part_is_never_judged_without_the_view_that_came_before(line: Client) -> None:
    bright = encoded(BRIGHT)
    alone = post(line, bright, view_id="left")
    whole = post_views(line, {"left": bright, "right": encoded(DARK)})
    assert verdict(whole) == (200, "reject", 7)
    assert post(line, bright, view_id="left").content == alone.content
    assert post_views(line, {"left": bright, "right": encoded(DARK)}).content == whole.content
    wait_until(lambda: drained(line))
    assert sorted(len(i.views) for i in recorded(line)) == [1, 2]


def test_answer_of_a_part_is_not_replaced_by_that_of_a_later_view(line: Client) -> None:
    images = {"left": encoded(BRIGHT), "right": encoded(DARK)}
    first = post_views(line, images)
    assert verdict(post(line, encoded(DARK, 5), view_id="top")) == (200, "pass", 0)
    assert post_views(line, images).content == first.content


def test_announced_hash_is_held_against_the_image(line: Client) -> None:
    images = {"left": encoded(DARK), "right": encoded(DARK, 1)}
    true = [{"view_id": n, "sha256": hashlib.sha256(i).hexdigest().upper()} for n, i in images.items()]
    assert verdict(post_views(line, images, views=true)) == (200, "pass", 0)
    for n, wrong in enumerate(["0" * 64, "no hash", hashlib.sha256(images["left"]).hexdigest()]):
        response = post_views(line, images, f"wrong-{n}", views=[true[0], {"view_id": "right", "sha256": wrong}])
        assert verdict(response) == (422, "recheck", 900)
        assert "right" in response.json()["reasons"][0]
        # What was damaged on its way is not recorded: the right image is still taken.
        assert verdict(post_views(line, images, f"wrong-{n}", views=true)) == (200, "pass", 0)


def test_one_unreadable_view_makes_the_part_unreadable(line: Client) -> None:
    for n, level in enumerate((DARK, BRIGHT)):
        response = post_views(line, {"left": encoded(level), "right": b"no image"}, str(n))
        assert verdict(response) == (200, "recheck", 906)
    wait_until(lambda: drained(line))
    assert all(view.image_kept for i in recorded(line) for view in i.views)


def test_view_that_the_recipe_does_not_expect_is_refused(line: Client, stores: Stores) -> None:
    expect_views(line, stores, "left", "right")
    response = post_views(line, {"left": encoded(DARK), "under": encoded(DARK, 1)})
    assert verdict(response) == (422, "recheck", 900)
    assert "under" in response.json()["reasons"][0]
    assert verdict(post(line, encoded(DARK))) == (422, "recheck", 900)
    assert verdict(post_views(line, {"left": encoded(DARK), "right": encoded(DARK, 1)})) == (200, "pass", 0)


def test_whole_part_in_one_request_waits_for_nothing(line: Client, stores: Stores) -> None:
    expect_views(line, stores, "left", "right")
    response = post_views(line, {"left": encoded(DARK), "right": encoded(BRIGHT)})
    assert verdict(response) == (200, "reject", 7)
    assert response.json()["result_state"] == "completed"
    wait_until(lambda: drained(line))
    assert [len(i.views) for i in recorded(line)] == [2]


def raw_view(name: str, level: int, *, stride: int, pixel_format: str = "Mono8") -> tuple[dict[str, Any], bytes]:
    pixels = picture(level)[:, :, 0]
    padded = np.full((48, stride), 255, np.uint8)
    padded[:, :64] = pixels
    said = {"view_id": name, "encoding": "raw", "pixel_format": pixel_format, "width": 64, "height": 48}
    return {**said, "stride": stride, "exposure_us": 250.5, "gain": 1.5}, padded.tobytes()


def test_raw_pixels_with_padded_rows_are_read_beside_files(line: Client) -> None:
    said, pixels = raw_view("left", DARK, stride=100)
    images = {"left": pixels, "right": encoded(DARK, 1)}
    views = [said, {"view_id": "right", "encoding": "png"}]
    assert verdict(post_views(line, images, views=views)) == (200, "pass", 0), "the padding is bright, the part is not"
    assert verdict(post_views(line, images, "2", views=[{**said, "stride": None}, views[1]])) == (200, "recheck", 906)
    assert verdict(post_views(line, images, "3", views=[{**said, "height": 49}, views[1]])) == (200, "recheck", 906)
    bright, more = raw_view("left", BRIGHT, stride=64)
    assert verdict(post_views(line, {**images, "left": more}, "4", views=[bright, views[1]])) == (200, "reject", 7)


def test_several_views_have_one_deadline(line: Client) -> None:
    images = {"left": encoded(DARK), "right": encoded(DARK, 1)}
    response = post_views(line, images, deadline_ms=0.001)
    assert verdict(response) == (200, "recheck", 901)
    assert {view["view_id"] for view in response.json()["views"]} == {"left", "right"}
    assert [i.answer.encode() for i in settled(line, 1)] == [response.content]
    assert post_views(line, images).content == response.content


def nested(depth: int) -> bytes:
    return b'{"station":' + b"[" * depth + b"]" * depth + b"}"


HOSTILE_META = {
    "empty": b"",
    "no JSON": b"\xff\xfe\x00",
    "not an object": b"[]",
    "a number": b"7",
    "null": b"null",
    "deeply nested": nested(30_000),
    "deeply nested objects": b'{"views":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
    "larger than allowed": b'{"station": "' + b"s" * 70_000 + b'"}',
    "a number with ten thousand digits": b'{"station":"s1","trigger_id":' + b"7" * 10_000 + b"}",
    "a name of ten thousand letters": json.dumps({**META, "x" * 10_000: []}).encode(),
}


@pytest.mark.parametrize("meta", HOSTILE_META.values(), ids=HOSTILE_META)
def test_meta_that_is_no_object_of_fields_is_refused(line: Client, meta: bytes) -> None:
    response = post_form(line, form([("meta", "application/json", meta), ("left", PNG, encoded(DARK))]))
    assert verdict(response) == (422, "recheck", 900)
    assert len(response.content) < 3000


NONSENSE: list[Any] = [
    [], {}, [1], {"a": 1}, True, float("nan"), float("inf"), -1, 1e400, "\x00", "\ud800", "a\nb", "x" * 201, 2**70,
]  # fmt: skip


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_nonsense_in_any_field_of_meta_is_refused_or_read(line: Client, value: Any) -> None:
    images = {"left": encoded(DARK), "right": encoded(DARK, 1)}
    part_fields = ("station", "trigger_id", "trigger_epoch", "product", "part_id", "lot", "captured_at", "deadline_ms",
                   "mode", "views", "anything")  # fmt: skip
    view_fields = ("view_id", "camera", "encoding", "pixel_format", "width", "height", "stride", "exposure_us", "gain",
                   "sha256")  # fmt: skip
    names = [*((name, None) for name in part_fields), *((name, "left") for name in view_fields)]
    for n, (name, view) in enumerate(names):
        views: list[dict[str, Any]] = [{"view_id": "left"}, {"view_id": "right"}]
        meta: dict[str, Any] = {"station": "s1", "trigger_id": str(n), "views": views}
        (meta if view is None else views[0])[name] = value
        parts = [("meta", "", json.dumps(meta).encode()), *((v, PNG, image) for v, image in images.items())]
        response = post_form(line, form(parts))
        status, disposition, _ = verdict(response)
        assert status in (200, 415, 422, 503), (name, response.text)
        assert status != 503 or name == "product"
        assert disposition in ("pass", "recheck")
        assert json.loads(response.content)["reasons"] or disposition == "pass"


def test_seventeen_views_are_refused_and_sixteen_are_judged(line: Client) -> None:
    images = {f"v{n}": encoded(DARK, seed=n) for n in range(VIEW_LIMIT + 1)}
    assert verdict(post_views(line, images)) == (422, "recheck", 900)
    text = json.dumps({"station": "s1", "trigger_id": "1"}).encode()
    assert verdict(post_form(line, form([("meta", "", text), *((n, PNG, i) for n, i in images.items())])))[0] == 422
    images.popitem()
    assert verdict(post_views(line, images)) == (200, "pass", 0)


META_TEXT = json.dumps(META).encode()
GOOD = [("meta", "application/json", META_TEXT), ("left", PNG, b"left"), ("right", PNG, b"right")]
WHOLE = form(GOOD)
BODIES = {
    "no meta": form(GOOD[1:]),
    "two metas": form([GOOD[0], *GOOD]),
    "meta alone": form(GOOD[:1]),
    "a file too few": form(GOOD[:2]),
    "a file too many": form([*GOOD, ("top", PNG, b"top")]),
    "a file twice": form([*GOOD, GOOD[1]]),
    "a file without a name": form([*GOOD, ("", PNG, b"x")]),
    "a name with NUL": form([GOOD[0], ("le\x00ft", PNG, b"left"), GOOD[2]]),
    "another boundary": form(GOOD, "another"),
    "cut short in a file": WHOLE[:-30],
    "cut short before the end": WHOLE[:-6],
    "nothing": b"",
    "no multipart at all": b"\x00" * 1000,
    "a header that does not end": b"--0a1b2c3d4e\r\nContent-Disposition: " + b"x" * 100_000,
    "a header without a value": b"--0a1b2c3d4e\r\nContent-Disposition\r\n\r\nx\r\n--0a1b2c3d4e--\r\n",
    "no disposition": b"--0a1b2c3d4e\r\n\r\nx\r\n--0a1b2c3d4e--\r\n",
    "thousands of parts": form([("x", "", b"")] * 5000),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_body_that_is_not_one_meta_and_its_files_is_refused(line: Client, body: bytes) -> None:
    assert verdict(post_form(line, body)) == (422, "recheck", 900)


@pytest.mark.parametrize(
    "content_type",
    ["", "; boundary=", '; boundary="', ";=", "; boundary=" + "x" * 5000],
)
def test_content_type_without_the_body_s_boundary_is_refused(line: Client, content_type: str) -> None:
    response = post_form(line, WHOLE, content_type=f"multipart/form-data{content_type}")
    assert verdict(response) == (422, "recheck", 900)


def test_view_of_a_type_that_is_not_read_is_refused(line: Client) -> None:
    for content_type in ("", "image/gif", "text/html"):
        body = form([GOOD[0], ("left", content_type, b"x"), GOOD[2]])
        assert verdict(post_form(line, body)) == (415, "recheck", 900)


def test_random_damage_to_a_body_never_breaks_the_line(line: Client) -> None:
    rng = np.random.default_rng(5)
    whole = form([GOOD[0], ("left", PNG, encoded(DARK)), ("right", PNG, encoded(BRIGHT))])
    for _ in range(250):
        body = bytearray(whole)
        for at in rng.integers(0, len(body) if rng.random() < 0.5 else 500, int(rng.integers(1, 20))):
            body[at] = int(rng.integers(256))
        cut = bytes(body[: int(rng.integers(0, len(body)))]) if rng.random() < 0.3 else bytes(body)
        status, disposition, _ = verdict(post_form(line, cut, content_type=MULTIPART))
        assert status in (200, 409, 415, 422)
        assert disposition in ("recheck", "reject")


def test_body_above_the_limit_is_too_large(asgi_line: Client) -> None:
    limit = server_of(asgi_line).settings.max_image_mb
    response = post_form(asgi_line, WHOLE, headers={"content-length": str(int(limit * 1e6) + 1)})
    assert verdict(response) == (413, "recheck", 900)


def test_station_of_meta_counts_for_the_key(line: Client, stores: Stores) -> None:
    """Whatever station the query names."""
    response = post_views(line, {"left": encoded(DARK)}, query={"station": "s9"})
    assert response.json()["station"] == "s1"
