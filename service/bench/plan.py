"""How much is measured: in full, or in about a minute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run; times in seconds.

    pairs: turns of each contender. seconds: of a closed-loop turn. open_rounds, open_seconds: likewise for arrivals of
    their own rhythm. extra_seconds, extra_concurrencies: where a further server is compared. images: different ones
    that are sent in turn. commission_images: with how many the server learns the light, which must be over before
    anything is measured.
    """

    pairs: int
    seconds: float
    concurrencies: tuple[int, ...]
    arrivals: tuple[str, ...]
    open_rounds: int
    open_seconds: float
    idle_seconds: float
    extra_seconds: float
    extra_concurrencies: tuple[int, ...]
    images: int
    commission_images: int


LOADS = (0.5, 0.8)
"""Shares of the measured peak at which the open loop runs."""
FULL = Plan(7, 2.0, (1, 4, 16, 64), ("steady", "random"), 7, 3.0, 10.0, 1.0, (1, 4, 16), 100, 2000)
# Six pairs are the fewest whose whole range is a 95 % interval of the median.
QUICK = Plan(6, 0.5, (1, 4, 16), ("steady",), 2, 2.0, 5.0, 0.5, (1, 4, 16), 60, 200)
