"""Magnetic tiles of a published data set: imported, and learnt by the default training."""

import os
from pathlib import Path

import pytest

from labeling.formats import FORMATS, detect
from labeling.importing import import_listing
from labeling.settle import settle
from models.dataset import snapshot
from models.retrain import cross_validate, load_rows
from models.training import TrainingSettings
from service.commands.data import probe
from service.settings import load_settings
from service.wiring import Stores, now, open_stores
from storage.records import Dataset

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "magnetic_tile"
IMAGES, GROUPS = 1009, 166
LEAST_AUROC = 0.82

pytestmark = pytest.mark.skipif(
    not DATA.is_dir() and "data" not in os.environ.get("LOUPE_TEST_REQUIRE", ""), reason=f"no data set at {DATA}"
)


def import_tiles(stores: Stores) -> tuple[Dataset, int, int]:
    """The dataset, new images and new labels."""
    listing = FORMATS[detect(DATA)](DATA, {})
    done = import_listing(listing, "tile", ["free"], stores.database, stores.images, probe, now(), lambda *_: None)
    with stores.database.write() as connection:
        dataset, _ = snapshot(connection, settle(connection, "tile", now()).run, now())
    assert done.images == IMAGES
    assert done.problems == ()
    return dataset, done.new_images, done.new_labels


def test_tiles_are_imported_once(tmp_path: Path) -> None:
    with open_stores(load_settings(data_dir=tmp_path / "data")) as stores:
        first, *new = import_tiles(stores)
        assert new == [IMAGES, IMAGES]
        again, *more = import_tiles(stores)
        assert more == [0, 0]
        assert again.id == first.id
        rows = load_rows(stores.database, stores.images, first)
    assert len(rows.items) == IMAGES
    assert len(set(rows.group)) == GROUPS
    assert [info.name for info in rows.classes if info.ok] == ["free"]
    by_group: dict[str, set[str]] = {}
    for item in rows.items:
        by_group.setdefault(item.part_group, set()).add(item.split)
    assert all(len(splits) == 1 for splits in by_group.values())


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_default_training_tells_broken_tiles_from_whole_ones(tmp_path: Path) -> None:
    """Two minutes on two cores, nearly all of it for the features of the images."""
    with open_stores(load_settings(data_dir=tmp_path / "data")) as stores:
        dataset, _, _ = import_tiles(stores)
        rows = load_rows(stores.database, stores.images, dataset)
        found = cross_validate(rows, TrainingSettings(), tmp_path / "cache", lambda *_: None)
    assert (found["folds"], found["images"]) == (5, IMAGES)
    assert found["cv_auroc"]["n"] == GROUPS
    assert found["cv_auroc"]["value"] >= LEAST_AUROC
