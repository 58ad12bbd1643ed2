"""Commands that play the outside world: simulate and demo."""

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
