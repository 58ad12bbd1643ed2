"""Parts that go through ASGI: several views at once, challenges, and whatever `open_exchange` has not taken."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

import orjson
import structlog

from service.line.admission import Place
from service.line.answers import Reply, body_of, told_as
from service.line.challenging import challenge_id, judged
from service.line.dispatch import promised
from service.line.forwarding import LONGEST_S, Elsewhere, Passed, check_owner, waited_s
from service.line.judging import Judging, left_s, presented
from service.line.multipart import read_form
from service.line.ownership import ASK_WAIT_S
from service.line.recording import made_at
from service.line.refusals import refusal
from service.line.requests import (
    MULTIPART,
    BodyTooSlow,
    NotReady,
    PartRequest,
    Refusal,
    WrongRequest,
    media_type_of,
    read_deadline,
    read_meta,
    read_query,
    read_request,
    stopping,
    too_large,
)
from service.line.server import LineServer
from storage.drain import encode
from storage.journal import Entry
from storage.records import Challenge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BEGUN = "loupe.begun"
"""In the scope: time.perf_counter() when the request's first byte was there, where the server says so."""

log = structlog.get_logger("line")


class ClientGone(Exception):
    """Nobody is there to read an answer."""


async def post_inspection(line: LineServer, scope: Scope, receive: Receive, send: Send) -> None:
    """POST /v1/inspections."""
    await _answered(line, scope, receive, send, challenge=False)


async def post_challenge(line: LineServer, scope: Scope, receive: Receive, send: Send) -> None:
    """POST /v1/challenges: the same, for a part whose answer is known."""
    await _answered(line, scope, receive, send, challenge=True)


async def _answered(line: LineServer, scope: Scope, receive: Receive, send: Send, *, challenge: bool) -> None:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    accept = headers.get("accept", "")
    try:
        begun = scope.get(BEGUN) or time.perf_counter()
        request = _Request(line, scope, headers, receive, begun - waited_s(headers))
        try:
            reply, body = await (_challenged(request) if challenge else _inspected(request))
        except Elsewhere as owner:
            passed = await request.pass_on(owner)
            await _send(send, passed.status, passed.body, passed.content_type, passed.headers)
            return
    except ClientGone:
        line.metrics.refused("ClientGone")
        return
    except Refusal as error:
        line.metrics.refused(type(error).__name__)
        await _send(send, *refusal(error, accept), [(b"connection", b"close")] if line.draining else [])
    except Exception as error:
        log.error("request_broke", exc_info=error)
        await _send(send, *refusal(error, accept), [])
    else:
        told, content_type = told_as(accept, reply, body)
        await _send(send, 200, told, content_type, [(b"server-timing", reply.timing)] if reply.timing_ms else [])


async def _send(send: Send, status: int, body: bytes, content_type: str, headers: list[tuple[bytes, bytes]]) -> None:
    length = str(len(body)).encode()
    fixed = [(b"content-type", content_type.encode()), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": fixed + headers})
    await send({"type": "http.response.body", "body": body})


class _Request:
    """What came in, and the line server that it came to."""

    def __init__(
        self, line: LineServer, scope: Scope, headers: Mapping[str, str], receive: Receive, started: float
    ) -> None:
        self.line, self.headers, self.started = line, headers, started
        self._scope = scope
        self.query = read_query(scope["query_string"])
        client = scope.get("client")
        self._host: str | None = client[0] if client else None
        self._receive = receive

    def check_access(self, station: str | None) -> None:
        """Raises KeyMissing, WrongStation."""
        self.line.access.check(self.headers.get("authorization"), self._host, station)

    async def check_owner(self, part: PartRequest, body: bytes | None = None) -> None:
        """Let a part of this server's stations through; `body`: what has been read of the request already.

        Raises Elsewhere, NotReady, Overloaded.
        """
        ownership = self.line.ownership
        if not ownership.is_ours(part.station):
            deadline = self.deadline(part)
            # Half of the time is left for the verdict, whatever the database does.
            wait_s = ASK_WAIT_S if deadline is None else min(ASK_WAIT_S, left_s(self.line, deadline) / 2)
            await check_owner(ownership, part.station, self.headers, wait_s, body, deadline)

    def deadline(self, part: PartRequest) -> float | None:
        """When the part's answer must have left, as far as that can be said without its model."""
        recipe = self.line.champions.recipe(part.product or next(iter(self.line.champions.loaded), ""), part.station)
        named_ms = part.deadline_ms or (recipe.deadline_ms if recipe else None)
        deadline_ms = named_ms or self.line.settings.deadline_ms
        return None if deadline_ms is None else self.started + deadline_ms / 1000

    async def pass_on(self, owner: Elsewhere) -> Passed:
        """The answer of the line server to which the station belongs, before the part's deadline.

        Raises NotReady, Overloaded, ClientGone.
        """
        wait_s = LONGEST_S if owner.deadline is None else left_s(self.line, owner.deadline)
        body = self._chunks() if owner.body is None else owner.body
        return await self.line.forwarder.pass_on(owner, self._scope, body, self.started, wait_s)

    async def body(self, wait_s: float) -> bytes:
        """The whole body.

        Raises BodyTooLarge, BodyTooSlow, NotReady when the server stops meanwhile, ClientGone.
        """
        limit = int(self.line.settings.max_image_mb * 1e6)
        announced = self.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            raise too_large(limit)
        chunks, size = [], 0
        try:
            async with self.line.stopping.limited(wait_s):
                async for chunk in self._chunks():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        raise too_large(limit)
        except TimeoutError as error:
            if self.line.draining:
                raise stopping() from error
            raise BodyTooSlow(f"the body did not arrive within {wait_s:.3g} s", "send it at once and whole") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return


async def _inspected(request: _Request, challenge: bool = False) -> tuple[Reply, bytes]:
    line = request.line
    if line.draining:
        raise stopping()
    if challenge:
        request.query.setdefault("expected", "")
    if media_type_of(request.headers) == MULTIPART:
        reply = await _several_views(request, challenge)
    else:
        part = read_request(request.query, request.headers)
        request.check_access(part.station)
        await request.check_owner(part)
        with line.admission.enter(part.station) as place:
            reply = await _admitted(request, _as_challenge(part) if challenge else part, None, place)
    return reply, reply.body


async def _challenged(request: _Request) -> tuple[Reply, bytes]:
    """Inspect as always, then say whether the answer is the one that was known; a failed one stops the station."""
    reply, _ = await _inspected(request, challenge=True)
    answer = orjson.loads(reply.body)
    line, expected = request.line, request.query.get("expected") or ""
    loaded = line.champions.loaded.get(answer["product"])
    if loaded is None:
        raise NotReady(f"the model of product {answer['product']!r} is gone", "send the challenge again")
    if answer["result_state"] != "completed":
        raise WrongRequest(
            "a challenge needs all views of its part",
            "send them as one multipart body: `loupe challenge send --view NAME=IMAGE` for each",
        )
    if not answer["is_simulated"]:
        raise WrongRequest("this trigger was inspected in production already", "send the challenge under another one")
    told = await asyncio.to_thread(line.journal.find, challenge_id(reply.result_id))
    if told is not None:
        return reply, told
    record = judged(answer, expected, loaded.classifier.card, made_at(reply.result_id))
    body = body_of(
        {
            "challenge_id": record.id,
            "passed": record.passed,
            "expected": expected,
            "reason": record.reason,
            "disposition": reply.disposition,
            "result_code": reply.result_code,
            "inspection": answer,
        }
    )
    entry = Entry(record.id, "challenge", encode("challenge", record), record.challenged_at, answer=body)
    # It holds from now on, also when it can't be put on record.
    await asyncio.to_thread(_challenged_now, line, record)
    await asyncio.to_thread(line.journal.append, entry)
    line.metrics.challenged(record.station, record.passed)
    return reply, body


def _challenged_now(line: LineServer, record: Challenge) -> None:
    try:
        line.stations.challenged(record)
    except OSError as error:
        log.error("challenge_not_kept", reason=str(error))


def _as_challenge(part: PartRequest) -> PartRequest:
    return replace(part, mode="challenge")


async def _several_views(request: _Request, challenge: bool) -> Reply:
    line, named = request.line, request.query.get("station")
    request.check_access(named)
    deadline_ms = read_deadline(request.query)
    deadline = None if deadline_ms is None else request.started + deadline_ms / 1000
    with line.admission.enter(named or ""):
        body = await request.body(left_s(line, deadline))
    form = await asyncio.to_thread(read_form, body, request.headers.get("content-type", ""))
    part = read_meta(form.meta, form.types)
    request.check_access(part.station)
    await request.check_owner(part, body)
    with line.admission.enter(part.station) as place:
        return await _admitted(request, _as_challenge(part) if challenge else part, form.files, place)


async def _admitted(request: _Request, part: PartRequest, bodies: Mapping[str, bytes] | None, place: Place) -> Reply:
    """The part's answer, before its deadline where it has one: also while its body is still arriving."""
    line = request.line
    presented(line, part)
    try:
        judging = Judging(line, part, request.query.get("expected"), request.started)
    except NotReady as refused:
        return await _answered_before(request, part, bodies, refused)
    if bodies is None:
        try:
            bodies = {part.views[0].view_id: await request.body(judging.left_s)}
        except BodyTooSlow:
            if judging.deadline is None:
                raise
            return judging.without_body()
    tell, answer = promised()
    judging.begin(bodies, place, tell)
    if judging.deadline is None:
        return await answer  # type: ignore[no-any-return]  # what is told is a reply or raised
    timer = asyncio.get_running_loop().call_later(judging.left_s, judging.expire)
    try:
        return await answer  # type: ignore[no-any-return]
    finally:
        timer.cancel()


async def _answered_before(
    request: _Request, part: PartRequest, bodies: Mapping[str, bytes] | None, refused: NotReady
) -> Reply:
    """What was answered before stays answered, whatever has become of the model since; anything else is refused."""
    if bodies is None:
        deadline = None if part.deadline_ms is None else request.started + part.deadline_ms / 1000
        try:
            bodies = {part.views[0].view_id: await request.body(left_s(request.line, deadline))}
        except BodyTooSlow:
            raise refused from None
    line = request.line
    reply = await asyncio.to_thread(line.pipeline.repeat, part, bodies, line.clock())
    if reply is None:
        raise refused
    return reply
