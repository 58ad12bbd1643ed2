import asyncio

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
            assert registry.get_sample_value("loupe_inspections_in_work") == 2
            with pytest.raises(Overloaded), admission.admitted():
                pass
        with admission.admitted():
            pass
    assert registry.get_sample_value("loupe_inspections_in_work") == 0


def test_a_place_is_held_until_the_thread_is_done() -> None:
    async def play() -> None:
        admission = Admission(1, LineMetrics(CollectorRegistry()))
        work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with admission.admitted() as place:
            place.work = work
        with pytest.raises(Overloaded), admission.admitted():
            pass
        work.set_result(None)
        await asyncio.sleep(0)
        with admission.admitted():
            pass

    asyncio.run(play())
