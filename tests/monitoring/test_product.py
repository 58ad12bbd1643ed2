import json

import numpy as np
import pytest

from monitoring.alarm import Alarm
from monitoring.product import CommissionTooShort, ProductMonitor
from monitoring.saved import StateDamaged

COMMISSION = 1000


def scores(seed: int, count: int, defect_rate: float = 0.03, good: float = 0.05) -> list[float]:
    """Probabilities as a model gives them: good parts low, defects high, a few of each doubtful."""
    rng = np.random.default_rng(seed)
    defect = rng.random(count) < defect_rate
    found: list[float] = np.where(defect, rng.beta(8, 1.5, count), rng.beta(1, 1 / good, count)).tolist()
    return found


def commissioned(seed: int = 1) -> ProductMonitor:
    monitor = ProductMonitor(COMMISSION)
    assert alarms(monitor, scores(seed, COMMISSION)) == []
    assert monitor.phase == "calibrated"
    return monitor


def alarms(monitor: ProductMonitor, stream: list[float]) -> list[Alarm]:
    return [alarm for score in stream if (alarm := monitor.update(score)) is not None]


def stands(monitor: ProductMonitor) -> bool:
    return monitor.standing is not None


@pytest.mark.parametrize("seed", range(6))
def test_ten_thousand_usual_parts_do_not_alarm(seed: int) -> None:
    assert alarms(commissioned(seed + 10), scores(seed + 100, 10_000)) == []


@pytest.mark.parametrize(("rate", "within", "dated"), [(0.08, 600, 250), (0.15, 200, 60), (0.4, 50, 30)])
def test_more_defects_alarm_the_sooner_the_more_there_are(rate: float, within: int, dated: int) -> None:
    monitor = commissioned()
    assert alarms(monitor, scores(2, 200)) == []
    (alarm,) = alarms(monitor, scores(3, within, rate))
    assert (alarm.cause, alarm.chart) == ("defect_rate", "defect_rate")
    assert alarm.diagnosis.size > 1
    assert abs(alarm.onset - COMMISSION - 200) < dated
    assert alarm.ratio > 1


def test_no_defect_at_all_any_more_alarms_too() -> None:
    monitor = commissioned()
    (alarm,) = alarms(monitor, scores(4, 2000, 0.0))[:1]
    assert alarm.cause == "defect_rate"
    assert alarm.diagnosis.size < -1


def test_good_parts_that_look_otherwise_alarm_as_a_new_batch() -> None:
    monitor = commissioned()
    (alarm,) = alarms(monitor, scores(5, 300, good=0.12))
    assert (alarm.cause, alarm.chart) == ("new_batch", "scores")
    assert alarm.diagnosis.size > 1


def test_one_episode_is_one_alarm_that_clears_when_the_parts_are_as_before() -> None:
    monitor = commissioned()
    assert len(alarms(monitor, scores(3, 500, 0.2))) == 1
    assert stands(monitor)
    assert alarms(monitor, scores(6, 800)) == []
    assert not stands(monitor)
    assert len(alarms(monitor, scores(7, 500, 0.2))) == 1


def test_a_score_that_is_no_number_is_passed_over() -> None:
    monitor, twin = commissioned(), commissioned()
    monitor.update(float("nan"))
    assert monitor.state() == twin.state()


def test_a_perfect_process_is_commissioned_and_its_first_defects_alarm() -> None:
    monitor = ProductMonitor(200)
    assert alarms(monitor, [0.0] * 1000) == []
    (alarm,) = alarms(monitor, [0.0, 1.0] * 20)
    assert alarm.diagnosis.size > 0


def test_too_short_a_commission_is_refused() -> None:
    with pytest.raises(CommissionTooShort) as refused:
        ProductMonitor(99)
    assert refused.value.commission == 99


@pytest.mark.parametrize("parts", [0, 400, 1200, 1600])
def test_a_restored_state_goes_on_exactly(parts: int) -> None:
    stream = scores(1, COMMISSION) + scores(2, 300) + scores(3, 500, 0.2)
    monitor = ProductMonitor(COMMISSION)
    alarms(monitor, stream[:parts])
    twin = ProductMonitor.from_state(json.loads(json.dumps(monitor.state())))
    assert [one.state() for one in alarms(twin, stream[parts:])] == [
        one.state() for one in alarms(monitor, stream[parts:])
    ]
    assert twin.state() == monitor.state()


def test_a_state_that_learnt_half_is_refused() -> None:
    with pytest.raises(StateDamaged):
        ProductMonitor.from_state({**commissioned().state(), "drift": None})
