"""`loupe …`: the command line. Exit codes: 0 ok, 1 refused or failed check, 2 usage, 130 interrupted."""

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from service.commands import (
    agreement,
    bench,
    challenges,
    champions,
    consensus,
    data,
    doctor,
    export,
    keys,
    label_book,
    learn,
    line,
    model_files,
    optics,
    play,
    recipes,
    spc,
)
from service.settings import WrongSetting
from service.terminal import fail

VERSION = "0.1.0"

EXTRAS = {"torch": "train", "onnx": "train", "onnxscript": "train", "nicegui": "console", "onnxruntime": "cpu"}
"""Package -> the extra of Loupe that brings it."""

app = typer.Typer(
    name="loupe",
    help="Visual inspection a factory can run itself.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    data,
    consensus,
    label_book,
    export,
    learn,
    champions,
    model_files,
    recipes,
    line,
    challenges,
    keys,
    agreement,
    spc,
    optics,
    doctor,
    play,
    bench,
):
    module.register(app)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(VERSION)
        raise typer.Exit


def main() -> None:
    """Run a command; every error that knows its remedy is one sentence, never a traceback."""
    # SIGTERM ends a command as Ctrl-C does, so that child processes and half-written files are cleaned up; and Ctrl-C
    # does so too where a shell started the command with SIGINT ignored.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()  # ends with SystemExit: 0, 2 for wrong usage, 130 for Ctrl-C
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        fail(f"this command needs {error.name}, which is not installed", f"pip install 'loupe-inspect[{extra}]'")
        sys.exit(1)
    except Exception as error:  # the edge of the process: what knows its remedy is told, all else is raised again
        remedy = getattr(error, "remedy", None)
        if remedy is None:
            raise
        fail(str(error), str(remedy))
        sys.exit(2 if isinstance(error, WrongSetting) else 1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
