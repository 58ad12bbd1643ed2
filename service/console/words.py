"""How times and numbers are said to people."""

from datetime import UTC, datetime, timedelta

STALE_AFTER = timedelta(minutes=5)
"""A line that has sent nothing for this long stands still, or its records do not arrive."""

_STEPS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def age(at: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits.

    >>> age(datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 1, 10, 59, tzinfo=UTC))
    '2 hours ago'
    """
    seconds = int((now - at).total_seconds())
    for size, unit in _STEPS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''} ago"
    return "just now"


def moment(at: datetime) -> str:
    """A time to the second.

    >>> moment(datetime(2026, 1, 2, 8, 5, 9, tzinfo=UTC))
    '2026-01-02 08:05:09 UTC'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def percent(share: float) -> str:
    """A share with one decimal.

    >>> percent(0.0625)
    '6.2 %'
    """
    return f"{100 * share:.1f} %"
