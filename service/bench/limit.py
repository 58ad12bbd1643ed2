"""The in-process limit: decode, prepare, infer and pool in one process, without HTTP, journal or anything else.

Run as a child process: `python -m service.bench.limit MODEL PARTS_FOLDER`.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2

from models.classifier import Classifier, pool
from models.preprocess import Frame, prepare, sniff
from models.scoring import score

WARM_IMAGES = 20


def measure(classifier: Classifier, frames: Sequence[Frame], *, seconds: float, threads: int) -> dict[str, Any]:
    """Score the images in turn for some seconds on some threads.

    `images` done, `cpu_s` of the process, `wall_s`, and `latency_ms` of each image.
    """
    cpu, began = time.process_time(), time.perf_counter()
    end = began + seconds
    with ThreadPoolExecutor(threads) as executor:
        turns = [executor.submit(_turn, classifier, frames, end, first, threads) for first in range(threads)]
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


def measure_steps(classifier: Classifier, frames: Sequence[Frame], *, seconds: float) -> dict[str, Any]:
    """The images in turn for some seconds on this thread, the clock read between the steps.

    `images` done, `prepare_cpu_s` (decode, scale) and `net_cpu_s`; pooling counts for neither.
    """
    images, prepare_cpu_s, net_cpu_s = 0, 0.0, 0.0
    end = time.perf_counter() + seconds
    while images == 0 or time.perf_counter() < end:
        prepare_one_s, net_one_s = _steps(classifier, frames[images % len(frames)])
        prepare_cpu_s += prepare_one_s
        net_cpu_s += net_one_s
        images += 1
    return {"images": images, "prepare_cpu_s": prepare_cpu_s, "net_cpu_s": net_cpu_s}


def _steps(classifier: Classifier, frame: Frame) -> tuple[float, float]:
    # A function, so that an image's memory is free again before the next one, as in `score`: what the allocator then
    # gives back to the kernel, and has to fetch again, is a noticeable part of a large image's cost.
    began = time.process_time()
    prepared = prepare(frame, classifier.card.geometry)
    ready = time.process_time()
    scores = classifier.predict(prepared.tiles)
    done = time.process_time()
    pool(scores, classifier.card)
    return ready - began, done - ready


KINDS: dict[str, Callable[..., dict[str, Any]]] = {"whole": measure, "steps": measure_steps}


def main(model: Path, folder: Path) -> None:
    """Answer requests `{"kind": one of KINDS, "seconds": s, …}` on standard input."""
    # Not through service.bench.parts, which loads the renderer: the limit's memory should be that of the work alone.
    from service.bench.children import answer_lines

    # OpenCV would cut a large resize in pieces for threads of its own, and one thread would be more than one.
    cv2.setNumThreads(1)
    classifier = Classifier(model)
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    frames = [Frame(data, sniff(data) or "") for data in files]
    for number in range(WARM_IMAGES):
        score(classifier, frames[number % len(frames)])
    answer_lines(lambda request: KINDS[request.pop("kind")](classifier, frames, **request))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
