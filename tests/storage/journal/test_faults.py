"""Kills, full disks, torn tails and vanished files, all of them real."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from storage.journal import Entry, Journal, JournalBroken, JournalLocked, ReserveSpent, Waiting
from storage.journal.frames import Place
from storage.journal.segments import Segments
from tests.storage.appender import DAY, blob_of, open_journal
from tests.storage.samples import NOW

ROOT = Path(__file__).parents[3]
SEGMENT = 64 << 10

FAILING_DISK = """
import resource, signal, sys
from pathlib import Path
from storage.journal import Entry, Journal, JournalBroken
from tests.storage.samples import NOW

def entry(name, size):
    return Entry(name, "event", b"{}", NOW, {name: "d"}, b"answer", {"h": bytes(size)})

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]), segment_bytes=64 << 10, reserve_bytes=256 << 10)
journal.append(entry("before", 5000))
# Beyond this offset writes come back short, then fail, as on a disk with a bad spot.
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
try:
    journal.append(entry("refused", 20_000))
except JournalBroken as error:
    print("broken:", error.remedy)
print("failure:", journal.failure, journal.answered("refused", NOW))
journal.append(entry("elsewhere", 2000))
print("failure:", journal.failure)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(entry("after", 20_000))
print([(w.id, [len(b) for b in w.blobs.values()]) for w in journal.waiting(9)], journal.waiting_count)
"""


def entry(name: str, size: int = 0) -> Entry:
    return Entry(name, "event", b"{}", NOW, {name: "d"}, b"answer", {"h": bytes(size)} if size else {})


def opened(folder: Path, *, segments: int = 4) -> Journal:
    return Journal(folder, reserve_bytes=segments * SEGMENT, segment_bytes=SEGMENT)


def ids(found: list[Waiting]) -> list[str]:
    return [w.id for w in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.decode()}")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_loses_nothing_that_it_was_told_is_durable(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    promised: list[bytes] = []
    for _ in range(2):
        command = [sys.executable, "-m", "tests.storage.appender", str(folder)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        promised.append(child.stdout.readline())
        time.sleep(rng.uniform(0.0, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        promised += child.stdout.readlines()
        child.wait()
        child.stdout.close()
    journal = open_journal(folder)
    count = journal.waiting_count
    waiting: dict[str, Waiting] = {}
    while batch := journal.waiting(100):
        journal.mark_drained(ids(batch))
        assert not waiting.keys() & set(ids(batch)), "nothing comes twice"
        waiting |= {w.id: w for w in batch}
    for name in (line.decode().strip() for line in promised if line.endswith(b"\n")):
        assert list(waiting[name].blobs.values()) == [blob_of(name)]
        assert journal.answered(name, NOW) is not None
    assert count == len(waiting)
    assert len(waiting) <= len(promised) + 6, "at most the append that each thread was in had no time to be reported"
    journal.close()


@pytest.mark.parametrize("fault", ["cut", "flipped"])
def test_a_torn_tail_takes_nothing_else_along_and_is_never_continued(folder: Path, fault: str) -> None:
    journal = opened(folder)
    journal.append(entry("1", 100))
    tail = journal._segments._active.position  # type: ignore[union-attr]
    journal.append(entry("torn", 100))
    (path,) = (p for p in folder.glob("segments/*.seg") if b"torn" in p.read_bytes())
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    journal.close()
    (folder / "index.sqlite").unlink()
    shutil.copytree(folder, folder.with_name("kept"))
    for at in range(tail, end, 7):
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("kept"), folder)
        broken = whole[:at] if fault == "cut" else whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        path.write_bytes(broken)
        journal = opened(folder)
        assert ids(journal.waiting(9)) == ["1"], at
        journal.append(entry("2", 50))
        journal.close()
        journal = opened(folder)
        assert ids(journal.waiting(9)) == ["1", "2"], at
        assert path.read_bytes() == broken
        journal.close()


def test_a_write_that_failed_leaves_nothing_behind_and_the_next_goes_elsewhere(folder: Path) -> None:
    command = [sys.executable, "-c", FAILING_DISK, str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    expected = "[('before', [5000]), ('elsewhere', [2000]), ('after', [20000])] 3"
    assert done.stdout.splitlines() == [
        "broken: free or repair the disk; verdicts are recheck until then",
        "failure: [Errno 27] File too large None",
        "failure: None",
        expected,
    ]
    journal = opened(folder)
    found = [(w.id, [len(b) for b in w.blobs.values()]) for w in journal.waiting(9)]
    assert f"{found} {journal.waiting_count}" == expected
    assert journal.find("refused") is None
    journal.close()


def test_a_segment_that_takes_no_write_is_passed_over(folder: Path) -> None:
    journal = opened(folder)
    journal.append(entry("1", 40_000))
    for path in folder.glob("segments/*.seg"):
        if not path.read_bytes().strip(b"\0"):
            path.unlink()
            path.symlink_to("/dev/full")
    with pytest.raises(JournalBroken, match="No space"):
        journal.append(entry("refused", 40_000))
    assert "No space" in str(journal.failure)
    journal.append(entry("2", 40_000))
    assert str(journal.failure) == "None"
    assert ids(journal.waiting(9)) == ["1", "2"]
    assert not [path for path in folder.glob("segments/*") if path.is_symlink()]
    journal.close()


def append_until_refused(journal: Journal, name: str, size: int) -> list[str]:
    written: list[str] = []
    while len(written) < 200:
        try:
            journal.append(entry(f"{name}-{len(written)}", size))
        except ReserveSpent:
            return written
        written.append(f"{name}-{len(written)}")
        # The index may or may not find room.
        with suppress(JournalBroken):
            journal.tidy(NOW, DAY)
    pytest.fail("the disk is full, and everything was written")


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_lived_through_on_the_reserve(small_disk: Path) -> None:
    journal = opened(small_disk / "journal", segments=4)
    for _ in range(6):
        journal.tidy(NOW, DAY)
    assert str(journal.on_reserve) == "False"
    ballast = small_disk / "somebody else's"
    fill(ballast)
    written = append_until_refused(journal, "a", 10_000)
    assert str(journal.on_reserve) == "True"
    assert len(written) >= 18, "that is what the reserve was for"
    assert "disk is full" in str(journal.failure)
    assert ids(journal.waiting(99)) == written
    assert journal.answered("a-0", NOW) is not None
    journal.close()

    journal = opened(small_disk / "journal", segments=4)
    assert ids(journal.waiting(99)) == written, "a restart on the full disk finds everything too"
    written += append_until_refused(journal, "b", 60_000)
    ballast.unlink()
    for _ in range(9):
        journal.tidy(NOW, DAY)
    assert str(journal.on_reserve) == "False"
    journal.append(entry("room again", 60_000))
    assert str(journal.failure) == "None"
    assert ids(journal.waiting(99)) == [*written, "room again"]
    journal.close()


@pytest.mark.parametrize("segments", [2, 4])
def test_draining_alone_gives_the_reserve_back_on_a_full_disk(small_disk: Path, segments: int) -> None:
    journal = opened(small_disk / "journal", segments=segments)
    for _ in range(segments + 1):
        journal.tidy(NOW, DAY)
    fill(small_disk / "ballast")
    for cycle in range(5):
        written = append_until_refused(journal, str(cycle), 30_000)
        assert len(written) >= 2, cycle
        assert ids(journal.waiting(99)) == written
        journal.mark_drained(written)
        for _ in range(3):
            journal.tidy(NOW, DAY)
    assert journal.answered("0-0", NOW) is not None
    journal.close()


@pytest.mark.parametrize("what", ["segment", "segments", "everything", "index", "lock"])
def test_files_that_vanish_under_a_running_journal_are_noticed(folder: Path, what: str) -> None:
    journal = opened(folder)
    journal.append(entry("1"))
    journal.tidy(NOW, DAY)
    gone = {"segment": "segments/*.seg", "segments": "segments", "everything": "*", "index": "index*", "lock": "lock"}
    for path in folder.glob(gone[what]):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    journal.tidy(NOW, DAY)
    assert "deleted or replaced" in (journal.failure or "")
    journal.tidy(NOW, DAY)
    journal.append(entry("2"))
    assert journal.failure is None
    assert ids(journal.waiting(9)) == ["1", "2"], "what is in memory can still be drained"
    journal.mark_drained(["1"])
    journal.close()
    journal = opened(folder)
    assert ids(journal.waiting(9)) == ["2"]
    assert journal.answered("2", NOW) is not None
    journal.close()


def test_a_lost_segment_holds_up_nothing(folder: Path) -> None:
    journal = opened(folder)
    for n in range(6):
        journal.append(entry(str(n), 40_000))
    journal.close()
    (path,) = (p for p in folder.glob("segments/*.seg") if b'"2"' in p.read_bytes())
    path.unlink()
    (path,) = (p for p in folder.glob("segments/*.seg") if b'"3"' in p.read_bytes())
    path.write_bytes(b"\xff" * SEGMENT)
    journal = opened(folder)
    found = journal.waiting(9)
    assert ids(found) == ["0", "1", "4", "5"]
    journal.mark_drained(ids(found))
    assert journal.waiting_count == 0
    journal.close()


def test_a_damaged_provisional_entry_is_let_go_of(folder: Path) -> None:
    journal = opened(folder)
    for name in ("torn", "whole"):
        journal.append(replace(entry(name), record=name.encode() * 20, provisional=True))
    journal.close()
    (path,) = (p for p in folder.glob("segments/*.seg") if b"torntorn" in p.read_bytes())
    path.write_bytes(path.read_bytes().replace(b"torntorn", b"tornborn"))
    journal = opened(folder)
    for _ in range(2):
        assert ids(journal.provisional()) == ["whole"]
    journal.append(replace(entry("part"), closes=("whole",)))
    assert journal.provisional() == []
    journal.close()


def test_a_segment_that_can_not_be_made_is_no_full_disk(folder: Path) -> None:
    journal = opened(folder)
    journal.append(entry("1"))
    (folder / "segments").rename(folder / "away")
    (folder / "segments").write_text("no folder any more")
    for _ in range(2):
        journal.tidy(NOW, DAY)
        with pytest.raises(JournalBroken, match=r"exists|directory") as broken:
            journal.append(entry("refused"))
        assert not isinstance(broken.value, ReserveSpent)
    assert journal.failure is not None
    (folder / "segments").unlink()
    (folder / "away").rename(folder / "segments")
    journal.tidy(NOW, DAY)
    journal.probe()
    assert str(journal.failure) == "None"
    journal.append(entry("2"))
    assert ids(journal.waiting(9)) == ["1", "2"]
    journal.close()


def test_blocks_that_the_disk_can_not_read_are_passed_over(folder: Path) -> None:
    segments = Segments(folder, folder, SEGMENT, SEGMENT)
    # Reading there fails with EIO, as on a bad spot of a disk.
    (folder / "00000001.seg").symlink_to("/proc/self/mem")
    found = segments.read(Place(1, 0), 10_000)
    assert (found.frames, found.lost) == ([], [0])
    segments.close()


def test_a_folder_that_another_process_has_taken_is_not_written_any_more(folder: Path) -> None:
    journal = opened(folder)
    journal.append(entry("1"))
    shutil.rmtree(folder)
    other = opened(folder)
    with pytest.raises(JournalLocked):
        journal.tidy(NOW, DAY)
    with pytest.raises(JournalBroken, match="another line server"):
        journal.append(entry("2"))
    names = sorted(path.name for path in folder.glob("segments/*"))
    journal.tidy(NOW, DAY)
    assert sorted(path.name for path in folder.glob("segments/*")) == names
    other.append(entry("3"))
    assert ids(other.waiting(9)) == ["3"]
    other.close()
    journal.close()
