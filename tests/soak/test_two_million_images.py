"""Two million images of one camera, months of a line, leave memory and cost per image where they were."""

import os
import time

import numpy as np
import pytest

from monitoring.optics import OpticsMonitor
from simulation.light.stream import Stream
from tests.soak.conftest import Figures
from tests.soak.workload import length, rss_mb

CAMERA = "castings"
RING = 6000
"""A natural cycle of this camera's light, replayed again and again."""
GROWTH_MB = 20
COST_RATIO = 1.25


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_memory_and_cost_stay_where_they_were(figures: Figures) -> None:
    images = int(length("IMAGES", 2_000_000))
    ring = np.stack(list(Stream(CAMERA, 0, RING)))
    monitor = OpticsMonitor()
    alarms = 0
    costs: list[float] = []
    memory: list[float] = []
    for begun in range(0, images, RING):
        before = time.thread_time()
        for image in ring[: min(RING, images - begun)]:
            alarms += monitor.update(image) is not None
        costs.append((time.thread_time() - before) / min(RING, images - begun) * 1e6)
        memory.append(rss_mb(os.getpid()))
    # The first rounds commission.
    early, late = costs[3 : 3 + len(costs) // 5], costs[-len(costs) // 5 :]
    early_us, late_us = float(np.median(early)), float(np.median(late))
    figures(
        images=images,
        early_us=round(early_us, 1),
        late_us=round(late_us, 1),
        early_mb=round(memory[3]),
        late_mb=round(memory[-1]),
        alarms=alarms,
    )
    assert memory[-1] - memory[3] < GROWTH_MB
    assert late_us < COST_RATIO * early_us
