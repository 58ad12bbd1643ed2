import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings import load_settings
from service.wiring import Stores, open_stores


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with its schema: copying it is faster than migrating anew for every test."""
    folder = tmp_path_factory.mktemp("empty") / "data"
    with open_stores(load_settings(data_dir=folder)):
        return folder


@pytest.fixture
def stores(empty_folder: Path, tmp_path: Path) -> Iterator[Stores]:
    folder = shutil.copytree(empty_folder, tmp_path / "data")
    with open_stores(load_settings(data_dir=folder)) as opened:
        yield opened
