"""Teams whose disagreements have known causes, made in another way than they are told apart."""

from dataclasses import dataclass

import numpy as np

from labeling.votes import Floats, Ints, Votes

PLAIN, BETWEEN, VAGUE = range(3)


@dataclass(frozen=True, slots=True)
class Team:
    """What a team said of n images of classes 0 and 1, and what is so."""

    votes: Votes
    truth: Ints
    """(n,) the class."""
    cause: Ints
    """(n,) PLAIN: an image that all would call the same but for a slip; BETWEEN: one that the inspectors' borders go
    either side of; VAGUE: one of which every look is a toss."""


def team(
    rng: np.random.Generator,
    *,
    items: int = 400,
    inspectors: int = 3,
    looks: int = 3,
    again: float = 0.2,
    between: float = 0.1,
    vague: float = 0.1,
    slip: Floats | float = 0.04,
    border_noise: float = 0.01,
) -> Team:
    """`looks` inspectors judge each image, and each of them again with probability `again`.

    Inspectors' borders are spread evenly over 0.4..0.6 on a scale where plain images lie in 0..0.3 and 0.7..1.
    """
    cause = rng.choice(3, size=items, p=[1 - between - vague, between, vague])
    truth = rng.integers(0, 2, items)
    place = np.where(truth == 1, rng.uniform(0.7, 1.0, items), rng.uniform(0.0, 0.3, items))
    place = np.where(cause == BETWEEN, rng.uniform(0.4, 0.6, items), place)
    border = rng.permutation(np.linspace(0.4, 0.6, inspectors))
    slips = np.broadcast_to(slip, (inspectors,))
    rows = []
    for item in range(items):
        for who in rng.permutation(inspectors)[:looks]:
            for occasion in range(1 + int(rng.random() < again)):
                if cause[item] == VAGUE:
                    said = rng.random() < 0.5
                else:
                    said = place[item] + border_noise * rng.logistic() > border[who]
                    said ^= rng.random() < slips[who]
                rows.append((item, who, int(said), occasion))
    item, who, said, occasion = np.array(rows, np.int64).T
    return Team(Votes(item, who, said, occasion), truth, cause)


def auroc(score: Floats, positive: np.ndarray) -> float:
    """How often a positive is ranked above a negative; ties count a half."""
    high, low = score[positive][:, None], score[~positive][None, :]
    return float((high > low).mean() + 0.5 * (high == low).mean())


def shift_work(
    rng: np.random.Generator,
    *,
    items: int = 300,
    inspectors: int = 4,
    looks: int = 4,
    error: float = 0.04,
    hard: float = 0.15,
    hard_error: float = 0.25,
    drifting: int | None = None,
    since: float = 0.6,
    to: float = 0.2,
) -> tuple[Votes, Ints]:
    """Independent judgements of images 0..n-1 in that order, and (n,) their true classes of 0 and 1.

    Of hard images, which come in a bunch towards the end as re-asked ones do, everybody is wrong more often. Inspector
    `drifting` is wrong with probability `to` at least, from the share `since` of the images on.
    """
    truth = (rng.random(items) < 0.3).astype(np.int64)
    is_hard = rng.random(items) < np.linspace(0, 2 * hard, items)
    item = np.repeat(np.arange(items), looks)
    inspector = np.concatenate([rng.permutation(inspectors)[:looks] for _ in range(items)])
    wrong = np.where(is_hard[item], hard_error, error)
    if drifting is not None:
        wrong = np.where((inspector == drifting) & (item >= since * items), np.maximum(wrong, to), wrong)
    label = truth[item] ^ (rng.random(len(item)) < wrong)
    return Votes(item, inspector, label, 0 * item, time=item + 0.01 * inspector), truth
