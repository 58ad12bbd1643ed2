"""Verdicts and optics alarms over MQTT: a queue that never makes the line wait, and a thread that empties it."""

import logging
import math
import secrets
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from service.line.broker_address import Broker, read_address
from service.line.requests import STATION_REMEDY, wrong_station

KEEPALIVE_S = 10
CONNECT_WAIT_S = 5.0
PAUSE_S = (0.5, 15.0)
"""Between attempts to connect: the first pause, doubled after every failure up to the second."""
BURST_S = 0.005
"""What gathers in this time leaves together, so that the thread wakes seldom; after a rest a verdict leaves at once."""
WINDOW = 200
"""Verdicts that may wait for the broker's acknowledgement at the same time."""
IDLE_S = 1.0
LEAVE_WAIT_S = 0.5


class _Message(NamedTuple):
    topic: str
    body: bytes
    is_retained: bool = False


class NoTopicName(ValueError):
    """A name would not stay the one level of the topic that it stands for."""

    def __init__(self, wrong: str) -> None:
        super().__init__(f"a level of a topic {wrong}")
        self.remedy = STATION_REMEDY


def verdict_topic(station: str) -> str:
    """Where a station's verdicts are published.

    Raises NoTopicName.

    >>> verdict_topic("press 3")
    'loupe/press 3/verdict'
    """
    return f"loupe/{_level(station)}/verdict"


def optics_topic(station: str) -> str:
    """Where what became of a station's light and optics is published, retained.

    Raises NoTopicName.
    """
    return f"loupe/{_level(station)}/optics"


def state_topic(client: str) -> str:
    """Where a line server says, retained, whether it is online.

    Raises NoTopicName.
    """
    return f"loupe/server/{_level(client)}/state"


def _level(name: str) -> str:
    if (wrong := wrong_station(name)) is not None:
        raise NoTopicName(wrong)
    return name


class VerdictPublisher:
    """Brings messages to a broker, at least once and in order, for as long as the queue holds them.

    The broker may be away, at the start too: messages wait for it, and when `limit` wait the oldest makes room. What a
    broker is to retain is said to it again with every connection, as it may have lost it, or the queue may have.
    `counted` is told of every message, from any thread: True when the broker has acknowledged it, False when it was
    dropped. `client` names this line server in its state topic; default: the machine's name.

    Raises WrongMqttAddress, NoTopicName.
    """

    def __init__(
        self, address: str, *, limit: int = 10_000, counted: Callable[[bool], None], client: str | None = None
    ) -> None:
        self._broker = read_address(address)
        self._state_topic = state_topic(client or socket.gethostname())
        self._limit, self._counted = limit, counted
        self._waiting: deque[_Message] = deque()
        self._retained: dict[str, bytes] = {}
        """The last body of every topic that the broker retains."""
        self._lock = threading.Lock()
        self._ended = False
        self._work, self._closing = threading.Event(), threading.Event()
        self._flush_until = math.inf
        self._session: _Session | None = None
        self._was_connected: bool | None = None
        self._log = structlog.get_logger("mqtt").bind(broker=f"{self._broker.host}:{self._broker.port}")
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, station: str, body: bytes) -> None:
        """Queue a verdict; returns at once, whatever the broker does.

        Raises NoTopicName.
        """
        self._queue(_Message(verdict_topic(station), body))

    def publish_optics(self, station: str, body: bytes) -> None:
        """Queue what became of a station's light and optics, for the broker to retain; returns at once.

        Raises NoTopicName.
        """
        message = _Message(optics_topic(station), body, is_retained=True)
        self._queue(message)
        self._retained[message.topic] = body

    def _queue(self, message: _Message) -> None:
        with self._lock:
            is_full = self._ended or len(self._waiting) >= self._limit
            if not self._ended:
                self._waiting.append(message)
                if is_full:
                    self._waiting.popleft()
        if is_full:
            self._counted(False)
        # Waking by a socket would let go of the interpreter's lock, and wait for it behind the line's threads.
        if not self._work.is_set():
            self._work.set()

    @property
    def waiting(self) -> int:
        """Verdicts that the broker has not acknowledged."""
        session = self._session
        return len(self._waiting) + (len(session.in_flight) if session else 0)

    @property
    def is_connected(self) -> bool:
        """Whether a broker is taking verdicts."""
        session = self._session
        return session is not None and session.is_accepted and session.is_open

    def close(self, wait_s: float = 1.5) -> None:
        """Send what waits, for at most `wait_s`, and say goodbye; what is left is counted as dropped."""
        self._flush_until = min(self._flush_until, time.monotonic() + wait_s)
        self._closing.set()
        self._work.set()
        self._thread.join(wait_s + LEAVE_WAIT_S + 0.5)

    def _run(self) -> None:
        pause_s = PAUSE_S[0]
        while not self._is_done():
            reason, was_useful = self._connect_once()
            if self._closing.is_set():
                break
            self._tell(False, reason=reason)
            pause_s = PAUSE_S[0] if was_useful else min(2 * pause_s, PAUSE_S[1])
            self._closing.wait(pause_s)
        self._drop_rest()

    def _connect_once(self) -> tuple[str, bool]:
        """One connection from its beginning to its end: why it ended, and whether it brought a verdict."""
        try:
            session = self._session = _Session(self._broker, self._state_topic, self._counted)
        except OSError as error:  # the process has no descriptor left: that may pass
            return str(error), False
        try:
            self._serve(session)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: it must outlive whatever a broker sends
            session.reason = str(error) or type(error).__name__
        finally:
            session.close()
            self._take_back(session)
        return session.reason, session.was_useful

    def _serve(self, session: "_Session") -> None:
        """One connection, until it is lost or everything is done."""
        session.open()
        while session.is_open and not session.is_accepted and not self._is_done():
            session.turn(BURST_S)
        if session.is_accepted:
            self._tell(True)
            self._remind(session)
        while session.is_open and not self._is_done():
            if self._sent_burst(session):
                time.sleep(BURST_S)
                session.turn(0.0)
            elif session.is_idle:
                self._work.wait(IDLE_S)
                self._work.clear()
                session.turn(0.0)
            else:
                session.turn(BURST_S)
        if session.is_open and session.is_accepted:
            session.leave()

    def _remind(self, session: "_Session") -> None:
        """Say to a broker what it is to retain, but for what the queue is going to say."""
        coming = {message.topic for message in self._waiting.copy() if message.is_retained}
        for topic, body in self._retained.copy().items():
            if topic not in coming:
                session.remind(topic, body)

    def _sent_burst(self, session: "_Session") -> bool:
        """Send what waits and fits into the window; False where there was nothing."""
        before = len(session.in_flight)
        # Without the lock: whoever publishes would wait for it, and for the interpreter's, behind this thread.
        while len(session.in_flight) < WINDOW:
            try:
                message = self._waiting.popleft()
            except IndexError:
                break
            session.send(message)
        return len(session.in_flight) > before

    def _take_back(self, session: "_Session") -> None:
        """What was sent and not acknowledged goes first over the next connection."""
        with self._lock:
            self._waiting.extendleft(reversed(session.unacknowledged()))
            session.in_flight.clear()
            surplus = max(0, len(self._waiting) - self._limit)
            for _ in range(surplus):
                self._waiting.popleft()
        for _ in range(surplus):
            self._counted(False)

    def _is_done(self) -> bool:
        return self._closing.is_set() and (self.waiting == 0 or time.monotonic() >= self._flush_until)

    def _drop_rest(self) -> None:
        with self._lock:
            self._ended = True
            rest = len(self._waiting)
            self._waiting.clear()
        for _ in range(rest):
            self._counted(False)
        if rest:
            self._log.warning("verdicts_dropped", count=rest, reason="the broker did not take them before the end")

    def _tell(self, is_connected: bool, **facts: str) -> None:
        """Log a change; an outage is told once, however many attempts fail."""
        if is_connected != self._was_connected:
            level = logging.INFO if is_connected else logging.WARNING
            self._log.log(level, "connected" if is_connected else "broker_away", waiting=self.waiting, **facts)
        self._was_connected = is_connected


class _Session:
    """One connection to the broker; used by the network thread only."""

    def __init__(self, broker: Broker, topic: str, counted: Callable[[bool], None]) -> None:
        self.in_flight: dict[int, _Message] = {}
        """Sent and not acknowledged, oldest first."""
        self.is_accepted = False
        self.was_useful = False
        """Whether the broker acknowledged a verdict: one that only takes calls is not called sooner for it."""
        self.reason = "the connection was lost"
        self._broker, self._topic, self._counted = broker, topic, counted
        self._passing: _Message | None = None
        self._give_up_at = math.inf
        self._selector = selectors.DefaultSelector()
        # A new name and a clean session every time: what must outlive a connection is in our own queue.
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"loupe{secrets.token_hex(8)}", reconnect_on_failure=False
        )
        self._client.max_inflight_messages_set(0)  # WINDOW is ours to hold
        self._client.connect_timeout = CONNECT_WAIT_S
        self._client.will_set(topic, b"offline", qos=1, retain=True)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls is not None:
            self._client.tls_set_context(broker.tls)
        self._client.on_connect = self._accepted
        self._client.on_publish = self._acknowledged

    @property
    def is_open(self) -> bool:
        return self._client.socket() is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is expected from the network."""
        return self.is_accepted and not self.in_flight and not self._client.want_write()

    def open(self) -> None:
        """Connect and introduce ourselves; the broker's answer comes with a later turn.

        Raises OSError.
        """
        self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
        sock = self._client.socket()
        if sock is not None:
            self._selector.register(sock, selectors.EVENT_READ)
        self._give_up_at = time.monotonic() + CONNECT_WAIT_S

    def send(self, message: _Message) -> None:
        """Pass a message on; where the connection has gone it is among the unacknowledged like the others."""
        self._passing = message
        info = self._client.publish(message.topic, message.body, qos=1, retain=message.is_retained)
        self.in_flight[info.mid] = message
        self._passing = None

    def remind(self, topic: str, body: bytes) -> None:
        """Say what the broker is to retain; if that is lost, the next connection says it again."""
        self._client.publish(topic, body, qos=1, retain=True)

    def unacknowledged(self) -> list[_Message]:
        """What must be sent again, oldest first."""
        return [*self.in_flight.values(), *([self._passing] if self._passing else [])]

    def turn(self, wait_s: float) -> None:
        """Read and write what the network has and takes, waiting for it at most `wait_s`."""
        sock = self._client.socket()
        if sock is None:
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        self._selector.modify(sock, wanted)
        # What TLS has decrypted already is nothing that the selector sees.
        is_pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        found = self._selector.select(0.0 if is_pending else wait_s)
        ready = found[0][1] if found else 0
        if ready & selectors.EVENT_READ or is_pending:
            self._client.loop_read()
        if ready & selectors.EVENT_WRITE:
            self._client.loop_write()
        self._client.loop_misc()
        if not self.is_accepted and time.monotonic() > self._give_up_at:
            raise TimeoutError("the broker does not answer")

    def leave(self) -> None:
        """Say goodbye, so that the broker does not speak our last will."""
        goodbye = self._client.publish(self._topic, b"offline", qos=1, retain=True)
        give_up_at = time.monotonic() + LEAVE_WAIT_S
        # Closing with acknowledgements unread would reset the connection, and with it what the broker has not read.
        while self.is_open and not goodbye.is_published() and time.monotonic() < give_up_at:
            self.turn(BURST_S)
        self._client.disconnect()

    def close(self) -> None:
        self.is_accepted = False
        self._selector.close()
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _accepted(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.reason = f"the broker refuses: {reason}"
            return
        self.is_accepted = True
        client.publish(self._topic, b"online", qos=1, retain=True)

    def _acknowledged(self, client: Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        if self.in_flight.pop(mid, None) is not None:
            self.was_useful = True
            self._counted(True)
