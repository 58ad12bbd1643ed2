"""An alarm, and what the images that follow it say about its cause."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.charts import Charts
from monitoring.diagnosis import Change, Diagnosis, diagnose, may_have_moved
from monitoring.features import Floats
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, count, number, packed, unpacked

EVIDENCE_IMAGES: Final = 12
"""Images after which a diagnosis is final."""

_REGISTERED: Final = (1, EVIDENCE_IMAGES // 2, EVIDENCE_IMAGES)
"""The images of an alarm at which to find out how far the camera moved: that takes a while."""

_GLITCH_IMAGES: Final = 4
"""An alarm that a single odd image raised is over after so many: in a longer one, one that differs is a part's."""


@dataclass(slots=True, eq=False)
class Alarm:
    """A decision that light or optics changed.

    onset      index of the image the change is dated to; the first image ever updated is 0
    at_image   index of the image that raised the alarm
    chart      name of the chart that raised it, as `monitoring.features.Layout.charts`
    ratio      that chart over its limit, above 1
    diagnosis  why, as far as the images since the onset tell: it is replaced while there are more of them
    """

    onset: int
    at_image: int
    chart: str
    ratio: float
    diagnosis: Diagnosis

    @property
    def cause(self) -> str:
        """One of `monitoring.diagnosis.CAUSES`."""
        return self.diagnosis.cause

    @property
    def heat_map(self) -> NDArray[np.float32]:
        """float32 (28, 28), change of the log luminance of each cell: -0.1 is about 10 % darker."""
        return self.diagnosis.heat_map

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact."""
        return {
            "onset": self.onset,
            "at_image": self.at_image,
            "chart": self.chart,
            "ratio": self.ratio,
            "diagnosis": self.diagnosis.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The alarm that `state` was taken from, exactly. Raises `monitoring.saved.StateDamaged`."""
        onset, at_image = count("onset", state["onset"]), count("at_image", state["at_image"])
        diagnosis = Diagnosis.from_state(state["diagnosis"])
        return cls(onset, at_image, str(state["chart"]), number("ratio", state["ratio"]), diagnosis)


class Evidence:
    """What the images of an alarm say together, against how the camera saw before."""

    def __init__(self, charts: Charts, chart: str) -> None:
        self._layout = charts.layout
        lasting = chart.endswith(".band")
        self._reference = charts.baseline.centre if lasting else charts.local
        self._band = charts.baseline.band if lasting else np.zeros(self._layout.size)
        self._spread = charts.baseline.spread
        self._chart = chart
        self._sum = np.zeros(self._layout.size)
        self._first_cell = len(self._layout.features)
        self._lowest = np.full(self._layout.size - self._first_cell, np.inf)
        self._highest = -self._lowest
        self.last = np.zeros(self._layout.size)
        """The shift of the last image, float64 (n,)."""
        self._levels: list[float] = []
        self._motion: Motion | None = None

    @property
    def is_complete(self) -> bool:
        """Whether more images would not change the diagnosis."""
        return len(self._levels) >= EVIDENCE_IMAGES

    @property
    def wants_motion(self) -> bool:
        """Whether it would help to know how far the camera moved in the last image taken."""
        return len(self._levels) in _REGISTERED and may_have_moved(self._change)

    def take(self, measurement: Floats) -> Diagnosis:
        """Take one more image of the alarm; give the diagnosis of all of them."""
        self.see(measurement)
        self._sum += self.last
        cells = self.last[self._first_cell :]
        self._lowest, self._highest = np.minimum(self._lowest, cells), np.maximum(self._highest, cells)
        self._levels.append(float(self.last[0]))
        return diagnose(self._change)

    def see(self, measurement: Floats) -> None:
        """Take one more image for where the light is now alone."""
        self.last = measurement - self._reference

    def take_motion(self, motion: Motion | None) -> Diagnosis:
        """Take how far the camera moved, None where it did not; give the diagnosis of all that is known."""
        self._motion = motion
        return diagnose(self._change)

    @property
    def _change(self) -> Change:
        images = len(self._levels)
        shift = self._sum / images
        if images > _GLITCH_IMAGES:
            # A defective part darkens a few cells in one image, which would be a spot in their mean.
            extremes = self._lowest + self._highest
            shift[self._first_cell :] = (self._sum[self._first_cell :] - extremes) / (images - 2)
        return Change(self._layout, shift, self._spread, self._band, tuple(self._levels), self._chart, self._motion)

    def copy(self) -> Self:
        """This evidence as it is now, which goes its own way from here on."""
        twin = copy(self)
        # The extremes are replaced, never changed.
        twin._sum, twin._levels = self._sum.copy(), list(self._levels)
        return twin

    def state(self) -> dict[str, Any]:
        """JSON-serialisable, exact; `charts` are saved by who has them."""
        return {
            "chart": self._chart,
            "reference": packed(self._reference),
            "sum": packed(self._sum),
            "lowest": packed(self._lowest),
            "highest": packed(self._highest),
            "last": packed(self.last),
            "levels": list(self._levels),
            "motion": self._motion and self._motion.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], charts: Charts) -> Self:
        """The evidence that `state` was taken from, over these charts. Raises `monitoring.saved.StateDamaged`."""
        evidence = cls(charts, str(state["chart"]))
        size = charts.layout.size
        evidence._reference = unpacked("reference", state["reference"], np.float64, size)
        evidence._sum = unpacked("sum", state["sum"], np.float64, size)
        cells = size - evidence._first_cell
        evidence._lowest = unpacked("lowest", state["lowest"], np.float64, cells)
        evidence._highest = unpacked("highest", state["highest"], np.float64, cells)
        evidence.last = unpacked("last", state["last"], np.float64, size)
        evidence._levels = [number("levels", level) for level in state["levels"]]
        if not evidence._levels:
            raise StateDamaged("an alarm that no image is evidence of")
        evidence._motion = Motion.from_state(state["motion"]) if state["motion"] else None
        return evidence
