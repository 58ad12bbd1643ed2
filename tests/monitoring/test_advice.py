"""Every cause has a title, a kind and a next step; what is known of the place and the size is said."""

from typing import Any

import numpy as np
import pytest

from monitoring.advice import ADVICE, KINDS, advise, place_of, title_of
from monitoring.diagnosis import CAUSES, Diagnosis
from monitoring.features import GRID
from monitoring.registration import Motion


def diagnosis(cause: str, change: float = 0.0, **more: Any) -> Diagnosis:
    return Diagnosis(cause, np.full((GRID, GRID), change, np.float32), 12, 3.0, **more)


def test_every_cause_has_an_entry_and_nothing_else_has() -> None:
    assert tuple(ADVICE) == CAUSES


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_says_what_to_do_whatever_is_known_of_it(cause: str) -> None:
    bare = advise(diagnosis(cause))
    full = advise(diagnosis(cause, -0.3, side="top", x=0.9, y=0.1, motion=Motion(1.0, 2.0, 3.0)))
    for advice in (bare, full):
        assert (advice.title, advice.kind) == (title_of(cause), ADVICE[cause].kind)
        assert advice.kind in KINDS
        assert advice.text[0].isupper()
        assert advice.text.endswith(".")
        assert "None" not in advice.text
        assert "  " not in advice.text


def test_titles_differ_so_that_a_queue_can_be_shared_by_them() -> None:
    assert len({entry.title for entry in ADVICE.values()}) == len(CAUSES)


def test_products_are_labelled_and_scenes_are_put_right() -> None:
    product = {cause for cause, entry in ADVICE.items() if entry.kind == "product"}
    assert product == {"new_batch", "defect_rate"}
    assert all("retrain" in advise(diagnosis(cause)).text for cause in product)


def test_a_weaker_lamp_is_told_in_percent_of_its_light() -> None:
    assert "about 10 % darker" in advise(diagnosis("lamp_dim", np.log(0.9))).text
    assert "picture is darker" in advise(diagnosis("lamp_dim")).text
    assert "about 25 % brighter" in advise(diagnosis("exposure", np.log(1.25))).text


@pytest.mark.parametrize(
    ("side", "lamp", "cells"),
    [
        ("left", "left", np.s_[:, :9]),
        ("right", "right", np.s_[:, -9:]),
        ("top", "upper", np.s_[:9]),
        ("bottom", "lower", np.s_[-9:]),
    ],
)
def test_the_side_of_a_failing_lamp_is_named_with_the_loss_there(side: str, lamp: str, cells: Any) -> None:
    found = diagnosis("lamp_off", side=side)
    found.heat_map[cells] = np.log(0.6)
    assert advise(found).text.startswith(f"The {lamp} lamp gives less light, the picture is about 40 % darker")


def test_a_spot_is_named_by_its_place() -> None:
    assert "spot at the upper left of the picture" in advise(diagnosis("soiling", x=0.2, y=0.1)).text
    assert "spot in the picture" in advise(diagnosis("soiling")).text


def test_a_move_is_told_both_ways() -> None:
    text = advise(diagnosis("bump", motion=Motion(-3.5, 1.9, -0.4))).text
    assert text.startswith("The picture moved 3.5 px to the left and 1.9 px down and turned 0.4° anticlockwise: ")
    assert advise(diagnosis("bump", motion=Motion(0.0, 0.0, 0.3))).text.startswith("The picture turned 0.3° clockwise")
    assert advise(diagnosis("bump")).text.startswith("The picture moved: ")


def test_every_place_of_the_picture_has_a_name_of_its_own() -> None:
    places = {place_of(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)}
    assert len(places) == 9


def test_a_cause_of_a_former_release_is_advised_on_all_the_same() -> None:
    assert advise(diagnosis("lamp_side")) == advise(diagnosis("other"))
