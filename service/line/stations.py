"""What each station is doing, for whoever supervises the line."""

import threading
from datetime import datetime
from typing import Any

from monitoring.metrics import LABEL_LIMIT


class Stations:
    """The stations seen since the start."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime, int, str | None]] = {}
        self._lock = threading.Lock()

    def seen(self, station: str, product: str | None, at: datetime) -> None:
        """A part was presented, whether it could be judged or not."""
        with self._lock:
            _, count, _ = self._seen.get(station, (at, 0, None))
            if station in self._seen or len(self._seen) < LABEL_LIMIT:
                self._seen[station] = (at, count + 1, product)

    def names(self) -> list[str]:
        """All stations seen."""
        return sorted(self._seen)

    def product(self, station: str) -> str | None:
        """The product that the station named last; None where it named none, or was never seen."""
        found = self._seen.get(station)
        return found[2] if found else None

    def facts(self, station: str) -> dict[str, Any]:
        """When the station last sent a part, and how many since the start."""
        found = self._seen.get(station)
        return {
            "last_part_at": found[0].isoformat() if found else None,
            "parts_since_start": found[1] if found else 0,
        }
