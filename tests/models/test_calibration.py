import numpy as np
import pytest
from scipy.special import softmax

from models.calibration import calibrated_views, fit_temperature, operating_point
from models.evaluation import OneSidedSample, outcomes


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    label = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    assert fit_temperature(logits * 2.5, np.eye(3)[label]) == pytest.approx(2.5, rel=0.1)


def test_views_take_their_worst_tile() -> None:
    logits = np.array([[[4.0, 0.0], [0.0, 1.0], [2.0, 0.0]]])
    assert calibrated_views(logits, 1.0, [True, False])[0] == pytest.approx(softmax([0.0, 1.0]))


def scores(parts: int, copies: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    defect = np.arange(parts) % 2 == 0
    p = 1 / (1 + np.exp(-(rng.normal(0, 1.5, parts) + np.where(defect, 2, -2))))
    return np.repeat(p, copies), np.repeat(defect, copies), np.repeat(np.arange(parts), copies)


def test_a_promise_that_the_data_support_is_kept() -> None:
    p, defect, group = scores(1000)
    point = operating_point(p, defect, group, 0.05)
    found = outcomes(p, defect, group, point.pass_below, point.reject_from)
    assert point.keeps_promise
    assert found.escape.value < point.escape_bound <= 0.05
    assert point.escape_bound > 0.04  # as much as allowed is used
    assert found.overkill.value == pytest.approx(point.overkill_expected)
    assert (point.defect_parts, point.ok_parts) == (500, 500)


def test_too_few_parts_give_the_strictest_threshold_and_an_honest_bound() -> None:
    p, defect, group = scores(40)
    point = operating_point(p, defect, group, 0.01)
    assert not point.keeps_promise
    assert point.pass_below == p[defect].min()
    assert point.escape_bound == pytest.approx(1 - 0.05 ** (1 / 20))


def test_more_images_of_the_same_parts_promise_no_more() -> None:
    six, one = operating_point(*scores(200, copies=6), 0.1), operating_point(*scores(200), 0.1)
    assert list(six.to_json().values()) == pytest.approx(list(one.to_json().values()))


def test_few_good_parts_are_rejected_outright() -> None:
    p, defect, group = scores(1000)
    point = operating_point(p, defect, group, 0.02, wanted_overkill=0.01)
    assert (p[~defect] >= point.reject_from).mean() <= 0.01
    assert point.pass_below <= point.reject_from


def test_the_promise_holds_on_parts_never_seen() -> None:
    rng = np.random.default_rng(7)
    broken = 0
    for _ in range(200):
        bad = rng.beta(4, 2, 300)
        p, defect = np.concatenate([bad, rng.beta(1, 6, 100)]), np.arange(400) < 300
        point = operating_point(p, defect, np.arange(400), 0.05)
        broken += (rng.beta(4, 2, 20_000) < point.pass_below).mean() > 0.05
    assert broken <= 20  # 95 % confidence: 10 expected of 200


def test_one_kind_of_parts_gives_no_operating_point() -> None:
    with pytest.raises(OneSidedSample):
        operating_point([0.1, 0.2], [False, False], [0, 1], 0.05)
