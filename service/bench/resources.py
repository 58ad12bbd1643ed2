"""CPU time and memory of other processes, and on which cores they run; Linux only."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CPU_CLOCK = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory (MB) now and at its highest."""

    now_mb: float
    peak_mb: float


def family(pid: int) -> list[int]:
    """The process and everything that it, or one of its children, has started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def cpu_s(pid: int) -> float:
    """CPU time (s, user and system) of a process with all its threads, those that have ended included."""
    # The kernel's CPU clock of another process: nanoseconds, where /proc/PID/stat counts in steps of 10 ms.
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def family_cpu_s(pid: int) -> dict[int, float]:
    """Process id -> CPU time (s), of a process and all that it has started and that still runs."""
    found = {}
    for member in family(pid):
        with suppress(OSError):  # it has just ended
            found[member] = cpu_s(member)
    return found


def used_cpu_s(pid: int, before: Mapping[int, float]) -> float:
    """CPU time (s) that a process and all that it has started used since `family_cpu_s` said `before`.

    What has ended meanwhile counts as nothing: taken off with all its past, it would make the others look cheaper.
    """
    return sum(now - before.get(member, 0.0) for member, now in family_cpu_s(pid).items())


def family_memory(pid: int) -> Memory:
    """Memory of a process and all that it has started; pages that they share count for each of them."""
    now = peak = 0.0
    for member in family(pid):
        try:
            lines = Path(f"/proc/{member}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kilobytes = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
        now += int(kilobytes.get("VmRSS", 0)) / 1024
        peak += int(kilobytes.get("VmHWM", 0)) / 1024
    return Memory(now, peak)


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the contenders may use, and which the load generator."""

    contender: frozenset[int]
    client: frozenset[int]

    @property
    def shared(self) -> bool:
        """Whether the load generator takes time from the cores of what it measures."""
        return bool(self.contender & self.client)


def divide_cores(threads: int) -> Cores:
    """One core for each of the contender's threads, the rest for the client; without a rest, all for both."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) <= threads:
        return Cores(frozenset(available), frozenset(available))
    return Cores(frozenset(available[:threads]), frozenset(available[threads:]))


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Processes that are started in this block run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
