"""How a test takes the disk away from the line."""

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from httpx2 import Client

from tests.service.line.posting import server_of
from tests.service.line.stocked import wait_until

LARGEST_FILE_BYTES = 4 << 20
"""Below the size of a segment, above that of everything else that a test writes."""


def break_journal(http: Client) -> Callable[[], None]:
    """No record can be written from now on, until what this returns is called."""
    journal = server_of(http).journal
    segments, away = journal.folder / "segments", journal.folder / "away"
    segments.rename(away)
    segments.write_text("no folder any more")
    # Until the journal looks, it writes on into the file that it has open.
    wait_until(lambda: journal.failure is not None)

    def heal() -> None:
        segments.unlink()
        away.rename(segments)

    return heal


@contextmanager
def stalled_disk(http: Client) -> Iterator[None]:
    """Within this block no record reaches the disk; behind it all do."""
    with server_of(http).journal._writing:
        yield


def left_by_a_kill(http: Client, folder: Path) -> Path:
    """A copy of the data folder as the line would leave it, were its process killed now; in `folder`."""
    server = server_of(http)
    # The copy takes a while, a kill does not: nothing may be written, renamed or deleted meanwhile.
    with server.database.write(), server.journal._upkeep, server.journal._writing:
        return shutil.copytree(server.settings.data_dir, folder)


@contextmanager
def no_large_files() -> Iterator[None]:
    """As on a disk that is nearly full: within this block no segment can be made, records find room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
