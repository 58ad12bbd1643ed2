"""How long a settling takes beside one pass over the votes, contenders alternating; and memory beside the votes."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from labeling.consensus import CONSENSUS, aggregate
from labeling.votes import Votes
from service.bench.intervals import median_interval

SIZES = (300, 10_000, 1_000_000)
INSPECTORS, LOOKS, CLASSES = 5, 5, 3
METHODS = ("auto", *CONSENSUS)
SLOW_FROM = 100_000
"""From so many votes on only `auto` and `majority` are measured."""


def draw(labels: int, rng: np.random.Generator) -> Votes:
    """Votes of five inspectors, right four times in five, five looks an item."""
    items = max(labels // LOOKS, 1)
    truth = rng.integers(0, CLASSES, items)
    item = np.repeat(np.arange(items), LOOKS)
    inspector = np.tile(np.arange(INSPECTORS), items)
    right = rng.random(len(item)) < 0.8
    label = np.where(right, truth[item], rng.integers(0, CLASSES, len(item)))
    return Votes(item, inspector, label, np.zeros(len(item), np.int64))


def one_pass(votes: Votes) -> None:
    """The least that any settling does: count the votes of each item and class."""
    np.bincount(votes.item * CLASSES + votes.label)


def measure(pairs: int, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """CPU milliseconds of each model by number of labels, and as a multiple of one pass, in alternating turns."""
    found = []
    for size in sizes:
        votes = draw(size, np.random.default_rng([seed, size]))
        methods = METHODS if size < SLOW_FROM else ("auto", "majority")
        work: dict[str, Callable[[], object]] = {"one pass": partial(one_pass, votes)}
        work |= {method: partial(aggregate, votes, CLASSES, method=method) for method in methods}
        turns = [{name: _cpu_ms(task) for name, task in work.items()} for _ in range(pairs)]
        found += [
            {
                "labels": size,
                "method": method,
                "cpu_ms": asdict(median_interval(turn[method] for turn in turns)),
                "times_one_pass": asdict(median_interval(turn[method] / turn["one pass"] for turn in turns)),
                "peak_bytes_a_label": _peak_bytes(work[method]) / size,
            }
            for method in methods
        ]
    return found


def _cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


def _peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
