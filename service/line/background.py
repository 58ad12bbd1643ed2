"""Threads that do one thing again and again beside the line."""

import threading
from collections.abc import Callable
from typing import Self

import structlog

from service.priority import INSPECTING, step_back


class Repeating:
    """Runs `action` every `interval_s`, at once again as long as it returns True, and survives its failures.

    When `wake` is set it runs sooner; `action` clears it. While it fails, its pauses double up to `slowest_s`, where
    that is given: what is tried in vain costs the line as much as what succeeds.
    """

    def __init__(
        self,
        name: str,
        interval_s: float,
        action: Callable[[], bool],
        *,
        wake: threading.Event | None = None,
        slowest_s: float | None = None,
    ) -> None:
        self._name, self._interval_s, self._action = name, interval_s, action
        self._slowest_s = slowest_s or interval_s
        self._stop = threading.Event()
        self._wake = wake or self._stop
        self._log = structlog.get_logger("background")
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End after the run that is going on."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        step_back(INSPECTING)
        pause_s = self._interval_s
        while not self._stop.is_set():
            again = self._once()
            pause_s = min(2 * pause_s, self._slowest_s) if self._failing else self._interval_s
            if not again:
                self._wake.wait(pause_s)

    def _once(self) -> bool:
        try:
            again = self._action()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: it must outlive a database that is away
            if not self._failing:
                self._log.error("failing", task=self._name, error=str(error), kind=type(error).__name__)
            self._failing = True
            return False
        if self._failing:
            self._log.info("recovered", task=self._name)
        self._failing = False
        return again
