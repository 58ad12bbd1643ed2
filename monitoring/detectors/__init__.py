"""Change detectors; a new one is a file here and a line in `DETECTORS`."""

from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any, Final, Protocol, Self, TypeVar

import numpy as np

from monitoring.detectors.artefact_map import ArtefactMap
from monitoring.detectors.bernoulli_cusum import BernoulliCusum
from monitoring.detectors.cusum import Cusum
from monitoring.detectors.dispersion import Dispersion
from monitoring.detectors.ewma import Ewma
from monitoring.detectors.hotelling import Hotelling
from monitoring.detectors.light_map import LightMap
from monitoring.detectors.page_hinkley import PageHinkley
from monitoring.detectors.score_drift import ScoreDrift

Value = TypeVar("Value", contravariant=True)


class Detector(Protocol[Value]):
    """A chart of a stream of values, numbers or arrays.

    Where its own words do not say otherwise, every number is 0 with unit deviation while nothing has changed. A value
    that is not finite never spoils what it remembers, and no single value brings a chart at rest to alarm.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what `update` takes: () a number, else float64 of this shape."""
        ...

    def update(self, value: Value) -> float:
        """Take the next value; return chart over limit, at least 0, 1.0 = at the limit."""
        ...

    def reset(self) -> None:
        """Forget every value and keep the settings, and what was learnt before the first one."""
        ...

    def state(self) -> dict[str, Any]:
        """Settings and memory, JSON-serialisable."""
        ...

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        ...


def _hotelling() -> Hotelling:
    """Eight features that are independent and standard normal, as 500 samples show them."""
    return Hotelling.fit(np.random.default_rng(0).standard_normal((500, 8)))


def _score_drift() -> ScoreDrift:
    """A standard normal score."""
    normal = NormalDist()
    return ScoreDrift.fit([normal.inv_cdf((index + 0.5) / 1000) for index in range(1000)])


DETECTORS: Final[Mapping[str, Callable[[], Detector[Any]]]] = {
    "artefact_map": ArtefactMap,
    "bernoulli_cusum": BernoulliCusum,
    "cusum": Cusum,
    "dispersion": Dispersion,
    "ewma": Ewma,
    "hotelling": _hotelling,
    "light_map": LightMap,
    "page_hinkley": PageHinkley,
    "score_drift": _score_drift,
}
