"""What is watched, by what it is: monitors made as their subjects appear, safe to use from many threads, saved one by
one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from monitoring.alarm import Alarm

MOST: Final = 256
"""Sights a process watches unless told otherwise: names come from outside, and memory is not without end."""


class Sight(NamedTuple):
    """What is normal for a camera depends on what is before it and how it is lit: each has a monitor of its own."""

    camera: str
    """STATION/CAMERA; STATION/ for what all cameras of a station say together."""
    product: str = ""
    lamp: str = ""
    """The lighting in use, where there is more than one."""


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A monitor's state as it is kept: `version` counts the baselines that this sight has had, the present one too."""

    sight: Sight
    version: int
    state: Mapping[str, Any]


class Monitor(Protocol):
    """What can be watched from many threads: `copy` is quick, `state` may take long."""

    standing: Alarm | None
    """The alarm that stands."""

    def copy(self) -> Self:
        """This monitor as it is now, which goes its own way from here on."""
        ...

    def state(self) -> dict[str, Any]:
        """All memory, JSON-serialisable."""
        ...


M = TypeVar("M", bound=Monitor)


@dataclass(slots=True)
class Watched(Generic[M]):
    """A monitor with what belongs to it; whoever uses it holds its lock and counts its changes."""

    monitor: M
    version: int = 1
    lock: Lock = field(default_factory=Lock)
    changes: int = 0
    told: int = 0
    """How many of the changes whoever saves states has got."""

    def copied(self) -> tuple[M, int]:
        """The monitor as it stands after so many changes; nobody waits for more than this."""
        with self.lock:
            return self.monitor.copy(), self.changes


W = TypeVar("W", bound=Watched[Any])


class Sights(Generic[W]):
    """What is watched, up to `most` sights; `make` makes the monitor of a new one."""

    def __init__(self, make: Callable[[], W], most: int) -> None:
        self._make, self._most = make, most
        self._watched: dict[Sight, W] = {}
        self._register = Lock()

    def find(self, sight: Sight) -> W | None:
        """What is watched already."""
        return self._watched.get(sight)

    def get(self, sight: Sight) -> W | None:
        """What is watched, from now on if not before; None for one too many."""
        watched = self._watched.get(sight)
        if watched is not None:
            return watched
        with self._register:
            if sight not in self._watched and len(self._watched) < self._most:
                self._watched[sight] = self._make()
            return self._watched.get(sight)

    def put(self, sight: Sight, watched: W) -> None:
        """Watch by this monitor, instead of the one that was."""
        with self._register:
            self._watched[sight] = watched

    def all(self) -> dict[Sight, W]:
        """All that is watched."""
        with self._register:
            return dict(self._watched)

    def standing(self) -> dict[Sight, tuple[int, Alarm | None]]:
        """Version of every sight, and the alarm that stands there as it is now."""
        return {sight: (watched.version, watched.copied()[0].standing) for sight, watched in self.all().items()}

    def saved(self, sight: Sight) -> Saved | None:
        """One monitor's state as it is now; None where that sight is not watched."""
        watched = self.find(sight)
        return None if watched is None else Saved(sight, watched.version, watched.copied()[0].state())

    def changed_states(self) -> Iterator[Saved]:
        """The states, JSON-serialisable, of the monitors that changed since this was last run through.

        One counts as saved once the next one is asked for: one whose saving raised comes again. A state can be large
        while its camera is commissioned (10 MB of JSON), so that only one at a time is made; nothing waits for that.
        For one caller at a time.
        """
        for sight, watched in self.all().items():
            if watched.changes == watched.told:
                continue
            monitor, changes = watched.copied()
            yield Saved(sight, watched.version, monitor.state())
            watched.told = changes
