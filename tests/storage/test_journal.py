import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from storage.journal import SEGMENT_BYTES, Answered, Entry, Journal, JournalBroken, JournalLocked, JournalUnusable
from tests.storage.appender import blob_of
from tests.storage.samples import NOW, later

ROOT = Path(__file__).parents[2]
DAY = timedelta(hours=24)

FULL_DISK = """
import resource, sys
from pathlib import Path
from storage.journal import Journal, JournalBroken
from tests.storage.test_journal import entry

journal = Journal(Path(sys.argv[1]))
journal.append(entry("before", b"b" * 5000))
# A file that may not grow is, to the writer, a full disk: writes come back short, then fail.
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
for blob in (b"x" * 50_000, b""):
    try:
        journal.append(entry("refused", blob))
    except JournalBroken as error:
        print("broken:", error.remedy)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(entry("after", b"a" * 50_000))
print([(w.id, [len(b) for _, b in journal.blobs(w.id)], journal.waiting_count) for w in journal.waiting(9)])
print([data[:1] for w in journal.waiting(9) for _, data in journal.blobs(w.id)])
journal.close()
"""


def entry(entry_id: str, *blobs: bytes, **fields: object) -> Entry:
    by_hash = {hashlib.sha256(data).hexdigest(): data for data in blobs}
    return Entry(entry_id, "event", b"{}", **{"written_at": NOW, "blobs": by_hash, **fields})  # type: ignore[arg-type]


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    opened = Journal(folder)
    yield opened
    opened.close()


def images_of(journal: Journal, entry_id: str) -> list[bytes]:
    return [data for _, data in journal.blobs(entry_id)]


def test_what_was_appended_is_there_after_a_restart(folder: Path) -> None:
    journal = Journal(folder)
    journal.append(entry("1", b"left", b"right", key="k", digest="d", answer=b"body"))
    journal.append(entry("2"))
    journal.close()
    journal = Journal(folder)
    assert [(w.id, w.kind, w.record) for w in journal.waiting(10)] == [("1", "event", b"{}"), ("2", "event", b"{}")]
    hashes = [hashlib.sha256(data).hexdigest() for data in (b"left", b"right")]
    assert list(journal.blobs("1")) == list(zip(hashes, (b"left", b"right"), strict=True))
    assert journal.answered("k", NOW) == Answered("d", b"body")
    assert journal.waiting_count == 2
    journal.close()


def test_appends_of_many_threads_are_committed_in_groups(journal: Journal) -> None:
    def append(thread: int) -> None:
        for n in range(25):
            journal.append(entry(f"{thread}-{n}", f"{thread}-{n}".encode()))
            # What append has returned from is there for every other thread.
            assert journal.find(f"{thread}-{n}") == b"answer" or journal.find(f"{thread}-{n}") is None
            assert images_of(journal, f"{thread}-{n}") == [f"{thread}-{n}".encode()]

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(append, thread) for thread in range(16)]:
            future.result()
    waiting = journal.waiting(1000)
    assert len(waiting) == journal.waiting_count == 400
    for thread in range(16):
        own = [w.id for w in waiting if w.id.startswith(f"{thread}-")]
        assert own == [f"{thread}-{n}" for n in range(25)], "entries of one thread keep their order"


def test_the_oldest_entries_are_drained_first(journal: Journal) -> None:
    for n in range(5):
        journal.append(entry(str(n)))
    assert [w.id for w in journal.waiting(2)] == ["0", "1"]
    journal.mark_drained(["0", "1"])
    assert [w.id for w in journal.waiting(2)] == ["2", "3"]
    assert journal.waiting_count == 3


def test_an_answer_is_given_again_within_the_window_only(journal: Journal) -> None:
    journal.append(entry("1", key="k", digest="d", answer=b"body"))
    assert journal.answered("k", later(-1)) == Answered("d", b"body")
    assert journal.answered("k", NOW) == Answered("d", b"body")
    assert journal.answered("k", later(0.001)) is None
    assert journal.answered("other", later(-1)) is None


def test_the_latest_answer_under_a_key_holds(journal: Journal) -> None:
    journal.append(entry("1", key="k", digest="d", answer=b"fail-safe", written_at=later(5)))
    journal.append(entry("2", key="k", digest="d", answer=b"late", written_at=NOW))  # a clock that was set back
    assert journal.answered("k", NOW) == Answered("d", b"late")


def test_an_answer_outlives_draining_until_it_is_pruned(journal: Journal) -> None:
    journal.append(entry("1", b"image", key="k", digest="d", answer=b"body"))
    journal.append(entry("waiting", answer=b"kept"))
    journal.mark_drained(["1"])
    assert journal.answered("k", NOW) == Answered("d", b"body")
    assert journal.find("1") == b"body"
    assert images_of(journal, "1") == []
    journal.prune(NOW + DAY, DAY)
    assert journal.find("1") == b"body", "it is exactly as old as the window"
    journal.prune(NOW + DAY + timedelta(seconds=1), DAY)
    assert journal.find("1") is None
    assert journal.find("waiting") == b"kept", "what has not reached the database is never forgotten"


def test_a_second_opener_is_told_that_the_journal_is_taken(folder: Path, journal: Journal) -> None:
    with pytest.raises(JournalLocked) as refused:
        Journal(folder)
    assert "LOUPE_DATA_DIR" in refused.value.remedy
    script = "import sys, pathlib; from storage.journal import *\ntry: Journal(pathlib.Path(sys.argv[1]))\n"
    script += "except JournalLocked: sys.exit(7)"
    assert subprocess.run([sys.executable, "-c", script, folder], cwd=ROOT, check=False).returncode == 7
    journal.append(entry("still writing"))


def test_a_closed_journal_takes_nothing_and_closes_again(folder: Path) -> None:
    journal = Journal(folder)
    journal.close()
    journal.close()
    with pytest.raises(JournalBroken, match="closed"):
        journal.append(entry("late"))
    Journal(folder).close()


def test_closing_commits_what_is_queued(folder: Path) -> None:
    journal = Journal(folder)
    done: list[str] = []

    def append(n: int) -> None:
        try:
            journal.append(entry(str(n), b"x"))
        except JournalBroken:
            return
        done.append(str(n))

    threads = [threading.Thread(target=append, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    journal.close()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive(), "an append that hangs would hang the line"
    journal = Journal(folder)
    assert sorted(w.id for w in journal.waiting(100)) == sorted(done)
    journal.close()


def test_a_torn_tail_is_never_read_or_continued(folder: Path) -> None:
    journal = Journal(folder)
    journal.append(entry("1", b"whole"))
    journal.close()
    with (folder / "segments" / "00000001.seg").open("ab") as file:
        file.write(b"half of an image whose commit never ca")
    journal = Journal(folder)
    journal.append(entry("2", b"next"))
    assert {w.id: images_of(journal, w.id) for w in journal.waiting(9)} == {"1": [b"whole"], "2": [b"next"]}
    assert segments(folder) == ["00000001.seg", "00000002.seg"]
    journal.close()


def test_a_segment_without_any_commit_goes_at_the_next_start(folder: Path) -> None:
    Journal(folder).close()
    (folder / "segments" / "00000001.seg").write_bytes(b"written, but the power went before the commit")
    Journal(folder).close()
    assert segments(folder) == ["00000002.seg"]


def test_segments_are_deleted_when_all_their_entries_are_drained(folder: Path) -> None:
    for n in range(3):
        journal = Journal(folder)
        journal.append(entry(f"{n}-a", b"a"))
        journal.append(entry(f"{n}-b", b"b"))
        journal.close()
    journal = Journal(folder)
    journal.mark_drained(["0-a", "1-a", "1-b"])
    assert segments(folder) == ["00000001.seg", "00000003.seg", "00000004.seg"]
    journal.mark_drained(["0-b", "2-a", "2-b"])
    assert segments(folder) == ["00000004.seg"]
    journal.close()


def test_a_full_segment_is_followed_by_another(folder: Path, journal: Journal) -> None:
    large = bytes(SEGMENT_BYTES + 1)
    journal.append(entry("1", large))
    blocked = folder / "segments" / "00000002.seg"
    blocked.mkdir()  # the next segment can't be made, as when the folder's file system takes no more files
    for n in range(2):
        with pytest.raises(JournalBroken):
            journal.append(entry(f"refused-{n}", b"x"))
    blocked.rmdir()
    journal.append(entry("2", b"next"))
    assert segments(folder) == ["00000001.seg", "00000002.seg"]
    assert [len(data) for w in journal.waiting(9) for _, data in journal.blobs(w.id)] == [len(large), 4]


def test_a_segment_that_can_not_be_deleted_stops_nothing(folder: Path, journal: Journal) -> None:
    stuck = folder / "segments" / "00000000.seg"
    stuck.mkdir()  # unlink fails on it, as on a file system that has become read-only or flaky
    journal.append(entry("1", b"x"))
    journal.mark_drained(["1"])
    journal.append(entry("2"))
    assert [w.id for w in journal.waiting(9)] == ["2"]


def test_a_full_disk_is_reported_and_the_journal_goes_on_when_there_is_room(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, folder], cwd=ROOT, check=True, capture_output=True, text=True
    )
    *broken, entries, first_bytes = done.stdout.splitlines()
    assert broken, "nothing was refused"
    assert all("verdicts are recheck" in line for line in broken)
    assert entries == "[('before', [5000], 2), ('after', [50000], 2)]"
    assert first_bytes == "[b'b', b'a']"


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_process_loses_nothing_that_it_was_told_is_durable(folder: Path, seed: int) -> None:
    child = subprocess.Popen([sys.executable, "-m", "tests.storage.appender", folder], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    promised = [child.stdout.readline()]
    time.sleep(random.Random(seed).uniform(0.0, 0.3))
    os.kill(child.pid, signal.SIGKILL)
    promised += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    journal = Journal(folder)
    waiting = {w.id for w in journal.waiting(1_000_000)}
    for entry_id in (line.decode().strip() for line in promised if line.endswith(b"\n")):
        assert entry_id in waiting
        assert images_of(journal, entry_id) == [blob_of(entry_id)]
        assert journal.answered(entry_id, NOW) is not None
    # At most the one append that each thread was in had no time to be reported.
    assert len(waiting) <= len(promised) + 3
    journal.close()


def test_an_id_that_is_there_already_is_refused_and_the_journal_goes_on(journal: Journal) -> None:
    journal.append(entry("1", b"first"))
    with pytest.raises(JournalBroken, match="UNIQUE"):
        journal.append(entry("1", b"second"))
    journal.append(entry("2"))
    assert [(w.id, images_of(journal, w.id)) for w in journal.waiting(9)] == [("1", [b"first"]), ("2", [])]
    assert journal.waiting_count == 2


def test_readers_are_as_many_as_were_used_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for _ in range(20):
        thread = threading.Thread(target=journal.find, args=("nobody",))
        thread.start()
        thread.join()
    assert journal._idle.qsize() == 1
    journal.close()


def test_a_strangers_file_among_the_segments_stops_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "segments" / "old.seg").touch()
    journal.append(entry("1"))
    journal.mark_drained(["1"])
    journal.append(entry("2"))
    assert [w.id for w in journal.waiting(9)] == ["2"]
    journal.close()
    Journal(tmp_path).close()


def test_the_last_failure_is_told_until_a_write_succeeds(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(entry("1"))
    assert journal.failure is None
    with pytest.raises(JournalBroken):
        journal.append(entry("1"))
    assert "UNIQUE" in (journal.failure or "")
    journal.append(entry("2"))
    assert journal.failure is None
    journal.close()


def test_a_write_that_failed_half_way_leaves_no_bytes_behind(tmp_path: Path) -> None:
    """Only the large entry is refused; the small ones after it find the room that it had taken."""
    program = """
import resource, signal, sys
from pathlib import Path
from storage.journal import Journal, JournalBroken
from tests.storage.test_journal import entry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
journal = Journal(Path(sys.argv[1]))
try:
    journal.append(entry("large", b"x" * 3_000_000))
except JournalBroken:
    print("refused", next(Path(sys.argv[1]).glob("segments/*.seg")).stat().st_size)
journal.probe()
journal.append(entry("small", b"y" * 1_000_000))
print(journal.failure, [w.id for w in journal.waiting(9)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["refused 0", "None ['small']"]


def test_a_damaged_journal_is_refused_with_a_remedy(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    (tmp_path / "journal.sqlite").write_bytes(b"not a database" * 200)
    with pytest.raises(JournalUnusable) as refused:
        Journal(tmp_path)
    assert "move it away" in refused.value.remedy
