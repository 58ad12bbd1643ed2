"""BentoML: an uploaded file, as many workers as there are threads.

python bentoml_service.py MODEL PORT THREADS
"""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml
from inference import Inspector


@bentoml.service(workers=int(os.environ.get("BENCH_THREADS", "1")), logging={"access": {"enabled": False}})
class Inspection:
    """One worker with a session of its own."""

    def __init__(self) -> None:
        self._inspector = Inspector(os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, image: Path) -> dict[str, Any]:
        """One image in a form."""
        return self._inspector(image.read_bytes())


if __name__ == "__main__":
    model, port, threads = sys.argv[1:]
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-m", "bentoml", "serve", "bentoml_service:Inspection"]
    # BentoML's own command starts the workers, which import this module anew.
    os.environ.update(BENCH_MODEL=model, BENCH_THREADS=threads, BENTOML_DO_NOT_TRACK="True")
    os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", port, "--working-dir", str(here)])
