"""From marks on an image to one judgement of it: the largest object, the order of looks, times."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from labeling.formats.listing import FoundLabel

Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """One object that somebody drew on an image; `region` is (x, y, width, height) in pixels."""

    label: str
    region: Region | None


def judge(marks: Sequence[Mark], inspector: str, at: datetime | None = None) -> FoundLabel:
    """One judgement from the objects of an image (at least one): the class of the largest box, the others in `also`.

    Object formats know no severity, so size stands in for it; equal sizes keep the order of the file.

    >>> found = judge([Mark("scratch", (0, 0, 9, 1)), Mark("dent", (5, 5, 4, 4))], "kim")
    >>> found.label, found.also, found.region
    ('dent', ('scratch',), (5, 5, 4, 4))
    """
    largest = max(marks, key=lambda mark: mark.region[2] * mark.region[3] if mark.region else 0.0)
    also = tuple(sorted({mark.label for mark in marks} - {largest.label}))
    return FoundLabel(largest.label, inspector, at, also, region=largest.region)


def with_occasions(
    labels: Sequence[FoundLabel], occasions: Sequence[int | None] | None = None
) -> tuple[FoundLabel, ...]:
    """All labels of one image, numbered as looks 0, 1, 2... of each inspector and sorted by inspector and look.

    `occasions` (as long as `labels`) holds the numbers that the source gives, distinct for each inspector; the
    other labels take the free numbers, by time where all of them have one, else in the order given.
    """
    given = occasions if occasions is not None else [None] * len(labels)
    numbered: list[FoundLabel] = []
    open_looks: dict[str, list[FoundLabel]] = defaultdict(list)
    taken: dict[str, set[int]] = defaultdict(set)
    for label, occasion in zip(labels, given, strict=True):
        if occasion is None:
            open_looks[label.inspector].append(label)
        else:
            numbered.append(replace(label, occasion=occasion))
            taken[label.inspector].add(occasion)
    for inspector, looks in open_looks.items():
        free = (number for number in count() if number not in taken[inspector])
        numbered += [replace(look, occasion=number) for look, number in zip(_in_order(looks), free, strict=False)]
    return tuple(sorted(numbered, key=lambda label: (label.inspector, label.occasion)))


def _in_order(looks: list[FoundLabel]) -> list[FoundLabel]:
    times = [look.at for look in looks if look.at is not None]
    if len(times) < len(looks):
        return looks
    order = sorted(range(len(looks)), key=lambda index: times[index])
    return [looks[index] for index in order]


def utc_time(text: str) -> datetime:
    """The aware UTC time of an ISO 8601 text; a time without zone is taken as UTC. Raises ValueError.

    >>> utc_time("2024-03-01T08:00:00+02:00").isoformat(), utc_time("2024-03-01 08:00").isoformat()
    ('2024-03-01T06:00:00+00:00', '2024-03-01T08:00:00+00:00')
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError as error:  # 0001-01-01T00:00+01:00 lies before the first year
        raise ValueError(str(error)) from error
