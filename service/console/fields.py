"""What the console's requests are made of."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, AwareDatetime, StringConstraints
from pydantic_core import PydanticCustomError

from service.console.rankings import Rankings
from service.wiring import Stores

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def _plausible(time: datetime) -> datetime:
    # 0001-01-01T00:00+14:00, for one, is a time that no database can hold in UTC.
    if not EARLIEST <= time < LATEST:
        raise PydanticCustomError("time", f"a time from {EARLIEST.year} to {LATEST.year - 1} is needed")
    return time


def _without(characters: str, what: str) -> AfterValidator:
    """Refuses text with any of the characters, given as the inside of a regular expression's brackets."""
    unfit = re.compile(f"[{characters}]")

    def check(text: str) -> str:
        if found := unfit.search(text):
            raise PydanticCustomError("characters", f"{what}, and it holds U+{ord(found.group()):04X}")
        return text

    return AfterValidator(check)


# Two names that look the same would be two people. The joiners U+200C and U+200D stay: some scripts need them.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
    _without(_UNSEEN, "a name has no characters that nobody sees"),
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2000),
    _without(r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f", "a text has no control characters but tabs and ends of lines"),
]
_NO_ZERO = _without(r"\x00", "zero bytes can't be looked up")  # PostgreSQL takes none
Sought = Annotated[str, StringConstraints(max_length=1000), _NO_ZERO]
"""What is looked up by name or id: how it may look, was decided when it was stored."""
Time = Annotated[AwareDatetime, AfterValidator(_plausible)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{8,64}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1, description="Rows to pass over.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows at most.")]


def _stores(request: Request) -> Stores:
    stores: Stores = request.app.state.stores
    return stores


def _rankings(request: Request) -> Rankings:
    rankings: Rankings = request.app.state.rankings
    return rankings


Open = Annotated[Stores, Depends(_stores)]
Ranked = Annotated[Rankings, Depends(_rankings)]
