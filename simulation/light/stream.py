"""Streams of a camera's pictures, with or without something happening to them; the same ones every time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from simulation.light.cameras import CAMERAS
from simulation.light.changes import CHANGES, PART_CHANGES, Change, Conditions, Place
from simulation.light.stage import Pixels, Stage

RAMP_IMAGES = 200
"""Over so many images a change comes that comes slowly."""


class UnknownName(KeyError):
    """There is no camera or no change of this name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"unknown name {name!r}")
        self.remedy = f"use one of {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happens in a stream.

    name      of `CHANGES` or `PART_CHANGES`
    severity  0, 1 or 2: which of its amounts
    onset     the first image of the stream, counted from 0, that shows it
    slowly    whether it grows over `RAMP_IMAGES` images
    place     which of the places where it may happen

    Raises UnknownName.
    """

    name: str
    severity: int = 1
    onset: int = 0
    slowly: bool = False
    place: int = 0

    def __post_init__(self) -> None:
        if self.name not in CHANGES and self.name not in PART_CHANGES:
            raise UnknownName(self.name, (*CHANGES, *PART_CHANGES))

    @property
    def change(self) -> Change:
        """What happens."""
        return CHANGES[self.name] if self.name in CHANGES else PART_CHANGES[self.name]

    def amount(self, image: int) -> float:
        """How much of it the image of a stream shows."""
        if image < self.onset:
            return 0.0
        share = min(1.0, (image - self.onset + 1) / RAMP_IMAGES) if self.slowly else 1.0
        return share * self.change.amounts[self.severity]


@dataclass(frozen=True, slots=True)
class Stream:
    """So many pictures, uint8 (h, w, 3) RGB, of a camera, from image `start` of its life on.

    Light wanders by the number of the image, parts and noise by that and `key`: two streams of one key differ by what
    happens alone. Raises UnknownName.
    """

    camera: str
    start: int
    images: int
    key: int = 0
    happening: Happening | None = None
    _place: Place = field(init=False)

    def __post_init__(self) -> None:
        plan = stage(self.camera).plan
        seed = (41, _number(self.camera), self.happening.place if self.happening else 0)
        object.__setattr__(self, "_place", Place.draw(np.random.default_rng(seed), plan.height, plan.width))

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[Pixels]:
        return (self[image] for image in range(self.images))

    def __getitem__(self, image: int) -> Pixels:
        if not 0 <= image < self.images:
            raise IndexError(f"image {image} of {self.images}")
        now = Conditions()
        if self.happening is not None and (amount := self.happening.amount(image)) > 0:
            rng = np.random.default_rng([43, _number(self.camera), self.key, self.start + image])
            self.happening.change.effect(now, amount, self._place, rng)
        return stage(self.camera).picture(self.start + image, self.key, now)


@cache
def stage(camera: str) -> Stage:
    """The stage of a camera, built once. Raises UnknownName."""
    if camera not in CAMERAS:
        raise UnknownName(camera, tuple(CAMERAS))
    return Stage(CAMERAS[camera], _number(camera))


def _number(camera: str) -> int:
    return list(CAMERAS).index(camera)
