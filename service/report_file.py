"""A report in a file: the whole of it or nothing, and refused before the work rather than after it."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path


class WrongReportFile(ValueError):
    """The report can't be written to the path."""

    def __init__(self, path: Path, reason: str, remedy: str = "name a file in a folder that may be written") -> None:
        super().__init__(f"{path} can't be written: {reason}")
        self.remedy = remedy


def check_places(reports: Sequence[Path], read: Sequence[Path] = ()) -> None:
    """Refuse places where no file can be, and reports in the place of another or of a file that is read for them.

    Raises WrongReportFile.
    """
    for path in reports:
        if path.is_dir():
            raise WrongReportFile(path, "it is a folder")
        if not path.absolute().parent.is_dir():
            raise WrongReportFile(path, "its folder does not exist")
        if any(_are_one(path, source) for source in read):
            raise WrongReportFile(path, "it is read for this report", "name another file for the report")
    for first, second in combinations(reports, 2):
        if _are_one(first, second):
            raise WrongReportFile(second, "another report goes there", "name a file for each report")


def _are_one(first: Path, second: Path) -> bool:
    """Whether both paths lead to one file, by whatever links."""
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()


def write_whole(path: Path, text: str) -> None:
    """The whole file or none, in UTF-8. Raises WrongReportFile."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise WrongReportFile(path, error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
