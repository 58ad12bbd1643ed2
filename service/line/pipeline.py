"""A part's way through the line server: one job on one thread, from bytes to an answer that is on disk."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from monitoring.metrics import LineMetrics
from service.line.answers import Reply, is_simulated, reply_from, reply_of
from service.line.champions import Active
from service.line.joining import OpenPart, OpenParts
from service.line.looking import Look, Looking
from service.line.recording import (
    Retention,
    Sighting,
    alias,
    new_id,
    record_event,
    record_inspection,
    record_views,
    retention,
)
from service.line.requests import DEFAULT_VIEW, OtherImage, Overloaded, PartRequest, ViewRequest, WrongRequest
from service.line.tickets import Ticket, Tickets, other_image, other_mode
from service.line.verdicts import DEADLINE, STORAGE, Verdict, decide, undecided
from service.line.watching import Watching
from storage.images.content import ContentStore
from storage.journal import Answered, Journal, JournalBroken

JOIN_WAIT_MS = 10_000.0
"""How long a part waits for its other views where nobody names a deadline."""
EXPIRE_AGAIN_S = 1.0
"""A part whose last word the disk did not take is tried again after so long."""
START_SHARE = 0.8
"""Work is begun while at least this share of what it takes on average is left before the deadline."""

Told = Callable[[PartRequest, bytes], None]
Earlier = Callable[[PartRequest, datetime], Mapping[str, Answered]]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part, or some of its views, as it reached the server."""

    part: PartRequest
    active: Active
    bodies: Mapping[str, bytes]
    """Images by view_id."""
    received_at: datetime
    started: float
    """time.perf_counter() at the first byte."""
    deadline: float | None = None
    """time.perf_counter() at which the answer must have left."""

    @property
    def waited_ms(self) -> float:
        """Since the first byte."""
        return 1000 * (time.perf_counter() - self.started)


@dataclass(slots=True)
class _Case:
    """What one job knows of its part."""

    arrival: Arrival
    ticket: Ticket
    digests: dict[str, str]
    fresh: tuple[ViewRequest, ...]
    """Its views that have not been answered before."""
    timing_ms: dict[str, float] = field(default_factory=dict)

    @property
    def view_keys(self) -> dict[str, str]:
        """The keys of the views that are new, with what must be the same when they come again."""
        return {self.arrival.part.key(view): self.digests[view.view_id] for view in self.fresh}

    @property
    def keys(self) -> dict[str, str]:
        """Under which what is answered shall be found again: by its new views, and as a part."""
        return {**self.view_keys, self.arrival.part.part_key: ""}

    def only_fresh(self) -> None:
        """Of a part that is joined, what came before is with it already."""
        if len(self.fresh) < len(self.arrival.part.views):
            self.arrival = replace(self.arrival, part=replace(self.arrival.part, views=self.fresh))

    def seen(self, looks: Sequence[Look]) -> Sighting:
        arrival = self.arrival
        return Sighting(arrival.part, arrival.active, arrival.bodies, self.digests, looks, arrival.received_at)


class LinePipeline:
    """Judges parts; called from many threads at once."""

    def __init__(
        self,
        journal: Journal,
        images: ContentStore,
        looking: Looking,
        watching: Watching,
        metrics: LineMetrics,
        clock: Callable[[], datetime],
        told: Told,
        earlier: Earlier,
        *,
        window: timedelta,
    ) -> None:
        self._journal, self._images, self._metrics, self._clock = journal, images, metrics, clock
        self._looking, self._watching = looking, watching
        self._told = told
        """Called with every last word on a part, before it is on its way to whoever posted it."""
        self._earlier = earlier
        """What another line server answered for a part before this one had its station, by idempotency key."""
        self._window = window
        self._unwritten: dict[str, Answered] = {}
        """Fail-safe answers that have left and that the disk did not take, where it holds a decided one: they win."""
        self._tickets = Tickets()
        self.open_parts = OpenParts()
        self._log = structlog.get_logger("line")

    def inspect(self, arrival: Arrival, ticket: Ticket) -> Reply:
        """The part's answer, on disk before this returns; the same part again gets the same answer.

        Raises OtherImage, Overloaded.
        """
        part = arrival.part
        digests = {name: hashlib.sha256(body).hexdigest() for name, body in arrival.bodies.items()}
        _check_announced(part, digests)
        case = _Case(arrival, ticket, digests, part.views)
        # One part is judged by one thread at a time; only views that wait for each other are looked at side by side.
        joins = len(part.views) == 1 and len(arrival.active.recipe.expected_views) > 1
        key = part.key(part.views[0]) if joins else part.part_key
        ticket.digest = " ".join(f"{view.view_id}={case.digests[view.view_id]}" for view in part.views)
        while (held := self._tickets.enter(key, ticket)) is not None:
            reply = held.wait()
            if reply is not None and held.digest == ticket.digest and ticket.decide(reply) is None:
                self._metrics.repeated()
                return reply
            # Another image, or this one's line was told something else meanwhile: the journal says what stands.
            held.wait_finished()
        try:
            stored, fresh = self._stored(part, case.digests, arrival.received_at)
            if stored is not None and not fresh:
                return self._again(stored, case)
            case.fresh = fresh
            return self._judge(case)
        except OtherImage as error:
            if ticket.late is None:
                raise
            # The line was told something before anybody knew: that can be found, and what stands stands.
            detail: dict[str, object] = {"key": part.part_key, "reason": str(error)}
            late, at = ticket.reply(), arrival.received_at
            record_event(
                self._journal, "repeat_late", part.station, detail, at, event_id=late.result_id, answer=late.body
            )
            return late
        except JournalBroken as error:
            return self._unrecorded(case, (), error)
        finally:
            self._tickets.leave(key, ticket)
            ticket.finish()

    def repeat(self, part: PartRequest, bodies: Mapping[str, bytes], received_at: datetime) -> Reply | None:
        """What the part was answered before; None for one that is new.

        Raises OtherImage, JournalBroken.
        """
        digests = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
        stored, fresh = self._stored(part, digests, received_at)
        if stored is None or fresh:
            return None
        self._metrics.repeated()
        return reply_from(stored.answer)

    def deadline_reply(self, arrival: Arrival) -> Reply:
        """The answer that leaves when the deadline comes first."""
        verdict = undecided(arrival.active.recipe.fail_safe, DEADLINE, _too_late(arrival))
        return reply_of(new_id(), arrival.part, arrival.active, verdict, (), None)

    def deadline_without_body(self, arrival: Arrival) -> Reply:
        """The answer for a part whose image was still arriving: there is nothing to record, but it counts."""
        reply = self.deadline_reply(arrival)
        verdict = undecided(arrival.active.recipe.fail_safe, DEADLINE, "the body did not arrive in time")
        self._count(arrival.part, reply, verdict, {"total": arrival.waited_ms})
        return reply

    def event(self, kind: str, subject: str, detail: dict[str, object]) -> None:
        """Record that something happened, on its way to the database and the log.

        Raises JournalBroken.
        """
        self._log.info(kind, subject=subject, **detail)
        record_event(self._journal, kind, subject, detail, self._clock())

    def expire_parts(self) -> None:
        """Decide the parts whose views did not all come in time."""
        for open_part in self.open_parts.due(time.perf_counter()):
            with open_part.lock:
                if open_part.final is None and open_part.looks:
                    self._conclude_partial(open_part)

    def _stored(
        self, part: PartRequest, digests: Mapping[str, str], received_at: datetime
    ) -> tuple[Answered | None, tuple[ViewRequest, ...]]:
        """What stands for the part, and the views that are new.

        Raises OtherImage.
        """
        since = received_at - self._window
        stored, fresh, told = None, [], set()
        for view in part.views:
            found = self._answered(part, part.key(view), since)
            if found is None:
                fresh.append(view)
            elif found.digest != digests[view.view_id]:
                raise other_image(part.key(view))
            else:
                stored = found
                told.add(found.entry_id)
        if stored is not None and len(told) > 1:  # they came one by one: the part's last word holds
            stored = self._answered(part, part.part_key, since) or stored
        if stored is not None and is_simulated(stored.answer) != (part.mode != "production"):
            # What a shadow or a challenge was told is no verdict on a part, and the other way round.
            raise other_mode(part.part_key, part.mode)
        return stored, tuple(fresh)

    def _answered(self, part: PartRequest, key: str, since: datetime) -> Answered | None:
        """What was answered under the key, by this server or by the one from which it took the station."""
        unwritten = self._unwritten.get(key)
        if unwritten is not None:
            return unwritten
        return self._journal.answered(key, since) or self._earlier(part, since).get(key)

    def _again(self, stored: Answered, case: _Case) -> Reply:
        self._metrics.repeated()
        return self._unless_late(case, reply_from(stored.answer))

    def _unless_late(self, case: _Case, reply: Reply) -> Reply:
        """What stands already, told again."""
        late = case.ticket.decide(reply)
        if late is None:
            return reply
        # The line has acted on the first answer, so that one stays on record, however late its repeat was. What the
        # repeat was told can be found under its own id.
        part, at = case.arrival.part, case.arrival.received_at
        detail = {"key": part.part_key, "first": reply.result_id}
        record_event(self._journal, "repeat_late", part.station, detail, at, event_id=late.result_id, answer=late.body)
        return late

    def _judge(self, case: _Case) -> Reply:
        arrival, ticket, begun = case.arrival, case.ticket, time.perf_counter()
        pace = arrival.active.pace
        if arrival.deadline is not None and ticket.late is None:
            needed_ms = START_SHARE * pace.mean_ms * len(arrival.part.views)
            if 1000 * (arrival.deadline - time.perf_counter()) < needed_ms:
                if 1000 * (arrival.deadline - arrival.started) < needed_ms:
                    pace.skipped()
                ticket.expire()
        case.timing_ms["queue"] = arrival.waited_ms
        # A part that waits keeps waiting, whatever has become of its recipe meanwhile.
        if len(arrival.active.recipe.expected_views) > 1 or self.open_parts.has(arrival.part):
            return self._join(case)
        if ticket.late is not None:
            return self._record_late(case, ())
        looks = self._look(case, arrival.active)
        try:
            reply = self._settle(case, looks)
        except JournalBroken as error:
            reply = self._unrecorded(case, looks, error)
        pace.took(1000 * (time.perf_counter() - begun) / len(looks))
        self._watching.looked(arrival.part, arrival.active, looks, reply.result_id, arrival.received_at)
        return reply

    def _look(self, case: _Case, active: Active) -> list[Look]:
        arrival, part = case.arrival, case.arrival.part
        looks = [
            self._looking.look(part, view, arrival.bodies[view.view_id], case.digests[view.view_id], active)
            for view in part.views
        ]
        case.timing_ms["decode"] = sum(found.decode_ms for found in looks)
        if any(found.score is not None for found in looks):
            case.timing_ms["infer"] = sum(found.infer_ms for found in looks)
        return looks

    def _settle(self, case: _Case, looks: Sequence[Look]) -> Reply:
        """Decide, record, answer; the deadline may come first at any of these steps."""
        arrival, ticket = case.arrival, case.ticket
        if ticket.late is not None:
            return self._record_late(case, looks)
        active = arrival.active
        verdict = decide(looks, (), active.classifier.card, active.point, active.recipe)
        retained = self._retention(verdict, active, case.digests)
        uri = self._uri(case.digests) if retained.kept else None
        reply = reply_of(new_id(), arrival.part, active, verdict, looks, uri)
        seen, keys = case.seen(looks), self._keys(case, verdict)
        self._commit(case, lambda: record_inspection(self._journal, seen, reply, verdict, keys, retained))
        reply.timing_ms.update(case.timing_ms)
        if ticket.decide(reply) is not None:
            return self._record_late(case, looks, supersedes=reply.result_id)
        self._count(arrival.part, reply, verdict, case.timing_ms)
        self._watching.judged(seen, verdict.evaluation, reply.result_id)
        return reply

    def _join(self, case: _Case) -> Reply:
        """Add the views to their part, and decide it when it is whole."""
        case.only_fresh()
        arrival = case.arrival
        deadline = arrival.started + JOIN_WAIT_MS / 1000 if arrival.deadline is None else arrival.deadline
        new = OpenPart(new_id(), arrival.part, arrival.active, arrival.received_at, arrival.started, deadline)
        try:
            open_part = self.open_parts.join(new)
        except Overloaded:
            if case.ticket.late is None:
                raise
            return self._record_late(case, ())
        try:
            began = time.perf_counter()
            looks = self._look(case, open_part.active) if case.ticket.late is None else []
            with open_part.lock:
                reply = self._joined(case, open_part, looks)
            if looks:
                open_part.active.pace.took(1000 * (time.perf_counter() - began) / len(looks))
        finally:
            self.open_parts.leave(open_part)
        self._watching.looked(arrival.part, open_part.active, looks, reply.result_id, arrival.received_at)
        return reply

    def _joined(self, case: _Case, open_part: OpenPart, looks: Sequence[Look]) -> Reply:
        arrival = case.arrival
        concluded = open_part.final or self._concluded(arrival)
        # Another request may have brought the same view since: behind the part's lock nobody comes between.
        stored, case.fresh = self._stored(arrival.part, case.digests, arrival.received_at)
        if stored is not None and not case.fresh:
            return self._again(stored, case)
        case.only_fresh()
        if concluded is not None:
            return self._view_after_the_end(case, concluded)
        names, before = {view.view_id for view in case.fresh}, len(open_part.entries)
        open_part.add([found for found in looks if found.view_id in names], arrival.bodies)
        try:
            if case.ticket.late is not None or not open_part.missing:
                return self._conclude(case, open_part)
            return self._process(case, open_part)
        except JournalBroken as error:
            if len(open_part.entries) == before:
                open_part.drop(names)
            return self._unrecorded(case, looks, error)

    def _concluded(self, arrival: Arrival) -> Reply | None:
        found = self._answered(arrival.part, arrival.part.part_key, arrival.received_at - self._window)
        return None if found is None else reply_from(found.answer)

    def _view_after_the_end(self, case: _Case, final: Reply) -> Reply:
        """The part was decided without this view: its verdict stands, and the view is told it."""
        part, at = case.arrival.part, case.arrival.received_at
        detail = {"result_id": final.result_id, "views": [view.view_id for view in part.views]}
        record_event(self._journal, "view_late", part.station, detail, at, answer=final.body, keys=case.view_keys)
        return self._unless_late(case, final)

    def _whole(self, open_part: OpenPart) -> Sighting:
        """The part with all views that came."""
        looks = [open_part.looks[name] for name in sorted(open_part.looks)]
        part = replace(open_part.part, views=tuple(found.view for found in looks))
        digests = {found.view_id: found.digest for found in looks}
        return Sighting(part, open_part.active, open_part.bodies, digests, looks, open_part.received_at)

    def _decide(self, open_part: OpenPart, seen: Sighting) -> Verdict:
        active = open_part.active
        return decide(seen.looks, open_part.missing, active.classifier.card, active.point, active.recipe)

    def _conclude(self, case: _Case, open_part: OpenPart) -> Reply:
        """The part is whole, or its last view was too late."""
        late, active = case.ticket.late, open_part.active
        if late is not None:
            for view in case.arrival.part.views:  # nobody looked at these
                open_part.looks.setdefault(view.view_id, Look(view, case.digests[view.view_id]))
                open_part.bodies.setdefault(view.view_id, case.arrival.bodies[view.view_id])
            seen, verdict = self._whole(open_part), self._late_verdict(active)
            self._end(open_part, seen, late, verdict, case.keys, self._retention(verdict, active, seen.digests))
        else:
            seen = self._whole(open_part)
            verdict = self._decide(open_part, seen)
            retained = self._retention(verdict, active, seen.digests)
            uri = self._uri(seen.digests) if retained.kept else None
            reply = reply_of(open_part.result_id, seen.part, active, verdict, seen.looks, uri)
            self._commit(case, lambda: self._end(open_part, seen, reply, verdict, case.keys, retained))
            reply.timing_ms.update(case.timing_ms)
            late = case.ticket.decide(reply)
            if late is None:
                self._count_joined(open_part, reply, verdict, case.timing_ms)
                self._watching.judged(seen, verdict.evaluation, reply.result_id)
                return reply
            verdict = self._late_verdict(active)
            retained = self._retention(verdict, active, seen.digests)
            keys = {**case.keys, alias(open_part.result_id): ""}
            record_inspection(self._journal, seen, late, verdict, keys, retained, supersedes=reply.result_id)
            open_part.final = late
        self._count_joined(open_part, late, verdict, case.timing_ms)
        return late

    def _conclude_partial(self, open_part: OpenPart) -> None:
        """The other views did not come in time."""
        seen = self._whole(open_part)
        verdict = self._decide(open_part, seen)
        retained = self._retention(verdict, open_part.active, seen.digests)
        uri = self._uri(seen.digests) if retained.kept else None
        reply = reply_of(open_part.result_id, seen.part, open_part.active, verdict, seen.looks, uri)
        try:
            self._end(open_part, seen, reply, verdict, {seen.part.part_key: ""}, retained)
        except JournalBroken as error:
            open_part.deadline = time.perf_counter() + EXPIRE_AGAIN_S
            self._log.error("journal_broken", reason=str(error), result_id=reply.result_id)
        else:
            self._count_joined(open_part, reply, verdict, {})

    def _end(
        self,
        open_part: OpenPart,
        seen: Sighting,
        reply: Reply,
        verdict: Verdict,
        keys: Mapping[str, str],
        retained: Retention,
    ) -> None:
        """Put the part's last word on record; it waits no more."""
        if reply.result_id != open_part.result_id:
            keys = {**keys, alias(open_part.result_id): ""}
        record_inspection(self._journal, seen, reply, verdict, keys, retained, closes=open_part.entries)
        open_part.final = reply
        self.open_parts.remove(open_part)

    def _count_joined(
        self, open_part: OpenPart, reply: Reply, verdict: Verdict, timing_ms: Mapping[str, float]
    ) -> None:
        total_ms = 1000 * (time.perf_counter() - open_part.started)
        self._count(open_part.part, reply, verdict, {**timing_ms, "total": total_ms})

    def _process(self, case: _Case, open_part: OpenPart) -> Reply:
        """The part waits for more views; what came is on disk."""
        seen = self._whole(open_part)
        verdict = self._decide(open_part, seen)
        retained = self._retention(verdict, open_part.active, seen.digests)
        reply = reply_of(open_part.result_id, seen.part, open_part.active, verdict, seen.looks, None, processing=True)
        entry_id = ""

        def record() -> None:
            nonlocal entry_id
            entry_id = record_views(self._journal, seen, case.arrival.part, reply, verdict, retained)

        self._commit(case, record)
        open_part.entries.append(entry_id)
        open_part.processing = reply.body
        reply.timing_ms.update(case.timing_ms)
        if case.ticket.decide(reply) is not None:
            return self._conclude(case, open_part)
        return reply

    def _keys(self, case: _Case, verdict: Verdict) -> dict[str, str]:
        """Under which the answer is found; a good view does not speak for a part of which another view did not pass."""
        part = case.arrival.part
        if verdict.disposition == "pass" and len(part.views) == 1 and part.views[0].view_id != DEFAULT_VIEW:
            before = self._concluded(case.arrival)
            if before is not None and before.disposition != "pass":
                return case.view_keys
        return case.keys

    def _commit(self, case: _Case, record: Callable[[], object]) -> None:
        began = time.perf_counter()
        record()
        case.timing_ms["commit"] = 1000 * (time.perf_counter() - began)
        case.timing_ms["total"] = case.arrival.waited_ms

    def _retention(self, verdict: Verdict, active: Active, digests: Mapping[str, str]) -> Retention:
        return retention(verdict, active.recipe, digests, on_reserve=self._journal.on_reserve)

    def _uri(self, digests: Mapping[str, str]) -> str:
        return self._images.uri(next(iter(digests.values())))

    def _late_verdict(self, active: Active) -> Verdict:
        return undecided(active.recipe.fail_safe, DEADLINE, "no verdict in time")

    def _record_late(self, case: _Case, looks: Sequence[Look], supersedes: str | None = None) -> Reply:
        """The fail-safe answer has left: it becomes the record that holds, over a decided one where there is one."""
        late, active = case.ticket.reply(), case.arrival.active
        verdict = self._late_verdict(active)
        retained = self._retention(verdict, active, case.digests)
        try:
            seen = case.seen(looks)
            record_inspection(self._journal, seen, late, verdict, case.keys, retained, supersedes=supersedes)
        except JournalBroken as error:
            self._log.error("journal_broken", reason=str(error), result_id=late.result_id)
            if supersedes is not None:
                told = {key: Answered(late.result_id, digest, late.body) for key, digest in case.keys.items()}
                self._unwritten |= told
        self._count(case.arrival.part, late, verdict, {"total": case.arrival.waited_ms})
        return late

    def _unrecorded(self, case: _Case, looks: Sequence[Look], error: JournalBroken) -> Reply:
        """What can't be put on record is not answered as decided."""
        self._log.error("journal_broken", reason=str(error))
        arrival = case.arrival
        verdict = undecided(arrival.active.recipe.fail_safe, STORAGE, str(error))
        reply = reply_of(new_id(), arrival.part, arrival.active, verdict, looks, None)
        late = case.ticket.decide(reply)
        if late is not None:
            reply, verdict = late, self._late_verdict(arrival.active)
        self._count(arrival.part, reply, verdict, {"total": arrival.waited_ms})
        return reply

    def _count(self, part: PartRequest, reply: Reply, verdict: Verdict, timing_ms: dict[str, float]) -> None:
        self._metrics.inspected(
            part.station, part.mode, verdict.evaluation, verdict.disposition, verdict.result_code, timing_ms
        )
        self._told(part, reply.body)


def _too_late(arrival: Arrival) -> str:
    if arrival.deadline is None:
        return "no verdict in time"
    return f"no verdict within the deadline of {1000 * (arrival.deadline - arrival.started):g} ms"


def _check_announced(part: PartRequest, digests: Mapping[str, str]) -> None:
    """What was damaged on its way is refused, not judged: the right image shall still be taken under this trigger."""
    for view in part.views:
        if view.sha256 is not None and view.sha256 != digests[view.view_id]:
            raise WrongRequest(
                f"the image of view {view.view_id!r} does not have the SHA-256 that was announced", "send it again"
            )
