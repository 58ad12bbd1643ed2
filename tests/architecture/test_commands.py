"""Every command of `loupe` explains itself."""

from collections.abc import Iterator

import pytest
import typer.main

from service.cli import app


def commands() -> Iterator[tuple[str, str]]:
    """Name and help text of every command, groups opened."""
    waiting = [("loupe", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command.help or ""
        else:
            waiting += [(f"{name} {child}", children[child]) for child in children]


COMMANDS = dict(commands())


def test_there_are_commands() -> None:
    assert {"loupe serve", "loupe import", "loupe train"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_what_and_shows_an_example(name: str) -> None:
    text = COMMANDS[name]
    first, *rest = (line.strip() for line in text.strip().splitlines())
    assert first.endswith(".")
    examples = [line for line in rest if line.startswith(("Example: ", "Examples:"))]
    assert examples, f"{name} --help has no line 'Example: …'"
    assert name in text, f"the example of {name} does not call it"
