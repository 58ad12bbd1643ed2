"""Shares and coefficients of a study as programs and as people read them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from labeling.agreement import BANDS, Coefficient, Share, band, worst_band


def as_json(figure: Share | Coefficient | None) -> dict[str, Any] | None:
    """`value, low, high, n`, of a share `hits` too."""
    return None if figure is None else asdict(figure)


def rated(name: str, share: Share | None) -> dict[str, Any] | None:
    """The same with `band` and `worst_band`, where AIAG has bands for the figure of this name."""
    if share is None or name not in BANDS:
        return as_json(share)
    return {**asdict(share), "band": band(name, share.value), "worst_band": worst_band(name, share)}


def share_text(share: dict[str, Any] | None) -> str:
    """A share with its interval, how many parts it rests on, and its band.

    >>> share_text({"value": 0.84, "low": 0.709, "high": 0.928, "n": 50, "band": "marginal", "worst_band": "marginal"})
    '84.0 % (70.9–92.8) of 50 parts, marginal'
    """
    if share is None:
        return "–"
    text = f"{100 * share['value']:.1f} % ({100 * share['low']:.1f}–{100 * share['high']:.1f}) of {share['n']} parts"
    if "band" not in share:
        return text
    worse = "" if share["worst_band"] == share["band"] else f", at worst {share['worst_band']}"
    return f"{text}, {share['band']}{worse}"


def kappa_text(kappa: dict[str, Any] | None) -> str:
    """A kappa with its interval.

    >>> kappa_text({"value": 0.8629, "low": 0.7763, "high": 0.9496, "n": 50})
    '0.863 (0.776–0.950)'
    """
    if kappa is None:
        return "–"
    to = "–" if kappa["low"] >= 0 else " to "  # after a minus a dash would read as another
    return f"{kappa['value']:.3f} ({kappa['low']:.3f}{to}{kappa['high']:.3f})"


def said_text(labels: Sequence[str]) -> str:
    """What somebody said of an item, look by look.

    >>> said_text(["No", "No", "No"]), said_text(["No", "Yes"]), said_text(["No"])
    ('No, every time', 'No, Yes', 'No')
    """
    return f"{labels[0]}, every time" if len(labels) > 1 and len(set(labels)) == 1 else ", ".join(labels)
