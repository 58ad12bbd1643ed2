"""Parts whose views come one request each: they wait for one another here until the part is whole or its time is up."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.line.answers import Reply
from service.line.champions import Active
from service.line.looking import Look
from service.line.requests import Overloaded, PartRequest

OPEN_LIMIT = 64
"""Parts of one station that may wait for their views at once."""


@dataclass(slots=True)
class OpenPart:
    """A part of which some views have come; whoever changes it holds its lock."""

    result_id: str
    part: PartRequest
    """As its first view announced it."""
    active: Active
    """What judges all its views, whatever is promoted meanwhile."""
    received_at: datetime
    started: float
    deadline: float
    """time.perf_counter() at which it is decided, whole or not."""
    looks: dict[str, Look] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    """Journal entries that hold its views."""
    processing: bytes | None = None
    """What its last view was answered."""
    final: Reply | None = None
    """What holds, once it is decided."""
    inside: int = 0
    """Requests that have joined it and are not done."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, looks: Iterable[Look], bodies: Mapping[str, bytes]) -> None:
        """Take views that came."""
        for look in looks:
            self.looks[look.view_id] = look
            self.bodies[look.view_id] = bodies[look.view_id]

    def drop(self, view_ids: Iterable[str]) -> None:
        """Views that could not be put on record have not come: they may be sent again."""
        for view_id in view_ids:
            self.looks.pop(view_id, None)
            self.bodies.pop(view_id, None)

    @property
    def missing(self) -> list[str]:
        """Names of the views that have not come."""
        return [name for name in self.active.recipe.expected_views if name not in self.looks]


class OpenParts:
    """The parts that wait, by their key."""

    def __init__(self) -> None:
        self._parts: dict[str, OpenPart] = {}
        self._lock = threading.Lock()
        self.began = threading.Event()
        """Set when a part begins to wait; whoever looks for those whose time is up clears it."""

    def join(self, new: OpenPart) -> OpenPart:
        """The part that waits under this key, or this one from now on; `leave` follows.

        Raises Overloaded.
        """
        with self._lock:
            found = self._parts.get(new.part.part_key)
            if found is not None:
                found.inside += 1
                return found
            if sum(part.part.station == new.part.station for part in self._parts.values()) >= OPEN_LIMIT:
                raise Overloaded(
                    f"{OPEN_LIMIT} parts of station {new.part.station} wait for their views",
                    "give the recipe a shorter deadline, or send all views at once",
                )
            new.inside += 1
            self._parts[new.part.part_key] = new
            self.began.set()
            return new

    def leave(self, part: OpenPart) -> None:
        """A request is done with it; where nothing has come of any of them there is nothing to wait for."""
        with self._lock:
            part.inside -= 1
            if not part.inside and not part.looks and self._parts.get(part.part.part_key) is part:
                del self._parts[part.part.part_key]

    def __bool__(self) -> bool:
        return bool(self._parts)

    def has(self, part: PartRequest) -> bool:
        """Whether the part waits for views."""
        return bool(self._parts) and part.part_key in self._parts

    def find(self, part_key: str) -> OpenPart | None:
        """The part that waits under this key."""
        return self._parts.get(part_key)

    def find_result(self, result_id: str) -> OpenPart | None:
        """The part that waits under this result id."""
        with self._lock:
            return next((part for part in self._parts.values() if part.result_id == result_id), None)

    def remove(self, part: OpenPart) -> None:
        """It is decided."""
        with self._lock:
            if self._parts.get(part.part.part_key) is part:
                del self._parts[part.part.part_key]

    def due(self, now: float) -> list[OpenPart]:
        """The parts whose time is up."""
        with self._lock:
            return [part for part in self._parts.values() if part.deadline <= now]
