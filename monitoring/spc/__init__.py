"""Control charts for the rejects in subgroups of parts, from numbers alone.

CHARTS holds the charts; each takes `rejects` and `parts` (m,), `centre` and `baseline`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from monitoring.spc.chart import ENOUGH_SUBGROUPS, ControlChart
from monitoring.spc.counts import CONFIDENCE, WrongCounts, wilson
from monitoring.spc.dispersion import Dispersion, dispersion
from monitoring.spc.ewma import EWMA_RULES, WEIGHT, WEIGHT_LEAST, ewma_chart
from monitoring.spc.run_rules import NELSON, RULE_SETS, WESTERN_ELECTRIC
from monitoring.spc.shares import SIGMAS, laney_chart, np_chart, p_chart

RULES: Final = RULE_SETS[WESTERN_ELECTRIC]
"""The run rules of Western Electric: name -> what it says. A rule is told at the point that completes its pattern."""

CHARTS: Final[Mapping[str, Callable[..., ControlChart]]] = MappingProxyType(
    {"p": p_chart, "np": np_chart, "laney": laney_chart, "ewma": ewma_chart}
)

__all__ = [
    "CHARTS",
    "CONFIDENCE",
    "ENOUGH_SUBGROUPS",
    "EWMA_RULES",
    "NELSON",
    "RULES",
    "RULE_SETS",
    "SIGMAS",
    "WEIGHT",
    "WEIGHT_LEAST",
    "WESTERN_ELECTRIC",
    "ControlChart",
    "Dispersion",
    "WrongCounts",
    "dispersion",
    "ewma_chart",
    "laney_chart",
    "np_chart",
    "p_chart",
    "wilson",
]
