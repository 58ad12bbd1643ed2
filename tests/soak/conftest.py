import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import database_url as database_url
from tests.e2e.conftest import postgres_url as postgres_url

Figures = Callable[..., None]
_SECTION = "soak figures"


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Note what was measured: it is listed at the end of the run."""

    def note(**found: Any) -> None:
        request.node.user_properties.append((_SECTION, json.dumps(found)))

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = [
        f"{report.nodeid.rpartition('/')[2]}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == _SECTION
    ]
    if rows:
        terminalreporter.section(_SECTION)
        for row in rows:
            terminalreporter.line(row)
