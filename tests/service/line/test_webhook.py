"""Alarms reach an address that is down at first, slow, or out of order, and the line never waits for it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.line.webhook import Webhook, WrongWebhookAddress, read_addresses
from tests.service.line.receiving import Receiver, receiving
from tests.service.line.stocked import wait_until

FAST = {"pause_s": (0.01, 0.05), "timeout_s": 0.5}


class Results:
    """What became of the messages."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, result: str) -> None:
        self.found.append(result)


@contextmanager
def posting(address: str, counted: Callable[[str], None], **settings: Any) -> Iterator[Webhook]:
    (url,) = read_addresses(address)
    opened = Webhook(url, counted=counted, **{**FAST, **settings})
    try:
        yield opened
    finally:
        opened.close(5.0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def test_messages_arrive_as_json_once_and_in_order() -> None:
    results, receiver = Results(), Receiver()
    with receiving(receiver) as address, posting(address, results) as opened:
        for n in range(50):
            opened.post(json.dumps({"n": n}).encode())
        wait_until(lambda: results.found == ["sent"] * 50)
        assert opened.waiting == 0
    assert [json.loads(body)["n"] for body in receiver.taken] == list(range(50))
    assert {sent["content-type"] for sent in receiver.headers} == {"application/json"}


def test_an_address_that_is_down_at_first_is_waited_for() -> None:
    results, port = Results(), free_port()
    with posting(f"http://127.0.0.1:{port}/", results) as opened, capture_logs() as logs:
        opened.post(b"{}")
        wait_until(lambda: any(entry["event"] == "not_taken" for entry in logs))
        assert (results.found, opened.waiting) == ([], 1)
        receiver = Receiver(port=port)
        with receiving(receiver):
            wait_until(lambda: results.found == ["sent"])
        wait_until(lambda: logs[-1]["event"] == "recovered")
    assert receiver.taken == [b"{}"]
    assert [entry["event"] for entry in logs] == ["not_taken", "recovered"], "an outage is told once"


@pytest.mark.parametrize("status", [500, 502, 503, 408, 425, 429])
def test_what_was_not_taken_is_posted_again(status: int) -> None:
    results, receiver = Results(), Receiver([status] * 3)
    with receiving(receiver) as address, posting(address, results) as opened:
        opened.post(b"1")
        opened.post(b"2")
        wait_until(lambda: results.found == ["sent", "sent"])
    assert receiver.taken == [b"1", b"2"]
    assert receiver.asked == 5


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
def test_a_refusal_is_final_and_the_next_message_goes_on(status: int) -> None:
    results, receiver = Results(), Receiver([status])
    with receiving(receiver) as address, posting(address, results) as opened:
        opened.post(b"1")
        opened.post(b"2")
        wait_until(lambda: results.found == ["refused", "sent"])
    assert receiver.taken == [b"2"]


def test_a_slow_answer_counts_as_none_and_nobody_who_posts_waits_for_it() -> None:
    results, answer = Results(), threading.Event()
    receiver = Receiver(before=lambda n: answer.wait(30) if n == 1 else None)
    with receiving(receiver) as address, posting(address, results, timeout_s=0.2) as opened:
        opened.post(b"1")
        wait_until(lambda: receiver.asked == 1)
        began = time.perf_counter()
        for _ in range(100):
            opened.post(b"2")
        assert time.perf_counter() - began < 0.1
        wait_until(lambda: results.found == ["sent"] * 101)
        answer.set()
        wait_until(lambda: len(receiver.taken) == 102)
    assert set(receiver.taken[-2:]) == {b"1", b"2"}, "at least once: the first attempt was taken in the end"


def test_an_answer_without_end_is_not_waited_for() -> None:
    results = Results()
    endless = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{endless.getsockname()[1]}/"
    with endless, posting(address, results) as opened:
        opened.post(b"{}")
        caller, _ = endless.accept()
        caller.recv(4096)
        caller.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n.\r\n")
        wait_until(lambda: results.found == ["sent"])
        caller.close()


@pytest.mark.parametrize("reply", [b"", b"\0" * 64, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nx"])
def test_nonsense_does_not_end_the_thread(reply: bytes) -> None:
    results, port = Results(), free_port()
    with posting(f"http://127.0.0.1:{port}/", results) as opened:
        with socket.create_server(("127.0.0.1", port)) as nonsense:
            opened.post(b"{}")
            caller, _ = nonsense.accept()
            caller.recv(4096)
            caller.sendall(reply)
            caller.close()
        with receiving(Receiver(port=port)):
            wait_until(lambda: results.found == ["sent"])


def test_the_oldest_makes_room_and_is_counted() -> None:
    results, port = Results(), free_port()
    with posting(f"http://127.0.0.1:{port}/", results, limit=3) as opened:
        for n in range(10):
            opened.post(b"%d" % n)
        assert (results.found, opened.waiting) == (["dropped"] * 7, 3)
        receiver = Receiver(port=port)
        with receiving(receiver):
            wait_until(lambda: results.found == [*["dropped"] * 7, *["sent"] * 3])
    assert receiver.taken == [b"7", b"8", b"9"]


def test_old_news_is_dropped() -> None:
    results = Results()
    with posting(f"http://127.0.0.1:{free_port()}/", results, give_up_s=0.1) as opened:
        opened.post(b"{}")
        wait_until(lambda: results.found == ["dropped"])
        assert opened.waiting == 0


def test_close_posts_what_waits() -> None:
    results, receiver = Results(), Receiver()
    with receiving(receiver) as address, posting(address, results) as opened:
        for _ in range(20):
            opened.post(b"{}")
        opened.close(30)
        assert (results.found, len(receiver.taken)) == (["sent"] * 20, 20)
        opened.post(b"too late")
    assert results.found == [*["sent"] * 20, "dropped"]


def test_close_waits_neither_for_an_address_that_is_away_nor_for_a_silent_one() -> None:
    results = Results()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (free_port(), silent.getsockname()[1]):
            (url,) = read_addresses(f"http://127.0.0.1:{port}/")
            opened = Webhook(url, counted=results, timeout_s=30.0, pause_s=(30.0, 30.0))
            opened.post(b"{}")
            opened.close(0.3)
    assert results.found == ["dropped", "dropped"]


def test_secrets_of_an_address_are_neither_logged_nor_repeated() -> None:
    results = Results()
    with (
        capture_logs() as logs,
        posting(f"http://plc:hunter2@127.0.0.1:{free_port()}/T0K3N?k=T0K3N", results) as opened,
    ):
        opened.post(b"{}")
        wait_until(lambda: len(logs) == 1)
    assert logs[0]["host"].startswith("127.0.0.1:")
    assert "hunter2" not in repr(logs)
    assert "T0K3N" not in repr(logs)


def test_user_and_password_of_an_address_are_used() -> None:
    results, receiver = Results(), Receiver()
    with receiving(receiver) as address, posting(address.replace("://", "://plc:a%20b@"), results) as opened:
        opened.post(b"{}")
        wait_until(lambda: results.found == ["sent"])
    assert receiver.headers[0]["authorization"] == "Basic cGxjOmEgYg=="


@pytest.mark.parametrize(
    "setting",
    ["ftp://host/T0K3N", "T0K3N", "http:///T0K3N", "http://a/,https://", "http://host:T0K3N/", "http://T0K3N b/"],
)
def test_a_wrong_address_says_which_one_and_not_what_is_in_it(setting: str) -> None:
    with pytest.raises(WrongWebhookAddress, match=r"address [12] of LOUPE_WEBHOOK_URL") as refused:
        read_addresses(setting)
    assert "T0K3N" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.remedy


def test_no_address_is_no_webhook() -> None:
    assert read_addresses("") == read_addresses(" , ") == []
