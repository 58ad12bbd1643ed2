"""Ray Serve: as many replicas as there are threads, the bare image as the body, no access log.

RAY_SERVE_THROUGHPUT_OPTIMIZED=1 python ray_serve.py MODEL PORT THREADS
"""

import signal
import sys
from typing import Any

import ray
from inference import Inspector
from ray import serve
from starlette.requests import Request

# Ray Serve writes a line a request, at the proxy and at the replica; no other server here does.
LOGGING = {"enable_access_log": False}

model, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


@serve.deployment(
    num_replicas=threads, ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=64, logging_config=LOGGING
)
class Inspection:
    """One replica with a session of its own."""

    def __init__(self, path: str) -> None:
        self._inspector = Inspector(path)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One image."""
        return self._inspector(await request.body())


if __name__ == "__main__":
    ray.init(num_cpus=threads, include_dashboard=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=LOGGING)
    serve.run(Inspection.bind(model))
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        serve.shutdown()
        ray.shutdown()
