"""What an attribute study comes to."""

from dataclasses import dataclass

from labeling.agreement.coefficients import Coefficients, is_paradox
from labeling.agreement.kappa import Coefficient
from labeling.agreement.shares import Share

GIVEN, OTHERS = "given", "others"
"""Whose word the reference is."""
DECIDED, CLASSES = "decisions", "classes"
"""What is compared: good or not, or which class."""


@dataclass(frozen=True, slots=True)
class InspectorAgreement:
    """One inspector's figures; None where no part can tell."""

    inspector: int
    looks: int
    parts: int
    unreferenced: int
    """Parts with looks that have no reference, and are left out of whatever compares with it."""
    repeatability: Share | None
    """Parts judged the same every time, of those looked at more than once."""
    effectiveness: Share | None
    """Parts judged as they are, every time."""
    miss: Share | None
    """Looks that pass a part which is not good."""
    false_alarm: Share | None
    """Looks that do not pass a good part."""
    mixed: Share | None
    """Parts with a reference that were judged right at one look and wrong at another, of those looked at repeatedly."""
    undecided: Share | None
    """Looks that decide nothing."""
    bias: Coefficient | None
    """How much larger the share of looks that do not pass is than the share of parts that should not: above 0 the
    inspector is stricter than the reference, below 0 more lenient."""
    within: Coefficients
    """Between the looks of this inspector at the same item."""
    agreement: Share | None
    """Looks that say what the reference says."""
    kappa: Coefficient | None
    """Cohen's, with the reference."""
    fleiss: Coefficient | None
    """Fleiss' (Scott's pi), with the reference, over all looks."""
    ac: Coefficient | None
    pabak: Coefficient | None
    confusion: tuple[tuple[int, ...], ...] | None
    """Looks by what the reference says (row) and what the inspector says (column)."""

    @property
    def is_paradox(self) -> bool:
        """Whether looks agree with the reference and kappa does not say so."""
        return is_paradox(self.agreement, self.kappa, self.ac)


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two inspectors, first < second, on the looks that both took at the same item on the same occasion."""

    first: int
    second: int
    agreement: Share | None
    kappa: Coefficient | None
    ac: Coefficient | None
    pabak: Coefficient | None
    alpha: Coefficient | None
    """Krippendorff's."""
    bias: Coefficient | None
    """How much larger the share of looks is that the first does not pass."""

    @property
    def is_paradox(self) -> bool:
        """Whether the two agree and kappa does not say so."""
        return is_paradox(self.agreement, self.kappa, self.ac)


@dataclass(frozen=True, slots=True)
class AgreementStudy:
    """A study's figures; None where no part can tell."""

    level: str
    """DECIDED or CLASSES."""
    reference: str
    """GIVEN or OTHERS."""
    inspectors: tuple[InspectorAgreement, ...]
    pairs: tuple[PairAgreement, ...]
    between: Share | None
    """Parts on which every look of every inspector says the same, of those that all of them judged."""
    effectiveness: Share | None
    """Parts that all inspectors judge as they are, every time, of those that all of them judged and that have a given
    reference."""
    together: Coefficients
    """Over all looks of all inspectors, an inspector's repeats among them."""
    by_class: "AgreementStudy | None"
    """The same on the level of classes, where this one is on the level of decisions."""

    @property
    def fleiss(self) -> float | None:
        """Fleiss' kappa over all looks of all inspectors."""
        return None if self.together.fleiss is None else self.together.fleiss.value
