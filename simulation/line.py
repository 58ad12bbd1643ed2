"""Plays the camera PC and PLC of a line: presents parts at a takt to a Loupe line server and notes its answers."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import numpy as np

from simulation.parts import OK, Light, PartRenderer, ScheduledPart, encode_jpeg

_ANSWERED = 200
_RETRIABLE = 503  # refused before admission: nothing was recorded, asking again is allowed


@dataclass(frozen=True, slots=True)
class Shot:
    """One trigger of the camera: the JPEG and what a perfect inspector would say of it."""

    trigger_id: str
    part_id: str
    jpeg: bytes
    truth: str
    size: float


@dataclass(frozen=True, slots=True)
class SentPart:
    """What became of one part. Everything from `status` on is None where no answer came in time.

    latency_ms: from the trigger to the whole answer, with retries, or to giving up; trigger_lag_ms: how late the
    simulator itself was against its takt, not the server's doing and not part of the latency; drift_state: of the
    camera's light and optics.
    """

    trigger_id: str
    truth: str
    size: float
    latency_ms: float
    trigger_lag_ms: float
    status: int | None = None
    disposition: str | None = None
    evaluation: str | None = None
    result_code: int | None = None
    result_id: str | None = None
    p_defect: float | None = None
    drift_state: str | None = None


@dataclass(frozen=True, slots=True)
class LineReport:
    """Counts over a run; a percentile is over the `answered` parts, NaN without any.

    escapes: defective parts that passed; overkill: good parts that were rejected or sent to rework; rechecks: parts
    that a person must look at; lost: no answer; refused: the last answer was 503. A part that is lost or refused was
    stopped by the PLC, so it is neither an escape nor overkill.
    """

    parts: int
    good: int
    defective: int
    answered: int
    lost: int
    refused: int
    escapes: int
    overkill: int
    rechecks: int
    p50_ms: float
    p99_ms: float
    max_trigger_lag_ms: float


def present(
    renderer: PartRenderer, schedule: Iterable[ScheduledPart], run_id: str, light_at: Callable[[int], Light]
) -> Iterator[Shot]:
    """Render scheduled parts as camera shots, one by one as they are asked for.

    `run_id` makes the trigger and part ids unique: a server answers a trigger id that it knows with the old result.
    `light_at` gives the light for a part's index.
    """
    for part in schedule:
        rng = np.random.default_rng(part.seed)
        rendered = renderer.render(rng, part.defect, part.size, light_at(part.index), lot=part.lot)
        name = f"{run_id}-{part.index:06d}"
        yield Shot(name, f"part-{name}", encode_jpeg(rendered.image), part.truth, part.size)


class LineSimulator:
    """Sends shots to one station of a line server, open loop: a late answer never delays the next part.

    `base_url` is the server's root; `takt_ms` the time from part to part; `patience_ms` how long a camera PC waits for
    a silent server before the part counts as lost; `in_flight` how many parts may be waiting for an answer at once,
    further ones queue and their wait counts as latency; `key` the station's API key, None on loopback.
    """

    def __init__(
        self,
        base_url: str,
        station: str,
        product: str,
        camera: str,
        takt_ms: float,
        *,
        patience_ms: float = 2000.0,
        in_flight: int = 8,
        key: str | None = None,
    ) -> None:
        self.base_url, self.station, self.product, self.camera = base_url, station, product, camera
        self.takt_ms, self.patience_ms, self.in_flight, self.key = takt_ms, patience_ms, in_flight, key

    def run(self, shots: Iterable[Shot], on_answer: Callable[[SentPart], None] | None = None) -> list[SentPart]:
        """Send every shot at its time and return what became of them, in the order of triggers.

        `on_answer` is called with each result as it arrives, from the sending threads, so it must be thread-safe. A
        shot that the iterable hands over too late is sent at once and the later ones keep their times.
        """
        headers = {"Content-Type": "image/jpeg"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        # let go of an idle connection before the server does (uvicorn: 5 s), or the two would race for it
        limits = httpx.Limits(max_connections=self.in_flight, keepalive_expiry=3.0)
        waiting: list[Future[SentPart]] = []
        with httpx.Client(
            base_url=self.base_url, headers=headers, limits=limits, timeout=self.patience_ms / 1000, trust_env=False
        ) as client:
            pool = ThreadPoolExecutor(self.in_flight, thread_name_prefix="line")
            try:
                start: float | None = None
                for number, shot in enumerate(shots):
                    # the clock starts with the first shot in hand
                    start = time.perf_counter() if start is None else start
                    due = start + number * self.takt_ms / 1000
                    time.sleep(max(0.0, due - time.perf_counter()))
                    triggered = time.perf_counter()
                    waiting.append(pool.submit(self._send, client, shot, triggered, triggered - due, on_answer))
                return [future.result() for future in waiting]
            finally:
                # after Ctrl-C nobody wants the parts that still queue
                pool.shutdown(cancel_futures=True)

    def _send(
        self,
        client: httpx.Client,
        shot: Shot,
        triggered: float,
        lag_s: float,
        on_answer: Callable[[SentPart], None] | None,
    ) -> SentPart:
        response = self._ask(client, shot, triggered)
        latency_ms = (time.perf_counter() - triggered) * 1000
        part = _sent_part(shot, latency_ms, lag_s * 1000, response)
        if on_answer is not None:
            on_answer(part)
        return part

    def _ask(self, client: httpx.Client, shot: Shot, triggered: float) -> httpx.Response | None:
        """Post one shot, again with the same trigger id while it is refused and its takt lasts."""
        query = {
            "station": self.station,
            "trigger_id": shot.trigger_id,
            "product": self.product,
            "camera": self.camera,
            "part_id": shot.part_id,
        }
        pause_s = min(0.05, self.takt_ms / 1000 / 8)
        while True:
            try:
                response = client.post("/v1/inspections", params=query, content=shot.jpeg)
            except httpx.TransportError:
                return None
            next_try = time.perf_counter() + pause_s
            if response.status_code != _RETRIABLE or next_try - triggered >= self.takt_ms / 1000:
                return response
            time.sleep(pause_s)


def _sent_part(shot: Shot, latency_ms: float, lag_ms: float, response: httpx.Response | None) -> SentPart:
    """Read an answer; an absent field, or a body that is no JSON object, leaves None."""
    if response is None:
        return SentPart(shot.trigger_id, shot.truth, shot.size, latency_ms, lag_ms)
    try:
        body = response.json()
    except ValueError:
        body = {}
    answer: Mapping[str, object] = body if isinstance(body, dict) else {}
    provenance, views = answer.get("provenance"), answer.get("views")
    view = views[0] if isinstance(views, list) and views else None
    p_defect = _number(view, "p_defect")
    code = _number(answer, "result_code")
    return SentPart(
        trigger_id=shot.trigger_id,
        truth=shot.truth,
        size=shot.size,
        latency_ms=latency_ms,
        trigger_lag_ms=lag_ms,
        status=response.status_code,
        disposition=_text(answer, "disposition"),
        evaluation=_text(answer, "evaluation"),
        result_code=None if code is None else int(code),
        result_id=_text(answer, "result_id"),
        p_defect=p_defect,
        drift_state=_text(provenance, "drift_state"),
    )


def _text(fields: object, name: str) -> str | None:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else None


def _number(fields: object, name: str) -> float | None:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, int | float) else None


def summarise(sent: Sequence[SentPart]) -> LineReport:
    """Count what became of a run's parts.

    >>> report = summarise([SentPart("t1", "scratch", 0.2, 8.0, 0.0, status=200, disposition="pass")])
    >>> (report.escapes, report.defective, report.answered, report.p99_ms)
    (1, 1, 1, 8.0)
    """
    heard = [part for part in sent if part.status is not None]
    answered = [part for part in heard if part.status == _ANSWERED]
    fate = Counter((part.truth == OK, part.disposition) for part in answered)
    latency = np.array([part.latency_ms for part in answered])
    p50, p99 = np.quantile(latency, [0.5, 0.99]) if answered else (np.nan, np.nan)
    good = sum(part.truth == OK for part in sent)
    return LineReport(
        parts=len(sent),
        good=good,
        defective=len(sent) - good,
        answered=len(answered),
        lost=len(sent) - len(heard),
        refused=len(heard) - len(answered),
        escapes=fate[False, "pass"],
        overkill=fate[True, "reject"] + fate[True, "rework"],
        rechecks=fate[True, "recheck"] + fate[False, "recheck"],
        p50_ms=float(p50),
        p99_ms=float(p99),
        max_trigger_lag_ms=max((part.trigger_lag_ms for part in sent), default=0.0),
    )
