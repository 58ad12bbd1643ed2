"""The line API over HTTP: a hot route for parts, FastAPI for everything that is not hot."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from models.classifier import Scorer
from monitoring.product_watch import parts_of
from service.line import baselines
from service.line.alarm_book import INTENDED_CHANGE
from service.line.answers import reply_from
from service.line.docs_page import docs_page
from service.line.forwarding import FORWARDED, LONGEST_S, Elsewhere, refuse_elsewhere
from service.line.hot_page import with_hot_routes
from service.line.open_inference import open_inference
from service.line.optics_view import alarms_json, picture, show_baselines, sights_json
from service.line.outcomes import PersonsWord, take_word
from service.line.posting import post_challenge, post_inspection
from service.line.process_control import spc
from service.line.products_view import products_json, show_products
from service.line.refusals import DISPOSITION, refusal, worded
from service.line.requests import FIELD_LIMIT, Refusal, WrongRequest, part_key
from service.line.server import LineServer
from service.line.verdicts import NOT_INSPECTED, NOT_READY
from service.line.waiting import TooManyWait
from service.spc_text import as_csv
from storage import challenges, inspections, outcomes
from storage.database import DatabaseUnavailable
from storage.journal import JournalBroken
from storage.records import Inspection, Model, Outcome

LONGEST_WAIT_MS = 60_000
SUSPECT_LIMIT = 1000
"""So many parts since the last good challenge are listed."""

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)

OPEN_INFERENCE = "/v2"
"""The station that its requests count for: no station can have this name."""

HOT = {"/v1/inspections": post_inspection, "/v1/challenges": post_challenge}


class LineApp(FastAPI):
    """FastAPI, but parts go past its layers: they cost several times what a part's own way costs."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        hot = HOT.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if hot is not None:
            await hot(self.state.line, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The page about all routes."""
        return with_hot_routes(super().openapi())


def create_app(opening: AbstractContextManager[LineServer]) -> LineApp:
    """The application; the line server opens when the application starts and closes when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with opening as server:
            app.state.line = server
            yield
            await server.forwarder.close()

    app = LineApp(title="Loupe line API", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    guarded = [Depends(_checked)]
    for path, endpoint in GET_ROUTES.items():
        app.add_api_route(path, endpoint, methods=["GET"], dependencies=guarded)
    for path, endpoint in POST_ROUTES.items():
        app.add_api_route(path, endpoint, methods=["POST"], dependencies=guarded)
    app.include_router(_open_inference(app), dependencies=guarded)
    app.add_api_route("/docs", _docs, methods=["GET"], include_in_schema=False)
    app.add_api_route("/health/live", _live, methods=["GET"])
    app.add_api_route("/health/ready", _ready, methods=["GET"])
    app.add_api_route("/metrics", _metrics, methods=["GET"])
    for foreseen in (Refusal, DatabaseUnavailable, JournalBroken, TooManyWait, Exception):
        app.add_exception_handler(foreseen, _refused)
    app.add_exception_handler(Elsewhere, _passed_on)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _open_inference(app: LineApp) -> APIRouter:
    """The models for clients of other inference servers; on the same threads, as if they were one more station."""

    def models() -> dict[str, tuple[Model, Scorer]]:
        return {name: (found.model, found.classifier) for name, found in _of(app).champions.loaded.items()}

    def submit(job: Callable[[], Any], images: int) -> Awaitable[Any]:
        line = _of(app)
        slowest = max((found.pace.mean_ms for found in line.champions.loaded.values()), default=1.0)
        return line.dispatcher.submit(OPEN_INFERENCE, slowest * images, job)

    return open_inference(models, submit, version=app.version)


def _of(app: FastAPI) -> LineServer:
    server: LineServer = app.state.line
    return server


def _line(request: Request) -> LineServer:
    return _of(request.app)


Line = Annotated[LineServer, Depends(_line)]
Milliseconds = Annotated[float, Query(allow_inf_nan=False)]
"""NaN among an event loop's timers would put all of them out of order."""


async def _checked(request: Request, line: Line) -> None:
    """Access to everything under /v1 but the hot routes, which ask for themselves.

    What only a station's own line server knows is asked of that one.
    """
    host = request.client.host if request.client else None
    station = request.path_params.get("station") or request.query_params.get("station")
    line.access.check(request.headers.get("authorization"), host, station)
    if station and ("station" in request.path_params or request.url.path == "/v1/inspections"):
        refuse_elsewhere(line.ownership, station, line.ownership.known_elsewhere(station), request.headers)


def _refuse_unprintable(name: str) -> None:
    if not name.isprintable():  # PostgreSQL knows no text with a NUL
        raise HTTPException(404, "names hold printable characters only")


async def _get_inspection(result_id: str, line: Line, request: Request) -> Response:
    """The answer that was sent, byte for byte; while views are awaited, the newest of them."""
    _refuse_unprintable(result_id)
    try:
        body = await asyncio.to_thread(_body, line, result_id)
    except (HTTPException, DatabaseUnavailable):
        # What another line server answered just now, or while the database is away, only that one knows.
        found = None if FORWARDED in request.headers else await line.forwarder.ask_all(request.scope)
        if found is None:
            raise
        body = found
    return _told(request, body)


def _told(request: Request, body: bytes) -> Response:
    """An answer in the form that the caller reads."""
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(f"{reply_from(body).line}\n")
    return Response(body, media_type="application/json")


def _body(line: LineServer, result_id: str) -> bytes:
    body = line.answered(result_id)
    if body is not None:
        return body
    with line.database.read() as connection:
        found = inspections.find(connection, result_id)
    if found is None:
        raise HTTPException(404, f"there is no inspection {result_id}")
    return found.answer.encode()


async def _find_inspection(
    line: Line,
    request: Request,
    station: str,
    trigger_id: str,
    trigger_epoch: str = "",
    wait_ms: Milliseconds = 0.0,
) -> Response:
    """The answer for a part that somebody else posts, as soon as it is there, within `wait_ms`."""
    for name in (station, trigger_id, trigger_epoch):
        _refuse_unprintable(name)
    key = part_key(station, trigger_epoch, trigger_id)
    with line.waiters.waiting(key) as told:
        body = await asyncio.to_thread(_last_word, line, station, trigger_epoch, trigger_id)
        if body is None:
            with suppress(TimeoutError):
                async with line.stopping.limited(min(max(wait_ms, 0.0), LONGEST_WAIT_MS) / 1000):
                    body = await told
    if body is None:
        open_part = line.pipeline.open_parts.find(key)
        body = open_part.processing if open_part is not None else None
    if body is None:
        raise HTTPException(404, f"station {station} has sent no trigger {trigger_id} yet; wait_ms=2000 waits for it")
    return _told(request, body)


def _last_word(line: LineServer, station: str, trigger_epoch: str, trigger_id: str) -> bytes | None:
    stored = line.journal.answered(part_key(station, trigger_epoch, trigger_id), line.window_start())
    if stored is not None:
        return stored.answer
    try:
        with line.database.read() as connection:
            found = inspections.of_trigger(connection, station, trigger_epoch, trigger_id)
    except DatabaseUnavailable:
        return None  # it may still be posted: then it is told
    return None if found is None else found.answer.encode()


def _post_disposition(result_id: str, word: PersonsWord, line: Line) -> Response:
    """Add a person's word to an inspection; nothing that was said before is changed."""
    _refuse_unprintable(result_id)
    for text in (word.by, word.class_name or "", word.id or ""):
        _refuse_unprintable(text)
    _body(line, result_id)
    return Response(take_word(line, result_id, word), media_type="application/json")


def _get_part(part_id: str, line: Line) -> dict[str, Any]:
    """Everything known of a part, oldest first."""
    _refuse_unprintable(part_id)
    with line.database.read() as connection:
        found = inspections.of_part(connection, part_id)
        said = {i.result_id: outcomes.of_inspection(connection, i.result_id) for i in found}
    if not found:
        raise HTTPException(404, f"no inspection names part {part_id}")
    return {"part_id": part_id, "inspections": [_genealogy(i, said[i.result_id]) for i in found]}


def _genealogy(inspection: Inspection, said: list[Outcome]) -> dict[str, Any]:
    return {
        "result_id": inspection.result_id,
        "station": inspection.station,
        "trigger_id": inspection.trigger_id,
        "product": inspection.product,
        "lot": inspection.lot,
        "mode": inspection.mode,
        "evaluation": inspection.evaluation,
        "disposition": inspection.disposition,
        "result_code": inspection.result_code,
        "reasons": list(inspection.reasons),
        "is_partial": inspection.is_partial,
        "supersedes": inspection.supersedes,
        "model": inspection.model_id,
        "recipe_version": inspection.recipe_version,
        "received_at": inspection.received_at.isoformat(),
        "views": [
            {"view_id": v.view_id, "camera": v.camera, "image_sha256": v.image_sha256, "p_defect": v.p_defect}
            for v in inspection.views
        ],
        "outcomes": [
            {
                "disposition": word.disposition,
                "class": word.class_name,
                "comment": word.comment,
                "by": word.decided_by,
                "at": word.decided_at.isoformat(),
            }
            for word in said
        ],
    }


def _get_spc(
    line: Line,
    request: Request,
    chart: str = "p",
    station: str | None = None,
    product: str | None = None,
    since: str | None = None,
    until: str | None = None,
    per: str = "hour",
    of: str = "not_ok",
    centre: float | None = None,
    by: str | None = None,
    class_name: Annotated[str | None, Query(alias="class", description="A class's name or number.")] = None,
    baseline_until: str | None = None,
    rules: str | None = None,
    weight: float | None = None,
    form: Annotated[str, Query(alias="format", description="json, or csv (also by Accept: text/csv).")] = "",
) -> Response:
    """The control chart of rejects: chart=p or laney (varying subgroups), np (as many parts as `per` says), ewma."""
    if form not in ("", "json", "csv"):
        raise WrongRequest(f"format={form[:FIELD_LIMIT]!r} is unknown", "use json or csv")
    found = spc(
        line.database,
        chart=chart,
        station=station,
        product=product,
        since=since,
        until=until,
        per=per,
        of=of,
        centre=centre,
        by=by,
        class_name=class_name,
        baseline_until=baseline_until,
        rules=rules,
        weight=weight,
        now=line.clock(),
    )
    if form == "csv" or (not form and "text/csv" in request.headers.get("accept", "")):
        return Response(as_csv(found), media_type="text/csv")
    return JSONResponse(found)


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
        "state": line.station_state(station),
        "heartbeat": int(time.monotonic() - line.started),
        "products": line.champions.summary(),
        "optics": optics,
        "journal_waiting": line.journal.waiting_count,
        "journal_failure": line.journal.failure,
        "journal_on_reserve": line.journal.on_reserve,
        **line.stations.facts(station),
        "suspects": _suspects(line, station),
    }


def _suspects(line: LineServer, station: str) -> dict[str, Any] | None:
    """After a failed challenge: the parts that passed since the last good one, as far as the database knows."""
    last = line.stations.challenge(station)
    if last is None or last.passed:
        return None
    try:
        with line.database.read() as connection:
            good = challenges.last_passed(connection, station, last.product)
            since = good.challenged_at if good else None
            found = inspections.since_challenge(
                connection, station, last.product, since or BEFORE_ALL, SUSPECT_LIMIT + 1
            )
    except DatabaseUnavailable as error:
        return {"since": None, "parts": None, "reason": str(error)}
    parts = [{"result_id": i.result_id, "part_id": i.part_id, "trigger_id": i.trigger_id} for i in found]
    return {
        "since": since.isoformat() if since else None,
        "parts": parts[:SUSPECT_LIMIT],
        "more": len(parts) > SUSPECT_LIMIT,
    }


def _post_intended_change(station: str, camera: str, line: Line) -> dict[str, Any]:
    """Somebody changed light, optics or product on purpose: learn anew what is normal for this camera."""
    name = f"{station}/{camera}"
    if name not in line.watch.summary():
        raise HTTPException(404, f"camera {name} has not sent an image yet")
    former = line.watch.intended_change(name)
    # What another light makes of the model's scores is learnt anew too.
    for parts in {parts_of(station, saved.sight.product) for saved in former}:
        if line.products.intended_change(parts):
            line.episodes.end(parts, INTENDED_CHANGE)
        baselines.save_now(line.products, parts, line.learnt_products)
    for saved in former:
        line.episodes.end(saved.sight, INTENDED_CHANGE)
        baselines.save_now(line.watch, saved.sight, line.baselines)
        baselines.keep(line.baselines, saved)
    line.pipeline.event(
        "intended_change", name, {"former_version": max((saved.version for saved in former), default=None)}
    )
    return {"camera": name, "state": line.watch.summary()[name]}


def _get_optics(line: Line, station: str | None = None) -> dict[str, Any]:
    """How light and optics are watched here: every camera and product with its baseline and the alarm that stands."""
    found = sights_json(line.watch, line.episodes)
    return {"sights": [one for one in found if not station or one["station"] == station]}


def _get_products(line: Line, station: str | None = None) -> dict[str, Any]:
    """How every product's scores lie against what is usual, and what errors are to be expected, without a label."""
    found = products_json(line.products, line.episodes, line.champions)
    return {"products": [one for one in found if not station or one["station"] == station]}


def _get_alarms(
    line: Line,
    station: str | None = None,
    camera: Annotated[str | None, Query(description="A camera, or STATION/CAMERA.")] = None,
    limit: int = 50,
    heat_map: Annotated[bool, Query(description="With 28 rows of 28 changes of the log luminance.")] = False,
) -> dict[str, Any]:
    """The newest optics alarms with what became of them, newest first."""
    return {"alarms": alarms_json(line.database, station=station, camera=camera, limit=limit, heat_map=heat_map)}


def _get_picture(alarm_id: str, name: Literal["before", "after"], line: Line) -> Response:
    """PNG: the last picture that was quiet before an optics alarm, or the one that raised it."""
    found = picture(line.database, line.images, line.episodes, alarm_id, name)
    if found is None:
        raise HTTPException(404, f"there is no picture {name} alarm {alarm_id[:FIELD_LIMIT]}")
    return Response(found, media_type="image/png")


def _docs(request: Request) -> HTMLResponse:
    """The addresses of this server."""
    return HTMLResponse(docs_page(request.app.openapi()))


def _live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


def _ready(line: Line) -> Response:
    """At least one champion is loaded, warmed and challenged, and the server is not stopping."""
    state = "draining" if line.draining else line.state()
    body = {"status": state, "disposition": DISPOSITION, "result_code": 0 if state == "ready" else NOT_READY}
    return JSONResponse(body, 200 if state == "ready" else 503)


def _metrics(line: Line) -> Response:
    """Prometheus text format."""
    show_baselines(line.watch, line.episodes, line.metrics)
    show_products(line.products, line.episodes, line.champions, line.metrics)
    return Response(generate_latest(line.registry), media_type=CONTENT_TYPE_LATEST)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, Refusal):
        _line(request).metrics.refused(type(error).__name__)
    return _response(refusal(error, request.headers.get("accept", "")))


async def _passed_on(request: Request, error: Exception) -> Response:
    assert isinstance(error, Elsewhere)
    try:
        wait_s = LONGEST_WAIT_MS / 1000 + LONGEST_S
        passed = await _line(request).forwarder.pass_on(error, request.scope, None, time.perf_counter(), wait_s)
    except Refusal as refused:
        return await _refused(request, refused)
    return Response(passed.body, passed.status, media_type=passed.content_type)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _worded(request, error.status_code, NOT_INSPECTED, str(error.detail), "see /docs for the addresses served")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg'].lower()}" for e in error.errors())
    return _worded(request, 422, NOT_INSPECTED, wrong, "see /docs for the fields")


def _worded(request: Request, status: int, result_code: int, reason: str, remedy: str) -> Response:
    return _response(worded(status, result_code, reason, remedy, request.headers.get("accept", "")))


def _response(refused: tuple[int, bytes, str]) -> Response:
    status, body, content_type = refused
    return Response(body, status, media_type=content_type)


GET_ROUTES: dict[str, Callable[..., Any]] = {
    "/v1/inspections": _find_inspection,
    "/v1/inspections/{result_id}": _get_inspection,
    "/v1/parts/{part_id}": _get_part,
    "/v1/stations": _get_stations,
    "/v1/stations/{station}/state": _get_state,
    "/v1/spc": _get_spc,
    "/v1/products": _get_products,
    "/v1/optics": _get_optics,
    "/v1/optics/alarms": _get_alarms,
    "/v1/optics/alarms/{alarm_id}/{name}": _get_picture,
}
POST_ROUTES: dict[str, Callable[..., Any]] = {
    "/v1/inspections/{result_id}/disposition": _post_disposition,
    "/v1/stations/{station}/cameras/{camera}/intended-change": _post_intended_change,
}
