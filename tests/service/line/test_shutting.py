"""The door of a server that ends, on real sockets."""

import select
import socket
import sys
import threading
import time

import pytest

from service.line.shutting import HANDSHAKE_S, keep_out

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def place(request: pytest.FixtureRequest) -> tuple[socket.AddressFamily, str]:
    family, host = request.param
    try:
        socket.create_server((host, 0), family=family).close()
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    return family, host


def test_who_was_connected_stays_and_nobody_new_comes_until_nobody_listens(
    place: tuple[socket.AddressFamily, str],
) -> None:
    family, host = place
    with socket.create_server((host, 0), family=family) as listening:
        address = listening.getsockname()[:2]
        with socket.create_connection(address) as early, socket.socket(family) as late:
            keep_out(listening)
            late.setblocking(False)
            late.connect_ex(address)
            accepted, _ = listening.accept()
            with accepted:
                early.sendall(b"a part")
                assert accepted.recv(100) == b"a part"
                accepted.sendall(b"its verdict")
                assert early.recv(100) == b"its verdict"
            assert select.select([listening], [late], [], 0.3) == ([], [], []), "the second one waits at the door"
            listening.close()
            assert select.select([], [late], [], 20)[1] == [late]
            assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0, "it hears that nobody listens"


def test_of_many_callers_at_once_each_is_served_or_refused() -> None:
    """Without the door, a caller that comes between the last `accept` and the close is reset."""
    outcomes: list[str] = []

    def call(address: tuple[str, int]) -> None:
        while True:
            try:
                connection = socket.create_connection(address, timeout=20)
            except ConnectionRefusedError:
                return
            with connection:
                try:
                    connection.sendall(b"?")
                    outcomes.append(connection.recv(10).decode())
                except ConnectionResetError:
                    outcomes.append("reset")

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        threads = [threading.Thread(target=call, args=(listening.getsockname(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(200):
            if turn == 100:
                keep_out(listening)
                time.sleep(HANDSHAKE_S)
                listening.setblocking(False)
            try:
                accepted, _ = listening.accept()
            except BlockingIOError:
                break
            with accepted:
                accepted.setblocking(True)
                assert accepted.recv(10) == b"?"
                accepted.sendall(b"yes")
    for thread in threads:
        thread.join()
    assert set(outcomes) == {"yes"}
