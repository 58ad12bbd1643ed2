import threading
import time

from service.line.background import Repeating
from tests.service.line.stocked import wait_until


def test_failures_do_not_end_it() -> None:
    runs: list[int] = []

    def action() -> bool:
        runs.append(1)
        if len(runs) % 2:
            raise OSError("the store is away")
        return False

    task = Repeating("test", 0.001, action).start()
    wait_until(lambda: len(runs) >= 6)
    task.stop()


def test_runs_again_at_once_while_there_is_more_to_do() -> None:
    runs: list[int] = []

    def action() -> bool:
        runs.append(1)
        return len(runs) < 50

    began = time.monotonic()
    task = Repeating("test", 5.0, action).start()
    wait_until(lambda: len(runs) == 50)
    task.stop()
    assert time.monotonic() - began < 4.0


def test_stop_waits_for_the_run_that_is_going_on() -> None:
    begun, done = threading.Event(), threading.Event()

    def action() -> bool:
        begun.set()
        time.sleep(0.1)
        done.set()
        return True

    task = Repeating("test", 5.0, action).start()
    begun.wait(5)
    task.stop()
    assert done.is_set()
    assert not any(thread.name == "test" for thread in threading.enumerate())
