"""A plant's own server that takes webhooks."""

import http.server
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Receiver(http.server.ThreadingHTTPServer):
    """A plant's own server: answers with the statuses given, one after the other, then with 200."""

    def __init__(
        self, statuses: Sequence[int] = (), port: int = 0, before: Callable[[int], Any] = lambda n: None
    ) -> None:
        self.statuses, self.before = list(statuses), before
        self.asked = 0
        self.taken: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever posts may hang up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        self.server.before(self.server.asked)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status < 300:
            self.server.taken.append(body)
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving(receiver: Receiver) -> Iterator[str]:
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{receiver.server_address[1]}/hook?for=loupe"
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()
