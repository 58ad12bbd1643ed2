"""Simulated human inspectors: they overlook small defects, confuse classes, tire, and contradict themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from simulation.parts import OK

_HARD_SIZE = 0.3  # a defect of this size is seen by half of the glances of someone who misses small ones
_HARD_SPREAD = 0.05
_TIRED_SIZE = 0.6
_TIRED_MISS = 0.85
_MEDIAN_SECONDS = 3.5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an inspector said of one part: a class, whether they were unsure, and how many seconds it took."""

    label: str
    unsure: bool
    seconds: float


def _hardness(size: float, half_at: float) -> float:
    """How hard a defect is to see, 0..1, the same for every inspector; one half at size `half_at`."""
    return float(1 / (1 + np.exp((size - half_at) / _HARD_SPREAD)))


@dataclass(frozen=True, slots=True)
class Inspector:
    """One person at the inspection table.

    skill: 0..1, share of the parts they look at for which the class they saw is the class they write down;
    miss_small: 0..1, chance to overlook a defect that is barely visible; confusions: true class -> other class ->
    weight, what they write instead; drift_after: hour of the day, on the clock of the judgement's own time zone, from
    which they also let clearly visible small defects pass, None for never.
    """

    name: str
    skill: float
    miss_small: float
    confusions: Mapping[str, Mapping[str, float]]
    drift_after: float | None = None

    def miss_probability(self, size: float, at: datetime) -> float:
        """Chance that this inspector overlooks a defect of `size` (0..1) at this time of day.

        >>> from datetime import UTC
        >>> tired = Inspector("chen", skill=0.95, miss_small=0.6, confusions={}, drift_after=13)
        >>> [round(tired.miss_probability(0.3, datetime(2026, 5, 4, hour, tzinfo=UTC)), 2) for hour in (9, 15)]
        [0.3, 0.85]
        """
        miss = self.miss_small * _hardness(size, _HARD_SIZE)
        if self.drift_after is not None and at.hour + at.minute / 60 >= self.drift_after:
            miss = max(miss, _TIRED_MISS * _hardness(size, _TIRED_SIZE))
        return miss

    def judge(self, rng: np.random.Generator, truth: str, size: float, at: datetime) -> Judgement:
        """Judge a part of true class `truth` with a defect of `size` (0..1; ignored for good parts) at time `at`.

        Every call is a fresh look: the same part shown twice may get two answers.
        """
        seen = truth
        if truth != OK and rng.random() < self.miss_probability(size, at):
            seen = OK
        label = seen
        others = self.confusions.get(seen, {})
        if others and rng.random() >= self.skill:
            weight = np.array(list(others.values()), dtype=float)
            label = str(rng.choice(list(others), p=weight / weight.sum()))
        doubt = 0.03 + (0.30 if label != seen else 0.0)
        if truth != OK:
            hardness = _hardness(size, _HARD_SIZE)
            # doubt is greatest where half of the glances would show it
            doubt += 1.2 * hardness * (1 - hardness)
        unsure = bool(rng.random() < doubt)
        seconds = float(_MEDIAN_SECONDS * (1.8 if unsure else 1.0) * np.exp(rng.normal(0, 0.35)))
        return Judgement(label=label, unsure=unsure, seconds=seconds)


def standard_team() -> tuple[Inspector, Inspector, Inspector]:
    """Three inspectors: a careful one, an average one, and one who lets small defects pass after 13:00."""
    return (
        Inspector(
            name="anna",
            skill=0.98,
            miss_small=0.45,
            confusions={
                "ok": {"contamination": 1, "scratch": 1},
                "scratch": {"dent": 1},
                "dent": {"scratch": 1, "contamination": 1},
                "contamination": {"dent": 1},
                "short_shot": {"dent": 1},
            },
        ),
        Inspector(
            name="bela",
            skill=0.94,
            miss_small=0.65,
            confusions={
                "ok": {"contamination": 2, "dent": 1},
                "scratch": {"contamination": 2, "dent": 1},
                "dent": {"contamination": 2, "scratch": 1},
                "contamination": {"dent": 2, "scratch": 1},
                "short_shot": {"dent": 1},
            },
        ),
        Inspector(
            name="chen",
            skill=0.96,
            miss_small=0.55,
            confusions={
                "ok": {"scratch": 1},
                "scratch": {"contamination": 1},
                "dent": {"scratch": 1},
                "contamination": {"scratch": 1, "dent": 1},
                "short_shot": {"dent": 1},
            },
            drift_after=13.0,
        ),
    )
