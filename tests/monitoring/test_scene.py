"""What keeps still is learnt, and a change of it moves the number that stands for it."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.features import GRID, SCENE
from monitoring.saved import StateDamaged, packed
from monitoring.scene import SMALLEST_STILL_SHARE, Scene
from tests.monitoring.line_light import (
    HEIGHT,
    SENSOR_NOISE,
    WIDTH,
    Change,
    Pixels,
    as_is,
    blurred,
    coloured,
    dimmed,
    grainy,
    moved,
    stream,
    veiled,
    weak_at,
)

IMAGES = 30


@cache
def scene() -> Scene:
    found = Scene.learn(stream(1, 40))
    assert found is not None
    return found


def mean_of(change: Change, part: float = 1.0) -> NDArray[np.float64]:
    """The mean measurement of images under a change; the light, parts and noise are the same under every change."""
    measured = [scene().measure(image) for image in stream(2, IMAGES, change, part=part)]
    return np.asarray(np.mean(measured, axis=0))


def shift_by(change: Change, part: float = 1.0) -> dict[str, float]:
    shift = mean_of(change, part) - mean_of(as_is)
    return dict(zip(SCENE.names, shift[: len(SCENE.features)].tolist(), strict=True))


def test_the_fixture_keeps_still_and_the_part_does_not() -> None:
    still, moving = scene().still, scene().moving
    assert still.shape == moving.shape == scene().picture.shape == (HEIGHT, WIDTH)
    # The part lies in rows 33 to 86 and columns 28 to 131; its middle is as bright wherever it lies.
    assert still[:25].all()
    assert still[95:].all()
    assert still[:, :18].all()
    assert not still[33:87, 28:132].any()
    assert moving[38:82, 33:127].mean() > 0.5
    assert not (still & moving).any()


def test_cells_are_of_the_fixture_or_of_the_part() -> None:
    found = scene()
    assert found.still_cells[:5].all()
    assert found.part_cells[9:19, 8:20].mean() > 0.5
    assert not (found.still_cells & found.part_cells).any()


def test_the_picture_and_its_noise_are_those_of_the_images() -> None:
    images = np.stack(stream(1, 40))
    luminance = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
    median = np.median(luminance, axis=0)
    assert np.abs(scene().picture - median)[scene().still].max() < 3
    # Of three channels that are noisy each by itself, weighted 0.3, 0.59 and 0.11, and rounded.
    assert scene().noise == pytest.approx(SENSOR_NOISE * np.hypot(0.3, np.hypot(0.59, 0.11)), rel=0.3)


def clouds(rng: np.random.Generator, size: int = 64) -> Pixels:
    """Another picture each time, as bright as the last one."""
    coarse = rng.uniform(-80, 80, (8, 8))
    picture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.repeat((picture - np.median(picture) + 125)[..., None], 3, axis=2).clip(10, 240).astype(np.uint8)


def rng_images(count: int, draw: Callable[[np.random.Generator], Any]) -> list[Pixels]:
    rng = np.random.default_rng(3)
    return [np.asarray(draw(rng), np.uint8) for _ in range(count)]


NO_SCENES: dict[str, Callable[[], list[Pixels]]] = {
    "all of it moves": lambda: stream(1, 30, kind="web"),
    "nothing is twice the same": lambda: rng_images(20, clouds),
    "it is black": lambda: rng_images(20, lambda rng: rng.integers(0, 4, (64, 64, 3))),
    "it is saturated": lambda: rng_images(20, lambda rng: rng.integers(251, 256, (64, 64, 3))),
}


@pytest.mark.parametrize("why", sorted(NO_SCENES))
def test_there_is_no_scene_where_nothing_keeps_still(why: str) -> None:
    assert Scene.learn(NO_SCENES[why]()) is None


def test_a_still_picture_without_structure_is_a_scene_that_measures_light_alone() -> None:
    found = Scene.learn([np.full((64, 80, 3), 90, np.uint8)] * 10)
    assert found is not None
    assert found.still.all()
    before = found.measure(np.full((64, 80, 3), 90, np.uint8))
    after = found.measure(np.full((64, 80, 3), 81, np.uint8))
    assert np.isfinite(after).all()
    assert after[0] - before[0] == pytest.approx(np.log(0.9), abs=1e-5)
    names = ("shift_x", "shift_y", "turn", "focus", "contrast")
    assert [after[SCENE.index(name)] for name in names] == pytest.approx([0.0] * 5, abs=1e-6)


def test_too_small_a_still_region_is_no_scene() -> None:
    images = rng_images(20, lambda rng: clouds(rng, 100))
    for image in images:
        image[:24, :24] = 90
    found = Scene.learn(images)
    assert found is not None
    # What moves reaches a little further than it was seen to.
    assert SMALLEST_STILL_SHARE <= found.still.mean() < 0.24**2
    for image, other in zip(images, rng_images(20, lambda rng: clouds(rng, 100)), strict=True):
        image[12:] = other[12:, ::-1]
    assert Scene.learn(images) is None


@pytest.mark.parametrize("edge_px", range(4, 11))
def test_what_keeps_still_at_the_very_edge_alone_is_no_scene_or_one_that_measures(edge_px: int) -> None:
    inner = slice(edge_px, -edge_px)
    framed = [image.copy() for image in stream(1, 20)]
    for image, cloth in zip(framed, stream(1, 20, kind="web"), strict=True):
        image[inner, inner] = cloth[inner, inner]
    found = Scene.learn(framed)
    assert found is None or np.isfinite(found.measure(framed[0])).all()
    assert (found is None) == (edge_px < 9)


def test_learning_changes_no_image_and_is_the_same_each_time() -> None:
    images = stream(1, 20)
    before = [image.copy() for image in images]
    first, second = Scene.learn(images), Scene.learn(images)
    assert first is not None
    assert second is not None
    assert first.state() == second.state()
    assert all((image == kept).all() for image, kept in zip(images, before, strict=True))


CHANGES: dict[str, tuple[Change, dict[str, float], set[str]]] = {
    # Every change, what it moves and by how much, and what may go along with it.
    "dimmer": (dimmed(0.1), {"level": np.log(0.9)}, set()),
    "brighter": (dimmed(-0.2), {"level": np.log(1.2)}, set()),
    "redder": (coloured(1.02, 1.0), {"red_green": np.log(1.02)}, {"level"}),
    "less blue": (coloured(1.0, 0.97), {"blue_green": np.log(0.97)}, {"level"}),
    "veiled": (veiled(0.05), {"contrast": -0.05}, {"part_level", "part_texture", "level"}),
    "to the right": (moved(0.2, 0.0), {"shift_x": 0.2}, {"noise"}),
    "up": (moved(0.0, -0.2), {"shift_y": -0.2}, {"noise"}),
    "both ways": (moved(-0.15, 0.1), {"shift_x": -0.15, "shift_y": 0.1}, {"noise"}),
    # Half the long side is 80 px, and so much does it move where it turns by so little.
    "turned": (moved(0.0, 0.0, 0.15), {"turn": 80 * np.radians(0.15)}, {"noise"}),
    "dark at the left": (weak_at("left", 0.1), {"level": np.log(0.95), "lean_x": 0.05 / 0.95}, {"part_level"}),
    # Half a long side from the middle is further than the bottom.
    "dark at the bottom": (
        weak_at("bottom", 0.1),
        {"level": np.log(0.95), "lean_y": -0.05 / 0.95 * WIDTH / HEIGHT},
        {"part_level"},
    ),
    # Of a blur of s px, half its square; what is sharper than a pixel is not seen to lose it all.
    "out of focus": (blurred(0.45), {"focus": -(0.45**2) / 2}, {"part_texture", "contrast"}),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_moves_its_own_number_and_no_other(name: str) -> None:
    change, expected, along = CHANGES[name]
    found = shift_by(change)
    for feature in SCENE.features:
        if feature.name in expected:
            # Edges as sharp as a pixel move more than the differences of neighbouring pixels tell.
            rel = 0.5 if feature.name in ("shift_x", "shift_y", "turn") else 0.3
            assert found[feature.name] == pytest.approx(expected[feature.name], rel=rel, abs=0.002), feature.name
        elif feature.name not in along:
            assert abs(found[feature.name]) < 0.7 * feature.least_jump, feature.name


def test_light_is_measured_to_a_thousandth() -> None:
    for change, expected in ((dimmed(0.1), np.log(0.9)), (dimmed(-0.2), np.log(1.2))):
        assert shift_by(change)["level"] == pytest.approx(expected, abs=1e-3)
    assert shift_by(weak_at("left", 0.1))["lean_x"] == pytest.approx(0.05 / 0.95, abs=3e-3)
    assert shift_by(coloured(1.02, 1.0))["red_green"] == pytest.approx(np.log(1.02), abs=1e-3)


def test_noise_is_measured_by_its_logarithm() -> None:
    found = shift_by(grainy(SENSOR_NOISE))
    # The noise is 1.4 times what it was; what is added to it for rounding and texture stays.
    assert 0.5 * np.log(2**0.5) < found["noise"] < 1.05 * np.log(2**0.5)
    for feature in SCENE.features:
        if feature.name not in ("noise", "part_texture"):
            assert abs(found[feature.name]) < 0.3 * feature.least_jump, feature.name


@pytest.mark.parametrize("width", range(148, WIDTH + 1, 2))
def test_what_the_fit_explains_is_no_noise_however_many_pixels_keep_still(width: int) -> None:
    """Noise is read at every second pixel of these: they must be those that the terms are read at."""
    cut = [np.ascontiguousarray(image[:, :width]) for image in stream(1, 12)]
    found = Scene.learn(cut)
    assert found is not None
    for change in (dimmed(0.2), veiled(0.3), weak_at("left", 0.2)):
        of_both = [
            np.mean([found.measure(np.ascontiguousarray(image[:, :width])) for image in stream(2, 8, of)], axis=0)
            for of in (as_is, change)
        ]
        assert abs(of_both[1] - of_both[0])[SCENE.index("noise")] < 0.1


def test_a_darker_part_moves_the_part_alone() -> None:
    found = shift_by(as_is, part=0.95)
    assert found["part_level"] == pytest.approx(np.log(0.95), abs=0.01)
    for feature in SCENE.features:
        if feature.still:
            assert abs(found[feature.name]) < 0.2 * feature.least_jump, feature.name


def test_cells_show_where_it_became_darker() -> None:
    shift = mean_of(weak_at("left", 0.2)) - mean_of(as_is)
    cells = shift[SCENE.cells("map")].reshape(GRID, GRID)
    assert cells[:5, 0].mean() < -0.05
    assert cells[:5, -1].mean() > 0.05
    assert mean_of(dimmed(0.2))[SCENE.cells("map")] == pytest.approx(mean_of(as_is)[SCENE.cells("map")], abs=0.02)


@pytest.mark.parametrize("count", [0, 255])
def test_every_number_is_finite_for_black_and_white(count: int) -> None:
    assert np.isfinite(scene().measure(np.full((HEIGHT, WIDTH, 3), count, np.uint8))).all()


def test_a_restored_scene_measures_identically() -> None:
    twin = Scene.from_state(json.loads(json.dumps(scene().state())))
    assert twin.state() == scene().state()
    for image in stream(3, 5) + stream(4, 5, moved(1.0, 0.5)):
        assert (twin.measure(image) == scene().measure(image)).all()


DAMAGES: dict[str, dict[str, object]] = {
    "no size": {"shape": [0, WIDTH]},
    "a size of nothing": {"shape": [HEIGHT]},
    "a size beyond any": {"shape": [10**6, 10**6]},
    "another size": {"shape": [HEIGHT, WIDTH + 1]},
    "no picture": {"picture": ""},
    "a picture of another kind": {"picture": packed(np.zeros((HEIGHT, WIDTH)))},
    "a picture that is no number": {"picture": packed(np.full((HEIGHT, WIDTH), np.nan, np.float32))},
    "nothing still but the edge": {
        "still": packed(np.packbits(np.pad(np.zeros((HEIGHT - 6, WIDTH - 6), bool), 3, constant_values=True)))
    },
    "nothing still": {"still": packed(np.zeros(HEIGHT * WIDTH // 8, np.uint8))},
    "a cut mask": {"moving": packed(np.zeros(HEIGHT * WIDTH // 8 - 1, np.uint8))},
    "no noise": {"noise": -1.0},
    "noise that is no number": {"noise": "1"},
    "no spread": {"mean_spread": packed(np.zeros((GRID, GRID)))},
    "a cut spread": {"detail_spread": packed(np.ones(GRID))},
    "text that is none": {"picture": "ä"},
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_state_is_refused(damage: str) -> None:
    with pytest.raises((StateDamaged, ValueError)) as refused:
        Scene.from_state({**scene().state(), **DAMAGES[damage]})
    assert isinstance(refused.value, StateDamaged) or "unpack" in str(refused.value)


@pytest.mark.parametrize("field", ["shape", "picture", "still", "moving", "noise", "mean_spread", "detail_spread"])
def test_a_state_without_one_of_its_fields_is_refused(field: str) -> None:
    state = scene().state()
    del state[field]
    with pytest.raises(KeyError):
        Scene.from_state(state)
