from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry

from monitoring.metrics import LineMetrics
from service.line.admission import TOTAL_FACTOR, Admission
from service.line.requests import Overloaded


def test_parts_above_the_limit_are_refused_until_one_leaves() -> None:
    registry = CollectorRegistry()
    admission = Admission(2, LineMetrics(registry))
    with admission.enter("s1"):
        with admission.enter("s1"):
            assert registry.get_sample_value("loupe_inspections_in_work") == 2
            with pytest.raises(Overloaded):
                admission.enter("s1")
        with admission.enter("s1"):
            pass
    assert registry.get_sample_value("loupe_inspections_in_work") == 0


def test_a_place_that_is_handed_on_is_held_until_the_thread_is_done() -> None:
    admission = Admission(1, LineMetrics(CollectorRegistry()))
    with admission.enter("s1") as place:
        place.handed_on = True
    with pytest.raises(Overloaded):
        admission.enter("s1")
    place.leave()
    with admission.enter("s1"):
        pass


def test_a_station_that_is_full_takes_no_place_from_another_one() -> None:
    admission = Admission(2, LineMetrics(CollectorRegistry()))
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(admission.enter("busy"))
        with pytest.raises(Overloaded):
            admission.enter("busy")
        with admission.enter("calm"):
            assert admission.total == 3
    assert admission.total == 0


def test_all_stations_together_have_places_for_four() -> None:
    admission = Admission(2, LineMetrics(CollectorRegistry()))
    with ExitStack() as held:
        for n in range(2 * TOTAL_FACTOR):
            held.enter_context(admission.enter(f"s{n}"))
        for station in ("s0", "another"):
            with pytest.raises(Overloaded):
                admission.enter(station)
    with admission.enter("another"):
        assert admission.total == 1
