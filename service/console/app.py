"""The console: pages and JSON for people. It reads only the shared storage, so it may die without stopping the line."""

import ipaddress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from nicegui import ui
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service.console.api import add_api
from service.console.pages import register_pages
from service.settings import Settings, WrongSetting
from service.wiring import Stores, open_stores

STATIC = Path(__file__).parent / "static"
NO_CACHE = {"Cache-Control": "no-cache"}
"""Browsers ask each time whether a file is still the same: an update must not mix old and new files."""


class FreshFiles(StaticFiles):
    """Static files that browsers check before they use their copy."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, to be checked again next time."""
        response = await super().get_response(path, scope)
        response.headers.update(NO_CACHE)
        return response


def create_app(stores: Stores) -> FastAPI:
    """The JSON API and the labelling page."""
    app = FastAPI(title="Loupe console", version="1", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.stores = stores
    add_api(app)
    app.mount("/static", FreshFiles(directory=STATIC))
    app.add_api_route("/label", _label_page, methods=["GET"], include_in_schema=False)
    return app


def run_console(settings: Settings) -> None:
    """Serve the console until SIGTERM or Ctrl-C.

    Raises WrongSetting for an address that other machines can reach, and what open_stores raises.
    """
    require_loopback(settings.console_host)
    with open_stores(settings) as stores:
        app = create_app(stores)
        register_pages(stores)
        # dark=None follows the browser. Tailwind would compile styles in the browser; the pages bring their own.
        ui.run_with(app, title="Loupe", dark=None, tailwind=False, favicon=STATIC / "loupe.svg")
        uvicorn.run(
            app,
            host=settings.console_host,
            port=settings.console_port,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=3,
        )


def require_loopback(host: str) -> None:
    """Let only addresses of this machine through.

    Raises WrongSetting.

    >>> require_loopback("127.0.0.1")
    """
    if host != "localhost" and not _is_loopback(host):
        raise WrongSetting(
            f"LOUPE_CONSOLE_HOST={host} would show the console to other machines, and it has no sign-in yet",
            "set LOUPE_CONSOLE_HOST=127.0.0.1, or pass --host 127.0.0.1; reach it from elsewhere through an SSH tunnel",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _label_page() -> FileResponse:
    return FileResponse(STATIC / "label.html", headers=NO_CACHE)
