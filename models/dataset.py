"""Immutable, content-addressed snapshots of images, consensus and splits."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from storage import datasets, pictures
from storage.database import Connection
from storage.records import ConsensusRun, Dataset, DatasetItem

TRAIN, TEST = "train", "test"
TEST_SHARE = 0.2


class DatasetMissing(LookupError):
    """No dataset, or more than one, goes by the name asked for."""

    def __init__(self, name: str, found: int) -> None:
        super().__init__(f"{found} datasets begin with '{name}'" if found else f"there is no dataset {name}".rstrip())
        self.remedy = "give more characters of its id" if found else "make one with `loupe import PATH`"


def snapshot(
    connection: Connection, run: ConsensusRun, now: datetime, test_share: float = TEST_SHARE
) -> tuple[Dataset, bool]:
    """The dataset of a settling, and whether it is new; the same content has the same id for ever.

    A part group keeps the split it was given first, so that the frozen test parts of a champion are never trained on.
    """
    rows = datasets.run_rows(connection, run.id)
    images = {image.sha256: image for image in pictures.of_product(connection, run.product)}
    group_class: dict[str, str] = {}
    for row in rows:
        group_class[images[row.image_sha256].part_group] = _likeliest(row.probability)
    splits = assign_splits(group_class, datasets.splits(connection, run.product), test_share)
    content = [
        [
            row.image_sha256,
            images[row.image_sha256].part_group,
            splits[images[row.image_sha256].part_group],
            row.probability,
        ]
        for row in rows
    ]
    digest = hashlib.sha256(json.dumps([run.product, run.book_version, content], sort_keys=True).encode()).hexdigest()
    dataset = Dataset(digest, run.product, run.id, run.book_version, len(rows), now)
    items = [
        DatasetItem(
            dataset_id=digest,
            image_sha256=row.image_sha256,
            name=images[row.image_sha256].name,
            part_group=images[row.image_sha256].part_group,
            split=splits[images[row.image_sha256].part_group],
            probability=row.probability,
        )
        for row in rows
    ]
    return dataset, datasets.store(connection, dataset, items)


def _likeliest(probability: Mapping[str, float]) -> str:
    return max(sorted(probability), key=probability.__getitem__)


def assign_splits(group_class: Mapping[str, str], known: Mapping[str, str], test_share: float) -> dict[str, str]:
    """A split for every group: the known one, else by hash so that each class gets its share of test groups.

    >>> splits = assign_splits({f"g{i}": "ok" for i in range(10)}, {"g3": "test"}, 0.2)
    >>> sorted(group for group, split in splits.items() if split == "test")
    ['g3', 'g9']
    """
    splits = {group: known[group] for group in group_class if group in known}
    for name in sorted(set(group_class.values())):
        members = [group for group, group_name in group_class.items() if group_name == name]
        wanted = round(test_share * len(members)) - sum(splits.get(group) == TEST for group in members)
        fresh = sorted((g for g in members if g not in splits), key=lambda g: hashlib.sha256(g.encode()).digest())
        for place, group in enumerate(fresh):
            splits[group] = TEST if place < wanted else TRAIN
    return splits


def find(connection: Connection, name: str | None, product: str | None = None) -> Dataset:
    """The dataset whose id begins with `name`, or the newest one.

    Raises DatasetMissing.
    """
    if name is None:
        newest = datasets.newest(connection, product)
        if newest is None:
            raise DatasetMissing(f"of product {product}" if product else "yet", 0)
        return newest
    found = datasets.find(connection, name)
    if len(found) != 1:
        raise DatasetMissing(name, len(found))
    return found[0]
