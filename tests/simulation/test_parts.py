import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from simulation.flaws import FLAWS
from simulation.parts import (
    CLASSES,
    Light,
    PartRenderer,
    UnknownDefectError,
    draw_schedule,
    encode_jpeg,
)

DAYLIGHT = Light()


@pytest.fixture(scope="module")
def renderer() -> PartRenderer:
    return PartRenderer(7)


def difference_to_good_parts(
    renderer: PartRenderer, seed: int, defect: str, size: float
) -> tuple[NDArray[np.float64], tuple[int, int, int, int]]:
    """Absolute difference (H, W) of a flawed part to the mean of some good ones, and the flaw's region."""
    flawed = renderer.render(np.random.default_rng(seed), defect, size, DAYLIGHT)
    good = [renderer.render(np.random.default_rng(1000 + k), None, 0, DAYLIGHT).image.astype(float) for k in range(6)]
    assert flawed.region is not None
    return np.abs(flawed.image.astype(float) - np.mean(good, axis=0)).mean(axis=-1), flawed.region


@pytest.mark.parametrize("defect", [None, *FLAWS])
def test_same_seed_gives_the_same_bytes(defect: str | None) -> None:
    first, second = (
        encode_jpeg(PartRenderer(3).render(np.random.default_rng(5), defect, 0.4, DAYLIGHT, lot=2).image)
        for _ in range(2)
    )
    assert first == second


def test_rendering_leaves_the_renderer_unchanged(renderer: PartRenderer) -> None:
    before = renderer.render(np.random.default_rng(1), None, 0, DAYLIGHT).image
    for defect in FLAWS:
        renderer.render(np.random.default_rng(2), defect, 1.0, DAYLIGHT)
    assert np.array_equal(before, renderer.render(np.random.default_rng(1), None, 0, DAYLIGHT).image)


@pytest.mark.parametrize(("width", "height"), [(480, 360), (320, 240), (640, 640)])
def test_picture_has_the_asked_size_and_type(width: int, height: int) -> None:
    part = PartRenderer(1, width, height).render(np.random.default_rng(0), "dent", 0.5, DAYLIGHT)
    assert part.image.shape == (height, width, 3)
    assert part.image.dtype == np.uint8
    assert part.truth == "dent"


def test_good_part_has_no_region_and_no_size(renderer: PartRenderer) -> None:
    part = renderer.render(np.random.default_rng(0), None, 0.7, DAYLIGHT)
    assert (part.truth, part.region, part.size) == ("ok", None, 0.0)


@pytest.mark.parametrize("defect", FLAWS)
@pytest.mark.parametrize("size", [0.0, 0.3, 1.0])
def test_region_lies_in_the_picture(renderer: PartRenderer, defect: str, size: float) -> None:
    for seed in range(25):
        part = renderer.render(np.random.default_rng(seed), defect, size, DAYLIGHT)
        assert part.region is not None
        x, y, w, h = part.region
        assert x >= 0
        assert y >= 0
        assert w >= 1
        assert h >= 1
        assert x + w <= 480
        assert y + h <= 360


@pytest.mark.parametrize("defect", FLAWS)
def test_gross_defect_stands_out_inside_its_region(renderer: PartRenderer, defect: str) -> None:
    inside, elsewhere = [], []
    for seed in range(6):
        difference, (x, y, w, h) = difference_to_good_parts(renderer, seed, defect, 0.9)
        inside.append(np.quantile(difference[y : y + h, x : x + w], 0.9))
        elsewhere.append(np.quantile(difference, 0.9))
    assert np.mean(inside) > 1.5 * np.mean(elsewhere)


@pytest.mark.parametrize("defect", FLAWS)
def test_region_grows_with_size(renderer: PartRenderer, defect: str) -> None:
    def mean_diagonal(size: float) -> float:
        regions = [renderer.render(np.random.default_rng(seed), defect, size, DAYLIGHT).region for seed in range(20)]
        return float(np.mean([np.hypot(region[2], region[3]) for region in regions if region is not None]))

    assert mean_diagonal(0.05) < mean_diagonal(0.4) < mean_diagonal(0.9)


def test_fixture_stands_still_while_the_part_moves(renderer: PartRenderer) -> None:
    stack = np.stack(
        [renderer.render(np.random.default_rng(seed), None, 0, DAYLIGHT).image.astype(float) for seed in range(12)]
    )
    deviation = stack.std(axis=0).mean(axis=-1)
    # outside the part only noise is left; on its outline the jitter shows
    assert np.concatenate([deviation[:40], deviation[-40:]]).max() < 5
    assert deviation[80:280].max() > 15


def test_dimmed_lamp_darkens_its_own_side_more(renderer: PartRenderer) -> None:
    full = renderer.render(np.random.default_rng(4), None, 0, DAYLIGHT).image.astype(float)
    dim = renderer.render(np.random.default_rng(4), None, 0, Light(left=0.5)).image.astype(float)
    ratio = dim.mean(axis=(0, 2)) / full.mean(axis=(0, 2))
    assert ratio[:100].mean() < ratio[-100:].mean() < 1


def test_level_scales_the_picture(renderer: PartRenderer) -> None:
    full = renderer.render(np.random.default_rng(4), None, 0, DAYLIGHT).image.mean()
    dim = renderer.render(np.random.default_rng(4), None, 0, Light(level=0.5)).image.mean()
    assert dim == pytest.approx(full / 2, rel=0.02)


def test_warm_light_raises_red_against_blue(renderer: PartRenderer) -> None:
    neutral = renderer.render(np.random.default_rng(4), None, 0, DAYLIGHT).image.mean(axis=(0, 1))
    warm = renderer.render(np.random.default_rng(4), None, 0, Light(colour=0.1)).image.mean(axis=(0, 1))
    assert warm[0] / neutral[0] == pytest.approx(1.1, rel=0.02)
    assert warm[2] / neutral[2] == pytest.approx(0.9, rel=0.02)


def test_lots_differ_in_colour_and_parts_of_a_lot_do_not(renderer: PartRenderer) -> None:
    def face(seed: int, lot: int) -> float:
        image = renderer.render(np.random.default_rng(seed), None, 0, DAYLIGHT, lot=lot).image
        return float(image[225:265, 150:260].mean())

    within = [face(seed, 0) for seed in range(8)]
    between = [face(0, lot) for lot in range(8)]
    assert np.std(between) > 3 * np.std(within)


def test_noise_grows_with_the_light(renderer: PartRenderer) -> None:
    stack = np.stack(
        [renderer.render(np.random.default_rng(seed), None, 0, DAYLIGHT).image.astype(float) for seed in range(24)]
    )[:, :40, :, 1]
    level, noise = stack.mean(axis=0), stack.std(axis=0, ddof=1)
    dark, bright = level < np.quantile(level, 0.2), level > np.quantile(level, 0.8)
    assert noise[bright].mean() > 1.15 * noise[dark].mean()


def test_unknown_defect_is_refused(renderer: PartRenderer) -> None:
    with pytest.raises(UnknownDefectError) as refused:
        renderer.render(np.random.default_rng(0), "rust", 0.5, DAYLIGHT)
    assert refused.value.defect == "rust"
    assert "short_shot" in refused.value.remedy


def test_jpeg_round_trip_keeps_the_picture(renderer: PartRenderer) -> None:
    image = renderer.render(np.random.default_rng(0), None, 0, DAYLIGHT).image
    back = simplejpeg.decode_jpeg(encode_jpeg(image, quality=95))
    assert np.abs(back.astype(int) - image.astype(int)).mean() < 3
    assert len(encode_jpeg(image, quality=60)) < len(encode_jpeg(image, quality=95))


def test_schedule_has_the_asked_rate_lots_and_distinct_seeds() -> None:
    parts = list(draw_schedule(np.random.default_rng(0), 4000, 0.1, lot_size=500))
    defective = [part for part in parts if part.defect is not None]
    assert len(defective) / len(parts) == pytest.approx(0.1, abs=0.02)
    assert {part.lot for part in parts} == set(range(8))
    assert len({part.seed for part in parts}) == len(parts)
    assert {part.truth for part in parts} == set(CLASSES)
    assert all(part.size == 0 for part in parts if part.defect is None)
    sizes = np.array([part.size for part in defective])
    assert 0.05 < (sizes < 0.45).mean() < 0.25
    assert (sizes > 0.7).any()


def test_schedule_is_the_same_for_the_same_seed() -> None:
    first, second = (list(draw_schedule(np.random.default_rng(9), 50, 0.3)) for _ in range(2))
    assert first == second
