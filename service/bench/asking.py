"""How many further judgements it takes to be right, by who says which to ask for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.consensus import aggregate
from labeling.queue import next_requests
from labeling.votes import Consensus, Floats, Ints, Votes
from simulation.panel import Panel, panel

IMAGES, INSPECTORS, BATCH, BUDGET = 100, 6, 10, 200
MIXES: dict[str, Floats] = {
    "even": np.array([0.5, 0.3, 0.2]),
    "rare": np.array([0.85, 0.1, 0.05]),
    "two classes": np.array([0.9, 0.1]),
}
STARTS = (1, 2)
"""Looks that every image has had before anything is asked for."""

Bools = npt.NDArray[np.bool_]
Policy = Callable[[Votes, Consensus, Bools, np.random.Generator], Ints]


def at_random(votes: Votes, consensus: Consensus, seen: Bools, rng: np.random.Generator) -> Ints:
    """Any image, any inspector who has not seen it."""
    return np.asarray(rng.permutation(np.argwhere(~seen))[:BATCH], np.int64)


def by_entropy(votes: Votes, consensus: Consensus, seen: Bools, rng: np.random.Generator) -> Ints:
    """The least certain images, any inspector who has not seen them."""
    said = consensus.probability
    entropy = np.where(seen.all(axis=1), -1.0, -(said * np.log(np.maximum(said, 1e-12))).sum(axis=1))
    items = np.argsort(-entropy, kind="stable")[:BATCH]
    pairs = [(item, rng.choice(np.flatnonzero(~seen[item]))) for item in items if not seen[item].all()]
    return np.array(pairs, np.int64).reshape(-1, 2)


def by_gain(votes: Votes, consensus: Consensus, seen: Bools, rng: np.random.Generator) -> Ints:
    """What the queue asks for."""
    return next_requests(votes, consensus, BATCH, inspector_count=seen.shape[1])


POLICIES: dict[str, Policy] = {"random": at_random, "entropy": by_entropy, "queue": by_gain}


def measure(seeds: range, report: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """By mix and start: accuracy after every batch, and how many judgements make a policy as good as random."""
    found, done = [], 0
    cells = [(name, start) for name in MIXES for start in STARTS]
    for name, start in cells:
        curves: dict[str, list[Floats]] = {policy: [] for policy in POLICIES}
        for seed in seeds:
            drawn = panel(np.random.default_rng([seed]), IMAGES, INSPECTORS, MIXES[name])
            for policy in POLICIES:
                curves[policy].append(_curve(drawn, POLICIES[policy], start, np.random.default_rng([seed, start])))
            done += 1
            report(done, len(cells) * len(seeds))
        mean = {policy: np.mean(curve, axis=0) for policy, curve in curves.items()}
        found.append(
            {
                "mix": name,
                "start": start,
                "accuracy": {policy: curve.round(4).tolist() for policy, curve in mean.items()},
                "needed": {policy: _needed(curve, mean["random"]) for policy, curve in mean.items()},
            }
        )
    return found


def _curve(drawn: Panel, policy: Policy, start: int, rng: np.random.Generator) -> Floats:
    """Accuracy before the first batch and after each."""
    seen = np.zeros((IMAGES, INSPECTORS), np.bool_)
    for row in seen:
        row[rng.choice(INSPECTORS, start, replace=False)] = True
    right = []
    for _ in range(BUDGET // BATCH + 1):
        item, inspector = np.argwhere(seen).T
        votes = Votes(item, inspector, drawn.answer[item, inspector], np.zeros(len(item), np.int64))
        consensus = aggregate(votes, drawn.class_count)
        right.append(float((consensus.label == drawn.truth).mean()))
        chosen = policy(votes, consensus, seen, rng)
        seen[chosen[:, 0], chosen[:, 1]] = True
    return np.array(right)


def _needed(curve: Floats, random: Floats) -> dict[str, int | None]:
    """Judgements until this curve first is as good as random asking after 100, 150 and 200 of them; None: never."""
    needed: dict[str, int | None] = {}
    for budget in (100, 150, 200):
        good = np.flatnonzero(curve >= random[budget // BATCH] - 1e-9)
        needed[str(budget)] = int(good[0]) * BATCH if len(good) else None
    return needed
