import pytest
from prometheus_client import CollectorRegistry

from monitoring.metrics import LineMetrics
from service.line.admission import Admission
from service.line.requests import Overloaded


def test_parts_above_the_limit_are_refused_until_one_leaves() -> None:
    registry = CollectorRegistry()
    admission = Admission(2, LineMetrics(registry))
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded):
        admission.enter()
    assert registry.get_sample_value("loupe_inspections_in_work") == 2
    admission.leave()
    admission.enter()
    admission.leave()
    admission.leave()
    assert registry.get_sample_value("loupe_inspections_in_work") == 0
