import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.line.app import create_app
from service.line.server import running
from service.settings import Settings, load_settings
from service.wiring import Stores, open_stores
from tests.service.line.stocked import add_champion, wait_until

OpenLine = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def migrated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with its schema: copying it is faster than migrating anew for every test."""
    folder = tmp_path_factory.mktemp("migrated") / "data"
    with open_stores(load_settings(data_dir=folder)):
        return folder


@pytest.fixture
def settings(migrated_folder: Path, tmp_path: Path) -> Settings:
    folder = shutil.copytree(migrated_folder, tmp_path / "data")
    return load_settings(data_dir=folder, watch_poll_s=0.05)


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    with open_stores(settings) as opened:
        yield opened


@pytest.fixture
def open_line(settings: Settings, tmp_path: Path) -> OpenLine:
    """Opens the app on the test's data folder; `ready`: waits for a champion."""

    @contextmanager
    def opened(
        *, ready: bool = True, client: tuple[str, int] = ("127.0.0.1", 50_000), **changes: Any
    ) -> Iterator[TestClient]:
        app = create_app(running(settings.model_copy(update=changes)))
        with TestClient(app, client=client) as http:
            if ready:
                wait_until(lambda: http.get("/health/ready").status_code == 200)
            yield http

    return opened


@pytest.fixture
def line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[TestClient]:
    """The app with one champion that is ready."""
    add_champion(stores, tmp_path)
    with open_line() as http:
        yield http
