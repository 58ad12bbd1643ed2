"""What a camera's images teach, and when."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from monitoring.commissioning import Commissioning, FirstImages
from monitoring.features import FRAME, SCENE, Floats, Layout
from monitoring.optics import SMALLEST_COMMISSION
from monitoring.saved import StateDamaged
from tests.monitoring.line_light import HEIGHT, WIDTH, stream

LONG = 1000
"""The shortest commission that learns what every cell reaches by itself."""


@cache
def measurements(count: int, layout: Layout = FRAME, seed: int = 1) -> Floats:
    """Of a calm camera, (count, n); not to be changed."""
    scatter = np.random.default_rng(seed).standard_normal((count, layout.size))
    return np.asarray(3 * layout.widths("smallest_spread") * scatter)


def learning(commission: int, seen: Floats | None = None, layout: Layout = FRAME) -> Commissioning:
    """What has learnt from measurements, (images, n)."""
    found = Commissioning(layout, commission, 1.0)
    for measurement in [] if seen is None else seen:
        found.take(measurement)
    return found


def given(learning: Commissioning) -> list[Any]:
    """All that is given at a time, to be compared."""
    provisional, calibrated = learning.provisional(), learning.calibrated()
    return [provisional and provisional.state(), calibrated and (calibrated[0].state(), calibrated[1])]


@pytest.mark.parametrize(
    ("commission", "images"), [(SMALLEST_COMMISSION, 12), (120, 30), (799, 199), (LONG, 200), (8000, 200)]
)
def test_gross_changes_are_known_after_200_images_or_a_quarter_of_a_short_commission(
    commission: int, images: int
) -> None:
    seen = measurements(200)[:images]
    assert learning(commission, seen[:-1]).provisional() is None
    assert learning(commission, seen).provisional() is not None


@pytest.mark.parametrize("layout", [FRAME, SCENE], ids=lambda layout: layout.name)
def test_provisional_charts_notice_gross_changes_alone(layout: Layout) -> None:
    calm = measurements(300, layout)
    charts = learning(LONG, calm[:200], layout).provisional()
    assert charts is not None
    unread = np.zeros(len(layout.charts), np.int64)

    def worst(share: float) -> float:
        found = []
        for measurement in calm[200:]:
            charts.update(measurement + share * gross, unread, 0)
            found.append(charts.worst)
        return max(found)

    gross = np.zeros(layout.size)
    gross[0] = layout.features[0].gross_change
    assert worst(0.0) < 1
    assert worst(0.1) < 1
    assert worst(3.0) > 1


@pytest.mark.parametrize("layout", [FRAME, SCENE], ids=lambda layout: layout.name)
@pytest.mark.parametrize("commission", [SMALLEST_COMMISSION, SMALLEST_COMMISSION + 1, 77, 199, LONG - 1, LONG])
def test_charts_are_calibrated_with_the_last_image_of_commission(commission: int, layout: Layout) -> None:
    seen = measurements(LONG, layout)[:commission]
    found = learning(commission, seen[:-1], layout)
    assert found.calibrated() is None
    found.take(seen[-1])
    assert found.learnt == commission
    calibrated = found.calibrated()
    assert calibrated is not None
    charts, calibration = calibrated
    assert charts.layout is layout
    assert min(calibration.limits) >= 1


# Blocks of 8 images: from 184 of 300 on there are 14, from 600 of 1000 on 50, and the newer half of them checks.
@pytest.mark.parametrize(("commission", "images"), [(300, 7 * 8), (LONG, 25 * 8)])
def test_limits_are_checked_on_the_newer_half_of_the_images_that_follow_a_baseline(
    commission: int, images: int
) -> None:
    calibrated = learning(commission, measurements(commission)).calibrated()
    assert calibrated is not None
    assert calibrated[1].images == images


def test_the_false_alarm_rate_comes_with_an_interval_as_wide_as_the_check_was_short() -> None:
    short, longer = (learning(images, measurements(images)).calibrated() for images in (120, LONG))
    assert short is not None
    assert longer is not None
    for _, calibration in (short, longer):
        assert calibration.low <= calibration.rate_per_10k <= calibration.high
    assert longer[1].high < short[1].high


def restless(first: int, last: int) -> Floats:
    """One cell and one feature scatter more between two images than they did before."""
    seen = measurements(LONG).copy()
    seen[first:last, [0, CELL]] *= 6
    return seen


CELL = FRAME.cells("map").start + 300


def own(commission: int, seen: Floats) -> Floats:
    calibrated = learning(commission, seen[:commission]).calibrated()
    assert calibrated is not None
    return calibrated[0].own


def test_a_long_commission_widens_the_charts_of_what_a_cell_reaches_by_itself() -> None:
    found = own(LONG, restless(620, 700))
    assert found[0, CELL] > 1.2
    assert found[:, CELL + 1].tolist() == [1.0, 1.0]
    assert (found[:, : len(FRAME.features)] == 1).all()


@pytest.mark.parametrize("commission", [300, LONG - 1])
def test_a_short_commission_has_no_images_to_learn_that_from(commission: int) -> None:
    assert (own(commission, restless(0, LONG)) == 1).all()


def test_what_a_cell_reaches_later_is_no_longer_its_own() -> None:
    assert (own(LONG, restless(705, LONG)) == 1).all()


def test_a_gap_in_time_is_no_jump_while_limits_are_learnt() -> None:
    def limits(elsewhere: float, *, gap: bool) -> Floats:
        seen = measurements(300).copy()
        seen[240:] += elsewhere * FRAME.widths("least_jump")
        found = learning(300, seen[:240])
        if gap:
            found.relearn()
        for measurement in seen[240:]:
            found.take(measurement)
        calibrated = found.calibrated()
        assert calibrated is not None
        return np.array(calibrated[1].limits)

    assert limits(3.0, gap=True) == pytest.approx(limits(0.0, gap=True), rel=1e-6)
    assert (limits(3.0, gap=False) > limits(0.0, gap=False)).all()


TIMES = {"new": 0, "a block": 5, "blocks": 100, "provisional": 203, "reaching": 650, "rehearsing": 750, "last": 999}
"""Times of a long commission, by how many images it has seen."""


@cache
def _at(time: str) -> str:
    return json.dumps(learning(LONG, measurements(LONG)[: TIMES[time]]).state())


def state_at(time: str, **fields: Any) -> dict[str, Any]:
    """The state at a time, with other values in some of its fields."""
    return {**json.loads(_at(time)), **fields}


def restored(state: dict[str, Any]) -> Commissioning:
    return Commissioning.from_state(state, FRAME, LONG, 1.0)


@pytest.mark.parametrize("time", sorted(TIMES))
@pytest.mark.parametrize("way", ["json", "copy"])
def test_a_copy_goes_on_exactly_as_the_original(time: str, way: str) -> None:
    original = learning(LONG, measurements(LONG)[: TIMES[time]])
    twin = original.copy() if way == "copy" else restored(json.loads(json.dumps(original.state())))
    kept = json.dumps(original.state())
    assert json.dumps(twin.state()) == kept
    for measurement in measurements(LONG)[TIMES[time] :]:
        twin.take(measurement)
    assert json.dumps(original.state()) == kept
    for measurement in measurements(LONG)[TIMES[time] :]:
        original.take(measurement)
    assert twin.learnt == original.learnt == LONG
    assert given(twin) == given(original)
    assert twin.state() == original.state()


@pytest.mark.parametrize(
    "state",
    [
        lambda: state_at("blocks", pending=["AAAA"]),
        lambda: state_at("blocks", pending=[[1.0, [2.0]]]),
        lambda: state_at("blocks", pending=state_at("a block")["pending"] * 2),
        lambda: state_at("blocks", blocks=[["", ""]]),
        lambda: state_at("blocks", peak=[]),
        lambda: state_at("rehearsing", peaks=[[1.0]]),
        lambda: state_at("rehearsing", peaks=[["high"] * len(state_at("new")["peak"])]),
        lambda: state_at("reaching", reached="AAAA"),
        lambda: state_at("rehearsing", rehearsal={**state_at("rehearsing")["rehearsal"], "seen": -1}),
        lambda: state_at("rehearsing", rehearsal=scene_rehearsal()),
    ],
)
def test_a_memory_that_no_commission_leads_to_is_refused(state: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(StateDamaged):
        restored(state())


def scene_rehearsal() -> Any:
    return learning(120, measurements(80, SCENE), SCENE).state()["rehearsal"]


@pytest.mark.parametrize("field", sorted(learning(LONG).state()))
def test_a_state_without_one_of_its_fields_is_refused(field: str) -> None:
    state = state_at("reaching")
    del state[field]
    with pytest.raises(KeyError):
        restored(state)


@pytest.mark.parametrize(("commission", "enough"), [(SMALLEST_COMMISSION, 16), (120, 40), (8000, 64)])
def test_first_images_are_no_more_than_are_needed(commission: int, enough: int) -> None:
    first = FirstImages(commission)
    for n, image in enumerate(stream(1, 70), 1):
        assert first.take(image)
        assert len(first.overviews) == min(n, enough)
        assert first.are_enough == (n >= enough)


def test_a_first_image_of_another_size_is_not_taken() -> None:
    first = FirstImages(120)
    image = stream(1, 1)[0]
    assert first.take(image)
    assert [first.take(image[1:]) for _ in range(4)] == [True, True, True, False]
    assert len(first.overviews) == 1


def test_first_images_are_kept_apart_from_what_the_caller_does_with_them() -> None:
    first = FirstImages(120)
    mine = stream(1, 1)[0].copy()
    first.take(mine)
    mine[:] = 0
    assert first.overviews[0].tolist() == stream(1, 1)[0].tolist()


@pytest.mark.parametrize("images", [0, 1, 39, 40])
def test_first_images_come_back_as_they_were(images: int) -> None:
    first = FirstImages(120)
    for image in stream(1, images):
        first.take(image)
    twins = first.copy(), FirstImages.from_state(json.loads(json.dumps(first.state())), 120)
    for twin in twins:
        assert twin.state() == first.state()
        assert twin.are_enough == first.are_enough
        twin.take(stream(2, 1)[0])
    assert len(first.overviews) == images


@pytest.mark.parametrize(
    "state",
    [
        {"shape": [5, 5, 3], "images": ["AAAA"]},
        {"shape": [HEIGHT, WIDTH, 3], "images": [5]},
        {"shape": [-1, WIDTH, 3], "images": []},
        {"shape": [1.5, WIDTH, 3], "images": []},
    ],
)
def test_first_images_that_were_never_saved_are_refused(state: dict[str, Any]) -> None:
    with pytest.raises(StateDamaged):
        FirstImages.from_state({"odd": 0, **state}, 120)
