"""Who goes first."""

import os
import sys
import threading

import pytest

from service.priority import step_back


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_only_the_thread_that_steps_back_and_those_it_starts_go_behind() -> None:
    before, found = os.getpriority(os.PRIO_PROCESS, 0), list[int]()

    def inner() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, 0))

    def outer() -> None:
        step_back(3)
        inner()
        child = threading.Thread(target=inner)
        child.start()
        child.join()
        step_back(100)
        inner()

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    assert found == [min(19, before + 3)] * 2 + [19]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
