"""A panel of inspectors as numbers: images hard for everybody, inspectors of different skill, answers on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TIRED_AFTER: Final = 40
"""Answers after which a member who tires is tired."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What every inspector would answer about every image at first sight, and the truth."""

    truth: Ints
    """(n,) classes from 0; class 0 is good."""
    answer: Ints
    """(n, inspectors)"""
    class_count: int


@dataclass(frozen=True, slots=True)
class Member:
    """An inspector who differs from the others.

    skill: share of right answers about an image of usual difficulty, 0..1; tired_skill: the same after TIRED_AFTER
    answers, None for one who does not tire; cost: of an answer.
    """

    skill: float
    cost: float = 1.0
    tired_skill: float | None = None


ODD_TEAM: Final = (Member(0.95, 4.0), Member(0.65), Member(0.9, tired_skill=0.6))
"""A dear expert, a poor inspector, and one who tires."""
MIXED_TEAM: Final = (*ODD_TEAM, Member(0.85), Member(0.85), Member(0.85))
"""The same, with three ordinary inspectors."""


@dataclass(frozen=True, slots=True)
class MixedPanel:
    """As a Panel, of a team whose members differ."""

    truth: Ints
    """(n,)"""
    rested: Ints
    """(n, inspectors): what each answers first."""
    tired: Ints
    """(n, inspectors): and after TIRED_AFTER answers."""
    class_count: int

    def answer(self, item: int, inspector: int, answers_before: int) -> int:
        """What the inspector says of the image after so many answers about others."""
        said = self.rested if answers_before < TIRED_AFTER else self.tired
        return int(said[item, inspector])


def panel(rng: np.random.Generator, images: int, inspectors: int, mix: Floats, worst: float = 0.25) -> Panel:
    """Draw a panel: images of this mix of classes, inspectors who err on 3 % to `worst` of easy ones.

    A hard image (difficulty from a beta distribution) is hard for all, and looks to all of them like the same other
    class four times in five; so their errors go together, as on real parts.
    """
    classes = len(mix)
    truth = rng.choice(classes, images, p=mix)
    difficulty = rng.beta(1.2, 3.5, images)
    lookalike = (truth + rng.integers(1, classes, images)) % classes
    slip = rng.uniform(0.03, worst, inspectors)
    wrong = rng.random((images, inspectors)) < np.clip(slip + 0.6 * difficulty[:, None] ** 1.5, 0, 0.9)
    other = (truth[:, None] + rng.integers(1, classes, (images, inspectors))) % classes
    seen = np.where(rng.random((images, inspectors)) < 0.8, lookalike[:, None], other)
    return Panel(truth, np.where(wrong, seen, truth[:, None]).astype(np.int64), classes)


def mixed_panel(rng: np.random.Generator, images: int, team: Sequence[Member], mix: Floats) -> MixedPanel:
    """Draw a panel of this team: images of this mix of classes, hard ones hard for all.

    An image's difficulty is a standard normal number that is taken off the log odds of a right answer. Wrong answers
    go together as in `panel`.
    """
    classes, shape = len(mix), (images, len(team))
    truth = rng.choice(classes, images, p=mix)
    difficulty = rng.normal(0, 1, images)
    lookalike = (truth + rng.integers(1, classes, images)) % classes
    luck = rng.random(shape)
    other = (truth[:, None] + rng.integers(1, classes, shape)) % classes
    seen = np.where(rng.random(shape) < 0.8, lookalike[:, None], other)

    def said(skill: Sequence[float]) -> Ints:
        right = luck < expit(logit(np.asarray(skill)) - difficulty[:, None])
        return np.where(right, truth[:, None], seen).astype(np.int64)

    tired = [one.skill if one.tired_skill is None else one.tired_skill for one in team]
    return MixedPanel(truth, said([one.skill for one in team]), said(tired), classes)
