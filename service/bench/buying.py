"""How right labels get for the money, where inspectors differ in skill and in cost, by who says whom to ask."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from labeling.consensus import aggregate
from labeling.queue import next_requests
from labeling.votes import Consensus, Floats, Ints, Votes
from service.bench.asking import BATCH, IMAGES, MIXES, STARTS, Bools, at_random, by_entropy
from simulation.panel import MIXED_TEAM, ODD_TEAM, Member, MixedPanel, mixed_panel

TEAMS: dict[str, tuple[Sequence[Member], int]] = {"six": (MIXED_TEAM, 300), "three": (ODD_TEAM, 200)}
"""Inspectors, and the money there is for further judgements."""
EVERY = 10
"""Accuracy is read off whenever so much money is spent."""
CONTROLS = (0, 20)
"""Further images with a known answer that every inspector has judged."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured on every seed."""

    team: str
    controls: int
    mix: str
    start: int
    """Looks that every image has had before anything is asked for."""


CELLS = tuple(
    Cell(team, controls, mix, start) for team in TEAMS for controls in CONTROLS for mix in MIXES for start in STARTS
)

Policy = Callable[[Votes, Consensus, Bools, np.random.Generator], Ints]


def by_entropy_cheapest(
    cost: Floats, votes: Votes, consensus: Consensus, seen: Bools, rng: np.random.Generator
) -> Ints:
    """The least certain images, one of the cheapest inspectors who have not seen them."""
    items = by_entropy(votes, consensus, seen, rng)[:, 0]
    dear = np.where(seen[items], np.inf, cost)
    cheapest = dear == dear.min(axis=1, keepdims=True)
    return np.array([(item, rng.choice(np.flatnonzero(row))) for item, row in zip(items, cheapest, strict=True)])


def by_gain(cost: Floats, votes: Votes, consensus: Consensus, seen: Bools, rng: np.random.Generator) -> Ints:
    """What the queue asks for."""
    return next_requests(votes, consensus, BATCH, inspector_count=len(cost), cost=cost)


def policies(cost: Floats) -> dict[str, Policy]:
    """The ways to ask, for inspectors of this cost (inspectors,)."""
    return {
        "random": at_random,
        "entropy": by_entropy,
        "entropy, cheapest": partial(by_entropy_cheapest, cost),
        "queue": partial(by_gain, cost),
    }


def measure(seeds: range, report: Callable[[int, int], None], cells: Sequence[Cell] = CELLS) -> list[dict[str, Any]]:
    """By cell: accuracy for every EVERY of money, its mean, and by how much that is above asking by entropy.

    Accuracy is that of the images without a known answer; `above_entropy` has one figure a seed.
    """
    found = []
    for place, cell in enumerate(cells):
        curves: dict[str, list[Floats]] = {}
        for done, seed in enumerate(seeds, start=1 + place * len(seeds)):
            for name, curve in _curves(cell, seed).items():
                curves.setdefault(name, []).append(curve)
            report(done, len(cells) * len(seeds))
        found.append(
            {
                **asdict(cell),
                "accuracy": {name: np.mean(curve, axis=0).round(4).tolist() for name, curve in curves.items()},
                "mean": {name: float(np.mean(curve)) for name, curve in curves.items()},
                "above_entropy": {
                    name: (np.mean(curve, axis=1) - np.mean(curves["entropy"], axis=1)).round(6).tolist()
                    for name, curve in curves.items()
                },
            }
        )
    return found


def overall(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By team, number of known answers and way to ask: mean accuracy, how much above entropy, its standard error.

    Mixes and starts are averaged seed by seed, for panels of one seed are alike.
    """
    rows = []
    for team, controls in dict.fromkeys((cell["team"], cell["controls"]) for cell in found):
        cells = [cell for cell in found if (cell["team"], cell["controls"]) == (team, controls)]
        for name in cells[0]["mean"]:
            above = np.mean([cell["above_entropy"][name] for cell in cells], axis=0)
            rows.append(
                {
                    "team": team,
                    "controls": controls,
                    "policy": name,
                    "mean": float(np.mean([cell["mean"][name] for cell in cells])),
                    "above_entropy": float(above.mean()),
                    "error": float(above.std(ddof=1) / np.sqrt(len(above))),
                }
            )
    return rows


def _curves(cell: Cell, seed: int) -> dict[str, Floats]:
    """Every policy's curve on the panel of this seed."""
    team, money = TEAMS[cell.team]
    cost = np.array([one.cost for one in team])
    drawn = mixed_panel(np.random.default_rng([seed]), IMAGES + cell.controls, team, MIXES[cell.mix])
    return {
        name: _curve(drawn, policy, cost, money, cell, np.random.default_rng([seed, cell.start]))
        for name, policy in policies(cost).items()
    }


def _curve(drawn: MixedPanel, policy: Policy, cost: Floats, money: int, cell: Cell, rng: np.random.Generator) -> Floats:
    """Accuracy of the images without a known answer, for 0, EVERY, … of money spent."""
    items, inspectors = drawn.rested.shape
    seen, said = np.zeros((items, inspectors), np.bool_), np.zeros((items, inspectors), np.int64)
    known = np.where(np.arange(items) < cell.controls, drawn.truth, -1)

    def ask(item: int, inspector: int) -> None:
        said[item, inspector] = drawn.answer(item, inspector, int(seen[:, inspector].sum()))
        seen[item, inspector] = True

    for one in range(cell.controls):
        for who in range(inspectors):
            ask(one, who)
    for one in rng.permutation(np.arange(cell.controls, items)):
        for who in rng.choice(inspectors, cell.start, replace=False):
            ask(one, who)
    budgets = np.arange(0, money + 1, EVERY)
    right, spent, is_asking = np.zeros(len(budgets)), 0.0, True
    while is_asking:
        item, inspector = np.argwhere(seen).T
        votes = Votes(item, inspector, said[item, inspector], np.zeros(len(item), np.int64))
        consensus = aggregate(votes, drawn.class_count, known=known if cell.controls else None)
        right[budgets >= spent] = (consensus.label == drawn.truth)[cell.controls :].mean()
        is_asking = False
        for one, who in policy(votes, consensus, seen.copy(), rng):
            if spent + cost[who] <= money:
                ask(one, who)
                spent, is_asking = spent + cost[who], True
    return right
