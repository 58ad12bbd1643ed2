"""Who goes first where processors are few: the event loop of the line, inspecting, pages for people, learning."""

import os
import sys
from contextlib import suppress
from typing import Final

INSPECTING: Final = 5
"""Taking parts on, turning them away and sending fail-safe answers needs little and must not wait for this."""
CONSOLE: Final = 10
LEARNING: Final = 15


def step_back(by: int) -> None:
    """Lower the priority of the calling thread, and of those that it will start, by so many steps of niceness.

    Only Linux has priorities of threads; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it: then everybody goes at once, as before
            os.setpriority(os.PRIO_PROCESS, 0, min(19, os.getpriority(os.PRIO_PROCESS, 0) + by))
