"""Images posted to a line server from the command line."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

ANSWER_WAIT_S = 60.0


class LineUnreachable(OSError):
    """No line server answers at the address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no line server answers at {url}: {reason}")
        self.remedy = "start one with `loupe serve`, or name another with --url"


class LineRefused(RuntimeError):
    """The line server did not inspect the image."""

    def __init__(self, status: int, reason: str, remedy: str) -> None:
        super().__init__(f"the line server refuses ({status}): {reason}")
        self.status = status
        self.remedy = remedy


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


def post_image(
    http: httpx.Client,
    path: str,
    data: bytes,
    media_type: str,
    query: Mapping[str, str],
    pauses_s: Sequence[float] = (),
) -> dict[str, Any]:
    """The line server's answer; the same trigger is sent again after each pause while the server is not able to answer.

    Raises LineUnreachable, LineRefused.
    """
    for pause_s in pauses_s:
        try:
            return _posted(http, path, data, media_type, query)
        except LineUnreachable:
            time.sleep(pause_s)
        except LineRefused as refused:
            if refused.status != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            time.sleep(pause_s)
    return _posted(http, path, data, media_type, query)


def _posted(http: httpx.Client, path: str, data: bytes, media_type: str, query: Mapping[str, str]) -> dict[str, Any]:
    try:
        response = http.post(path, params=query, content=data, headers={"content-type": media_type})
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
