"""What each station is doing, for whoever supervises the line."""

import threading
from datetime import datetime
from typing import Any

from monitoring.metrics import LABEL_LIMIT


class Stations:
    """The stations seen since the start."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime, int]] = {}
        self._lock = threading.Lock()

    def seen(self, station: str, at: datetime) -> None:
        """A part was presented."""
        with self._lock:
            _, count = self._seen.get(station, (at, 0))
            if station in self._seen or len(self._seen) < LABEL_LIMIT:
                self._seen[station] = (at, count + 1)

    def names(self) -> list[str]:
        """All stations seen."""
        return sorted(self._seen)

    def facts(self, station: str) -> dict[str, Any]:
        """When the station last sent a part, and how many since the start."""
        found = self._seen.get(station)
        return {
            "last_part_at": found[0].isoformat() if found else None,
            "parts_since_start": found[1] if found else 0,
        }
