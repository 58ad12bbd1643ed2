"""What takes an optics monitor too long to do between two images, so that somebody else may do it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.registration import Motion, register
from monitoring.scene import Scene

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class LearnScene:
    """To learn what keeps still in images; takes a quarter of a second."""

    images: tuple[Pixels, ...]

    def do(self) -> Scene | None:
        """The scene, None where too little keeps still."""
        return Scene.learn(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class FindMotion:
    """To find out how far a camera moved; takes some ten milliseconds."""

    scene: Scene
    overview: Pixels

    def do(self) -> Motion | None:
        """The motion, None where none explains the picture."""
        return register(self.scene, self.overview)


Chore = LearnScene | FindMotion
