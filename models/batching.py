"""Batches for a device that is quickest with many images at once: whatever came while it was busy goes together.

Nobody waits for a batch to fill. The thread that finds the device free leads: it runs what is queued, hands everybody
their rows, and passes the lead to whoever then waits longest. So each batch costs one hand-over and no thread of its
own.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.classifier import CPU, Classifier, Scorer, Scores

BUCKETS = (1, 2, 4, 8, 16, 32)
"""Batch sizes that the device sees: every new size costs it a search for kernels, so there are few, all warmed."""


def open_classifier(
    path: Path | str | bytes, provider: str = CPU, threads: int = 1, *, engine_cache: Path | None = None
) -> Scorer:
    """The model of a file, batched where it does not run on the CPU; arguments and errors as for Classifier.

    On the CPU batches gain nothing: threads run side by side there.
    """
    classifier = Classifier(path, provider, threads, engine_cache=engine_cache)
    return classifier if provider == CPU else Batching(classifier)


def _held() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Request:
    """Images of one caller, and what became of them; `wake` is released once, when it is done or its caller leads."""

    images: NDArray[np.uint8]
    wake: threading.Lock = field(default_factory=_held)
    leads: bool = False
    scores: Scores | None = None
    error: BaseException | None = None


class Batching:
    """A Classifier whose predict gathers the requests of many threads into batches of a few sizes.

    buckets: the sizes, ascending; a batch is filled up to the next one with images that nobody asked for.

    Raises ValueError for buckets that are not ascending whole numbers from 1 on.
    """

    def __init__(self, classifier: Classifier, buckets: Sequence[int] = BUCKETS) -> None:
        if not buckets or buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
            raise ValueError(f"buckets are {tuple(buckets)}: ascending whole numbers from 1 on are needed")
        self.card = classifier.card
        self.provider = classifier.provider
        self.sha256 = classifier.sha256
        self.bytes = classifier.bytes
        self.buckets = tuple(buckets)
        self._classifier = classifier
        geometry = classifier.card.geometry
        # Only the thread that leads writes here. Rows that nobody asked for hold whatever came before.
        self._staging = np.zeros((self.buckets[-1], geometry.height, geometry.width, 3), np.uint8)
        self._mutex = threading.Lock()
        self._queue: deque[_Request] = deque()
        self._led = False

    def predict(self, images: NDArray[np.uint8]) -> Scores:
        """uint8 (N, H, W, 3) RGB tiles, as models.preprocess makes them -> scores of each tile.

        An error of the session reaches every caller whose images were in the batch.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self._staging.shape[1:] or len(images) == 0:
            # The session refuses what does not fit; alone, so that nobody else's batch fails with it.
            return self._classifier.predict(images)
        largest = self.buckets[-1]
        if len(images) <= largest:
            return self._predict(images)
        return _joined([self._predict(images[start : start + largest]) for start in range(0, len(images), largest)])

    def warm(self, batch: int = 1) -> Scores:
        """Run every bucket once, then a black batch of this size."""
        for bucket in self.buckets:
            self._predict(self._black(bucket))
        return self.predict(self._black(batch))

    def _black(self, count: int) -> NDArray[np.uint8]:
        return np.zeros((count, *self._staging.shape[1:]), np.uint8)

    def _predict(self, images: NDArray[np.uint8]) -> Scores:
        request = _Request(images)
        with self._mutex:
            self._queue.append(request)
            request.leads = not self._led
            self._led = True
        if not request.leads:
            try:
                request.wake.acquire()
            except BaseException:  # Ctrl-C while waiting: the lead must not go to somebody who has left
                self._leave(request)
                raise
        if request.leads:
            self._lead()
        if request.error is not None:
            raise request.error
        assert request.scores is not None  # whoever led has left one of the two
        return request.scores

    def _lead(self) -> None:
        """Run one batch, of which this thread's own request is the first, and pass the lead on."""
        with self._mutex:
            batch = self._take()
        try:
            self._run(batch)
        except BaseException as error:
            for request in batch:
                request.error = error
            raise
        finally:
            self._hand_over()
            for request in batch[1:]:
                request.wake.release()

    def _leave(self, request: _Request) -> None:
        with self._mutex:
            if request in self._queue:
                self._queue.remove(request)
            leads = request.leads
        if leads:
            self._hand_over()

    def _take(self) -> list[_Request]:
        """The oldest requests that fit the largest bucket together."""
        batch: list[_Request] = []
        room = self.buckets[-1]
        while self._queue and len(self._queue[0].images) <= room:
            batch.append(self._queue.popleft())
            room -= len(batch[-1].images)
        return batch

    def _run(self, batch: list[_Request]) -> None:
        total = sum(len(request.images) for request in batch)
        bucket = next(size for size in self.buckets if size >= total)
        if len(batch) == 1 and total == bucket:
            batch[0].scores = self._classifier.predict(batch[0].images)
            return
        start = 0
        for request in batch:
            self._staging[start : start + len(request.images)] = request.images
            start += len(request.images)
        scores = self._classifier.predict(self._staging[:bucket])
        start = 0
        for request in batch:
            request.scores = _rows(scores, start, start + len(request.images))
            start += len(request.images)

    def _hand_over(self) -> None:
        with self._mutex:
            self._led = bool(self._queue)
            if self._led:
                self._queue[0].leads = True
                self._queue[0].wake.release()


def _rows(scores: Scores, start: int, stop: int) -> Scores:
    return _each(lambda values: values[0][start:stop], [scores])


def _joined(parts: Sequence[Scores]) -> Scores:
    return _each(np.concatenate, parts)


def _each(change: Callable[[list[NDArray[np.float32]]], NDArray[np.float32]], parts: Sequence[Scores]) -> Scores:
    """The change of each output that the model has."""
    first = parts[0]
    return Scores(
        change([part.class_probability for part in parts]),
        None if first.defect_map is None else change([p.defect_map for p in parts if p.defect_map is not None]),
        None if first.novelty is None else change([p.novelty for p in parts if p.novelty is not None]),
        None if first.embedding is None else change([p.embedding for p in parts if p.embedding is not None]),
    )
