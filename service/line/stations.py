"""What each station is doing, and whether its last challenge lets it be served."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from monitoring.metrics import LABEL_LIMIT
from service.line.requests import NotReady
from storage.journal.segments import sync_folder
from storage.records import Challenge, Recipe


@dataclass(frozen=True, slots=True)
class _Seen:
    at: datetime
    parts: int
    product: str | None


class Stations:
    """The stations seen since the start, and the last challenge of each with each product, whoever made it.

    Challenges are also kept in a file: after a restart, nothing may be served that a challenge has stopped, whatever
    has become of the database meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, _Seen] = {}
        self._challenges: dict[tuple[str, str], Challenge] = _kept(path)
        self._lock = threading.Lock()

    def seen(self, station: str, at: datetime, product: str | None) -> None:
        """A part was presented, of a product that has a champion where one is named; from the event loop only."""
        before = self._seen.get(station)
        if before is not None:
            self._seen[station] = _Seen(at, before.parts + 1, product or before.product)
        elif len(self._seen) < LABEL_LIMIT:
            self._seen[station] = _Seen(at, 1, product)

    def challenged(self, challenge: Challenge) -> None:
        """A part with a known answer was sent; of two the later one holds, of one that comes again the first.

        Raises OSError where that can't be kept; it holds all the same.
        """
        with self._lock:
            place = (challenge.station, challenge.product)
            known = self._challenges.get(place)
            if known is not None and (known.id == challenge.id or known.challenged_at > challenge.challenged_at):
                return
            if known is not None and not known.passed and challenge.passed and known.expected != challenge.expected:
                return  # a missed defect is not cured by a good part that is found good
            self._challenges[place] = challenge
            _keep(self._path, list(self._challenges.values()))

    def follow(self, latest: Mapping[tuple[str, str], Challenge]) -> None:
        """Take over the challenges that are in the database.

        Raises OSError.
        """
        for challenge in latest.values():
            self.challenged(challenge)

    def check(self, station: str, recipe: Recipe, now: datetime) -> None:
        """Refuse production where the last challenge with the product failed or is too long ago.

        Raises NotReady.
        """
        last = self._challenges.get((station, recipe.product))
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
        # Copied, for other threads add to them: a loop over the thing itself can be interrupted, a copy can't.
        return sorted({*self._seen.copy(), *(station for station, _ in self._challenges.copy())})

    def product(self, station: str) -> str | None:
        """The product that the station named last, of those that have a champion; None where it named none."""
        found = self._seen.get(station)
        return found.product if found else None

    def challenge(self, station: str) -> Challenge | None:
        """The last challenge of the station; of several products one that failed, for it stops parts."""
        found = [challenge for (name, _), challenge in self._challenges.copy().items() if name == station]
        return min(found, key=lambda c: (c.passed, -c.challenged_at.timestamp()), default=None)

    def facts(self, station: str) -> dict[str, Any]:
        """When the station last sent a part, how many since the start, and its last challenge."""
        found, last = self._seen.get(station), self.challenge(station)
        return {
            "last_part_at": found.at.isoformat() if found else None,
            "parts_since_start": found.parts if found else 0,
            "last_challenge": None
            if last is None
            else {
                "at": last.challenged_at.isoformat(),
                "product": last.product,
                "passed": last.passed,
                "expected": last.expected_class or last.expected,
                "evaluation": last.evaluation,
                "reason": last.reason,
                "result_id": last.result_id,
            },
        }


_ADAPTER = TypeAdapter(list[Challenge])


def _kept(path: Path) -> dict[tuple[str, str], Challenge]:
    if not path.exists():
        return {}
    try:
        found = _ADAPTER.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        # The database has them too, unless it is away and a challenge had just failed.
        structlog.get_logger("line").error("challenges_unreadable", path=str(path), reason=str(error))
        return {}
    return {(challenge.station, challenge.product): challenge for challenge in found}


def _keep(path: Path, challenges: list[Challenge]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        file.write(_ADAPTER.dump_json(challenges))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
