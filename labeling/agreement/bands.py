"""What AIAG calls acceptable, marginal and unacceptable (MSA, 4th edition 2010, chapter III C)."""

from labeling.agreement.shares import Share

ACCEPTABLE, MARGINAL, UNACCEPTABLE = "acceptable", "marginal", "unacceptable"
BANDS = {"effectiveness": (0.90, 0.80), "miss": (0.02, 0.05), "false_alarm": (0.05, 0.10), "kappa": (0.75, 0.40)}
"""The limits of acceptable and marginal, by figure; the higher the better for the first and the last."""


def band(figure: str, value: float) -> str:
    """What AIAG calls a value of a figure in BANDS.

    >>> band("effectiveness", 0.84), band("miss", 0.0625), band("false_alarm", 0.049), band("kappa", 0.75)
    ('marginal', 'unacceptable', 'acceptable', 'acceptable')
    """
    acceptable, marginal = BANDS[figure]
    sign = 1.0 if acceptable > marginal else -1.0
    # 45 of 50 parts are 90 %, whatever the last bit of the division says.
    distance = sign * value + 1e-9
    if distance >= sign * acceptable:
        return ACCEPTABLE
    return MARGINAL if distance >= sign * marginal else UNACCEPTABLE


def worst_band(figure: str, found: Share) -> str:
    """The band of the interval's worse end: what the parts that were judged do not rule out."""
    acceptable, marginal = BANDS[figure]
    return band(figure, found.low if acceptable > marginal else found.high)
