import json
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.line.publishing import NoTopicName, VerdictPublisher
from service.wiring import Stores
from tests.service.line.breaking import left_by_a_kill
from tests.service.line.brokers import Listener, Mosquitto, missing
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import expect_views, post
from tests.service.line.stocked import DARK, add_champion, encoded, wait_until

ADDRESS = "mqtt://127.0.0.1:1883"


class Counted:
    """What became of the verdicts."""

    def __init__(self) -> None:
        self.sent, self.dropped = 0, 0
        self._lock = threading.Lock()

    def __call__(self, is_sent: bool) -> None:
        with self._lock:
            self.sent += is_sent
            self.dropped += not is_sent


@pytest.fixture
def station() -> str:
    """A name that no other test uses."""
    return f"test {secrets.token_hex(6)}"


@pytest.fixture
def listener(station: str) -> Iterator[Listener]:
    """Reads the station's verdicts from the broker on this machine."""
    try:
        opened = Listener(1883, f"loupe/{station}/verdict")
    except OSError as error:
        missing(f"nothing answers at {ADDRESS}: {error}")
    yield opened
    opened.close()


@contextmanager
def publisher(address: str, counted: Callable[[bool], None], limit: int = 10_000) -> Iterator[VerdictPublisher]:
    opened = VerdictPublisher(address, limit=limit, counted=counted, client=f"test-{secrets.token_hex(6)}")
    try:
        yield opened
    finally:
        opened.close()


def first_times(bodies: list[bytes]) -> list[int]:
    return list(dict.fromkeys(int(body) for body in bodies))


def test_every_verdict_arrives_once_and_in_order(listener: Listener, station: str) -> None:
    counted = Counted()
    with publisher(ADDRESS, counted) as opened:
        for i in range(2000):
            opened.publish(station, b"%d" % i)
        wait_until(lambda: len(listener.messages) == 2000 and counted.sent == 2000)
        assert opened.waiting == 0
    assert [int(body) for body in listener.bodies] == list(range(2000))
    assert counted.dropped == 0


def test_a_verdict_is_told_once_and_not_to_who_comes_later(listener: Listener, station: str) -> None:
    counted = Counted()
    with publisher(ADDRESS, counted) as opened:
        opened.publish(station, b"{}")
        wait_until(lambda: counted.sent == 1)
        late = Listener(1883, f"loupe/{station}/verdict")
        opened.publish(station, b"{}")
        wait_until(lambda: len(listener.messages) == 2 and len(late.messages) == 1)
        late.close()
    assert [m.retain for m in listener.messages] == [False, False]
    assert [m.qos for m in listener.messages] == [1, 1]


def test_many_threads_publish_at_once(listener: Listener, station: str) -> None:
    counted = Counted()
    with publisher(ADDRESS, counted) as opened:

        def send(first: int) -> None:
            for i in range(first, first + 250):
                opened.publish(station, b"%d" % i)

        threads = [threading.Thread(target=send, args=(k * 1000,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(listener.messages) == 1000)
    numbers = [int(body) for body in listener.bodies]
    for k in range(4):  # each thread's own verdicts keep their order
        assert [n for n in numbers if n // 1000 == k] == list(range(k * 1000, k * 1000 + 250))


def test_close_sends_what_waits(listener: Listener, station: str) -> None:
    counted = Counted()
    with publisher(ADDRESS, counted) as opened:
        for i in range(500):
            opened.publish(station, b"%d" % i)
    assert (counted.sent, counted.dropped) == (500, 0)
    opened.publish(station, b"too late")
    assert counted.dropped == 1
    wait_until(lambda: len(listener.messages) == 500)


def test_state_is_retained_and_the_last_will_tells_of_a_death(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    address = f"mqtt://127.0.0.1:{mosquitto.port}"
    listener = Listener(mosquitto.port, "loupe/server/+/state")
    opened = VerdictPublisher(address, counted=Counted(), client="press-hall")
    wait_until(lambda: listener.bodies == [b"online"])
    late = Listener(mosquitto.port, "loupe/server/press-hall/state")
    wait_until(lambda: late.bodies == [b"online"])
    assert late.messages[0].retain
    late.close()
    opened.close()
    wait_until(lambda: listener.bodies == [b"online", b"offline"])

    # A process that dies says nothing: the broker does.
    script = (
        "import os, time; from service.line.publishing import VerdictPublisher\n"
        f"p = VerdictPublisher({address!r}, counted=print, client='press-hall')\n"
        "while not p.is_connected: time.sleep(0.01)\n"
        "time.sleep(0.2); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    wait_until(lambda: listener.bodies == [b"online", b"offline", b"online", b"offline"])
    listener.close()


def test_a_broker_that_is_away_at_the_start_is_waited_for(mosquitto: Mosquitto) -> None:
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted) as opened:
        time.sleep(0.2)
        assert not opened.is_connected
        mosquitto.start()
        listener = Listener(mosquitto.port, "loupe/s1/verdict")
        opened.publish("s1", b"0")
        wait_until(lambda: listener.bodies == [b"0"])
        listener.close()


def test_nothing_is_lost_when_the_broker_is_killed_and_comes_back(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    listener = Listener(mosquitto.port, "loupe/s1/verdict", name="quality")
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted) as opened:
        for i in range(100):
            opened.publish("s1", b"%d" % i)
        wait_until(lambda: len(listener.messages) == 100 and counted.sent == 100)
        wait_until(lambda: mosquitto.keeps("quality"))
        mosquitto.stop(kill=True)
        for i in range(100, 1100):
            opened.publish("s1", b"%d" % i)
        wait_until(lambda: not opened.is_connected)
        assert opened.waiting == 1000
        mosquitto.start()
        wait_until(lambda: counted.sent == 1100)
        wait_until(lambda: len(set(listener.bodies)) == 1100)
    listener.close()
    assert first_times(listener.bodies) == list(range(1100))
    assert counted.dropped == 0


def test_nothing_is_lost_while_verdicts_stream_through_restarts(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    listener = Listener(mosquitto.port, "loupe/s1/verdict", name="quality")
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted) as opened:

        def stream() -> None:
            for i in range(3000):
                opened.publish("s1", b"%d" % i)
                time.sleep(1e-3)

        line = threading.Thread(target=stream)
        line.start()
        for _ in range(2):
            time.sleep(0.5)
            mosquitto.stop()
            mosquitto.start()
        line.join()
        wait_until(lambda: counted.sent == 3000)
        wait_until(lambda: len(set(listener.bodies)) == 3000)
    listener.close()
    assert first_times(listener.bodies) == list(range(3000))
    assert counted.dropped == 0


def test_the_oldest_makes_room_and_is_counted(mosquitto: Mosquitto) -> None:
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted, limit=5) as opened:
        for i in range(12):
            opened.publish("s1", b"%d" % i)
        assert (opened.waiting, counted.dropped) == (5, 7)
        mosquitto.start()
        wait_until(lambda: counted.sent == 5)
        assert counted.dropped == 7


def test_what_the_broker_had_not_acknowledged_counts_against_the_limit(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    listener = Listener(mosquitto.port, "loupe/s1/verdict", name="quality")
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted, limit=5) as opened:
        wait_until(lambda: opened.is_connected)
        wait_until(lambda: mosquitto.keeps("quality"))
        mosquitto.stop(kill=True)
        for i in range(12):
            opened.publish("s1", b"%d" % i)
        wait_until(lambda: not opened.is_connected)
        wait_until(lambda: opened.waiting == 5)
        mosquitto.start()
        wait_until(lambda: counted.sent == 5)
        wait_until(lambda: len(listener.messages) == 5)
    listener.close()
    assert listener.bodies == [b"7", b"8", b"9", b"10", b"11"]
    assert counted.dropped == 7


def test_close_does_not_wait_for_a_broker_that_is_away(mosquitto: Mosquitto) -> None:
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted) as opened:
        for _ in range(3):
            opened.publish("s1", b"{}")
    assert (counted.sent, counted.dropped) == (0, 3)


def test_close_does_not_wait_for_a_broker_that_is_silent() -> None:
    counted = Counted()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        opened = VerdictPublisher(f"mqtt://127.0.0.1:{silent.getsockname()[1]}", counted=counted)
        opened.publish("s1", b"{}")
        opened.close(wait_s=0.3)
    assert (counted.sent, counted.dropped) == (0, 1)


@pytest.mark.parametrize("reply", [b"\x20\x02\x00\x00\x40\xff\xff\xff\xff\xff", b"\x20\x00", b"\x00" * 64, b""])
def test_a_broker_that_speaks_nonsense_does_not_end_the_publisher(reply: bytes, mosquitto: Mosquitto) -> None:
    counted = Counted()
    address = "127.0.0.1", mosquitto.port
    with socket.create_server(address) as nonsense, publisher(f"mqtt://127.0.0.1:{address[1]}", counted) as opened:
        opened.publish("s1", b"{}")
        caller, _ = nonsense.accept()
        caller.recv(4096)
        caller.sendall(reply)
        caller.close()
        nonsense.close()
        mosquitto.start()
        wait_until(lambda: counted.sent == 1)


@pytest.mark.parametrize("station", ["", "a/b", "a/+", "+", "#", "a#", "\0", "a\nb", "\ud800", "../#"])
def test_a_station_can_not_escape_its_topic(station: str, mosquitto: Mosquitto) -> None:
    counted = Counted()
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", counted) as opened:
        with pytest.raises(NoTopicName) as refused:
            opened.publish(station, b"{}")
        assert opened.waiting == 0
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["Presse Süd", "$SYS", "..", "%2F", "ライン1", "a b", "🦊", "x" * 200])
def test_odd_names_are_one_level(name: str, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    listener = Listener(mosquitto.port, "loupe/+/verdict")
    with publisher(f"mqtt://127.0.0.1:{mosquitto.port}", Counted()) as opened:
        opened.publish(name, b"{}")
        wait_until(lambda: [m.topic for m in listener.messages] == [f"loupe/{name}/verdict"])
    listener.close()


def test_wrong_password_is_told_once_without_the_password(tmp_path: Path, mosquitto: Mosquitto) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "plc", "right"], check=True, capture_output=True)
    guarded = Mosquitto(tmp_path, extra=f"allow_anonymous false\npassword_file {passwords}")
    guarded.start()
    with capture_logs() as logs, publisher(f"mqtt://plc:hunter2@127.0.0.1:{guarded.port}", Counted()):
        wait_until(lambda: len(logs) > 0)
        time.sleep(1)
    assert [entry["event"] for entry in logs] == ["broker_away"]
    assert "not authorized" in logs[0]["reason"].lower()
    assert "hunter2" not in repr(logs)
    counted = Counted()
    with publisher(f"mqtt://plc:right@127.0.0.1:{guarded.port}", counted) as opened:
        opened.publish("s1", b"{}")
        wait_until(lambda: counted.sent == 1)
    guarded.stop()


def test_tls_with_an_authority_of_ones_own(tmp_path: Path, mosquitto: Mosquitto) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no program openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 "
        "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1",
        shell=True,
        check=True,
        capture_output=True,
    )
    secure = Mosquitto(tmp_path, extra=f"certfile {certificate}\nkeyfile {key}")
    secure.start()
    counted = Counted()
    with publisher(f"mqtts://127.0.0.1:{secure.port}?ca={certificate}", counted) as opened:
        for i in range(300):
            opened.publish("s1", b"%d" % i)
        wait_until(lambda: counted.sent == 300)
    # Without it the certificate is a stranger's, and nothing is sent.
    with capture_logs() as logs, publisher(f"mqtts://127.0.0.1:{secure.port}", counted):
        wait_until(lambda: len(logs) > 0)
    assert "certificate" in logs[0]["reason"].lower()
    secure.stop()


def test_process_without_a_descriptor_left_connects_when_it_has_one_again() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as listening, capture_logs() as logs:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            opened = VerdictPublisher(f"mqtt://127.0.0.1:{listening.getsockname()[1]}", counted=Counted(), client="c")
            wait_until(lambda: len(logs) > 0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        listening.settimeout(10)
        listening.accept()[0].close()
        opened.close()
    assert "open files" in logs[0]["reason"]


def test_part_that_waited_when_the_server_was_killed_is_told_by_the_next_one(
    stores: Stores, tmp_path: Path, open_line: OpenLine, listener: Listener, station: str
) -> None:
    add_champion(stores, tmp_path)
    with open_line() as http:
        expect_views(http, stores, "left", "right")
        first = post(http, encoded(DARK), station=station, view_id="left", deadline_ms=60_000)
        shadow = post(http, encoded(DARK), "2", station=station, view_id="left", deadline_ms=60_000, mode="shadow")
        assert [a.json()["result_state"] for a in (first, shadow)] == ["processing"] * 2
        copy = left_by_a_kill(http, tmp_path / "killed")
    with open_line(data_dir=copy, mqtt_url=ADDRESS):
        wait_until(lambda: len(listener.bodies) == 1)
    assert [json.loads(body) for body in listener.bodies] == [{**first.json(), "result_state": "completed"}]
