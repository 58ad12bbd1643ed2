"""What the command line prints is what was to be printed."""

import pytest
from rich.console import Console

from service import terminal


def test_names_in_a_table_are_text_and_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_out", Console(width=160))
    terminal.table("parts [of] today", ["part[/x]"], [["[unacceptable]"], ["[/]"]])
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("parts [of] today", "part[/x]", "[unacceptable]", "[/]"))
