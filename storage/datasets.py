"""Consensus runs and the datasets made from them."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from storage.database import from_row, insert_new, to_row
from storage.records import ConsensusRow, ConsensusRun, Dataset, DatasetItem
from storage.tables import consensus, consensus_runs, dataset_items, datasets

IMPORTED = "imported"
"""The method of a settling that stands in for one behind a model that was trained elsewhere."""


def store_run(connection: Connection, run: ConsensusRun, rows: Sequence[ConsensusRow]) -> bool:
    """Store a settling with its posteriors; returns whether it was new."""
    if not insert_new(connection, consensus_runs, [to_row(run)]):
        return False
    insert_new(connection, consensus, [to_row(row) for row in rows])
    return True


def run(connection: Connection, run_id: str) -> ConsensusRun | None:
    """One settling."""
    row = connection.execute(select(consensus_runs).where(consensus_runs.c.id == run_id)).mappings().first()
    return None if row is None else from_row(ConsensusRun, row)


def newest_run(connection: Connection, product: str) -> ConsensusRun | None:
    """The product's newest settling; what stands in for one behind an imported model is none."""
    query = (
        select(consensus_runs)
        .where(consensus_runs.c.product == product, consensus_runs.c.method != IMPORTED)
        .order_by(consensus_runs.c.settled_at.desc(), consensus_runs.c.id)
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else from_row(ConsensusRun, row)


def run_rows(connection: Connection, run_id: str) -> list[ConsensusRow]:
    """The posteriors of a settling, ordered by image."""
    query = select(consensus).where(consensus.c.run_id == run_id).order_by(consensus.c.image_sha256)
    return [from_row(ConsensusRow, row) for row in connection.execute(query).mappings()]


def store(connection: Connection, dataset: Dataset, items: Sequence[DatasetItem]) -> bool:
    """Store a dataset with its items; returns whether it was new."""
    if not insert_new(connection, datasets, [to_row(dataset)]):
        return False
    insert_new(connection, dataset_items, [to_row(item) for item in items])
    return True


def find(connection: Connection, prefix: str) -> list[Dataset]:
    """Datasets whose id begins with `prefix`."""
    query = select(datasets).where(datasets.c.id.startswith(prefix, autoescape=True)).order_by(datasets.c.id)
    return [from_row(Dataset, row) for row in connection.execute(query).mappings()]


def newest(connection: Connection, product: str | None = None) -> Dataset | None:
    """The newest dataset, of a product or of all; what stands in for one behind an imported model is none."""
    real = datasets.c.consensus_run.not_in(select(consensus_runs.c.id).where(consensus_runs.c.method == IMPORTED))
    query = select(datasets).where(real).order_by(datasets.c.created_at.desc(), datasets.c.id).limit(1)
    if product is not None:
        query = query.where(datasets.c.product == product)
    row = connection.execute(query).mappings().first()
    return None if row is None else from_row(Dataset, row)


def items(connection: Connection, dataset_id: str) -> list[DatasetItem]:
    """The items of a dataset, ordered by image."""
    query = select(dataset_items).where(dataset_items.c.dataset_id == dataset_id).order_by(dataset_items.c.image_sha256)
    return [from_row(DatasetItem, row) for row in connection.execute(query).mappings()]


def splits(connection: Connection, product: str) -> dict[str, str]:
    """The split that each part group of a product was given first; it keeps it for ever."""
    query = (
        select(dataset_items.c.part_group, dataset_items.c.split)
        .join(datasets, datasets.c.id == dataset_items.c.dataset_id)
        .where(datasets.c.product == product)
        .order_by(datasets.c.created_at.desc())
    )
    return {group: split for group, split in connection.execute(query)}  # noqa: C416 - a Row is no plain pair for mypy
