import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from monitoring.expected import FEWEST
from monitoring.product_watch import STRAGGLERS_S, ProductWatch, parts_of
from monitoring.sights import Saved, Sight
from monitoring.watch import Observation

COMMISSION = 200
BOLTS, NUTS = parts_of("s1", "bolt"), parts_of("s1", "nut")


def scores(seed: int, count: int, defect_rate: float = 0.03) -> list[float]:
    rng = np.random.default_rng(seed)
    found: list[float] = np.where(rng.random(count) < defect_rate, 0.9, rng.beta(1, 20, count)).tolist()
    return found


def observe(watch: ProductWatch, stream: list[float], sight: Sight = BOLTS, model: str = "m1") -> list[Observation]:
    return [watch.observe(sight, model, [p], p < 0.5) for p in stream]


def commissioned() -> ProductWatch:
    watch = ProductWatch(COMMISSION)
    assert {seen.state for seen in observe(watch, scores(1, COMMISSION))} == {"commissioning", "ok"}
    return watch


def test_a_product_whose_defects_rise_alarms_until_they_fall() -> None:
    watch = commissioned()
    (raised,) = [seen for seen in observe(watch, scores(2, 200, 0.5)) if seen.alarm is not None]
    assert raised.state == "alarm"
    assert raised.alarm is not None
    assert raised.alarm.cause == "defect_rate"
    assert watch.standing()[BOLTS][1] is not None
    (cleared,) = [seen for seen in observe(watch, scores(3, 1000)) if seen.cleared]
    assert cleared.state == "ok"
    assert watch.standing()[BOLTS] == (1, None)


def test_products_and_stations_are_apart() -> None:
    watch = commissioned()
    observe(watch, scores(2, 100, 0.5), NUTS)
    observe(watch, scores(2, 100, 0.5), parts_of("s2", "bolt"))
    assert {sight: alarm for sight, (_, alarm) in watch.standing().items()} == {
        BOLTS: None,
        NUTS: None,
        parts_of("s2", "bolt"): None,
    }


def test_another_models_scores_are_learnt_anew() -> None:
    watch = commissioned()
    observe(watch, scores(2, 200, 0.5))
    first, second = observe(watch, [0.1, 0.1], model="m2")
    assert (first.is_new, first.version, first.state) == (True, 2, "commissioning")
    assert (second.is_new, second.version) == (False, 2)
    assert watch.standing()[BOLTS] == (2, None)
    assert watch.estimate(BOLTS) is None


def test_parts_that_the_former_model_judged_are_passed_over_for_a_while() -> None:
    now = [0.0]
    watch = ProductWatch(COMMISSION, clock=lambda: now[0])
    for model in ("m1", "m2", "m1", "m2", "m1"):
        observe(watch, [0.1], model=model)
    ((version, monitor),) = watch.monitors().values()
    assert (version, monitor.model, monitor.parts) == (2, "m2", 2)
    now[0] = STRAGGLERS_S  # it is taken back
    assert observe(watch, [0.1], model="m1")[0].is_new


def test_a_part_is_defective_if_it_is_so_in_any_view() -> None:
    watch = ProductWatch(COMMISSION)
    for _ in range(FEWEST):
        watch.observe(BOLTS, "m1", [0.1, 0.1], True)
    found = watch.estimate(BOLTS)
    assert found is not None
    assert found.escapes is not None
    assert found.escapes.expected == 0.19


def test_an_intended_change_is_learnt_anew_by_the_same_model() -> None:
    watch = commissioned()
    assert not watch.intended_change(BOLTS)
    assert not watch.intended_change(NUTS)
    ((version, monitor),) = watch.monitors().values()
    assert (version, monitor.model, monitor.phase) == (2, "m1", "commissioning")


def test_what_is_learnt_elsewhere_holds_no_part_up() -> None:
    waiting: list[Callable[[], None]] = []
    watch = ProductWatch(COMMISSION, elsewhere=waiting.append)
    observe(watch, scores(1, COMMISSION + 50))
    assert len(waiting) == 1
    waiting.pop()()
    assert watch.observe(BOLTS, "m1", [0.1], True).state == "ok"


def test_a_product_that_is_renewed_while_it_is_taught_stays_new() -> None:
    waiting: list[Callable[[], None]] = []
    watch = ProductWatch(COMMISSION, elsewhere=waiting.append)
    observe(watch, scores(1, COMMISSION))
    observe(watch, [0.1], model="m2")
    waiting.pop()()
    assert observe(watch, [0.1], model="m2")[0].state == "commissioning"


def test_what_was_learnt_outlives_a_restart_and_what_is_damaged_does_not() -> None:
    watch = commissioned()
    observe(watch, scores(2, 60, 0.5))
    (saved,) = watch.changed_states()
    assert list(watch.changed_states()) == []
    again = ProductWatch(COMMISSION)
    assert again.restore(Saved(saved.sight, saved.version, json.loads(json.dumps(saved.state))))
    (_, before), (_, after) = watch.monitors()[BOLTS], again.monitors()[BOLTS]
    assert before.state() == after.state()
    assert not observe(again, [0.1])[0].is_new
    damages: list[dict[str, Any]] = [{"drift": None}, {"last_quiet": []}, {"last_quiet": [1]}, {"last_quiet": {}}]
    for damage in damages:
        assert not again.restore(Saved(BOLTS, 1, {**saved.state, **damage}))


def test_errors_are_estimated_of_decided_parts_while_no_alarm_stands() -> None:
    watch = commissioned()
    (estimate,) = [watch.estimate(BOLTS)]
    assert COMMISSION == FEWEST
    assert estimate is not None
    assert (estimate.passed, estimate.rejected) == (sum(p < 0.5 for p in scores(1, 200)), 7)
    assert estimate.escapes is not None
    assert estimate.escapes.expected == pytest.approx(1 / 21, abs=0.01)
    assert estimate.escapes.low < 0.03 < 0.06 < estimate.escapes.high
    watch.observe(BOLTS, "m1", [0.3], None)
    observe(watch, scores(2, 100, 0.5))
    later = watch.estimate(BOLTS)
    assert later is not None
    assert later.passed + later.rejected < 300


def test_more_products_than_a_watch_holds_are_unwatched() -> None:
    watch = ProductWatch(COMMISSION, most=1)
    assert [watch.observe(sight, "m1", [0.1], True).state for sight in (BOLTS, NUTS)] == ["commissioning", "unwatched"]
    assert watch.estimate(NUTS) is None
