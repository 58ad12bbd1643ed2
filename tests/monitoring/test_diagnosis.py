"""Causes are named, with the side, the place and the motion that a mechanic needs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from monitoring.diagnosis import CAUSES, Change, Diagnosis, diagnose, may_have_moved
from monitoring.features import FRAME, GRID, SCENE, Layout
from monitoring.registration import Motion
from monitoring.saved import StateDamaged
from tests.monitoring import line_light
from tests.monitoring.commissioned import told
from tests.monitoring.line_light import (
    blurred,
    coloured,
    dimmed,
    fading,
    flickering,
    grainy,
    moved,
    shone_on,
    soiled,
    veiled,
    weak_at,
)

CELL = 1 / GRID
SEEDS = (7, 8, 9)
ON_A_SCENE: dict[str, tuple[line_light.Change, str]] = {
    "a little less light": (dimmed(0.04), "lamp_dim"),
    "less light": (dimmed(0.15), "lamp_dim"),
    "more light": (dimmed(-0.15), "exposure"),
    "weak at the left": (weak_at("left", 0.3), "lamp_off"),
    "light that falls in": (shone_on(0.8, 0.2, 0.2), "sunlight"),
    "warmer light": (coloured(1.03, 0.97), "colour_temp"),
    "less blue": (coloured(1.0, 0.98), "colour_temp"),
    "a spot on the fixture": (soiled(0.8, 0.85, 7, 0.2), "soiling"),
    "a spot over the part": (soiled(0.5, 0.5, 10, 0.4), "soiling"),
    "a shift": (moved(2.0, -1.3), "bump"),
    "a small shift": (moved(0.4, 0.3), "bump"),
    "a turn": (moved(0.0, 0.0, 0.6), "bump"),
    "out of focus": (blurred(1.2), "defocus"),
    "a little out of focus": (blurred(0.6), "defocus"),
    "a veil": (veiled(0.2), "haze"),
    "a thin veil": (veiled(0.08), "haze"),
    "flicker": (flickering(0.02), "flicker"),
    "noise": (grainy(3.0), "noise"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", sorted(ON_A_SCENE))
def test_a_cause_is_named_where_a_fixture_keeps_still(change: str, seed: int) -> None:
    happened, cause = ON_A_SCENE[change]
    alarm = told(happened, seed=seed)
    assert alarm.cause == cause
    assert alarm.diagnosis.size > 0


@pytest.mark.parametrize("part", [0.9, 1.1])
def test_parts_that_look_otherwise_are_a_new_batch(part: float) -> None:
    assert told(part=part).cause == "new_batch"


def test_every_cause_that_light_has_is_tried() -> None:
    elsewhere = {"new_batch", "defect_rate", "other"}
    assert {cause for _, cause in ON_A_SCENE.values()} == set(CAUSES) - elsewhere


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_side_of_a_failing_lamp_is_told(side: str, share: float, seed: int) -> None:
    diagnosis = told(weak_at(side, share), seed=seed).diagnosis
    assert (diagnosis.cause, diagnosis.side) == ("lamp_off", side)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("x", "y", "radius_px", "opacity"),
    [
        (0.1, 0.15, 6, 0.4),
        (0.8, 0.85, 6, 0.2),
        (0.92, 0.3, 6, 0.4),
        (0.8, 0.15, 6, 0.3),
        (0.5, 0.5, 6, 0.4),
        (0.5, 0.5, 9, 0.2),
        (0.35, 0.9, 6, 0.4),
    ],
)
def test_soiling_is_placed_within_a_cell(x: float, y: float, radius_px: float, opacity: float, seed: int) -> None:
    diagnosis = told(soiled(x, y, radius_px, opacity), seed=seed).diagnosis
    assert diagnosis.cause == "soiling"
    assert diagnosis.x == pytest.approx(x, abs=CELL)
    assert diagnosis.y == pytest.approx(y, abs=CELL)


@pytest.mark.parametrize("opacity", [0.05, 0.2])
@pytest.mark.parametrize("radius_px", [6, 9, 13])
@pytest.mark.parametrize(("x", "y"), [(0.05, 0.5), (0.1, 0.15), (0.35, 0.9), (0.5, 0.1), (0.8, 0.85), (0.92, 0.3)])
def test_soiling_is_not_taken_for_a_lamp(x: float, y: float, radius_px: float, opacity: float) -> None:
    assert told(soiled(x, y, radius_px, opacity)).cause == "soiling"


@pytest.mark.parametrize(("radius_px", "opacity"), [(9, 0.2), (9, 0.4), (13, 0.2)])
@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (0.65, 0.45)])
def test_soiling_over_the_part_is_not_taken_for_a_new_batch(
    x: float, y: float, radius_px: float, opacity: float
) -> None:
    assert told(soiled(x, y, radius_px, opacity)).cause == "soiling"


def smeared(x: float, y: float, radius_px: float, opacity: float) -> line_light.Change:
    """Something bright on the lens, which covers what is behind it."""
    covered = soiled(x, y, radius_px, opacity)
    return lambda picture, index: covered(picture, index) + 180 * (1 - covered(np.ones_like(picture), index))


@pytest.mark.parametrize(("radius_px", "opacity"), [(7, 0.3), (9, 0.3), (11, 0.4)])
@pytest.mark.parametrize(("x", "y"), [(0.1, 0.15), (0.35, 0.9), (0.8, 0.85)])
def test_something_bright_on_the_lens_hides_the_texture_and_light_does_not(
    x: float, y: float, radius_px: float, opacity: float
) -> None:
    assert told(smeared(x, y, radius_px, opacity)).cause == "soiling"
    assert told(soiled(x, y, radius_px, -opacity)).cause == "sunlight"


@pytest.mark.parametrize(("share", "images"), [(0.2, 200), (0.1, 200), (0.3, 100)])
def test_a_defective_part_is_not_taken_for_soiling(share: float, images: int) -> None:
    """One part in thirty is: some of these lamps fade while one is among the twelve images that tell."""
    fades = {told(fading(share, images), seed=seed, images=130 if share < 0.2 else 60).cause for seed in range(1, 13)}
    assert fades == {"lamp_dim"}


def test_light_that_falls_in_is_placed_where_it_is_brightest() -> None:
    diagnosis = told(shone_on(0.8, 0.2, 0.2)).diagnosis
    assert diagnosis.x == pytest.approx(0.8, abs=0.15)
    assert diagnosis.y == pytest.approx(0.2, abs=0.15)


@pytest.mark.parametrize(("right", "down", "turn"), [(2.0, -1.3, 0.0), (-3.5, 1.9, 0.4), (0.5, 0.5, 0.0), (0, 0, 1.0)])
def test_how_far_a_camera_moved_is_measured(right: float, down: float, turn: float) -> None:
    motion = told(moved(right, down, turn)).diagnosis.motion
    assert motion is not None
    assert motion.right_px == pytest.approx(right, abs=0.2)
    assert motion.down_px == pytest.approx(down, abs=0.2)
    assert motion.turn_degrees == pytest.approx(turn, abs=0.1)


@pytest.mark.parametrize("change", sorted(set(ON_A_SCENE) - {"a shift", "a small shift", "a turn"}))
def test_no_motion_is_told_where_nothing_moved(change: str) -> None:
    assert told(ON_A_SCENE[change][0]).diagnosis.motion is None


def test_the_heat_map_shows_where_the_light_went() -> None:
    dim = told(dimmed(0.15)).heat_map
    assert dim.shape == (GRID, GRID)
    assert dim.dtype == np.float32
    assert np.median(dim) == pytest.approx(np.log(0.85), abs=0.02)
    left = told(weak_at("left", 0.3)).heat_map
    assert left[:5, 0].mean() == pytest.approx(np.log(0.7), abs=0.04)
    assert left[:5, -1].mean() == pytest.approx(0.0, abs=0.04)
    spot = told(soiled(0.8, 0.85, 7, 0.2)).heat_map
    row, column = np.unravel_index(int(spot.argmin()), spot.shape)
    assert (column + 0.5) / GRID == pytest.approx(0.8, abs=CELL)
    assert (row + 0.5) / GRID == pytest.approx(0.85, abs=CELL)


IN_A_WHOLE_FRAME: dict[str, tuple[line_light.Change, str]] = {
    "less light": (dimmed(0.15), "lamp_dim"),
    "more light": (dimmed(-0.15), "exposure"),
    "warmer light": (coloured(1.05, 0.95), "colour_temp"),
    "out of focus": (blurred(1.5), "defocus"),
    "a veil": (veiled(0.2), "haze"),
    "flicker": (flickering(0.03), "flicker"),
    "noise": (grainy(4.0), "noise"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["web", "sizes"])
@pytest.mark.parametrize("change", sorted(IN_A_WHOLE_FRAME))
def test_a_cause_is_named_where_nothing_keeps_still(change: str, kind: line_light.Kind, seed: int) -> None:
    happened, cause = IN_A_WHOLE_FRAME[change]
    assert told(happened, kind=kind, seed=seed).cause == cause


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_the_side_of_a_failing_lamp_shows_in_a_whole_frame_too(side: str) -> None:
    diagnosis = told(weak_at(side, 0.35), kind="sizes").diagnosis
    assert (diagnosis.cause, diagnosis.side) == ("lamp_off", side)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.1, 0.2])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_the_side_of_a_failing_lamp_shows_on_a_web(side: str, share: float, seed: int) -> None:
    diagnosis = told(weak_at(side, share), kind="web", seed=seed).diagnosis
    assert (diagnosis.cause, diagnosis.side) == ("lamp_off", side)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("x", "y", "share"), [(0.7, 0.3, 0.2), (0.2, 0.8, 0.4), (0.5, 0.5, 0.3), (0.8, 0.2, 0.6)])
def test_light_that_falls_on_a_web_is_uneven_where_a_longer_exposure_is_not(
    x: float, y: float, share: float, seed: int
) -> None:
    assert told(shone_on(x, y, share), kind="web", seed=seed).cause == "sunlight"


@pytest.mark.parametrize(("x", "y"), [(0.8, 0.8), (0.5, 0.5)])
def test_soiling_is_placed_in_a_whole_frame_too(x: float, y: float) -> None:
    diagnosis = told(soiled(x, y, 8, 0.6), kind="sizes").diagnosis
    assert diagnosis.cause == "soiling"
    assert diagnosis.x == pytest.approx(x, abs=CELL)
    assert diagnosis.y == pytest.approx(y, abs=CELL)


def change_of(layout: Layout = SCENE, chart: str = "level.jump", images: int = 12, **shifts: float) -> Change:
    """A change of features by so many units of the smallest jump that is worth an alarm, and of nothing else."""
    shift = np.zeros(layout.size)
    for name, units in shifts.items():
        shift[layout.index(name)] = units * layout.features[layout.index(name)].least_jump
    spread = layout.widths("smallest_spread")
    levels = (float(shift[0]),) * images
    return Change(layout, shift, spread, np.zeros(layout.size), levels, chart)


def change_of_cells(height: float, *places: tuple[int, int], layout: Layout = SCENE, level: float = 0.0) -> Change:
    """Of the level by so many units, and of cells of the map by so much of their luminance's logarithm."""
    change = change_of(layout, level=level)
    cells = change.shift[layout.cells("map")].reshape(GRID, GRID)
    for row, column in places:
        cells[row, column] = height
    return change


DISC = [(row, column) for row in range(4, 9) for column in range(16, 21) if (row - 6) ** 2 + (column - 18) ** 2 < 6]
RIM = [(row, column) for row in range(GRID) for column in range(GRID) if max(abs(row - 14), abs(column - 14)) == 7]


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
@pytest.mark.parametrize("height", [-0.2, 0.2])
def test_a_spot_is_round_and_makes_most_of_the_change(height: float, layout: Layout) -> None:
    assert change_of_cells(height, *DISC, layout=layout).spot() == pytest.approx((18.5 / GRID, 6.5 / GRID))
    assert change_of_cells(height, *DISC, layout=layout, level=10.0).spot() is None
    assert change_of_cells(height, *DISC, *[(20, column) for column in range(4, 24)], layout=layout).spot() is None
    assert change_of_cells(height, *RIM, layout=layout).spot() is None
    assert change_of_cells(height / 50, *DISC, layout=layout).spot() is None


def test_the_larger_a_bright_spot_is_the_less_it_is_one() -> None:
    wide = [(row, column) for row in range(9, 16) for column in range(9, 16)]
    assert change_of_cells(-0.2, *wide).spot() is not None
    assert change_of_cells(0.2, *wide).spot() is None


def test_a_bright_spot_in_a_whole_frame_is_one_where_noise_would_not_hide_more_of_it() -> None:
    bright = change_of_cells(0.2, *DISC, layout=FRAME)
    bright.shift[FRAME.index("contrast")] = 0.05
    assert bright.spot() is not None
    bright.spread[FRAME.cells("map")] = 0.05
    assert bright.spot() is None
    bright.shift[FRAME.index("contrast")] = -0.05
    assert bright.spot() is not None


def test_one_cell_is_a_spot_only_where_there_is_nothing_else() -> None:
    assert change_of_cells(-0.2, (6, 18), level=1.0).spot() is not None
    assert change_of_cells(-0.2, (6, 18), level=1.2).spot() is None
    assert change_of_cells(-0.2, (6, 18), (6, 19), level=1.2).spot() is not None


def test_a_lamp_that_fades_is_even_if_it_leans_by_a_small_share() -> None:
    """A slow change's smallest lean worth an alarm is a tenth of its smallest level."""
    for lean, cause in ((-0.1, "lamp_dim"), (-0.4, "lamp_off")):
        change = change_of(chart="level.drift", level=-1.0)
        change.shift[SCENE.index("lean_x")] = -lean * change.shift[0]
        assert diagnose(change).cause == cause


def test_a_veil_over_a_whole_frame_takes_colour_and_evens_the_light_out() -> None:
    assert diagnose(change_of(FRAME, "red_green.band", red_green=2.0)).cause == "colour_temp"
    assert diagnose(change_of(FRAME, "red_green.band", red_green=2.0, contrast=-1.0)).cause == "haze"
    assert diagnose(change_of(FRAME, "focus.band", focus=2.0)).cause == "new_batch"
    assert diagnose(change_of(FRAME, "focus.band", focus=2.0, contrast=-1.0)).cause == "haze"
    for contrast, cause in ((1.0, "sunlight"), (-4.0, "haze")):
        change = change_of(FRAME, "contrast.band", level=1.0, contrast=contrast)
        change.shift[FRAME.cells("map")] = np.repeat(np.linspace(-0.03, 0.03, GRID), GRID)
        assert diagnose(change).cause == cause


@pytest.mark.parametrize(
    ("chart", "down", "up"),
    [
        ("level", "lamp_dim", "exposure"),
        ("contrast", "haze", "new_batch"),
        ("focus", "defocus", "new_batch"),
        ("noise", "new_batch", "noise"),
    ],
)
def test_a_whole_frame_that_shows_nothing_certain_is_told_by_the_way_its_chart_went(
    chart: str, down: str, up: str
) -> None:
    for units, cause in ((-0.01, down), (0.01, up)):
        change = change_of(FRAME, f"{chart}.band")
        change.shift[FRAME.index(chart)] = units * FRAME.features[FRAME.index(chart)].least_jump
        found = diagnose(change)
        assert (found.cause, found.size) == (cause, 0)


@pytest.mark.parametrize("layout", [SCENE, FRAME], ids=["scene", "frame"])
def test_every_chart_has_a_cause_even_where_chance_explains_all(layout: Layout) -> None:
    for chart in layout.charts:
        found = diagnose(change_of(layout, chart, images=1))
        assert found.cause in CAUSES
        assert found.cause != "other"
        assert found.size == 0
        assert (found.side, found.x, found.y, found.motion) == (None, None, None, None)


def test_what_the_light_does_anyway_explains_nothing() -> None:
    less = change_of(level=-1.0, contrast=-3.0)
    assert diagnose(less).cause == "haze"
    band = np.zeros(SCENE.size)
    band[SCENE.index("contrast")] = 0.04
    assert diagnose(replace(less, band=band)).cause == "lamp_dim"


def test_chance_gets_no_say() -> None:
    found = change_of(level=-2.0, noise=0.4)
    scattered = np.array(found.spread)
    scattered[SCENE.index("noise")] = 1.0
    assert set(replace(found, spread=scattered).sizes()) == set(SCENE.names)
    assert replace(found, spread=scattered).sizes()["noise"] == 0
    assert found.sizes()["noise"] == pytest.approx(0.4)


def test_a_motion_is_a_bump_whatever_else_shows() -> None:
    motion = Motion(2.0, 1.0, 0.0)
    found = diagnose(replace(change_of(level=-9.0, focus=-20.0), motion=motion))
    assert (found.cause, found.motion) == ("bump", motion)


def test_only_a_picture_whose_edges_differ_may_have_moved() -> None:
    assert may_have_moved(change_of(shift_x=3.0, noise=4.0))
    assert may_have_moved(change_of(focus=-5.0, noise=4.0))
    assert not may_have_moved(change_of(level=-9.0, lean_x=9.0))
    assert not may_have_moved(change_of(noise=4.0))
    assert not may_have_moved(change_of(FRAME, focus=-5.0, noise=4.0))


def test_flicker_is_jumps_about_where_the_level_was() -> None:
    found = change_of(chart="level.jump")
    spread = float(found.spread[0])
    jumps = tuple(10 * spread * sign for sign in (1, -1, -1, 1, 1, 1, -1, -1))
    assert replace(found, levels=jumps).flickers()
    assert not replace(found, levels=tuple(level - 0.1 for level in jumps)).flickers()
    assert not replace(found, levels=tuple(level / 20 for level in jumps)).flickers()
    # Of so few images the chart that alarmed knows best.
    assert replace(found, levels=jumps[:2], chart="level.flicker").flickers()
    assert not replace(found, levels=jumps[:2]).flickers()


FOUND = Diagnosis("bump", np.random.default_rng(0).random((GRID, GRID)).astype(np.float32), 3, 1 / 3)
PLACED = replace(FOUND, cause="lamp_off", side="left", x=0.1, y=0.7, motion=Motion(0.1, 2.0, -1.0))


@pytest.mark.parametrize("diagnosis", [FOUND, PLACED], ids=["bare", "with all"])
def test_a_state_comes_back_exactly(diagnosis: Diagnosis) -> None:
    for state in (diagnosis.state(), json.loads(json.dumps(diagnosis.state()))):
        twin = Diagnosis.from_state(state)
        assert (twin.heat_map == diagnosis.heat_map).all()
        assert twin.state() == diagnosis.state()
        assert twin.motion == diagnosis.motion


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cause", "gremlins"),
        ("cause", None),
        ("heat_map", ""),
        ("images", "three"),
        ("size", float("nan")),
        ("x", "left"),
        ("y", float("inf")),
        ("side", "inside"),
        ("motion", {"right_px": 1.0, "down_px": 1.0, "turn_degrees": None}),
    ],
)
def test_a_damaged_state_is_refused(field: str, value: object) -> None:
    with pytest.raises(StateDamaged):
        Diagnosis.from_state({**PLACED.state(), field: value})


@pytest.mark.parametrize("change", ["a spot on the fixture", "light that falls in", "a shift", "weak at the left"])
def test_what_was_found_on_a_line_comes_back_exactly(change: str) -> None:
    diagnosis = told(ON_A_SCENE[change][0]).diagnosis
    assert Diagnosis.from_state(diagnosis.state()).state() == diagnosis.state()
