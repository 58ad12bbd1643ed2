"""What soak tests send, and how they look at a line server from outside."""

import os
import re
from pathlib import Path

import cv2
import httpx

from service.bench.parts import Part
from tests.e2e.processes import LineProcess
from tests.service.line.stocked import BRIGHT, DARK, picture

JPEG = "image/jpeg"
PAIRS = 10


def length(name: str, default: float) -> float:
    """How long a soak test is: LOUPE_TEST_… of the environment, else the default."""
    return float(os.environ.get(f"LOUPE_TEST_{name}", default))


def good_and_bad_parts(pairs: int = PAIRS) -> list[Part]:
    """JPEGs of 640 x 480 px and about 36 KB: even ones are good, odd ones are defects."""
    return [Part(_jpeg(level, seed), JPEG) for seed in range(pairs) for level in (DARK, BRIGHT)]


def write_files(parts: list[Part], folder: Path) -> list[str]:
    """The parts as files, in their order."""
    files = [folder / f"{n:03d}.jpg" for n in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(part.data)
    return [str(file) for file in files]


def _jpeg(level: int, seed: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture(level, seed, 480, 640), [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert done
    return bytes(data)


def posting(station: str, more: str = "") -> str:
    """The path under which a load generator posts."""
    return f"/v1/inspections?station={station}&trigger_id={{n}}{more}"


def metric(line: LineProcess, name: str) -> float:
    """A metric without labels."""
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{line.url}/metrics").text, re.MULTILINE)
    assert found is not None, f"there is no metric {name}"
    return float(found[1])


def rss_mb(pid: int) -> float:
    """Resident memory (MB)."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def loop_times(pid: int) -> tuple[float, float]:
    """How long a process's main thread, the event loop, waited for a processor, and ran (s)."""
    ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(waited) / 1e9, int(ran) / 1e9
