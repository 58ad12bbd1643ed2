"""The simulated cameras: the same pictures every time, and changes that do what they say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from simulation.light.cameras import CAMERAS
from simulation.light.changes import CHANGES, PART_CHANGES, RAMPS, Conditions
from simulation.light.stage import Stage
from simulation.light.stream import RAMP_IMAGES, Happening, Stream, UnknownName, stage
from simulation.light.textures import TEXTURES

Pictures = NDArray[np.float64]
COLOUR = "labels"
MONO = "castings"


def pictures(camera: str, images: int = 6, happening: Happening | None = None, start: int = 400) -> Pictures:
    return np.stack(list(Stream(camera, start, images, key=3, happening=happening))).astype(np.float64)


def light(camera: str, shown: Pictures) -> Pictures:
    """What the sensor got, up to a factor."""
    found: Pictures = (shown / 255) ** CAMERAS[camera].sensor.gamma
    return found


@pytest.mark.parametrize("camera", CAMERAS)
def test_pictures_have_the_camera_s_size_and_are_the_same_every_time(camera: str) -> None:
    plan = CAMERAS[camera]
    stream = Stream(camera, 10, 3, key=1, happening=Happening("sunlight", 1, onset=1))
    first = list(stream)
    assert len(stream) == len(first) == 3
    assert {(picture.shape, picture.dtype) for picture in first} == {((plan.height, plan.width, 3), np.dtype(np.uint8))}
    assert np.array_equal(Stream(camera, 12, 1, key=1, happening=Happening("sunlight", 1))[0], first[2])
    built_anew = Stage(plan, list(CAMERAS).index(camera)).picture(10, 1, Conditions())
    assert np.array_equal(built_anew, first[0])
    assert np.ptp(first[0]) > 20


@pytest.mark.parametrize("camera", CAMERAS)
def test_two_pictures_are_never_alike_and_a_mono_camera_has_one_colour(camera: str) -> None:
    first, second = pictures(camera, 2)
    assert np.mean(first != second) > 0.3
    assert np.array_equal(first[..., 0], first[..., 2]) == CAMERAS[camera].is_mono


def test_cameras_differ_in_all_that_matters() -> None:
    assert len(CAMERAS) >= 6
    assert len({(plan.width, plan.height) for plan in CAMERAS.values()}) >= 6
    assert {plan.is_mono for plan in CAMERAS.values()} == {True, False}
    assert {plan.part.outline if plan.part else None for plan in CAMERAS.values()} == {"disc", "ring", "box", None}
    assert len({plan.sensor.gamma for plan in CAMERAS.values()}) >= 3
    assert np.mean([picture.mean() for picture in pictures("dark_room")]) < 40


def test_something_keeps_still_before_every_camera_but_the_web() -> None:
    for camera in CAMERAS:
        quiet = [stage(camera).picture(image, 0, Conditions(noise=0.0)).mean(axis=-1) for image in range(12)]
        shown = np.stack(quiet)
        shown *= shown.mean() / shown.mean(axis=(1, 2), keepdims=True)
        still = float(np.mean(shown.std(axis=0) < 0.5 + 0.03 * shown.mean(axis=0)))
        assert (still > 0.1) == (camera != "steel_web"), (camera, still)


def test_light_wanders_by_itself_by_little() -> None:
    level = np.array([picture.mean() for picture in pictures(COLOUR, 60)])
    assert 0.0005 < level.std() / level.mean() < 0.03


@pytest.mark.parametrize("name", [*CHANGES, "new_batch"])
def test_nothing_differs_before_the_onset_and_more_by_a_larger_amount(name: str) -> None:
    usual = pictures(COLOUR, 12)
    sizes = []
    for severity in range(3):
        shown = pictures(COLOUR, 12, Happening(name, severity, onset=6))
        assert np.array_equal(shown[:6], usual[:6])
        sizes.append(np.abs(shown[6:] - usual[6:]).mean())
    assert 0 < sizes[0] < sizes[1] < sizes[2]


def test_more_parts_are_defective() -> None:
    usual, *more = (
        pictures(MONO, 60, happening) for happening in (None, *(Happening("defect_rate", n) for n in range(3)))
    )
    others = [int((shown != usual).any(axis=(1, 2, 3)).sum()) for shown in more]
    assert others[0] <= others[1] < others[2]
    for share, count in zip(PART_CHANGES["defect_rate"].amounts, others, strict=True):
        assert abs(count - 60 * share) < 4 * (60 * share) ** 0.5


@pytest.mark.parametrize("camera", [COLOUR, MONO])
def test_a_gain_and_a_dimmed_lamp_change_the_light_by_as_much(camera: str) -> None:
    usual = light(camera, pictures(camera)).mean()
    for severity, amount in enumerate(CHANGES["exposure"].amounts[:2]):
        brighter = light(camera, pictures(camera, happening=Happening("exposure", severity)))
        assert brighter.mean() / usual == pytest.approx(1 + amount, rel=0.02)
    plan = CAMERAS[camera].light
    lamps = (plan.left + plan.right) / (plan.left + plan.right + plan.ambient)
    dimmed = light(camera, pictures(camera, happening=Happening("lamp_dim", 2)))
    assert dimmed.mean() / usual == pytest.approx(1 - lamps * CHANGES["lamp_dim"].amounts[2], rel=0.03)


def test_a_lamp_that_fails_leaves_its_own_side_darker() -> None:
    usual = light("brake_discs", pictures("brake_discs")).mean(axis=(0, 1, 3))
    sides = set()
    for place in range(6):
        failed = light("brake_discs", pictures("brake_discs", happening=Happening("lamp_off", 2, place=place)))
        left_over = failed.mean(axis=(0, 1, 3)) / usual
        sides.add(bool(left_over[:40].mean() < left_over[-40:].mean()))
    assert sides == {True, False}


def test_colour_turns_without_a_change_of_level() -> None:
    usual = light(COLOUR, pictures(COLOUR)).mean(axis=(0, 1, 2))
    turned = light(COLOUR, pictures(COLOUR, happening=Happening("colour_temp", 2))).mean(axis=(0, 1, 2)) / usual
    assert abs(np.log(turned[0] / turned[2])) > 0.2
    assert turned[1] == pytest.approx(1, abs=0.03)


def test_a_bump_moves_the_picture_and_a_blur_softens_it() -> None:
    usual, blurred, moved = (
        pictures("brake_discs", happening=happening).mean(axis=(0, 3))
        for happening in (None, Happening("defocus", 2), Happening("bump", 2))
    )
    fine = [np.abs(np.diff(picture, axis=0)).mean() for picture in (usual, blurred)]
    assert fine[1] < 0.8 * fine[0]
    assert np.abs(moved - usual).mean() > 3


def test_flicker_and_noise_scatter_more_without_a_change_of_level() -> None:
    usual, flickering, noisy = (
        pictures(MONO, 40, happening) for happening in (None, Happening("flicker", 2), Happening("noise", 2))
    )
    assert flickering.mean(axis=(1, 2, 3)).std() > 3 * usual.mean(axis=(1, 2, 3)).std()
    assert noisy.mean() == pytest.approx(usual.mean(), rel=0.05)
    assert noisy.std(axis=0).mean() > 1.8 * usual.std(axis=0).mean()


def test_what_comes_slowly_grows_over_its_ramp() -> None:
    for name in RAMPS:
        happening = Happening(name, 1, onset=10, slowly=True)
        amounts = [happening.amount(image) for image in (9, 10, 10 + RAMP_IMAGES // 2, 10 + RAMP_IMAGES, 5000)]
        assert amounts[0] == 0 < amounts[1] < amounts[2] < amounts[3] == amounts[4] == CHANGES[name].amounts[1]


def test_a_wrong_name_or_image_is_refused_with_a_remedy() -> None:
    with pytest.raises(UnknownName) as unknown:
        Happening("earthquake")
    assert "lamp_dim" in unknown.value.remedy
    with pytest.raises(UnknownName) as unknown:
        stage("nowhere")
    assert "steel_web" in unknown.value.remedy
    with pytest.raises(IndexError):
        Stream(MONO, 0, 3)[3]


@pytest.mark.parametrize("name", TEXTURES)
def test_a_texture_is_even_and_of_unit_deviation(name: str) -> None:
    texture = TEXTURES[name](np.random.default_rng(0), 90, 130)
    assert (texture.shape, texture.dtype) == ((90, 130), np.dtype(np.float32))
    assert abs(float(texture.mean())) < 0.1
    assert float(texture.std()) == pytest.approx(1, abs=0.15)
    assert float(np.abs(texture).max()) <= 3
