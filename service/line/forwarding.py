"""Requests for a station of another line server are passed on to it as they came, and its answers back."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import structlog

from monitoring.metrics import LineMetrics
from service.line.ownership import ASK_WAIT_S, Ownership
from service.line.requests import NotReady, Overloaded
from service.line.stopping import Stopping

FORWARDED = "x-loupe-forwarded"
"""Names the line server that passed the request on: it is not passed on again."""
WAITED_MS = "x-loupe-waited-ms"
"""How long ago the first byte of the request came: deadlines count from then."""
RETURN_MS = 5.0
"""What the answer's way back is taken to cost."""
LONGEST_S = 30.0
"""How long an owner may take where the part has no deadline."""
OWNER_LOOK_S = 0.2
"""How often a request that waits looks whether the station still is its owner's."""
CONNECT_S = 1.0
IDLE_S = 30.0
"""Connections are closed before their owner does it (see protocol.KEEP_ALIVE_S): no request meets a closing one."""
FORWARD_LIMIT = 256
"""So many requests may be on their way at once."""

_OF_THIS_HOP = {
    b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"host",
    b"proxy-authenticate", b"proxy-authorization", FORWARDED.encode(), WAITED_MS.encode(),
}  # fmt: skip
_PASSED_BACK = (b"server-timing",)

log = structlog.get_logger("line")


class Elsewhere(Exception):
    """The station belongs to the line server at `address`; `body` is the request's where it has been read already."""

    def __init__(self, station: str, address: str, body: bytes | None = None, deadline: float | None = None) -> None:
        super().__init__(f"station {station} belongs to the line server at {address}")
        self.station, self.address, self.body = station, address, body
        self.deadline = deadline
        """time.perf_counter() at which the part's answer must have left."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What the owner answered."""

    status: int
    body: bytes
    content_type: str
    headers: list[tuple[bytes, bytes]]


def waited_s(headers: Mapping[str, str]) -> float:
    """How long the line server that passed the request on had it already; 0 where none did.

    >>> waited_s({"x-loupe-waited-ms": "12.5"}), waited_s({}), waited_s({"x-loupe-waited-ms": "-1e9"})
    (0.0125, 0.0, 0.0)
    """
    try:
        ms = float(headers.get(WAITED_MS, 0.0))
    except ValueError:
        return 0.0
    return ms / 1000 if 0 <= ms < 1e7 else 0.0


async def check_owner(
    ownership: Ownership,
    station: str,
    headers: Mapping[str, str],
    wait_s: float = ASK_WAIT_S,
    body: bytes | None = None,
    deadline: float | None = None,
) -> None:
    """Let the request through where the station is this process's; it becomes so where it was nobody's.

    Raises Elsewhere, NotReady where the request has been passed on once already, Overloaded.
    """
    address = await ownership.owner_of(station, wait_s)
    refuse_elsewhere(ownership, station, address, headers, body, deadline)


def refuse_elsewhere(
    ownership: Ownership,
    station: str,
    address: str | None,
    headers: Mapping[str, str],
    body: bytes | None = None,
    deadline: float | None = None,
) -> None:
    """Let the request through where `address` is None.

    Raises Elsewhere, NotReady.
    """
    if address is None:
        return
    if address == ownership.address:
        raise NotReady(
            f"station {station} belongs to another line server, which has the same address {address} as this one",
            "set LOUPE_LINE_URL for each to the address under which the others reach it; "
            "if it has ended, send the trigger again in a few seconds",
        )
    if FORWARDED in headers:
        raise NotReady(
            f"station {station} belongs to another line server by now", "send the trigger again in a few seconds"
        )
    raise Elsewhere(station, address, body, deadline)


class Forwarder:
    """Connections to the other line servers; for one event loop."""

    def __init__(self, ownership: Ownership, stopping: Stopping, metrics: LineMetrics) -> None:
        self._ownership, self._stopping, self._metrics = ownership, stopping, metrics
        self._count = 0
        self._silent: set[str] = set()
        """Line servers that did not answer last time: the log has it once."""
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=IDLE_S),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            # A proxy of the plant's office has no place between two line servers.
            trust_env=False,
        )

    async def pass_on(
        self,
        to: Elsewhere,
        scope: MutableMapping[str, Any],
        body: AsyncIterator[bytes] | bytes | None,
        started: float,
        wait_s: float = LONGEST_S,
    ) -> Passed:
        """Send the request to the owner and return its answer.

        `started`: time.perf_counter() at its first byte. Raises NotReady where no answer comes within `wait_s`,
        Overloaded, and whatever reading the body raises.
        """
        if self._count >= FORWARD_LIMIT:
            raise Overloaded(
                f"{self._count} requests wait for other line servers already", "send the trigger again later"
            )
        self._count += 1
        try:
            async with self._stopping.limited(wait_s):
                request = httpx.Request(
                    scope["method"],
                    _url(to.address, scope),
                    headers=[*_headers(scope["headers"]), *self._own_headers(started)],
                    content=body,
                )
                passed = _passed(await self._while_owner(to, request))
        except (TimeoutError, httpx.TransportError) as error:
            self._metrics.forwarded(False)
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                self._ownership.doubt(to.station)
            if to.address not in self._silent:
                self._silent.add(to.address)
                log.warning("owner_does_not_answer", station=to.station, address=to.address, reason=repr(error))
            raise NotReady(
                f"station {to.station} belongs to another line server, which does not answer ({to.address})",
                "send the trigger again: if it is down, its stations are taken over within 10 s",
            ) from error
        finally:
            self._count -= 1
        self._metrics.forwarded(True)
        self._silent.discard(to.address)
        return passed

    async def _while_owner(self, to: Elsewhere, request: httpx.Request) -> httpx.Response:
        """The answer, as long as the station belongs to whom it was asked.

        Raises TimeoutError when it has been taken from that one meanwhile: it hangs, or its machine is gone.
        """
        sending = asyncio.ensure_future(self._client.send(request))
        try:
            while not (await asyncio.wait([sending], timeout=OWNER_LOOK_S))[0]:
                if self._ownership.is_ours(to.station):
                    raise TimeoutError("its station was taken over")
            return sending.result()
        finally:
            sending.cancel()

    async def ask_all(self, scope: MutableMapping[str, Any]) -> bytes | None:
        """The body of the first other line server that answers a request (without a body) with 200."""
        for address in self._ownership.others():
            with suppress(NotReady, Overloaded):
                passed = await self.pass_on(Elsewhere("", address), scope, None, time.perf_counter(), CONNECT_S)
                if passed.status == HTTPStatus.OK:
                    return passed.body
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _own_headers(self, started: float) -> list[tuple[bytes, bytes]]:
        waited_ms = 1000 * (time.perf_counter() - started) + RETURN_MS
        return [
            (FORWARDED.encode(), self._ownership.owner_id.encode()),
            (WAITED_MS.encode(), f"{waited_ms:.1f}".encode()),
        ]


def _url(address: str, scope: MutableMapping[str, Any]) -> httpx.URL:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return httpx.URL(address).copy_with(raw_path=path + (b"?" + query if query else b""))


def _headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in _OF_THIS_HOP]


def _passed(response: httpx.Response) -> Passed:
    headers = [(n.lower(), v) for n, v in response.headers.raw if n.lower() in _PASSED_BACK]
    return Passed(
        response.status_code,
        response.content,
        response.headers.get("content-type", "application/json"),
        headers,
    )
