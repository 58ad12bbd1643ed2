"""LitServe: an uploaded file, as many workers as there are threads, answers over ZeroMQ.

python litserve_server.py MODEL PORT THREADS
"""

import sys
from typing import Any

import litserve
from inference import Inspector


class Inspection(litserve.LitAPI):
    """Decode, infer, answer."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model

    def setup(self, device: str) -> None:
        """A session in each worker."""
        self._inspector = Inspector(self._model)

    # Without a type: LitServe makes the request's form of its annotation, and the plain form where there is none.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """The file of the form."""
        data: bytes = request["image"].file.read()
        return data

    def predict(self, x: bytes) -> dict[str, Any]:
        """One image."""
        return self._inspector(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As it is."""
        return output


if __name__ == "__main__":
    # LitServe's advice from a hundred requests a second on: `fast_queue`.
    server = litserve.LitServer(
        Inspection(sys.argv[1]), accelerator="cpu", workers_per_device=int(sys.argv[3]), fast_queue=True
    )
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
