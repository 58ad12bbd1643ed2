"""A part's way through the line server: one job on one thread, from bytes to an answer that is on disk."""

import hashlib
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from models.classifier import ViewScore
from models.preprocess import Prepared, UnreadableImage, prepare, stored_type
from models.scoring import score_prepared
from monitoring.metrics import LineMetrics
from monitoring.signals import signature
from monitoring.watch import Observation, Watch
from service.line.answers import Reply, answer_of, body_of, reply_from, view_of
from service.line.champions import Active
from service.line.requests import PartRequest
from service.line.tickets import Ticket, Tickets, other_image
from service.line.verdicts import DEADLINE, NOT_INSPECTED, STORAGE, UNREADABLE, Verdict, decide, undecided
from storage.drain import encode
from storage.images.content import ContentStore
from storage.journal import Answered, Entry, Journal, JournalBroken
from storage.records import Alarm, Event, Inspection, View

UNWATCHED = "unwatched"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part as it reached the server."""

    part: PartRequest
    active: Active
    body: bytes
    received_at: datetime
    started: float
    """time.perf_counter() at the first byte."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found out about an image before the verdict."""

    prepared: Prepared | None = None
    score: ViewScore | None = None
    observation: Observation | None = None
    unreadable: str | None = None
    broken: str | None = None

    @property
    def drift_state(self) -> str:
        return self.observation.state if self.observation else UNWATCHED

    @property
    def ratios(self) -> dict[str, float]:
        found = self.observation.ratios.items() if self.observation else ()
        return {chart: ratio for chart, ratio in found if math.isfinite(ratio)}  # JSON knows no other numbers


class LinePipeline:
    """Judges parts; called from many threads at once."""

    def __init__(
        self,
        journal: Journal,
        images: ContentStore,
        watch: Watch,
        metrics: LineMetrics,
        clock: Callable[[], datetime],
        *,
        window: timedelta,
        pixel_limit: int,
    ) -> None:
        self._journal, self._images, self._watch, self._metrics, self._clock = journal, images, watch, metrics, clock
        self._window, self._pixel_limit = window, pixel_limit
        self._tickets = Tickets()
        self._log = structlog.get_logger("line")

    def inspect(self, arrival: Arrival, ticket: Ticket) -> Reply:
        """The part's answer, on disk before this returns; the same part again gets the same answer.

        Raises OtherImage.
        """
        key = arrival.part.key
        ticket.digest = hashlib.sha256(arrival.body).hexdigest()
        while (held := self._tickets.enter(key, ticket)) is not None:
            reply = held.wait()
            if reply is not None and held.digest == ticket.digest and ticket.decide(reply) is None:
                self._metrics.repeated()
                return reply
            # Another image, or this one's line was told something else meanwhile: the journal says what stands.
            held.wait_finished()
        try:
            stored = self._journal.answered(key, arrival.received_at - self._window)
            if stored is not None:
                return self._again(stored, arrival, ticket)
            return self._judge(arrival, ticket)
        except JournalBroken as error:
            return self._unrecorded(arrival, ticket, error)
        finally:
            self._tickets.leave(key, ticket)
            ticket.finish()

    def repeat(self, part: PartRequest, body: bytes, received_at: datetime) -> Reply | None:
        """What the part was answered before; None for one that is new.

        Raises OtherImage, JournalBroken.
        """
        stored = self._journal.answered(part.key, received_at - self._window)
        if stored is None:
            return None
        if stored.digest != hashlib.sha256(body).hexdigest():
            raise other_image(part.key)
        self._metrics.repeated()
        return reply_from(stored.answer)

    def fail_safe(self, arrival: Arrival, result_code: int, reason: str) -> Reply:
        """The answer for a part about which nothing is known in time."""
        verdict = undecided(arrival.active.recipe.fail_safe, result_code, reason)
        return self._reply(arrival, verdict, _Seen(), kept=None)

    def deadline_reply(self, arrival: Arrival) -> Reply:
        """The answer that leaves when the deadline comes first."""
        waited = 1000 * (time.perf_counter() - arrival.started)
        return self.fail_safe(arrival, DEADLINE, f"no verdict within {waited:.0f} ms")

    def deadline_without_body(self, arrival: Arrival) -> Reply:
        """The answer for a part whose image was still arriving: there is nothing to record, but it counts."""
        reply = self.deadline_reply(arrival)
        verdict = undecided(arrival.active.recipe.fail_safe, DEADLINE, "the body did not arrive in time")
        self._count(arrival.part, verdict, {"total": 1000 * (time.perf_counter() - arrival.started)})
        return reply

    def event(self, kind: str, subject: str, detail: dict[str, object]) -> None:
        """Record that something happened, on its way to the database and the log.

        Raises JournalBroken.
        """
        event = Event(new_id(), kind, subject, detail, self._clock())
        self._log.info(kind, subject=subject, **detail)
        self._journal.append(Entry(event.id, "event", encode("event", event), event.happened_at))

    def _again(self, stored: Answered, arrival: Arrival, ticket: Ticket) -> Reply:
        if stored.digest != ticket.digest:
            raise other_image(arrival.part.key)
        self._metrics.repeated()
        reply = reply_from(stored.answer)
        late = ticket.decide(reply)
        if late is None:
            return reply
        # The line has acted on the first answer, so that one stays on record, however late its repeat was. What the
        # repeat was told can be found under its own id.
        detail: dict[str, object] = {"key": arrival.part.key, "first": reply.result_id}
        event = Event(late.result_id, "repeat_late", arrival.part.station, detail, arrival.received_at)
        self._journal.append(Entry(event.id, "event", encode("event", event), arrival.received_at, answer=late.body))
        return late

    def _unrecorded(self, arrival: Arrival, ticket: Ticket, error: JournalBroken) -> Reply:
        """What can't be put on record is not answered as decided."""
        self._log.error("journal_broken", reason=str(error))
        verdict = undecided(arrival.active.recipe.fail_safe, STORAGE, str(error))
        reply = self._reply(arrival, verdict, _Seen(), kept=None)
        if ticket.decide(reply) is None:
            self._count(arrival.part, verdict, {"total": 1000 * (time.perf_counter() - arrival.started)})
        return ticket.reply()

    def _judge(self, arrival: Arrival, ticket: Ticket) -> Reply:
        if ticket.late is not None:
            return self._record_late(arrival, ticket, _Seen(), supersedes=None)
        timing = {"queue": 1000 * (time.perf_counter() - arrival.started)}
        seen = self._look(arrival, timing)
        try:
            reply = self._settle(arrival, ticket, seen, timing)
        except JournalBroken as error:
            reply = self._unrecorded(arrival, ticket, error)
        self._watched(arrival, reply, seen)
        return reply

    def _settle(self, arrival: Arrival, ticket: Ticket, seen: _Seen, timing: dict[str, float]) -> Reply:
        """Decide, record, answer; the deadline may come first at any of these steps."""
        if ticket.late is not None:
            return self._record_late(arrival, ticket, seen, supersedes=None)
        verdict = self._verdict(arrival, seen)
        kept = ticket.digest if _is_kept(verdict, arrival.active.recipe.keep_ok_share, ticket.digest) else None
        reply = self._reply(arrival, verdict, seen, kept=kept)
        began = time.perf_counter()
        self._record(arrival, ticket.digest, reply, verdict, seen, kept=kept is not None, supersedes=None)
        timing["commit"] = 1000 * (time.perf_counter() - began)
        timing["total"] = 1000 * (time.perf_counter() - arrival.started)
        reply.timing_ms.update(timing)
        if ticket.decide(reply) is not None:
            return self._record_late(arrival, ticket, seen, supersedes=reply.result_id)
        self._count(arrival.part, verdict, timing)
        return reply

    def _look(self, arrival: Arrival, timing: dict[str, float]) -> _Seen:
        """Decode, watch and score. A part never passes because something broke, so everything is caught here."""
        part, active = arrival.part, arrival.active
        began = time.perf_counter()
        try:
            prepared = prepare(part.frame(arrival.body), active.classifier.card.geometry, pixel_limit=self._pixel_limit)
        except UnreadableImage as error:
            return _Seen(unreadable=str(error))
        except Exception as error:  # noqa: BLE001 - the edge of the process: the line must be answered
            return self._broken(part, error, _Seen())
        decoded = time.perf_counter()
        timing["decode"] = 1000 * (decoded - began)
        seen = _Seen(prepared=prepared)
        try:
            observation = None
            if part.mode == "production":
                observation = self._watch.observe(part.watched_camera, signature(prepared.overview))
            seen = _Seen(prepared=prepared, observation=observation)
            infer = time.perf_counter()
            score = score_prepared(active.classifier, prepared)
            timing["infer"] = 1000 * (time.perf_counter() - infer)
        except Exception as error:  # noqa: BLE001 - the edge of the process: the line must be answered
            return self._broken(part, error, seen)
        if not score.is_finite:
            return _Seen(prepared, observation=observation, broken="the model gave no number for this image")
        return _Seen(prepared=prepared, score=score, observation=observation)

    def _broken(self, part: PartRequest, error: Exception, seen: _Seen) -> _Seen:
        self._log.error("inspection_broke", station=part.station, trigger_id=part.trigger_id, exc_info=error)
        return _Seen(seen.prepared, None, seen.observation, broken=f"{type(error).__name__} inside Loupe; see the log")

    def _verdict(self, arrival: Arrival, seen: _Seen) -> Verdict:
        active = arrival.active
        if seen.unreadable is not None:
            return undecided(active.recipe.fail_safe, UNREADABLE, seen.unreadable)
        if seen.score is None:
            return undecided(active.recipe.fail_safe, NOT_INSPECTED, seen.broken or "no score")
        standing = self._watch.standing(arrival.part.watched_camera)
        cause = standing.cause if standing is not None and arrival.part.mode == "production" else None
        return decide(seen.score, active.classifier.card, active.point, active.recipe, cause)

    def _reply(self, arrival: Arrival, verdict: Verdict, seen: _Seen, *, kept: str | None) -> Reply:
        """The answer under a new result id; `kept` is the hash under which the image is kept."""
        result_id = new_id()
        answer = answer_of(
            result_id=result_id,
            part=arrival.part,
            active=arrival.active,
            verdict=verdict,
            deadline_met=verdict.result_code != DEADLINE,
            view=view_of(arrival.part, seen.score, arrival.active, seen.drift_state, seen.ratios),
            drift_state=seen.drift_state,
            image_uri=self._images.uri(kept) if kept else None,
        )
        return Reply(body_of(answer), verdict.disposition, verdict.result_code, result_id)

    def _record_late(self, arrival: Arrival, ticket: Ticket, seen: _Seen, supersedes: str | None) -> Reply:
        """The fail-safe answer has left: it becomes the record that holds, over a decided one where there is one."""
        late = ticket.reply()
        recipe = arrival.active.recipe
        verdict = undecided(recipe.fail_safe, DEADLINE, "no verdict in time")
        try:
            self._record(arrival, ticket.digest, late, verdict, seen, kept=True, supersedes=supersedes)
        except JournalBroken as error:
            self._log.error("journal_broken", reason=str(error), result_id=late.result_id)
        waited = 1000 * (time.perf_counter() - arrival.started)
        self._count(arrival.part, verdict, {"total": waited})
        return late

    def _record(
        self,
        arrival: Arrival,
        digest: str,
        reply: Reply,
        verdict: Verdict,
        seen: _Seen,
        *,
        kept: bool,
        supersedes: str | None,
    ) -> None:
        part, active = arrival.part, arrival.active
        view = View(
            result_id=reply.result_id,
            view_id=part.view_id,
            camera=part.camera,
            image_sha256=digest,
            media_type=stored_type(part.frame(arrival.body)),
            image_kept=kept,
            width=seen.prepared.width if seen.prepared else None,
            height=seen.prepared.height if seen.prepared else None,
            class_name=seen.score.class_name if seen.score else None,
            p_defect=seen.score.p_defect if seen.score else None,
            novelty=seen.score.novelty if seen.score else None,
            signals=seen.ratios,
        )
        record = Inspection(
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
            drift_state=seen.drift_state,
            keep_probability=active.recipe.keep_ok_share if verdict.disposition == "pass" else 1.0,
            supersedes=supersedes,
            answer=reply.body.decode(),
            captured_at=part.captured_at,
            received_at=arrival.received_at,
            views=(view,),
        )
        self._journal.append(
            Entry(
                id=reply.result_id,
                kind="inspection",
                record=encode("inspection", record),
                written_at=arrival.received_at,
                key=part.key,
                digest=digest,
                answer=reply.body,
                blobs={digest: arrival.body} if kept else {},
            )
        )

    def _count(self, part: PartRequest, verdict: Verdict, timing: dict[str, float]) -> None:
        self._metrics.inspected(
            part.station, part.mode, verdict.evaluation, verdict.disposition, verdict.result_code, timing
        )

    def _watched(self, arrival: Arrival, reply: Reply, seen: _Seen) -> None:
        """An alarm reaches the database, the metrics and the log; its clearing does too."""
        part, observation = arrival.part, seen.observation
        if observation is None:
            return
        standing = self._watch.standing(part.watched_camera) is not None
        self._metrics.watched(part.watched_camera, observation.ratios, standing)
        if observation.alarm is None and not observation.cleared:
            return
        try:
            if observation.alarm is not None:
                self._store_alarm(arrival, reply, observation.alarm)
            else:
                self.event("optics_alarm_cleared", part.watched_camera, {"result_id": reply.result_id})
        except JournalBroken as error:
            self._log.error("journal_broken", reason=str(error))

    def _store_alarm(self, arrival: Arrival, reply: Reply, raised: Any) -> None:
        part = arrival.part
        alarm = Alarm(
            id=new_id(),
            station=part.station,
            camera=part.camera,
            product=arrival.active.model.product,
            cause=raised.cause,
            chart=raised.chart,
            ratio=float(raised.ratio),
            images_since_onset=max(0, raised.at_image - raised.onset),
            result_id=reply.result_id,
            raised_at=arrival.received_at,
        )
        self._metrics.alarmed(part.watched_camera, alarm.cause)
        self._log.warning("optics_alarm", camera=part.watched_camera, cause=alarm.cause, ratio=round(alarm.ratio, 2))
        self._journal.append(Entry(alarm.id, "alarm", encode("alarm", alarm), alarm.raised_at))


def new_id() -> str:
    """An id that sorts by time: milliseconds since 1970 in hex, then 64 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(8)}"


def _is_kept(verdict: Verdict, keep_ok_share: float, digest: str) -> bool:
    """Everything but good parts is kept, and of these a share chosen by their hash, so without regard to content."""
    return verdict.disposition != "pass" or int(digest[:8], 16) / 2**32 < keep_ok_share
