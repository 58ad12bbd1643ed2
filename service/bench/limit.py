"""The in-process limit: decode, prepare, infer and pool in one process, without HTTP, journal or anything else.

Run as a child process: `python -m service.bench.limit MODEL PARTS_FOLDER`.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models.classifier import Classifier
from models.preprocess import Frame, sniff
from models.scoring import score

WARM_IMAGES = 20


def measure(classifier: Classifier, frames: Sequence[Frame], *, seconds: float, threads: int) -> dict[str, Any]:
    """Score the images in turn for some seconds on some threads.

    `images` done, `cpu_s` of the process, `wall_s`, and `latency_ms` of each image.
    """
    cpu, began = time.process_time(), time.perf_counter()
    end = began + seconds
    with ThreadPoolExecutor(threads) as pool:
        turns = [pool.submit(_turn, classifier, frames, end, first, threads) for first in range(threads)]
        latency_ms = [one for turn in turns for one in turn.result()]
    return {
        "images": len(latency_ms),
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - began,
        "latency_ms": latency_ms,
    }


def _turn(classifier: Classifier, frames: Sequence[Frame], end: float, first: int, step: int) -> list[float]:
    latency_ms, number, began = [], first, time.perf_counter()
    while began < end:
        score(classifier, frames[number % len(frames)])
        done = time.perf_counter()
        latency_ms.append(1000 * (done - began))
        number, began = number + step, done
    return latency_ms


def main(model: Path, folder: Path) -> None:
    """Answer requests `{"seconds": s, "threads": n}` on standard input."""
    # Not through service.bench.parts, which loads the renderer: the limit's memory should be that of the work alone.
    from service.bench.children import answer_lines

    classifier = Classifier(model)
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    frames = [Frame(data, sniff(data) or "") for data in files]
    for number in range(WARM_IMAGES):
        score(classifier, frames[number % len(frames)])
    answer_lines(lambda request: measure(classifier, frames, **request))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
