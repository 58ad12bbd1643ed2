"""A module is named for what it holds."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("service", "models", "labeling", "monitoring", "storage", "simulation", "deploy", "tests")
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "handler", "misc"}


def test_no_module_has_a_name_that_says_nothing() -> None:
    modules = [path for place in PLACES for path in (ROOT / place).rglob("*.py")]
    assert modules
    found = [str(p.relative_to(ROOT)) for p in modules if SAYS_NOTHING & {p.stem, p.parent.name}]
    assert found == []
