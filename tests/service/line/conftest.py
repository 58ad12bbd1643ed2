import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client
from starlette.testclient import TestClient

from service.line.app import create_app
from service.line.server import running
from service.settings import Settings, load_settings
from service.wiring import Stores, open_stores
from tests.service.line.brokers import Mosquitto, missing
from tests.service.line.hosted import hosted
from tests.service.line.stocked import add_champion, wait_until

OpenLine = Callable[..., AbstractContextManager[Client]]


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
    """Opens a line server on the test's data folder. ready: waits for a champion.

    client: the caller's address, which then calls the application without any connection.
    """

    @contextmanager
    def opened(*, ready: bool = True, client: tuple[str, int] | None = None, **changes: Any) -> Iterator[Client]:
        changed = settings.model_copy(update=changes)
        with ExitStack() as closing:
            http: Client
            if client is None:
                http = closing.enter_context(hosted(changed))
            else:
                http = closing.enter_context(TestClient(create_app(running(changed)), client=client))
            if ready:
                wait_until(lambda: http.get("/health/ready").status_code == 200)
            yield http

    return opened


@pytest.fixture
def line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[Client]:
    """A line server with one champion that is ready."""
    add_champion(stores, tmp_path)
    with open_line() as http:
        yield http


@pytest.fixture
def asgi_line(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[TestClient]:
    """The application alone, with one champion that is ready."""
    add_champion(stores, tmp_path)
    with open_line(client=("127.0.0.1", 50_000)) as http:
        assert isinstance(http, TestClient)
        yield http


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    if shutil.which("mosquitto") is None:
        missing("there is no program mosquitto")
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()
