"""Commands that run Loupe's processes."""

import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from service.settings import Settings, load_settings
from service.terminal import note
from service.wiring import configure_logging, data_folder

Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; default: LOUPE_PORT.")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on; default: LOUPE_HOST.")]

STOP_WAIT_S = 15.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(serve)
    app.command("console")(console)
    app.command("worker")(worker)
    app.command("up")(up)


def serve(port: Port = None, host: Host = None) -> None:
    """Run the line server: verdicts for the line.

    Example: loupe serve --port 8080
    """
    # Imported here so that `loupe import` does not load a web server, and `loupe serve` never loads the trainer.
    import uvicorn

    from service.line.app import create_app
    from service.line.server import running

    settings = _with(load_settings(), host, port, None)
    data_folder(settings)
    configure_logging(settings)
    note(f"line server on http://{settings.host}:{settings.port}, data in {settings.data_dir.absolute()}")
    uvicorn.run(
        create_app(running(settings)),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=10,
    )


def console(port: Port = None, host: Host = None) -> None:
    """Run the console: pages for inspectors, engineers and operations.

    Example: loupe console --port 8090
    """
    from service.console.app import run_console

    settings = _with(load_settings(), host, None, port)
    data_folder(settings)
    configure_logging(settings)
    note(f"console on http://{settings.host}:{settings.console_port}")
    run_console(settings)


def worker(once: Annotated[bool, typer.Option("--once", help="Do what is queued, then stop.")] = False) -> None:
    """Run the worker: retraining that was queued.

    Example: loupe worker
    """
    from service.jobs import work

    settings = load_settings()
    configure_logging(settings)
    work(settings, once=once)


def up() -> None:
    """Run line server, console and worker on this machine until Ctrl-C.

    Example: loupe up
    """
    settings = load_settings()
    data_folder(settings)
    processes = {
        name: subprocess.Popen([sys.executable, "-m", "service.cli", name]) for name in ("serve", "console", "worker")
    }
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        while all(process.poll() is None for process in processes.values()):
            time.sleep(0.2)
        for name, process in processes.items():
            if process.poll() is not None:
                note(f"{name} ended with exit code {process.returncode}; stopping the others")
    except KeyboardInterrupt:
        note("stopping")
    finally:
        stop(list(processes.values()))
    raise typer.Exit(max((abs(p.returncode or 0) > 0 and p.returncode != -signal.SIGTERM) for p in processes.values()))


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the processes: asked first, killed after a while."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    give_up = time.monotonic() + STOP_WAIT_S
    for process in processes:
        try:
            process.wait(max(0.1, give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _with(settings: Settings, host: str | None, port: int | None, console_port: int | None) -> Settings:
    changes = {"host": host, "port": port, "console_port": console_port}
    given = {name: value for name, value in changes.items() if value is not None}
    return load_settings(**given) if given else settings
