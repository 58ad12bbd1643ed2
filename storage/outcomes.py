"""What people said about inspections afterwards; append-only."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from storage.database import from_row, insert_new, to_row
from storage.records import Outcome
from storage.tables import outcomes


def store(connection: Connection, new: Sequence[Outcome]) -> int:
    """Append the outcomes whose id is not there yet; returns how many were new."""
    return insert_new(connection, outcomes, [to_row(outcome) for outcome in new])


def find(connection: Connection, outcome_id: str) -> Outcome | None:
    """One word, by its id."""
    row = connection.execute(select(outcomes).where(outcomes.c.id == outcome_id)).mappings().first()
    return None if row is None else from_row(Outcome, row)


def of_inspection(connection: Connection, result_id: str) -> list[Outcome]:
    """All outcomes of an inspection, oldest first: the last one holds."""
    query = select(outcomes).where(outcomes.c.result_id == result_id).order_by(outcomes.c.decided_at, outcomes.c.id)
    return [from_row(Outcome, row) for row in connection.execute(query).mappings()]
