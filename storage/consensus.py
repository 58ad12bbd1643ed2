"""The posteriors of a settling, a page at a time."""

from sqlalchemy import Connection, select

from storage.database import from_row
from storage.records import ConsensusRow
from storage.tables import consensus


def page(connection: Connection, run_id: str, offset: int, limit: int) -> list[ConsensusRow]:
    """At most `limit` posteriors in the order of their images, from `offset` on."""
    query = (
        select(consensus)
        .where(consensus.c.run_id == run_id)
        .order_by(consensus.c.image_sha256)
        .offset(offset)
        .limit(limit)
    )
    return [from_row(ConsensusRow, row) for row in connection.execute(query).mappings()]
