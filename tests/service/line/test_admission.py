import pytest
from prometheus_client import CollectorRegistry

from monitoring.metrics import LineMetrics
from service.line.admission import Admission
from service.line.requests import Overloaded


def test_parts_above_the_limit_are_refused_until_one_leaves() -> None:
    registry = CollectorRegistry()
    admission = Admission(2, LineMetrics(registry))
    with admission.admitted():
        with admission.admitted():
            with pytest.raises(Overloaded), admission.admitted():
                pass
            assert registry.get_sample_value("loupe_inspections_in_work") == 2
        with admission.admitted():
            pass
    assert registry.get_sample_value("loupe_inspections_in_work") == 0


def test_place_is_free_again_after_a_failure() -> None:
    admission = Admission(1, LineMetrics(CollectorRegistry()))
    with pytest.raises(KeyError), admission.admitted():
        raise KeyError
    with admission.admitted():
        pass
