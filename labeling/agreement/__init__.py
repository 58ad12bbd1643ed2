"""How far inspectors agree: with themselves, with what is known of the parts, and with each other."""

from labeling.agreement.attribute_study import study
from labeling.agreement.bands import ACCEPTABLE, BANDS, MARGINAL, UNACCEPTABLE, band, worst_band
from labeling.agreement.coefficients import (
    Coefficients,
    coefficients,
    fleiss_kappa,
    gwet_ac,
    is_paradox,
    krippendorff_alpha,
    pabak,
    pair_agreement,
    paired,
)
from labeling.agreement.decisions import GOOD, NOT_GOOD, UNDECIDED, decisions
from labeling.agreement.kappa import Coefficient, cohen_kappa
from labeling.agreement.results import (
    CLASSES,
    DECIDED,
    GIVEN,
    OTHERS,
    AgreementStudy,
    InspectorAgreement,
    PairAgreement,
)
from labeling.agreement.shares import Share, share
from labeling.agreement.weights import METRICS, WEIGHTS

__all__ = [
    "ACCEPTABLE",
    "BANDS",
    "CLASSES",
    "DECIDED",
    "GIVEN",
    "GOOD",
    "MARGINAL",
    "METRICS",
    "NOT_GOOD",
    "OTHERS",
    "UNACCEPTABLE",
    "UNDECIDED",
    "WEIGHTS",
    "AgreementStudy",
    "Coefficient",
    "Coefficients",
    "InspectorAgreement",
    "PairAgreement",
    "Share",
    "band",
    "coefficients",
    "cohen_kappa",
    "decisions",
    "fleiss_kappa",
    "gwet_ac",
    "is_paradox",
    "krippendorff_alpha",
    "pabak",
    "pair_agreement",
    "paired",
    "share",
    "study",
    "worst_band",
]
