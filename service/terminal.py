"""What the command line prints: tables and progress for people, one JSON object for programs."""

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

Report = Callable[[int, int], None]
"""Told (done, total) as work goes on."""

# Tables are cut to the terminal's width, but never when the output goes to a file or a pipe.
_out = Console(width=None if sys.stdout.isatty() else 160, soft_wrap=not sys.stdout.isatty())
_err = Console(stderr=True)

REPORT_WIDTH = 80
"""Characters of a line of a report, which people print and mail."""


def say(text: str) -> None:
    """A line for people, on standard output."""
    _out.print(text, highlight=False, markup=False)


def note(text: str) -> None:
    """A line about what is going on, on standard error, so that `--json` output stays clean."""
    _err.print(text, highlight=False, markup=False, soft_wrap=True)


def fail(what: str, remedy: str) -> None:
    """An error in one sentence, and what to do."""
    _err.print(f"[bold red]error:[/] {_escape(what)}", highlight=False, soft_wrap=True)
    if remedy and remedy not in what:
        _err.print(f"  [bold]do:[/] {_escape(remedy)}", highlight=False, soft_wrap=True)


def emit(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")


def tell(text: str) -> None:
    """A sentence or more for people, broken into lines of a report."""
    say(fill(text, REPORT_WIDTH))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None) -> None:
    """A table for people, at most `width` characters wide; what does not fit goes on in the next line of its cell."""
    drawn = Table(title=Text(title), title_justify="left", title_style="bold")
    for column in columns:
        drawn.add_column(Text(column), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    _out.print(drawn, width=width, soft_wrap=False if width else None)


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """A progress bar on a terminal, silence elsewhere."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_err,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def user_name() -> str:
    """Who is at the command line."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without an entry in /etc/passwd
        return f"uid {os.getuid()}"
