"""What the line is told goes on record: the journal's entries, made from what was seen and decided."""

import hashlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from models.preprocess import stored_type
from service.line.answers import Reply, drift_state
from service.line.champions import Active
from service.line.looking import Look
from service.line.requests import PartRequest
from service.line.verdicts import DEADLINE, MISSING_VIEW, Verdict
from storage.drain import encode
from storage.journal import Entry, Journal
from storage.records import Event, Inspection, Recipe, View

_random = random.Random()  # seeded by the system, which to ask for each part takes as long as a look-up


@dataclass(frozen=True, slots=True)
class Sighting:
    """A part with everything that was seen of it until now."""

    part: PartRequest
    active: Active
    bodies: Mapping[str, bytes]
    """Images by view_id."""
    digests: Mapping[str, str]
    """Their SHA-256."""
    looks: Sequence[Look]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """Whether a part's images are kept, and with which probability those of such a part were when this was decided."""

    kept: bool
    probability: float


def retention(verdict: Verdict, recipe: Recipe, digests: Mapping[str, str], *, on_reserve: bool) -> Retention:
    """Everything but good parts is kept, and of these a share chosen by their hash, so without regard to content.

    The storage reserve is for records alone.
    """
    if on_reserve:
        return Retention(False, 0.0)
    if verdict.disposition != "pass":
        return Retention(True, 1.0)
    drawn = min(digests.values())
    if len(digests) > 1:  # the smallest of several hashes would keep more parts than the share says
        drawn = hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()
    return Retention(int(drawn[:8], 16) / 2**32 < recipe.keep_ok_share, recipe.keep_ok_share)


def record_inspection(
    journal: Journal,
    seen: Sighting,
    reply: Reply,
    verdict: Verdict,
    keys: Mapping[str, str],
    retained: Retention,
    *,
    supersedes: str | None = None,
    closes: Sequence[str] = (),
) -> None:
    """Put the last word on a part on record.

    `keys`: under which it shall be found again, with what must be the same then. `closes`: the entries that held its
    views until now. Raises JournalBroken.
    """
    journal.append(
        Entry(
            id=reply.result_id,
            kind="inspection",
            record=encode("inspection", _inspection(seen, reply, verdict, retained, supersedes)),
            written_at=seen.received_at,
            keys=keys,
            answer=reply.body,
            blobs=_blobs(seen) if retained.kept else {},
            closes=tuple(closes),
        )
    )


def record_views(
    journal: Journal, seen: Sighting, fresh: PartRequest, reply: Reply, verdict: Verdict, retained: Retention
) -> str:
    """Put views on record whose part is not whole yet, as the record that holds if nothing else comes.

    Returns the entry's id. Raises JournalBroken.
    """
    entry_id = f"{reply.result_id}.{len(seen.looks)}"
    names = [view.view_id for view in fresh.views]
    journal.append(
        Entry(
            id=entry_id,
            kind="inspection",
            record=encode("inspection", _inspection(seen, reply, verdict, retained, None)),
            written_at=seen.received_at,
            keys={fresh.key(view): seen.digests[view.view_id] for view in fresh.views},
            answer=reply.body,
            blobs={seen.digests[name]: seen.bodies[name] for name in names} if retained.kept else {},
            provisional=True,
        )
    )
    return entry_id


def record_event(
    journal: Journal,
    kind: str,
    subject: str,
    detail: Mapping[str, object],
    at: datetime,
    *,
    event_id: str | None = None,
    answer: bytes | None = None,
    keys: Mapping[str, str] | None = None,
) -> None:
    """Put on record that something happened; with an answer where somebody was told something that must be found.

    Raises JournalBroken.
    """
    event = Event(event_id or new_id(), kind, subject, dict(detail), at)
    journal.append(Entry(event.id, "event", encode("event", event), at, keys=keys or {}, answer=answer))


def new_id() -> str:
    """An id that sorts by time: milliseconds since 1970 in hex, then 64 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}-{_random.getrandbits(64):016x}"


def made_at(result_id: str) -> datetime:
    """When an id was made, to the millisecond.

    >>> made_at("019abc000000-0011223344556677").isoformat()
    '2025-11-25T17:11:47.968000+00:00'
    """
    return datetime.fromtimestamp(int(result_id.partition("-")[0], 16) / 1000, UTC)


def alias(result_id: str) -> str:
    """The key under which a part is found by an id that it was promised while its views were awaited."""
    return f"result {result_id}"


def _blobs(seen: Sighting) -> dict[str, bytes]:
    return {seen.digests[name]: body for name, body in seen.bodies.items()}


def _inspection(
    seen: Sighting, reply: Reply, verdict: Verdict, retained: Retention, supersedes: str | None
) -> Inspection:
    part, active = seen.part, seen.active
    found = {look.view_id: look for look in seen.looks}
    views = [
        _view(
            reply.result_id, found.get(v.view_id) or Look(v, seen.digests[v.view_id]), active.recipe, kept=retained.kept
        )
        for v in part.views
    ]
    return Inspection(
        result_id=reply.result_id,
        station=part.station,
        trigger_epoch=part.trigger_epoch,
        trigger_id=part.trigger_id,
        product=active.model.product,
        part_id=part.part_id,
        lot=part.lot,
        mode=part.mode,
        evaluation=verdict.evaluation,
        disposition=verdict.disposition,
        result_code=verdict.result_code,
        reasons=verdict.reasons,
        deadline_met=verdict.result_code != DEADLINE,
        recipe_version=active.recipe.version,
        model_id=active.model.id,
        model_sha256=active.model.sha256,
        drift_state=drift_state(seen.looks),
        keep_probability=retained.probability,
        supersedes=supersedes,
        answer="",  # the journal holds it beside the record
        captured_at=part.captured_at,
        received_at=seen.received_at,
        is_partial=verdict.result_code == MISSING_VIEW,
        views=tuple(views),
    )


def _view(result_id: str, look: Look, recipe: Recipe, *, kept: bool) -> View:
    view = look.view
    return View(
        result_id=result_id,
        view_id=view.view_id,
        camera=view.camera,
        image_sha256=look.digest,
        media_type=stored_type(view.frame(b"")),
        image_kept=kept,
        width=look.width,
        height=look.height,
        class_name=look.score.class_name if look.score else None,
        p_defect=look.score.p_defect if look.score else None,
        novelty=look.score.novelty if look.score else None,
        signals=dict(look.signals),
        lamp=recipe.lamps.get(view.view_id, ""),
    )
