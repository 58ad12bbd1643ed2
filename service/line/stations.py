"""What each station is doing, and whether its last challenge lets it be served."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitoring.metrics import LABEL_LIMIT
from service.line.requests import NotReady
from storage.records import Challenge, Recipe


@dataclass(frozen=True, slots=True)
class _Seen:
    at: datetime
    parts: int
    product: str | None


class Stations:
    """The stations seen since the start, and the last challenge of each, whoever made it."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._challenges: dict[str, Challenge] = {}
        self._lock = threading.Lock()

    def seen(self, station: str, product: str | None, at: datetime) -> None:
        """A part was presented, whether it could be judged or not; used from the event loop only."""
        before = self._seen.get(station)
        if before is not None:
            self._seen[station] = _Seen(at, before.parts + 1, product or before.product)
        elif len(self._seen) < LABEL_LIMIT:
            self._seen[station] = _Seen(at, 1, product)

    def challenged(self, challenge: Challenge) -> None:
        """A part with a known answer was sent; of two the later one holds, of one that comes again the first."""
        with self._lock:
            known = self._challenges.get(challenge.station)
            if known is not None and known.id == challenge.id:
                return
            if known is None or known.challenged_at <= challenge.challenged_at:
                self._challenges[challenge.station] = challenge

    def follow(self, latest: Mapping[str, Challenge]) -> None:
        """Take over the challenges that are in the database."""
        for challenge in latest.values():
            self.challenged(challenge)

    def check(self, station: str, recipe: Recipe, now: datetime) -> None:
        """Refuse production where the last challenge failed or is too long ago.

        Raises NotReady.
        """
        last = self._challenges.get(station)
        if last is not None and not last.passed:
            raise NotReady(
                f"station {station} failed its last challenge: {last.reason}",
                "find out why, then send the known part again: POST /v1/challenges",
            )
        every_h = recipe.challenge_every_h
        if every_h is not None and (last is None or now - last.challenged_at > timedelta(hours=every_h)):
            raise NotReady(
                f"station {station} has passed no challenge in the last {every_h:g} h",
                "send a part whose answer is known: POST /v1/challenges",
            )

    def lets_through(self, station: str, recipe: Recipe | None, now: datetime) -> bool:
        """Whether `check` has nothing against production."""
        if recipe is None:
            return True
        try:
            self.check(station, recipe, now)
        except NotReady:
            return False
        return True

    def names(self) -> list[str]:
        """All stations seen or challenged."""
        return sorted({*self._seen, *self._challenges})

    def product(self, station: str) -> str | None:
        """The product that the station named last; None where it named none, or was never seen."""
        found = self._seen.get(station)
        return found.product if found else None

    def challenge(self, station: str) -> Challenge | None:
        """The last challenge of the station."""
        return self._challenges.get(station)

    def facts(self, station: str) -> dict[str, Any]:
        """When the station last sent a part, how many since the start, and its last challenge."""
        found, last = self._seen.get(station), self._challenges.get(station)
        return {
            "last_part_at": found.at.isoformat() if found else None,
            "parts_since_start": found.parts if found else 0,
            "last_challenge": None
            if last is None
            else {
                "at": last.challenged_at.isoformat(),
                "passed": last.passed,
                "expected": last.expected_class or last.expected,
                "evaluation": last.evaluation,
                "reason": last.reason,
                "result_id": last.result_id,
            },
        }
