"""Parts posted to a line server from the command line."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

ANSWER_WAIT_S = 60.0


class LineUnreachable(OSError):
    """No line server answers at the address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no line server answers at {url}: {reason}")
        self.remedy = "start one with `loupe serve`, or name another with --url"


class LineRefused(RuntimeError):
    """The line server did not inspect the part."""

    def __init__(self, status: int, reason: str, remedy: str) -> None:
        super().__init__(f"the line server refuses ({status}): {reason}")
        self.status = status
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class PostedView:
    """One image of a part as a file's bytes; without a view_id it is the view that the line takes by default."""

    data: bytes
    media_type: str
    view_id: str = ""


def open_client(url: str, key: str | None) -> httpx.Client:
    """A client for the line server at an address, with the station's key where there is one.

    Raises LineUnreachable for what is no address.
    """
    try:
        return httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=ANSWER_WAIT_S,
            trust_env=False,  # a plant's web proxy knows no machine of the line
        )
    except httpx.InvalidURL as error:
        raise LineUnreachable(url, str(error)) from error


def post_part(
    http: httpx.Client,
    path: str,
    views: Sequence[PostedView],
    query: Mapping[str, str],
    pauses_s: Sequence[float] = (),
) -> dict[str, Any]:
    """The line server's answer; the same trigger is sent again after each pause while the server is not able to answer.

    One view is the body itself, several are one multipart body.

    Raises LineUnreachable, LineRefused.
    """
    for pause_s in pauses_s:
        try:
            return _posted(http, path, views, query)
        except LineUnreachable:
            time.sleep(pause_s)
        except LineRefused as refused:
            if refused.status != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            time.sleep(pause_s)
    return _posted(http, path, views, query)


def _posted(http: httpx.Client, path: str, views: Sequence[PostedView], query: Mapping[str, str]) -> dict[str, Any]:
    try:
        response = http.post(path, **_request(views, query))
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise LineUnreachable(str(http.base_url), str(error) or type(error).__name__) from error
    try:
        answer: dict[str, Any] = response.json()
        reasons, remedy = answer.get("reasons", []), answer.get("remedy", "")
    except (ValueError, AttributeError) as error:
        raise LineUnreachable(str(http.base_url), "what answers there is no line server") from error
    if response.status_code != httpx.codes.OK:
        reason = "; ".join(map(str, reasons)) or response.reason_phrase
        raise LineRefused(response.status_code, reason, str(remedy or "look at the line server's log"))
    return answer


def _request(views: Sequence[PostedView], query: Mapping[str, str]) -> dict[str, Any]:
    """The request's query and body, as httpx takes them."""
    if len(views) == 1:
        (view,) = views
        named = {"view_id": view.view_id} if view.view_id else {}
        return {"params": {**query, **named}, "content": view.data, "headers": {"content-type": view.media_type}}
    # `expected` and the station count in the query, all else in `meta`: both hold all.
    meta = json.dumps({**query, "views": [{"view_id": view.view_id} for view in views]})
    parts = [(view.view_id, (None, view.data, view.media_type)) for view in views]
    return {"params": query, "files": [("meta", (None, meta, "application/json")), *parts]}
