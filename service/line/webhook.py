"""Optics alarms posted to addresses of the plant: a queue that never makes the line wait, and a thread an address."""

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import structlog

TIMEOUT_S = 5.0
"""For connecting, for sending, and for the answer to begin."""
PAUSE_S = (1.0, 60.0)
"""Between attempts: the first pause, doubled after every failure up to the second."""
GIVE_UP_S = 3600.0
"""An alarm that could not be told for so long is no news any more."""
LIMIT = 200
"""Messages that wait for an address; then the oldest makes room."""
CLOSE_WAIT_S = 1.5
LATER = frozenset({408, 425, 429})
"""Answers of the 4xx kind that ask to try again."""

SENT, REFUSED, DROPPED = "sent", "refused", "dropped"

Counted = Callable[[str], None]


class WrongWebhookAddress(ValueError):
    """The address of a webhook can't be used; the message never repeats it, as it may hold a secret."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"address {number} of LOUPE_WEBHOOK_URL {what}")
        self.remedy = (
            "write http://HOST:PORT/PATH or https://HOST/PATH, several separated by commas, and %2C for a comma"
        )


@dataclass(frozen=True, slots=True)
class _Message:
    body: bytes
    queued_at: float
    """time.monotonic()"""


def read_addresses(setting: str) -> list[httpx.URL]:
    """The addresses of a setting, separated by commas; none where it is empty.

    Raises WrongWebhookAddress.

    >>> [url.host for url in read_addresses("http://andon.local/hook, https://key@ops.local:8443/x?y=1")]
    ['andon.local', 'ops.local']
    """
    written = [address.strip() for address in setting.split(",")]
    return [_address(number, address) for number, address in enumerate(filter(None, written), 1)]


def _address(number: int, address: str) -> httpx.URL:
    # httpx's own errors repeat parts of the address: they must not be chained.
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        raise WrongWebhookAddress(number, "is damaged") from None
    if url.scheme not in ("http", "https"):
        raise WrongWebhookAddress(number, "does not begin with http:// or https://")
    if not url.host or "%" in url.host:  # what no host's name holds was percent-encoded
        raise WrongWebhookAddress(number, "names no host")
    return url


class Webhook:
    """Posts JSON to one address, in order, until it is taken.

    Whoever is asked may be away, slow or out of order: what was not taken (a 2xx) is posted again, with pauses, for an
    hour. Another answer of the 3xx or 4xx kind is a refusal: that message is not posted again. `counted` is told of
    every message, from any thread: `sent`, `refused`, or `dropped` where it was too old or too many waited.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        counted: Counted,
        limit: int = LIMIT,
        timeout_s: float = TIMEOUT_S,
        pause_s: tuple[float, float] = PAUSE_S,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._url, self._counted = url, counted
        self._limit, self._pause_s, self._give_up_s = limit, pause_s, give_up_s
        self._waiting: deque[_Message] = deque()
        self._lock = threading.Lock()
        self._work, self._closing = threading.Event(), threading.Event()
        self._ended = False
        # As for the broker, the machine's own list of authorities holds; a proxy of the office has no place here.
        self._client = httpx.Client(timeout=timeout_s, verify=ssl.create_default_context(), trust_env=False)
        # The rest of an address may hold a secret.
        self._log = structlog.get_logger("webhook").bind(host=url.netloc.decode("ascii").rpartition("@")[2])
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Messages that have not been taken."""
        return len(self._waiting)

    def post(self, body: bytes) -> None:
        """Queue a message; returns at once, whoever is asked."""
        with self._lock:
            too_many = self._ended or len(self._waiting) >= self._limit
            if not self._ended:
                if too_many:
                    self._waiting.popleft()
                self._waiting.append(_Message(body, time.monotonic()))
        if too_many:
            self._counted(DROPPED)
        self._work.set()

    def close(self, wait_s: float = CLOSE_WAIT_S) -> None:
        """Post what waits, for at most `wait_s` and unless that fails; what is left is dropped."""
        self._closing.set()
        self._work.set()
        self._thread.join(wait_s)
        with self._lock:
            self._ended, rest = True, len(self._waiting)
            self._waiting.clear()
        for _ in range(rest):
            self._counted(DROPPED)
        if rest:
            self._log.warning("alarms_dropped", count=rest, reason="they were not taken before the end")

    def _run(self) -> None:
        with self._client:
            pause_s, failing = self._pause_s[0], False
            while (message := self._next()) is not None:
                reason = self._tried(message)
                if reason is None:
                    if failing:
                        self._log.info("recovered", waiting=self.waiting)
                    pause_s, failing = self._pause_s[0], False
                    continue
                if not failing:
                    self._log.warning("not_taken", reason=reason, waiting=self.waiting)
                failing = True
                if self._closing.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, self._pause_s[1])

    def _next(self) -> _Message | None:
        """The oldest message that is still news, once there is one; None at the end."""
        while True:
            self._drop_old()
            with self._lock:
                if self._waiting:
                    return self._waiting[0]
                self._work.clear()
            if self._closing.is_set():
                return None
            self._work.wait()

    def _drop_old(self) -> None:
        count, limit = 0, time.monotonic() - self._give_up_s
        with self._lock:
            while self._waiting and self._waiting[0].queued_at < limit:
                self._waiting.popleft()
                count += 1
        for _ in range(count):
            self._counted(DROPPED)
        if count:
            self._log.warning("alarms_dropped", count=count, reason=f"not taken for {self._give_up_s:.0f} s")

    def _tried(self, message: _Message) -> str | None:
        """Post a message; why it has to be posted again, or None where it need not."""
        try:
            headers = {"content-type": "application/json", "user-agent": "loupe"}
            # Of the answer only the status counts: a body without end is not waited for.
            with self._client.stream("POST", self._url, content=message.body, headers=headers) as answer:
                status = answer.status_code
        except Exception as error:  # noqa: BLE001 - the edge of a thread: it must outlive whatever is answered
            return type(error).__name__
        if status >= 500 or status in LATER:
            return f"answered {status}"
        if status >= 300:
            self._log.error("refused", status=status)
        self._done(message, SENT if status < 300 else REFUSED)
        return None

    def _done(self, message: _Message, result: str) -> None:
        with self._lock:
            # It may have made room meanwhile, and then it has been counted.
            is_there = bool(self._waiting) and self._waiting[0] is message
            if is_there:
                self._waiting.popleft()
        if is_there:
            self._counted(result)
