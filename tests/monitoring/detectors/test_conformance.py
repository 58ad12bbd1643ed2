"""What holds for every detector in `DETECTORS`."""

import json

import numpy as np
import pytest

from monitoring.detectors import DETECTORS

every_detector = pytest.mark.parametrize("name", sorted(DETECTORS))


@every_detector
def test_constant_stream_never_alarms(name: str) -> None:
    detector = DETECTORS[name]()
    assert [detector.update(0.0) for _ in range(1000)] == [0.0] * 1000


@every_detector
@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_does_not_alarm_in_two_thousand_values(name: str, seed: int) -> None:
    detector = DETECTORS[name]()
    stream = np.random.default_rng(seed).standard_normal(2000)
    assert max(detector.update(value) for value in stream.tolist()) < 1


@every_detector
@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_a_large_lasting_shift_alarms_within_ten_values(name: str, direction: float) -> None:
    detector = DETECTORS[name]()
    assert max(detector.update(4.0 * direction) for _ in range(10)) > 1


@every_detector
@pytest.mark.parametrize("value", [1e9, -1e9])
def test_one_wild_value_never_alarms(name: str, value: float) -> None:
    detector = DETECTORS[name]()
    assert detector.update(value) < 1
    assert detector.update(0.0) < 1


@every_detector
def test_reset_forgets_values_and_keeps_settings(name: str) -> None:
    used = DETECTORS[name]()
    for _ in range(20):
        used.update(5.0)
    used.reset()
    assert used.state() == DETECTORS[name]().state()


@every_detector
def test_state_survives_json_and_goes_on_exactly(name: str) -> None:
    stream = np.random.default_rng(1).normal(0.5, 2, 200).tolist()
    detector = DETECTORS[name]()
    for value in stream[:100]:
        detector.update(value)
    copy = type(detector).from_state(json.loads(json.dumps(detector.state())))
    assert [copy.update(value) for value in stream[100:]] == [detector.update(value) for value in stream[100:]]
