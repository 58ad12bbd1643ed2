"""Change detectors over one standardised number; a new one is a file here and a line in `DETECTORS`."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, Self

from monitoring.detectors.cusum import Cusum
from monitoring.detectors.ewma import Ewma


class Detector(Protocol):
    """A chart of a stream that is 0 with unit deviation while nothing has changed."""

    def update(self, value: float) -> float:
        """Take the next value; return chart over limit, at least 0, 1.0 = at the limit."""
        ...

    def reset(self) -> None:
        """Forget every value and keep the settings."""
        ...

    def state(self) -> dict[str, float]:
        """Settings and memory, JSON-serialisable."""
        ...

    @classmethod
    def from_state(cls, state: Mapping[str, float]) -> Self:
        """The detector that `state` was taken from, exactly."""
        ...


DETECTORS: Final[Mapping[str, Callable[[], Detector]]] = {"cusum": Cusum, "ewma": Ewma}
