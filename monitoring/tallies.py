"""Plain numbers that every part adds to, and the families that Prometheus reads, made of them when it asks.

One thread at a time may use a tally: its owner sees to that.
"""

import time
from bisect import bisect_left
from copy import copy
from itertools import accumulate
from typing import Final, Self

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the buckets of a duration, in seconds."""

_BOUNDS = (*map(floatToGoString, BUCKETS_S), "+Inf")


class Counts:
    """A counter by the values of its labels.

    >>> parts = Counts("parts", "Parts seen.", "station")
    >>> parts.add("s1"), parts.add("s1")
    (None, None)
    >>> parts.family().samples[0].value
    2
    """

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._counts: dict[tuple[str | int, ...], int] = {}
        self._created: dict[tuple[str | int, ...], float] = {}
        if not labels:  # what there is to count is known from the start
            self.add(by=0)

    def add(self, *values: str | int, by: int = 1) -> None:
        """Count one more, or `by`, for these values of the labels."""
        if values not in self._counts:
            self._counts[values] = 0
            self._created[values] = time.time()
        self._counts[values] += by

    def copy(self) -> Self:
        """The counter as it is now."""
        twin = copy(self)
        twin._counts, twin._created = dict(self._counts), dict(self._created)
        return twin

    def family(self) -> Metric:
        """What Prometheus reads."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric([str(value) for value in values], count, self._created[values])
        return family


class Durations:
    """A histogram of durations by the value of its one label, in `BUCKETS_S`."""

    def __init__(self, name: str, documentation: str, label: str) -> None:
        self._name, self._documentation, self._label = name, documentation, label
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._created: dict[str, float] = {}

    def add(self, value: str, seconds: float) -> None:
        """Count a duration for this value of the label."""
        if value not in self._counts:
            self._counts[value], self._sums[value] = [0] * len(_BOUNDS), 0.0
            self._created[value] = time.time()
        self._counts[value][bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[value] += seconds

    def copy(self) -> Self:
        """The histogram as it is now."""
        twin = copy(self)
        twin._counts = {value: list(counts) for value, counts in self._counts.items()}
        twin._sums, twin._created = dict(self._sums), dict(self._created)
        return twin

    def family(self) -> Metric:
        """What Prometheus reads."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, counts in self._counts.items():
            family.add_metric([value], list(zip(_BOUNDS, accumulate(counts), strict=True)), self._sums[value])
            family.add_sample(f"{self._name}_created", {self._label: value}, self._created[value])
        return family
