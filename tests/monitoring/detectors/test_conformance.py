"""What holds for every detector in `DETECTORS`, whatever the shape of its values."""

import copy
import json
import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from monitoring.detectors import DETECTORS, Detector
from monitoring.detectors.ranges import ShapeMismatch
from monitoring.saved import StateDamaged

every_detector = pytest.mark.parametrize("name", sorted(DETECTORS))
every_array_detector = pytest.mark.parametrize("name", sorted(name for name in DETECTORS if DETECTORS[name]().shape))

FOUND_WITHIN = 10
# Values after a large lasting change, and how many may pass until it is found: no defect in so many parts is a blind
# camera, and each part tells only so much of that.
SHIFTS = {"bernoulli_cusum": {1.0: 10, 0.0: 600}}


def steady(name: str, count: int) -> list[Any]:
    """A stream that is as it should be without any chance in it."""
    if name == "bernoulli_cusum":
        return [0.02] * count
    if name == "score_drift":
        normal = NormalDist()
        return [normal.inv_cdf((index + 1) * 0.6180339887 % 1) for index in range(count)]
    return [filled(name, 0.0)] * count


def noise(name: str, seed: int, count: int) -> list[Any]:
    """A stream in which nothing has changed."""
    rng = np.random.default_rng(seed)
    if name == "bernoulli_cusum":
        return [float(part) for part in rng.random(count) < 0.02]
    values = rng.standard_normal((count, *DETECTORS[name]().shape))
    return [*values] if values.ndim > 1 else [float(value) for value in values]


def filled(name: str, value: float) -> Any:
    """One value of the detector's shape, the same throughout."""
    shape = DETECTORS[name]().shape
    return np.full(shape, value) if shape else value


def first_alarm(detector: Detector[Any], stream: list[Any]) -> int | None:
    return next((index for index, value in enumerate(stream) if detector.update(value) > 1), None)


@every_detector
def test_a_steady_stream_never_alarms(name: str) -> None:
    detector = DETECTORS[name]()
    ratios = [detector.update(value) for value in steady(name, 1000)]
    assert min(ratios) >= 0
    # What charts rates or places is never quite at rest; all others are where a change is what differs from 0.
    assert max(ratios) <= (0.5 if name in ("bernoulli_cusum", "score_drift") else 0)


@every_detector
@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_does_not_alarm_in_two_thousand_values(name: str, seed: int) -> None:
    detector = DETECTORS[name]()
    ratios = [detector.update(value) for value in noise(name, seed, 2000)]
    assert min(ratios) >= 0
    assert max(ratios) < 1


@every_detector
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("before", [0, 500])
def test_a_large_lasting_shift_alarms_soon(name: str, direction: int, before: int) -> None:
    shifted, within = list(SHIFTS.get(name, {4.0: FOUND_WITHIN, -4.0: FOUND_WITHIN}).items())[direction]
    detector = DETECTORS[name]()
    assert first_alarm(detector, noise(name, 0, before)) is None
    found = first_alarm(detector, [filled(name, shifted)] * within)
    assert found is not None
    assert found > 0, "one value is no lasting shift"


@every_detector
@pytest.mark.parametrize("value", [1e9, -1e9, 1e300, -1e300, math.inf, -math.inf])
def test_one_wild_value_never_alarms(name: str, value: float) -> None:
    detector = DETECTORS[name]()
    assert detector.update(filled(name, value)) < 1
    assert detector.update(steady(name, 1)[0]) < 1


@every_detector
def test_values_that_are_not_finite_spoil_nothing(name: str) -> None:
    detector = DETECTORS[name]()
    for index, value in enumerate(noise(name, 2, 600)):
        ratio = detector.update(filled(name, (math.nan, math.inf, -math.inf)[index % 3]) if index % 60 == 7 else value)
        assert math.isfinite(ratio)
        assert ratio >= 0
    json.dumps(detector.state(), allow_nan=False)
    detector.reset()
    shifted, within = next(iter(SHIFTS.get(name, {4.0: FOUND_WITHIN}).items()))
    assert all(math.isfinite(detector.update(filled(name, math.nan))) for _ in range(20))
    detector.reset()
    assert first_alarm(detector, [filled(name, shifted)] * within) is not None


@every_detector
def test_reset_forgets_values_and_keeps_settings(name: str) -> None:
    used = DETECTORS[name]()
    for _ in range(20):
        used.update(filled(name, 5.0))
    assert used.state() != DETECTORS[name]().state()
    used.reset()
    assert used.state() == DETECTORS[name]().state()


@every_detector
def test_state_survives_json_and_goes_on_exactly(name: str) -> None:
    stream = [*noise(name, 1, 100), *(1.5 * value for value in noise(name, 2, 100))]
    detector = DETECTORS[name]()
    for value in stream[:100]:
        detector.update(value)
    twin = type(detector).from_state(json.loads(json.dumps(detector.state(), allow_nan=False)))
    assert twin.state() == detector.state()
    assert twin.shape == detector.shape
    assert [twin.update(value) for value in stream[100:]] == [detector.update(value) for value in stream[100:]]
    assert twin.state() == detector.state()


@every_detector
def test_a_copy_goes_its_own_way(name: str) -> None:
    detector = DETECTORS[name]()
    for value in noise(name, 3, 50):
        detector.update(value)
    before = detector.state()
    twin = copy.deepcopy(detector)
    twin.update(filled(name, 3.0))
    assert detector.state() == before
    assert twin.state() != before


@every_detector
def test_what_it_remembers_does_not_grow(name: str) -> None:
    detector = DETECTORS[name]()
    sizes: list[int] = []
    for value in noise(name, 4, 400):
        detector.update(value)
        sizes.append(sum(1 for _ in leaves(detector.state(), every=True)) if len(sizes) % 133 == 0 else sizes[-1])
    assert len(set(sizes)) == 1


@every_detector
@pytest.mark.parametrize("damage", [math.nan, math.inf, "7", [[1.0]]], ids=str)
def test_a_damaged_state_is_refused(name: str, damage: Any) -> None:
    detector = DETECTORS[name]()
    for value in noise(name, 5, 10):
        detector.update(value)
    whole = json.loads(json.dumps(detector.state()))
    for place in leaves(whole):
        damaged = copy.deepcopy(whole)
        holder = damaged
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = damage
        with pytest.raises(StateDamaged):
            type(detector).from_state(damaged)


@every_detector
def test_a_state_with_something_missing_is_refused(name: str) -> None:
    detector = DETECTORS[name]()
    for missing in detector.state():
        rest = {key: value for key, value in detector.state().items() if key != missing}
        with pytest.raises((StateDamaged, KeyError, TypeError)):
            type(detector).from_state(rest)


@every_array_detector
def test_values_are_left_as_they_are_and_may_be_of_any_layout_and_kind(name: str) -> None:
    stream = noise(name, 6, 20)
    plain, other = DETECTORS[name](), DETECTORS[name]()
    for value in stream:
        kept = value.copy()
        kept.flags.writeable = False
        strided = np.repeat(np.asfortranarray(value), 2, axis=-1)[..., ::2]
        assert plain.update(kept) == other.update(strided)
        np.testing.assert_array_equal(kept, value)
    single = DETECTORS[name]().update(stream[0].astype(np.float32))
    assert single == pytest.approx(DETECTORS[name]().update(stream[0]), abs=1e-4)


@every_array_detector
def test_a_value_of_another_shape_is_refused(name: str) -> None:
    detector = DETECTORS[name]()
    with pytest.raises(ShapeMismatch, match=r"shape \(3,\)"):
        detector.update(np.zeros(3))


def leaves(state: Any, place: tuple[Any, ...] = (), *, every: bool = False) -> Iterator[tuple[Any, ...]]:
    """Places of the numbers in a state; of long lists the first and the last only, unless every one is wanted."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from leaves(value, (*place, key), every=every)
    elif isinstance(state, list):
        for index in range(len(state)) if every else sorted({0, len(state) - 1}):
            yield from leaves(state[index], (*place, index), every=every)
    else:
        yield place
