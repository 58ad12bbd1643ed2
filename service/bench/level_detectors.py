"""Drift detectors of the mean brightness alone, classic ones and those of river, put through given streams.

    PYTHON level_detectors.py LEVELS.npz

prints what river's make of the streams as one JSON object, under any Python that has numpy and river. Nothing here
needs Loupe.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

REST_IMAGES = 100
"""After a false alarm a detector is put back as it was commissioned, and so many images can't be another one."""

Floats = NDArray[np.float64]


class Detector(Protocol):
    """Takes a level in deviations from what commissioning saw, and says whether it drifts."""

    def update(self, value: float) -> bool:
        """Take the next one."""
        ...


class Shewhart:
    """Each level by itself (W. A. Shewhart, 1931)."""

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def update(self, value: float) -> bool:
        """Whether it is beyond the limit."""
        return bool(abs(value) > self._limit)


class Ewma:
    """An exponentially weighted average, weight 0.1, in its own deviations (S. W. Roberts, 1959)."""

    def __init__(self, limit: float) -> None:
        self._limit = limit * (0.1 / 1.9) ** 0.5
        self._average = 0.0

    def update(self, value: float) -> bool:
        """Whether the average is beyond the limit."""
        self._average += 0.1 * (value - self._average)
        return bool(abs(self._average) > self._limit)


class _OfRiver:
    """A detector of river with one of its settings changed."""

    def __init__(self, name: str, **settings: Any) -> None:
        self._detector = getattr(import_module("river.drift"), name)(**settings)

    def update(self, value: float) -> bool:
        """Whether river finds a drift."""
        self._detector.update(value)
        return bool(self._detector.drift_detected)


@dataclass(frozen=True, slots=True)
class Contender:
    """A detector by its threshold, and the thresholds to choose from, from the readiest to alarm to the slowest."""

    make: Callable[[float], Detector]
    thresholds: tuple[float, ...]


CLASSIC: Mapping[str, Contender] = {
    "Shewhart on level": Contender(Shewhart, tuple(np.geomspace(1.5, 60, 64))),
    "EWMA on level": Contender(Ewma, tuple(np.geomspace(1.5, 200, 64))),
}
OF_RIVER: Mapping[str, Contender] = {
    "ADWIN on level": Contender(
        lambda delta: _OfRiver("ADWIN", delta=delta), tuple(10.0**-power for power in np.geomspace(0.3, 300, 24))
    ),
    "Page-Hinkley on level": Contender(
        lambda threshold: _OfRiver("PageHinkley", threshold=threshold), tuple(np.geomspace(2, 20000, 32))
    ),
    "KSWIN on level": Contender(
        lambda alpha: _OfRiver("KSWIN", alpha=alpha, seed=0), tuple(10.0**-power for power in np.geomspace(1, 30, 16))
    ),
}


@dataclass(frozen=True, slots=True)
class CameraLevels:
    """Levels of one camera's streams.

    commission, in_control  (images,)
    scenarios               (scenarios, images), from the onset on; each goes on after `after` images in control
    allowed                 how many false alarms the in-control images may cost
    """

    commission: Floats
    in_control: Floats
    scenarios: Floats
    after: NDArray[np.int64]
    allowed: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a contender made of one camera: its threshold, its false alarms, and the image of each scenario on which it
    alarmed, 1 = the first; None where it did not. us: microseconds of CPU an image.
    """

    threshold: float
    false_alarms: int
    delays: list[int | None]
    us: float


def contest(contender: Contender, levels: CameraLevels) -> Result:
    """What the readiest threshold finds that costs no more false alarms than are allowed, or else the slowest."""
    centre, spread = float(levels.commission.mean()), max(float(levels.commission.std()), 1e-9)
    commission, in_control = (((part - centre) / spread).tolist() for part in (levels.commission, levels.in_control))
    low, high = 0, len(contender.thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        alarms, _, _ = _run(contender.make(contender.thresholds[middle]), commission, in_control, ())
        low, high = (low, middle) if alarms <= levels.allowed else (middle + 1, high)
    threshold = contender.thresholds[low]
    snapshots = sorted(set(levels.after.tolist()))
    alarms, states, us = _run(contender.make(threshold), commission, in_control, snapshots)
    scenarios = ((levels.scenarios - centre) / spread).tolist()
    delays = [
        _delay(deepcopy(states[after]), scenario)
        for scenario, after in zip(scenarios, levels.after.tolist(), strict=True)
    ]
    return Result(float(threshold), alarms, delays, us)


def _run(
    detector: Detector, commission: Sequence[float], in_control: Sequence[float], snapshots: Sequence[int]
) -> tuple[int, dict[int, Detector], float]:
    """False alarms in control, the detector after so many images of it, and microseconds of CPU an image."""
    for value in commission:
        detector.update(value)
    commissioned = deepcopy(detector)
    alarms, rest, states = 0, 0, {}
    began = time.process_time()
    for image, value in enumerate(in_control, start=1):
        if detector.update(value):
            alarms += rest <= 0
            rest = REST_IMAGES if rest <= 0 else rest
            detector = deepcopy(commissioned)
        rest -= 1
        if image in snapshots:
            states[image] = deepcopy(detector)
    return alarms, states, 1e6 * (time.process_time() - began) / max(1, len(in_control))


def _delay(detector: Detector, levels: Sequence[float]) -> int | None:
    return next((image for image, value in enumerate(levels, start=1) if detector.update(value)), None)


def write(path: Path, cameras: Mapping[str, CameraLevels]) -> None:
    """Write levels for another process to `read`."""
    arrays = {f"{name}:{part}": value for name, one in cameras.items() for part, value in asdict(one).items()}
    np.savez(path, **arrays)


def read(path: Path) -> dict[str, CameraLevels]:
    """What `write` wrote."""
    with np.load(path) as file:
        found: dict[str, dict[str, Any]] = {}
        for key in file.files:
            name, _, part = key.rpartition(":")
            found.setdefault(name, {})[part] = file[key]
    return {name: CameraLevels(**{**parts, "allowed": int(parts["allowed"])}) for name, parts in found.items()}


def main(path: Path) -> None:
    """Print what river's detectors make of the levels in a file."""
    cameras = read(path)
    found = {
        name: {camera: asdict(contest(contender, levels)) for camera, levels in cameras.items()}
        for name, contender in OF_RIVER.items()
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
