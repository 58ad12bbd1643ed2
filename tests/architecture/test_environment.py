"""The environment is read in one place; below it, values are arguments."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "models", "labeling", "monitoring", "storage", "simulation")
READERS = {"environ", "environb", "getenv", "getenvb"}
SETTINGS = Path("service/settings.py")


def environment_reads(source: str) -> Iterator[int]:
    """Lines that name `os.environ` or one of its kin, or import it from os."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr in READERS:
                yield node.lineno
            case ast.ImportFrom(module="os", names=names) if READERS & {alias.name for alias in names}:
                yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "import os\nx = os.environ['A']",
        "import os\nx = os.getenv('A')",
        "from os import environ",
        "import os\nos.environb",
    ],
)
def test_a_read_of_the_environment_is_seen(source: str) -> None:
    assert list(environment_reads(source))


def test_only_the_settings_read_the_environment() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.relative_to(ROOT) != SETTINGS
        for line in environment_reads(path.read_text())
    ]
    assert found == [], "make it a setting in service/settings.py and pass its value"
