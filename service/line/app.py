"""The line API over HTTP: a hot route for one raw view, FastAPI for everything that is not hot."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.line.admission import Place
from service.line.answers import Reply, refusal_body
from service.line.pipeline import Arrival
from service.line.requests import (
    BodyTooLarge,
    BodyTooSlow,
    KeyMissing,
    NotReady,
    OtherImage,
    Overloaded,
    PartRequest,
    Refusal,
    UnknownType,
    WrongRequest,
    WrongStation,
    read_request,
)
from service.line.server import LineServer
from service.line.tickets import Ticket
from service.line.verdicts import NOT_INSPECTED, NOT_READY, OVERLOAD
from storage import inspections
from storage.database import DatabaseUnavailable

STATUS: dict[type[Refusal], tuple[int, int]] = {
    WrongRequest: (422, NOT_INSPECTED),
    UnknownType: (415, NOT_INSPECTED),
    BodyTooLarge: (413, NOT_INSPECTED),
    BodyTooSlow: (422, NOT_INSPECTED),
    OtherImage: (409, NOT_INSPECTED),
    KeyMissing: (401, NOT_INSPECTED),
    WrongStation: (403, NOT_INSPECTED),
    Overloaded: (503, OVERLOAD),
    NotReady: (503, NOT_READY),
}
"""HTTP status and result code of each refusal: the one place where the domain's errors meet HTTP."""

REFUSED_DISPOSITION = "recheck"
BODY_WAIT_S = 10.0
"""How long a body may take to arrive where the part has no deadline."""
DEADLINE_MARGIN_S = 0.002
"""The fail-safe answer leaves this much before the deadline, so that it arrives in time."""


def create_app(opening: AbstractContextManager[LineServer]) -> FastAPI:
    """The application; the line server opens when the application starts and closes when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with opening as server:
            app.state.line = server
            yield

    app = FastAPI(title="Loupe line API", version="1", lifespan=lifespan)
    app.add_route("/v1/inspections", _post_inspection, methods=["POST"])
    app.add_api_route("/v1/inspections/{result_id}", _get_inspection, methods=["GET"], dependencies=[Depends(_checked)])
    app.add_api_route("/v1/parts/{part_id}", _get_part, methods=["GET"], dependencies=[Depends(_checked)])
    app.add_api_route("/v1/stations", _get_stations, methods=["GET"], dependencies=[Depends(_checked)])
    app.add_api_route("/v1/stations/{station}/state", _get_state, methods=["GET"], dependencies=[Depends(_checked)])
    app.add_api_route(
        "/v1/stations/{station}/cameras/{camera}/intended-change",
        _post_intended_change,
        methods=["POST"],
        dependencies=[Depends(_checked)],
    )
    app.add_api_route("/health/live", _live, methods=["GET"])
    app.add_api_route("/health/ready", _ready, methods=["GET"])
    app.add_api_route("/metrics", _metrics, methods=["GET"])
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(DatabaseUnavailable, _database_away)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
    return app


def _line(request: Request) -> LineServer:
    server: LineServer = request.app.state.line
    return server


Line = Annotated[LineServer, Depends(_line)]


def _checked(request: Request, line: Line) -> None:
    """Access to everything under /v1 but the hot route, which asks for itself."""
    _check_access(line, request, request.path_params.get("station"))


def _check_access(line: LineServer, request: Request, station: str | None) -> None:
    host = request.client.host if request.client else None
    line.access.check(request.headers.get("authorization"), host, station)


async def _post_inspection(request: Request) -> Response:
    started = time.perf_counter()
    line = _line(request)
    try:
        part = read_request(request.query_params, request.headers)
        _check_access(line, request, part.station)
        line.stations.seen(part.station, part.product, line.clock())
        with line.admission.admitted() as place:
            reply = await _admitted(line, request, part, started, place)
    except Refusal as refusal:
        return await _refused(request, refusal)
    except ClientDisconnect:
        line.metrics.refused("ClientDisconnect")
        return Response(status_code=400)  # nobody is there to read it
    return _answer(request, reply)


async def _admitted(line: LineServer, request: Request, part: PartRequest, started: float, place: Place) -> Reply:
    """The part's answer, before its deadline where it has one: also while its body is still arriving."""
    try:
        active = line.champions.active(part.product, part.station)
    except NotReady as refusal:
        # What was answered before stays answered, whatever has become of the model since.
        wait_s = BODY_WAIT_S if part.deadline_ms is None else _left_s(started, part.deadline_ms)
        try:
            body = await _body_in_time(line, request, wait_s)
        except BodyTooSlow:
            raise refusal from None
        reply = await asyncio.to_thread(line.pipeline.repeat, part, body, line.clock())
        if reply is None:
            raise
        return reply
    deadline_ms = next((d for d in (part.deadline_ms, active.recipe.deadline_ms, line.settings.deadline_ms) if d), None)
    left_s = BODY_WAIT_S if deadline_ms is None else _left_s(started, deadline_ms)
    try:
        body = await _body_in_time(line, request, left_s)
    except BodyTooSlow:
        if deadline_ms is None:
            raise
        return line.pipeline.deadline_without_body(Arrival(part, active, b"", line.clock(), started))
    return await _inspect(line, Arrival(part, active, body, line.clock(), started), deadline_ms, place)


def _left_s(started: float, deadline_ms: float) -> float:
    return max(0.0, started + deadline_ms / 1000 - DEADLINE_MARGIN_S - time.perf_counter())


async def _body_in_time(line: LineServer, request: Request, wait_s: float) -> bytes:
    try:
        async with asyncio.timeout(wait_s):
            return await _read_body(request, int(line.settings.max_image_mb * 1e6))
    except TimeoutError as error:
        raise BodyTooSlow(f"the body did not arrive within {wait_s:.3g} s", "send it at once and whole") from error


async def _read_body(request: Request, limit: int) -> bytes:
    too_large = BodyTooLarge(
        f"the body is larger than {limit / 1e6:g} MB", "send a smaller image, or raise LOUPE_MAX_IMAGE_MB"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise too_large
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _inspect(line: LineServer, arrival: Arrival, deadline_ms: float | None, place: Place) -> Reply:
    deadline = None if deadline_ms is None else arrival.started + deadline_ms / 1000
    ticket = Ticket(lambda: line.pipeline.deadline_reply(arrival), deadline)
    work = asyncio.get_running_loop().run_in_executor(line.pool, line.pipeline.inspect, arrival, ticket)
    place.work = work
    if deadline_ms is None:
        return await asyncio.shield(work)
    try:
        return await asyncio.wait_for(asyncio.shield(work), _left_s(arrival.started, deadline_ms))
    except TimeoutError:
        # The thread goes on and records what the line was told; its errors are its own.
        work.add_done_callback(lambda done: done.exception())
        return ticket.expire()


def _answer(request: Request, reply: Reply) -> Response:
    timing = ", ".join(f"{stage};dur={ms:.2f}" for stage, ms in reply.timing_ms.items())
    headers = {"Server-Timing": timing} if timing else {}
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(reply.line + "\n", headers=headers)
    return Response(reply.body, media_type="application/json", headers=headers)


def _refuse_unprintable(name: str) -> None:
    if not name.isprintable():  # PostgreSQL knows no text with a NUL
        raise HTTPException(404, "names hold printable characters only")


def _get_inspection(result_id: str, line: Line) -> Response:
    """The answer that was sent, byte for byte."""
    _refuse_unprintable(result_id)
    body = line.journal.find(result_id)
    if body is None:
        with line.database.read() as connection:
            found = inspections.find(connection, result_id)
        if found is None:
            raise HTTPException(404, f"there is no inspection {result_id}")
        body = found.answer.encode()
    return Response(body, media_type="application/json")


def _get_part(part_id: str, line: Line) -> dict[str, Any]:
    """Everything that is known of a part, oldest first."""
    _refuse_unprintable(part_id)
    with line.database.read() as connection:
        found = inspections.of_part(connection, part_id)
    if not found:
        raise HTTPException(404, f"no inspection names part {part_id}")
    return {
        "part_id": part_id,
        "inspections": [
            {
                "result_id": i.result_id,
                "station": i.station,
                "trigger_id": i.trigger_id,
                "product": i.product,
                "mode": i.mode,
                "evaluation": i.evaluation,
                "disposition": i.disposition,
                "result_code": i.result_code,
                "reasons": list(i.reasons),
                "supersedes": i.supersedes,
                "model": i.model_id,
                "recipe_version": i.recipe_version,
                "received_at": i.received_at.isoformat(),
                "views": [
                    {"view_id": v.view_id, "camera": v.camera, "image_sha256": v.image_sha256, "p_defect": v.p_defect}
                    for v in i.views
                ],
            }
            for i in found
        ],
    }


def _get_stations(line: Line) -> list[dict[str, Any]]:
    """The state of every station that has sent a part since the start."""
    return [_state(line, station) for station in line.stations.names()]


def _get_state(station: str, line: Line) -> dict[str, Any]:
    """Whether this station is served: preoperational, initialized, ready or error, with a counting heartbeat."""
    return _state(line, station)


def _state(line: LineServer, station: str) -> dict[str, Any]:
    optics = {
        camera.removeprefix(f"{station}/"): state
        for camera, state in line.watch.summary().items()
        if camera.startswith(f"{station}/")
    }
    return {
        "station": station,
        "state": line.state(line.stations.product(station)),
        "heartbeat": int(time.monotonic() - line.started),
        "products": line.champions.summary(),
        "optics": optics,
        "journal_waiting": line.journal.waiting_count,
        "journal_failure": line.journal.failure,
        **line.stations.facts(station),
    }


def _post_intended_change(station: str, camera: str, line: Line) -> dict[str, Any]:
    """Somebody changed light, optics or product on purpose: learn anew what is normal for this camera."""
    name = f"{station}/{camera}"
    if name not in line.watch.summary():
        raise HTTPException(404, f"camera {name} has not sent an image yet")
    line.watch.intended_change(name)
    line.pipeline.event("intended_change", name, {})
    return {"camera": name, "state": line.watch.summary()[name]}


def _live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


def _ready(line: Line) -> Response:
    """At least one champion is loaded, warmed and challenged."""
    state = line.state()
    body = {"status": state, "disposition": REFUSED_DISPOSITION, "result_code": 0 if state == "ready" else NOT_READY}
    return JSONResponse(body, 200 if state == "ready" else 503)


def _metrics(line: Line) -> Response:
    """Prometheus text format."""
    return Response(generate_latest(line.registry), media_type=CONTENT_TYPE_LATEST)


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    status, result_code = STATUS[type(refusal)]
    _line(request).metrics.refused(type(refusal).__name__)
    return _refusal(request, status, result_code, str(refusal), refusal.remedy)


async def _database_away(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseUnavailable)
    return _refusal(request, 503, NOT_READY, str(error), error.remedy)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _refusal(request, error.status_code, NOT_INSPECTED, str(error.detail), "see /docs for the addresses served")


async def _invalid(request: Request, error: Exception) -> Response:
    return _refusal(request, 422, NOT_INSPECTED, str(error), "see /docs for the fields")


async def _broken(request: Request, error: Exception) -> Response:
    """What nobody foresaw: the line is still told what to do with the part. The server logs the traceback."""
    reason = f"{type(error).__name__} inside Loupe; see the log"
    return _refusal(request, 503, NOT_READY, reason, "send the trigger again; report the log if it stays")


def _refusal(request: Request, status: int, result_code: int, reason: str, remedy: str) -> Response:
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(f"{result_code} {REFUSED_DISPOSITION} -\n", status)
    body = refusal_body(reason, remedy, result_code, REFUSED_DISPOSITION)
    return Response(body, status, media_type="application/json")
