"""The line server with one of its parts gone, to see what the part costs: `python -m service.bench.server journal`.

For measuring only. It is no setting and no command of `loupe`, so no plant can turn a part off by mistake.
"""

import sys
from typing import Any

from monitoring.metrics import LineMetrics
from service.commands.line import serve
from service.line import server as line_server
from storage.journal import Entry, Journal


class ForgetfulJournal(Journal):
    """Takes every entry and keeps none."""

    def append(self, *entries: Entry) -> None:
        """Do nothing, at once."""


class SilentMetrics(LineMetrics):
    """Counts no part."""

    def inspected(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def watched(self, *_: Any, **__: Any) -> None:
        """Do nothing."""


STAND_INS = {"journal": ("Journal", ForgetfulJournal), "metrics": ("LineMetrics", SilentMetrics)}
"""Part -> the name under which the line server makes it, and what it makes instead."""


def main(part: str) -> None:
    """`loupe serve` without a part."""
    name, stand_in = STAND_INS[part]
    getattr(line_server, name)  # a part that was renamed must be noticed, not measured
    setattr(line_server, name, stand_in)
    serve()


if __name__ == "__main__":
    main(sys.argv[1])
