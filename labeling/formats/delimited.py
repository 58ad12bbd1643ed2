"""Text tables as spreadsheets write them: UTF-8 or not, separated by comma, semicolon or tab."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labeling.formats.listing import BrokenListing


@dataclass(frozen=True, slots=True)
class Table:
    """Header and rows as stripped text; each row comes with the line of the file where it starts, from 1."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    guessed_encoding: bool


def read_table(path: Path, needed: Sequence[str] = ("path", "label")) -> Table:
    """Read the file; empty rows are left out. needed: the columns that a reader can't do without, for its message.

    Raises BrokenListing.
    """
    text, guessed = _decode(path)
    if "\0" in text:
        raise BrokenListing(path, None, "holds zero bytes, so it is not text", "save it as CSV in UTF-8")
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(",;\t", key=lambda candidate: _width(first, candidate))
    rows: list[tuple[int, tuple[str, ...]]] = []
    line = 1
    # strict: otherwise an open quote swallows the rest of the file without a word
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            cells = tuple(cell.strip() for cell in row)
            if any(cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise BrokenListing(path, line, f"is not a valid table ({error})", "close or double the quotes") from error
    if not rows:
        listed = f"{', '.join(needed[:-1])} and {needed[-1]}"
        raise BrokenListing(path, None, "is empty", f"write a header line with at least {listed}")
    return Table(rows[0][1], tuple(rows[1:]), guessed)


def _decode(path: Path) -> tuple[str, bool]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenListing(path, None, f"can't be read ({error.strerror})", "check path and permissions") from error
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # what a spreadsheet calls Unicode text
            return data.decode("utf-16"), False
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def _width(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:
        return 0
