import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.batching import BUCKETS, Batching, open_classifier
from models.classifier import UNLOADABLE, Classifier, Scorer, Scores
from tests.tiny_model import write_tiny_model

SIDE = 32


def parts(count: int, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    brightness = rng.integers(0, 256, (count, 1, 1, 1))
    return np.broadcast_to(brightness, (count, SIDE, SIDE, 3)).astype(np.uint8)


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    return Classifier(write_tiny_model(tmp_path / "model.onnx"))


class Watched(Classifier):
    """A real session whose device can be held busy, broken, and asked what it has seen."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []
        self.entered = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        self.fails: Callable[[NDArray[np.uint8]], bool] = lambda images: False

    def predict(self, images: NDArray[np.uint8]) -> Scores:
        self.sizes.append(len(images))
        self.entered.release()
        assert self.free.wait(30)
        if self.fails(images):
            raise RuntimeError("the device is lost")
        return super().predict(images)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(write_tiny_model(tmp_path / "model.onnx"))


def wait_until_queued(batching: Batching, count: int) -> None:
    give_up = threading.Event()
    for _ in range(3000):
        if len(batching._queue) == count:
            return
        give_up.wait(0.01)
    raise AssertionError(f"{len(batching._queue)} requests are queued, not {count}")


@pytest.mark.parametrize("count", [1, 2, 3, 8, 31, 32, 33, 100])
def test_scores_are_those_without_batching(classifier: Classifier, count: int) -> None:
    images = parts(count)
    found = Batching(classifier).predict(images)
    assert found.class_probability == pytest.approx(classifier.predict(images).class_probability, abs=1e-6)
    assert found.novelty is None


def test_everybody_gets_their_own_rows(classifier: Classifier) -> None:
    batching = Batching(classifier)
    requests = [parts(1 + seed % 5, seed) for seed in range(400)]
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(batching.predict, requests))
    for images, scores in zip(requests, found, strict=True):
        assert scores.class_probability == pytest.approx(classifier.predict(images).class_probability, abs=1e-6)


def test_what_came_while_the_device_was_busy_goes_together(watched: Watched) -> None:
    batching = Batching(watched)
    watched.free.clear()
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(batching.predict, parts(1))
        assert watched.entered.acquire(timeout=30)
        rest = [threads.submit(batching.predict, parts(1, seed)) for seed in range(1, 6)]
        wait_until_queued(batching, 5)
        watched.free.set()
        for future in (first, *rest):
            future.result(timeout=30)
    assert watched.sizes == [1, 8]


def test_a_batch_takes_no_more_than_the_largest_bucket(watched: Watched) -> None:
    batching = Batching(watched, buckets=(1, 4))
    watched.free.clear()
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(batching.predict, parts(1))
        assert watched.entered.acquire(timeout=30)
        rest = [threads.submit(batching.predict, parts(3, seed)) for seed in (1, 2)]
        wait_until_queued(batching, 2)
        watched.free.set()
        for future in (first, *rest):
            future.result(timeout=30)
    assert watched.sizes == [1, 4, 4]


def test_the_device_sees_only_the_warmed_sizes(watched: Watched) -> None:
    batching = Batching(watched)
    batching.warm(3)
    assert watched.sizes == [*BUCKETS, 4]
    batching.predict(parts(70))
    assert set(watched.sizes) <= set(BUCKETS)


def test_an_error_reaches_everybody_in_the_batch_and_nobody_after_it(watched: Watched) -> None:
    batching = Batching(watched)
    watched.free.clear()
    watched.fails = lambda images: len(images) == 4
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(batching.predict, parts(1))
        assert watched.entered.acquire(timeout=30)
        rest = [threads.submit(batching.predict, parts(1, seed)) for seed in range(4)]
        wait_until_queued(batching, 4)
        watched.free.set()
        assert first.result(timeout=30)
        for future in rest:
            with pytest.raises(RuntimeError, match="the device is lost"):
                future.result(timeout=30)
    watched.fails = lambda images: False
    assert batching.predict(parts(4)).class_probability.shape == (4, 2)


def test_errors_at_random_never_wedge_the_queue(watched: Watched) -> None:
    batching = Batching(watched, buckets=(1, 2, 4))
    watched.fails = lambda images: bool(images[0, 0, 0, 0] % 3 == 0)

    def ask(seed: int) -> bool:
        images = parts(1 + seed % 6, seed)
        try:
            scores = batching.predict(images)
        except RuntimeError:
            return False
        expected = images[:, 0, 0, 0] / 255
        return bool(np.abs(scores.class_probability[:, 1] - expected).max() < 1e-6)

    with ThreadPoolExecutor(12) as threads:
        answered = [future.result(timeout=60) for future in [threads.submit(ask, seed) for seed in range(300)]]
    assert any(answered)
    watched.fails = lambda images: False
    assert all(ask(seed) for seed in range(10))


def test_images_that_do_not_fit_fail_alone(watched: Watched) -> None:
    batching = Batching(watched)
    watched.free.clear()
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(batching.predict, parts(1))
        assert watched.entered.acquire(timeout=30)
        good = threads.submit(batching.predict, parts(1, 1))
        bad = threads.submit(batching.predict, np.zeros((1, SIDE, SIDE + 1, 3), np.uint8))
        wait_until_queued(batching, 1)
        watched.free.set()
        assert first.result(timeout=30)
        assert good.result(timeout=30)
        with pytest.raises(UNLOADABLE):
            bad.result(timeout=30)


def test_who_leaves_while_waiting_passes_the_lead_on(watched: Watched) -> None:
    batching = Batching(watched)
    watched.free.clear()
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(batching.predict, parts(1))
        assert watched.entered.acquire(timeout=30)
        second = threads.submit(batching.predict, parts(1, 1))
        wait_until_queued(batching, 1)
        left = batching._queue[0]
        third = threads.submit(batching.predict, parts(1, 2))
        wait_until_queued(batching, 2)
        batching._leave(left)
        watched.free.set()
        assert first.result(timeout=30)
        assert third.result(timeout=30)
        left.error = KeyboardInterrupt()
        left.wake.release()
        with pytest.raises(KeyboardInterrupt):
            second.result(timeout=30)


def test_on_the_cpu_nothing_is_gathered(tmp_path: Path) -> None:
    opened: Scorer = open_classifier(write_tiny_model(tmp_path / "model.onnx"))
    assert isinstance(opened, Classifier)
    batching: Scorer = Batching(opened)
    assert (batching.sha256, batching.card, batching.provider) == (opened.sha256, opened.card, opened.provider)
    assert batching.bytes == opened.bytes > 0


@pytest.mark.parametrize("buckets", [(), (0, 1), (2, 1), (1, 1)])
def test_wrong_buckets_are_refused(classifier: Classifier, buckets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="buckets"):
        Batching(classifier, buckets)
