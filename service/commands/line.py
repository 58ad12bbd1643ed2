"""Commands that run Loupe's processes."""

import gc
import resource
import socket
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from functools import partial
from typing import Annotated

import typer

from service.priority import CONSOLE, LEARNING, step_back
from service.settings import Settings, load_settings, notify_socket
from service.systemd import Notifier
from service.terminal import note
from service.wiring import configure_logging, data_folder

Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; default: from the settings.")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on; default: from the settings.")]

STOP_WAIT_S = 25.0
"""The line server takes up to 10 s for what is in work, and then drains."""
LOOK_S = 0.2
RESTART_PAUSE_S = 2.0
SWITCH_S = 0.001
"""A thread lets others go on after this time; Python's 5 ms are long beside a part's 3 ms."""
DESCRIPTORS = 8192
"""Open files and connections of a line server; many systems begin with 1024, which its connections alone may take."""


class NotListening(OSError):
    """The address can't be listened on."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"nothing can listen on {host}:{port}: {reason}")
        self.remedy = "stop what is there, or set LOUPE_HOST and LOUPE_PORT"


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
    from service.line.app import create_app
    from service.line.exchange import open_exchange
    from service.line.protocol import LineHost, line_config
    from service.line.server import running

    settings = _settings(host=host, port=port)
    data_folder(settings)
    configure_logging(settings)
    # Opened here and not by uvicorn, which would print a traceback and its own exit code where something is wrong.
    with _listen(settings.host, settings.port) as listening, running(settings) as server:
        note(f"line server on http://{settings.host}:{settings.port}, data in {settings.data_dir.absolute()}")
        notifier = Notifier(notify_socket())
        line_host = LineHost(
            line_config(create_app(nullcontext(server)), settings.host, settings.port, partial(open_exchange, server)),
            server.stopping,
            lambda: server.admission.total,
            lambda ending: notifier.pulse(ready=server.champions.is_following, stopping=ending),
            server.dispatcher.lag.was,
        )
        _tune()
        with suppress(KeyboardInterrupt):
            line_host.run(sockets=[listening])


def _tune() -> None:
    """What would make parts wait for each other, or a connection fail for want of a descriptor."""
    # What is loaded by now stays: the collector need not look at it again. Its pauses are pauses of the line.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(SWITCH_S)
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise NotListening(host, port, error.strerror or str(error)) from error


def console(port: Port = None, host: Host = None) -> None:
    """Run the console: pages for inspectors, engineers and operations.

    Example: loupe console --port 8090
    """
    from service.console.app import run_console

    settings = _settings(console_host=host, console_port=port)
    data_folder(settings)
    configure_logging(settings)
    step_back(CONSOLE)
    note(f"console on http://{settings.console_host}:{settings.console_port}")
    run_console(settings)


def worker(once: Annotated[bool, typer.Option("--once", help="Do what is queued, then stop.")] = False) -> None:
    """Run the worker: retraining that was queued.

    Example: loupe worker
    """
    from service.jobs import work

    settings = load_settings()
    configure_logging(settings)
    step_back(LEARNING)
    work(settings, once=once)


def up() -> None:
    """Run line server, console and worker on this machine until Ctrl-C.

    The line server goes on whatever becomes of the other two, which are started again when they end.

    Example: loupe up
    """
    data_folder(load_settings())
    processes = {name: _start(name) for name in ("serve", "console", "worker")}
    try:
        while processes["serve"].poll() is None:
            time.sleep(LOOK_S)
            for name in ("console", "worker"):
                if processes[name].poll() is not None:
                    note(f"{name} ended with exit code {processes[name].returncode}; starting it again")
                    time.sleep(RESTART_PAUSE_S)
                    processes[name] = _start(name)
        note(f"serve ended with exit code {processes['serve'].returncode}; stopping the others")
        raise typer.Exit(1)
    except KeyboardInterrupt:
        note("stopping")
    finally:
        stop(list(processes.values()))


def _start(name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "service.cli", name])


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


def _settings(**given: str | int | None) -> Settings:
    """The settings, with what the command line names in place of theirs."""
    return load_settings(**{name: value for name, value in given.items() if value is not None})
