"""What the console's requests are made of."""

from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import StringConstraints

from service.console.rankings import Rankings
from service.wiring import Stores

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^[^\x00]*$")]
"""PostgreSQL stores no zero bytes."""
Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{8,64}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, Query(ge=0, description="Rows to pass over.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows at most.")]


def _stores(request: Request) -> Stores:
    stores: Stores = request.app.state.stores
    return stores


def _rankings(request: Request) -> Rankings:
    rankings: Rankings = request.app.state.rankings
    return rankings


Open = Annotated[Stores, Depends(_stores)]
Ranked = Annotated[Rankings, Depends(_rankings)]
