"""The browser of the tests: whoever imports this is skipped where it is missing, and fails where it is required."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
MISSING = [] if CHROMIUM.exists() else [str(CHROMIUM)]
MISSING += [] if importlib.util.find_spec("playwright") else ["playwright"]
if MISSING:
    said = f"needs {' and '.join(MISSING)}"
    if "browser" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
        pytest.fail(f"LOUPE_TEST_REQUIRE names browser, but this {said}", pytrace=False)
    sys.modules.pop(__name__, None)  # whoever collects doctests leaves it there half made, and the next import takes it
    pytest.skip(said, allow_module_level=True)

SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
