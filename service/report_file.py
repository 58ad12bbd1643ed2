"""A report in a file: the whole of it or nothing, and refused before the work rather than after it."""

from pathlib import Path


class WrongReportFile(ValueError):
    """The report can't be written to the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be written: {reason}")
        self.remedy = "name a file in a folder that exists and may be written"


def check_place(path: Path) -> None:
    """Raises WrongReportFile where no file can be at the path."""
    if path.is_dir():
        raise WrongReportFile(path, "it is a folder")
    if not path.absolute().parent.is_dir():
        raise WrongReportFile(path, "its folder does not exist")


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
