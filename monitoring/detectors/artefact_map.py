"""Map of moving averages, a cell each: dirt on the lens, a dead row, a stain on the lamp stay where they are."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.compiled import compiled
from monitoring.detectors.ranges import between, fitted, saved_settings, saved_sides, share, sides
from monitoring.detectors.tails import normal_limit, two_sided
from monitoring.saved import StateDamaged, floats, number

Floats = NDArray[np.float64]

# A third: three images in a row take no cell at rest to its limit, for a cell is small enough for a defect to fill it
# and the same defect may be on parts in a row. Nor does one wild image the cell whose noise is worst of a thousand.
_CAP = 1 / 3


class ArtefactMap:
    """EWMA chart of every cell of a map (h, w) of standardised values: 0 with unit deviation while nothing has changed.

    shape   rows and columns, h and w
    weight  share of the newest map, in (0, 1]
    width   limit: the worst cell passes it by chance as rarely as a normal value is this many deviations off; each
            cell's own limit, in `cell_width` deviations of its average, is wider (Bonferroni), which is right for
            independent cells and on the safe side for others

    A cell counts for at most what brings it, at rest, to a third of its limit, so neither one image nor three in a row
    alarm: `cap`. NaN marks a cell that is masked, whose average stays; infinity counts as the cap. `average` float64
    (h, w) is the map, and `worst` the row and column of its worst cell. Raises
    `monitoring.detectors.ranges.SettingOutOfRange`; `update` raises `monitoring.detectors.ranges.ShapeMismatch`.

    >>> chart = ArtefactMap((4, 4), weight=0.2, width=4.0)
    >>> dirty = np.zeros((4, 4))
    >>> dirty[1, 2] = -3.0
    >>> stream = [np.zeros((4, 4))] * 100 + [dirty] * 10
    >>> next(index for index, value in enumerate(stream) if chart.update(value) > 1)
    104
    >>> (chart.worst, np.argwhere(chart.hot).tolist())
    ((1, 2), [[1, 2]])
    """

    __slots__ = ("_at", "average", "cap", "cell_width", "limit", "shape", "weight", "width")

    def __init__(self, shape: tuple[int, int] = (32, 32), weight: float = 0.1, width: float = 5.0) -> None:
        self.shape = height, columns = sides(shape, 1)
        self.weight = share("weight", weight)
        self.width = between("width", width, 0, 30)
        self.cell_width = normal_limit(two_sided(width) / (2 * height * columns))
        self.limit = self.cell_width * (weight / (2 - weight)) ** 0.5
        self.cap = _CAP * self.limit / weight
        self.reset()

    def reset(self) -> None:
        """Forget every map."""
        self.average: Floats = np.zeros(self.shape)
        self._at = 0

    def update(self, value: NDArray[np.floating[Any]]) -> float:
        """Take one map (h, w) of standardised values, NaN where masked; return the worst cell's chart over limit."""
        worst, self._at = _step(fitted(value, self.shape), self.average, self.weight, self.cap)
        ratio: float = worst / self.limit
        return ratio

    @property
    def worst(self) -> tuple[int, int]:
        """Row and column of the cell that is worst."""
        return divmod(self._at, self.shape[1])

    @property
    def hot(self) -> NDArray[np.bool_]:
        """Cells beyond their limit, bool (h, w)."""
        hot: NDArray[np.bool_] = np.abs(self.average) > self.limit
        return hot

    def state(self) -> dict[str, Any]:
        """Settings and memory, JSON-serialisable."""
        return {
            "shape": list(self.shape),
            "weight": self.weight,
            "width": self.width,
            "average": self.average.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that `state` was taken from, exactly.

        Raises `monitoring.saved.StateDamaged` or, where something is missing or of another kind, KeyError or TypeError.
        """
        with saved_settings():
            height, columns = sides(saved_sides(state["shape"]), 1)
            average = floats("average", state["average"], height, columns)
            detector = cls((height, columns), number("weight", state["weight"]), number("width", state["width"]))
        if np.abs(average).max() > detector.cap * (1 + 1e-9):
            raise StateDamaged("averages that no maps lead to")
        detector.average = average
        detector._at = int(np.abs(average).argmax())
        return detector


@compiled()
def _step(value: Floats, average: Floats, weight: float, cap: float) -> tuple[float, int]:
    """Take a map into the averages; give the size and the place of the worst."""
    values, averages = value.ravel(), average.ravel()
    worst, at = 0.0, 0
    for cell in range(values.size):
        found = values[cell]
        if found == found:
            averages[cell] += weight * (min(max(found, -cap), cap) - averages[cell])
        size = abs(averages[cell])
        if size > worst:
            worst, at = size, cell
    return worst, at
