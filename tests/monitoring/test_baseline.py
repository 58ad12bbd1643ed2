"""What is normal: where measurements lie, how they scatter and how far they wander."""

import json

import numpy as np
import pytest

from monitoring.baseline import Baseline, Block
from monitoring.features import FRAME, SCENE, Floats, Layout
from monitoring.saved import StateDamaged, packed

IMAGES = 40
SIZE = FRAME.size
WIDTH = 0.05
"""Much more than the smallest deviation that is believed."""


def measurements(seed: int, count: int = IMAGES, width: float = WIDTH) -> Floats:
    return width * np.random.default_rng(seed).standard_normal((count, SIZE))


def blocks(count: int, *, wander: float = 0.0, width: float = WIDTH) -> list[Block]:
    """Blocks that wander up and down by so much."""
    shifts = wander * np.sin(np.linspace(0, 2 * np.pi, count))
    return [Block.of(measurements(seed, width=width) + shift) for seed, shift in enumerate(shifts)]


def test_a_block_has_the_median_and_the_deviation_of_normal_scatter() -> None:
    block = Block.of(measurements(0, 4000) + 3)
    assert block.centre == pytest.approx(np.full(SIZE, 3.0), abs=5 * WIDTH / 4000**0.5 * 1.25)
    assert block.spread.mean() == pytest.approx(WIDTH, rel=0.05)


def test_a_block_that_jumps_between_two_places_scatters_and_one_odd_image_does_not() -> None:
    jumping, odd = np.zeros((40, SIZE)), np.zeros((40, SIZE))
    jumping[::4] = 1.0
    odd[7] = 1.0
    assert (Block.of(jumping).spread > 0.5).all()
    assert (Block.of(odd).spread == 0).all()


def test_scatter_is_never_less_than_what_is_believed() -> None:
    still = [Block.of(np.full((8, SIZE), 2.0))] * 3
    for found in (Baseline.learnt(FRAME, still, 8, 0.5), Baseline.provisional(FRAME, still)):
        assert (found.spread == FRAME.widths("smallest_spread")).all()
        assert (found.centre == 2.0).all()


def test_scatter_from_block_to_block_is_no_wandering() -> None:
    found = Baseline.learnt(FRAME, blocks(100), IMAGES, 0.0)
    # Medians of 40 images scatter by an eighth of what images do, and a hundred of them reach 2.5 of that each way.
    chance = (np.pi / 2 / IMAGES) ** 0.5 * WIDTH
    assert np.median(found.band) < 2.5 * chance
    assert found.spread.mean() == pytest.approx(WIDTH, rel=0.1)


@pytest.mark.parametrize("wander", [0.2, 1.0])
def test_the_band_is_as_wide_as_the_wandering_and_a_little_wider(wander: float) -> None:
    found = Baseline.learnt(FRAME, blocks(50, wander=wander), IMAGES, 0.0)
    assert (found.band > wander).all()
    assert (found.band < 1.5 * wander + 2 * WIDTH).all()
    assert found.centre == pytest.approx(np.zeros(SIZE), abs=WIDTH)


def test_what_was_not_seen_of_a_cycle_widens_the_band_by_its_share() -> None:
    all_seen, half, none = (Baseline.learnt(FRAME, blocks(20), IMAGES, unseen) for unseen in (0.0, 0.5, 1.0))
    wander = FRAME.widths("unseen_wander")
    assert half.band == pytest.approx(all_seen.band + 0.5 * wander)
    assert none.band == pytest.approx(all_seen.band + wander)


def test_the_first_blocks_give_a_band_as_wide_as_what_nobody_calls_normal() -> None:
    found = Baseline.provisional(FRAME, blocks(3))
    assert (found.band == FRAME.widths("gross_change")).all()
    assert found.centre == pytest.approx(np.median([block.centre for block in blocks(3)], axis=0))


@pytest.mark.parametrize("layout", [FRAME, SCENE], ids=["frame", "scene"])
def test_a_state_comes_back_exactly(layout: Layout) -> None:
    rng = np.random.default_rng(1)
    block = Block.of(rng.standard_normal((8, layout.size)))
    twin = Block.from_state(json.loads(json.dumps(block.state())), layout.size)
    assert (twin.centre == block.centre).all()
    assert (twin.spread == block.spread).all()
    found = Baseline.learnt(layout, [block, block], 8, 0.3)
    again = Baseline.from_state(json.loads(json.dumps(found.state())))
    assert again.layout is layout
    for name in ("centre", "spread", "band"):
        assert (getattr(again, name) == getattr(found, name)).all()


@pytest.mark.parametrize("text", ["", "AAAA", packed(np.full(SIZE, np.nan)), packed(np.zeros(SIZE + 1)), 5, None])
def test_a_damaged_block_is_refused(text: object) -> None:
    with pytest.raises(StateDamaged):
        Block.from_state([packed(np.zeros(SIZE)), text], SIZE)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_block_of_other_than_two_texts_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="unpack"):
        Block.from_state([packed(np.zeros(SIZE))] * count, SIZE)
