"""Parts under a light that a test chooses, at a camera that was commissioned."""

import zlib
from typing import Any

import numpy as np
from httpx2 import Client

from tests.service.line.posting import post, server_of
from tests.service.line.stocked import picture

COMMISSION = 100
USUAL = 40
"""Images after calibration by which a single one that differs stands out."""
LEVEL, DIMMED = 70, 0.7
SIZE = (240, 320)


def show(http: Client, trigger: str, light: float = 1.0, seed: int | None = None, **query: Any) -> dict[str, Any]:
    """The answer to a part as raw pixels."""
    seed = zlib.crc32(trigger.encode()) if seed is None else seed
    pixels = (picture(LEVEL, seed, *SIZE) * light).astype(np.uint8)
    headers = {"x-pixel-format": "RGB8", "x-width": str(SIZE[1]), "x-height": str(SIZE[0])}
    response = post(http, pixels.tobytes(), trigger, media_type="application/octet-stream", headers=headers, **query)
    answer: dict[str, Any] = response.json()
    return answer


def commission(http: Client, **query: Any) -> None:
    """Show a camera what is normal until it is calibrated, and what is usual of late."""
    sight, calibrated = f"{query.get('station', 's1')}/{query.get('camera', '0')}", 0
    for n in range(20 * COMMISSION):
        assert show(http, f"n-{n}", seed=n, **query)["disposition"] == "pass"
        # While what keeps still is being learnt, images teach nothing else: how many these are is up to the machine.
        calibrated += server_of(http).watch.summary()[sight] == "ok"
        if calibrated == USUAL:
            return
    raise AssertionError(f"the camera is not commissioned: {server_of(http).watch.summary()}")


def dim(http: Client, name: str, count: int, **query: Any) -> list[dict[str, Any]]:
    """Answers to parts under a lamp that has lost light."""
    return [show(http, f"{name}-{n}", DIMMED, 1000 + n, **query) for n in range(count)]


def restore(http: Client, name: str, **query: Any) -> None:
    """Parts under the light of before, until the alarm is cleared."""
    for n in range(60):
        if show(http, f"{name}-{n}", 1.0, 2000 + n, **query)["result_code"] == 0:
            return
    raise AssertionError(f"the alarm stands on: {server_of(http).watch.summary()}")
