import hashlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.journal import Answered, Entry, Journal, JournalBroken, JournalLocked, JournalUnusable, Waiting
from storage.journal.journal import INDEX_MAX
from storage.journal.segments import CIRCULATING
from tests.storage.samples import NOW, later

ROOT = Path(__file__).parents[2]
DAY = timedelta(hours=24)
SEGMENT = 64 << 10


def entry(entry_id: str, *blobs: bytes, **fields: object) -> Entry:
    by_hash = {hashlib.sha256(data).hexdigest(): data for data in blobs}
    return replace(Entry(entry_id, "event", b"{}", NOW, blobs=by_hash), **fields)  # type: ignore[arg-type]


def answered(entry_id: str, *keys: str, answer: bytes = b"body", **fields: object) -> Entry:
    return entry(entry_id, keys=dict.fromkeys(keys, "d"), answer=answer, **fields)


def opened(folder: Path, *, segments: int = 4) -> Journal:
    return Journal(folder, reserve_bytes=segments * SEGMENT, segment_bytes=SEGMENT)


def ids(found: list[Waiting]) -> list[str]:
    return [w.id for w in found]


def tidy(journal: Journal, times: int = 1) -> None:
    for _ in range(times):
        journal.tidy(NOW, DAY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    found = opened(folder)
    yield found
    found.close()


def test_what_was_appended_is_there_after_a_restart(folder: Path) -> None:
    journal = opened(folder)
    first = answered("1", "k", "l", blobs={"left": b"\0left", "right": b"right"}, written_at=later(0.25))
    journal.append(first)
    journal.append(entry("2", kind="alarm", record=b"\xffany bytes"))
    expected = [
        Waiting("1", "event", b"{}", b"body", later(0.25), first.keys, first.blobs),
        Waiting("2", "alarm", b"\xffany bytes", None, NOW, {}, {}),
    ]
    assert journal.waiting(10) == expected
    journal.close()
    journal = opened(folder)
    assert journal.waiting(10) == expected
    assert journal.answered("l", NOW) == Answered("1", "d", b"body")
    assert journal.find("1") == b"body"
    assert journal.waiting_count == 2
    journal.close()


def test_entries_of_one_append_are_there_together(journal: Journal) -> None:
    journal.append(entry("1"), entry("2", b"image"), entry("3"))
    journal.append()
    assert ids(journal.waiting(10)) == ["1", "2", "3"]
    journal.mark_drained(["2"])
    assert ids(journal.waiting(10)) == ["1", "3"]
    assert journal.waiting_count == 2


def test_threads_that_append_drain_and_tidy_at_once_lose_and_double_nothing(journal: Journal) -> None:
    done = threading.Event()
    drained: list[str] = []

    def append(thread: int) -> None:
        for n in range(60):
            name = f"{thread}-{n}"
            journal.append(answered(name, name, blobs={"h": name.encode() * 2000}))
            found = journal.answered(name, NOW)
            assert found is not None, "what append has returned from is there for every thread"
            assert found.entry_id == name

    def tidying() -> None:
        while not done.is_set():
            tidy(journal)

    def draining() -> None:
        while not done.is_set() or journal.waiting_count:
            batch = journal.waiting(10)
            assert all(w.blobs["h"] == w.id.encode() * 2000 for w in batch)
            drained.extend(ids(batch))
            journal.mark_drained(ids(batch))

    with ThreadPoolExecutor(8) as pool:
        background = [pool.submit(tidying), pool.submit(draining)]
        appends = [pool.submit(append, thread) for thread in range(6)]
        for future in appends:
            future.exception()
        done.set()
        for future in [*appends, *background]:
            future.result()
    assert len(drained) == 360
    for thread in range(6):
        own = [name for name in drained if name.startswith(f"{thread}-")]
        assert own == [f"{thread}-{n}" for n in range(60)], "entries of one thread keep their order"


def test_the_oldest_entries_are_drained_first(journal: Journal) -> None:
    for n in range(5):
        journal.append(entry(str(n)))
    assert ids(journal.waiting(2)) == ["0", "1"]
    journal.mark_drained(["1"])
    assert ids(journal.waiting(2)) == ["0", "2"]
    journal.mark_drained(["0"])
    assert ids(journal.waiting(9)) == ["2", "3", "4"]
    assert journal.waiting_count == 3


@pytest.mark.parametrize("is_indexed", [False, True])
def test_an_answer_is_given_again_within_the_window_only(journal: Journal, is_indexed: bool) -> None:
    journal.append(answered("1", "k"), entry("without answer", keys={"other": "d"}))
    tidy(journal, int(is_indexed))
    assert journal.answered("k", later(-1)) == Answered("1", "d", b"body")
    assert journal.answered("k", NOW) == Answered("1", "d", b"body")
    assert journal.answered("k", later(0.001)) is None
    assert journal.answered("other", later(-1)) is None
    assert journal.find("without answer") is None


@pytest.mark.parametrize("indexed", [0, 1, 2])
def test_the_newest_answer_under_a_key_holds(journal: Journal, indexed: int) -> None:
    journal.append(answered("1", "k", answer=b"processing", written_at=later(5)))
    tidy(journal, int(indexed > 0))
    journal.append(answered("2", "k", "l", answer=b"final"))  # a clock that was set back
    tidy(journal, int(indexed > 1))
    assert journal.answered("k", NOW) == Answered("2", "d", b"final")
    assert journal.answered("l", NOW) == Answered("2", "d", b"final")
    assert journal.answered("k", later(5)) == Answered("1", "d", b"processing"), "the newest of those in the window"


def test_an_answer_outlives_draining_until_it_is_older_than_the_window(folder: Path) -> None:
    journal = opened(folder)
    journal.append(answered("1", "k"))
    journal.append(entry("waiting"))
    journal.mark_drained(["1"])
    journal.close()
    journal = opened(folder)
    journal.tidy(NOW + DAY, DAY)
    assert journal.find("1") == b"body", "it is exactly as old as the window"
    journal.tidy(NOW + DAY + timedelta(seconds=1), DAY)
    assert journal.find("1") is None
    assert journal.answered("k", NOW) is None
    assert ids(journal.waiting(9)) == ["waiting"], "what has not reached the database is never forgotten"
    journal.close()


def test_provisional_entries_wait_for_the_one_that_closes_them(folder: Path) -> None:
    journal = opened(folder)
    journal.append(answered("left", "l", answer=b"processing", provisional=True, blobs={"h": b"image"}))
    journal.append(entry("other", provisional=True))
    tidy(journal)
    journal.append(entry("between"))
    assert ids(journal.provisional()) == ["left", "other"]
    assert ids(journal.waiting(9)) == ["between"]
    assert journal.waiting_count == 1
    assert journal.answered("l", NOW) == Answered("left", "d", b"processing")
    journal.mark_drained(["between"])
    journal.close()

    journal = opened(folder)
    assert ids(journal.provisional()) == ["left", "other"]
    assert journal.provisional()[0].blobs == {"h": b"image"}
    journal.append(answered("part", "l", answer=b"final", closes=("left",)))
    assert ids(journal.provisional()) == ["other"]
    assert ids(journal.waiting(9)) == ["part"]
    journal.close()

    journal = opened(folder)
    assert ids(journal.provisional()) == ["other"]
    assert journal.answered("l", NOW) == Answered("part", "d", b"final")
    journal.append(entry("end", closes=("other", "never there")))
    assert journal.provisional() == []
    journal.close()


def test_a_provisional_entry_keeps_its_segment_however_much_is_drained_behind_it(folder: Path) -> None:
    journal = opened(folder, segments=2)
    journal.append(entry("view", b"image", provisional=True))
    for n in range(20):
        journal.append(entry(str(n), bytes(30_000)))
        journal.mark_drained([str(n)])
        tidy(journal)
    journal.close()
    journal = opened(folder, segments=2)
    assert [list(w.blobs.values()) for w in journal.provisional()] == [[b"image"]]
    journal.append(entry("part", closes=("view",)))
    journal.mark_drained(["part"])
    tidy(journal, 3)
    assert len(list(folder.glob("segments/*.seg"))) <= 4 + CIRCULATING, "then it is let go of"
    journal.close()


def test_drained_segments_are_used_again(folder: Path) -> None:
    journal = opened(folder, segments=3)
    tidy(journal, 5)
    for n in range(40):
        journal.append(entry(str(n), bytes(30_000)))
        journal.mark_drained([str(n)])
        tidy(journal)
    files = list(folder.glob("segments/*"))
    assert len(files) <= 5
    assert all(path.stat().st_size == SEGMENT for path in files)
    journal.close()


def test_segments_circulate_where_draining_follows_a_little_behind(folder: Path) -> None:
    """Else a file would be written full of zeros for each segment that is begun, and another one deleted."""
    journal = opened(folder, segments=3)
    tidy(journal, 5)
    files = []
    for n in range(60):
        journal.append(entry(str(n), bytes(30_000)))
        if n >= 2:
            journal.mark_drained([str(n - 2)])
        tidy(journal)
        files.append({path.stat().st_ino for path in folder.glob("segments/*")})
    journal.close()
    assert all(found == files[20] for found in files[20:])


def test_what_does_not_fit_into_memory_is_drained_from_disk_in_order(folder: Path) -> None:
    journal = Journal(folder, segment_bytes=4 << 20, reserve_bytes=8 << 20)
    blobs = {name: name.encode() * 1_000_000 for name in map(str, range(100, 130))}
    for name, data in blobs.items():
        journal.append(entry(name, data))
    for life in range(2):
        found = []
        for _ in range(7):
            batch = journal.waiting(2)
            assert [list(w.blobs.values()) for w in batch] == [[blobs[w.id]] for w in batch]
            journal.mark_drained(ids(batch))
            found += ids(batch)
        assert found == list(blobs)[14 * life : 14 * (life + 1)]
        journal.close()
        journal = Journal(folder, segment_bytes=4 << 20, reserve_bytes=8 << 20)
    assert journal.waiting_count == 2
    journal.append(entry("new"))
    assert ids(journal.waiting(9)) == ["128", "129", "new"]
    journal.close()


def test_a_small_reserve_makes_for_small_segments(folder: Path) -> None:
    journal = Journal(folder, reserve_bytes=100_000)
    tidy(journal, 5)
    assert sum(path.stat().st_size for path in folder.glob("segments/*")) == 100_000
    journal.append(entry("1", bytes(60_000)))
    assert ids(journal.waiting(9)) == ["1"]
    journal.close()


def test_a_long_tail_is_indexed_in_parts(folder: Path) -> None:
    journal = opened(folder)
    for n in range(INDEX_MAX + 100):
        journal.append(answered(str(n), f"key-{n}"))
    journal.mark_drained([str(n) for n in range(INDEX_MAX + 50)])
    journal.close()
    journal = opened(folder)
    assert ids(journal.waiting(99)) == [str(INDEX_MAX + n) for n in range(50, 100)]
    assert journal.waiting_count == 50
    for n in (0, INDEX_MAX - 1, INDEX_MAX, INDEX_MAX + 99):
        assert journal.answered(f"key-{n}", NOW) == Answered(str(n), "d", b"body")
    journal.close()


def test_an_entry_larger_than_a_segment_lies_in_a_file_of_its_own(folder: Path) -> None:
    journal = opened(folder)
    large = b"0123456789abcdef" * (4 << 20)
    journal.append(entry("before"))
    journal.append(entry("large", large))
    journal.append(entry("after"))
    journal.close()
    journal = opened(folder)
    found = journal.waiting(9)
    assert [(w.id, list(w.blobs.values()) == [large]) for w in found] == [("before", False), ("large", True)]
    journal.mark_drained(ids(found))
    journal.append(entry("last"))
    assert ids(journal.waiting(9)) == ["after", "last"]
    journal.mark_drained(["after"])
    tidy(journal)
    assert max(path.stat().st_size for path in folder.glob("segments/*")) == SEGMENT, "its file is deleted"
    assert ids(journal.waiting(9)) == ["last"]
    journal.close()


def test_an_entry_set_aside_is_kept_for_a_person_and_waits_no_more(folder: Path) -> None:
    journal = opened(folder)
    journal.append(entry("1"), answered("../2", "k", blobs={"hash": b"image"}), entry("3"))
    journal.set_aside(["../2"])
    assert ids(journal.waiting(9)) == ["1", "3"]
    journal.mark_drained(["1", "3"])
    kept = folder / "aside" / "%2E%2E%2F2"
    assert [(kept / name).read_bytes() for name in ("record", "answer", "hash")] == [b"{}", b"body", b"image"]
    assert '"id": "../2"' in (kept / "entry.json").read_text()
    assert journal.find("../2") == b"body"
    journal.close()
    journal = opened(folder)
    assert journal.waiting_count == 0
    journal.close()


def test_a_second_opener_is_told_that_the_journal_is_taken(folder: Path, journal: Journal) -> None:
    with pytest.raises(JournalLocked) as refused:
        opened(folder)
    assert "LOUPE_DATA_DIR" in refused.value.remedy
    script = "import sys, pathlib; from storage.journal import *\ntry: Journal(pathlib.Path(sys.argv[1]))\n"
    script += "except JournalLocked: sys.exit(7)"
    assert subprocess.run([sys.executable, "-c", script, folder], cwd=ROOT, check=False).returncode == 7
    journal.append(entry("still writing"))


def test_a_closed_journal_takes_nothing_and_closes_again(folder: Path) -> None:
    journal = opened(folder)
    journal.close()
    journal.close()
    with pytest.raises(JournalBroken, match="closed"):
        journal.append(entry("late"))
    opened(folder).close()


def test_closing_writes_what_is_pending(folder: Path) -> None:
    journal = opened(folder)
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
    journal = opened(folder)
    assert sorted(ids(journal.waiting(100))) == sorted(done)
    journal.close()


def test_an_id_that_comes_twice_waits_twice(journal: Journal) -> None:
    """The database knows each id once; the journal does not search."""
    journal.append(answered("1", "k", answer=b"first"))
    journal.append(answered("1", "k", answer=b"second"))
    assert ids(journal.waiting(9)) == ["1", "1"]
    journal.mark_drained(["1"])
    journal.mark_drained(["1"])
    assert journal.waiting_count == 0
    assert journal.waiting(9) == []
    assert journal.find("1") == b"second"


def test_a_probe_leaves_no_entry(folder: Path, journal: Journal) -> None:
    journal.probe()
    tidy(journal)
    assert journal.waiting_count == 0
    assert journal.waiting(9) == []


def test_a_strangers_files_among_the_segments_stop_nothing(folder: Path) -> None:
    (folder / "segments").mkdir(parents=True)
    for name in ("old.seg", "notes.txt", "00000004.part"):
        (folder / "segments" / name).write_text("mine")
    (folder / "segments" / "00000002.seg").mkdir()
    (folder / "segments" / "00000003.seg").write_text("short")
    journal = opened(folder)
    journal.append(entry("1"))
    tidy(journal, 2)
    assert ids(journal.waiting(9)) == ["1"]
    journal.close()
    opened(folder).close()
    assert (folder / "segments" / "old.seg").read_text() == "mine"


def test_entries_of_the_older_format_must_be_drained_first(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "journal.sqlite") as connection:
        connection.execute("CREATE TABLE entries (id TEXT, drained INTEGER)")
        connection.execute("INSERT INTO entries VALUES ('1', 0)")
    connection.close()
    with pytest.raises(JournalUnusable, match="1 entries") as refused:
        opened(folder)
    assert "drain it" in refused.value.remedy
    with sqlite3.connect(folder / "journal.sqlite") as connection:
        connection.execute("UPDATE entries SET drained = 1")
    connection.close()
    opened(folder).close()


@pytest.mark.parametrize("damage", ["deleted", "overwritten"])
def test_the_index_is_made_again_from_the_segments(folder: Path, damage: str) -> None:
    journal = opened(folder)
    journal.append(answered("1", "k"))
    journal.append(entry("view", provisional=True), entry("closed", provisional=True))
    journal.append(entry("2", closes=("closed",)))
    journal.close()
    if damage == "deleted":
        for path in folder.glob("index.sqlite*"):
            path.unlink()
    else:
        (folder / "index.sqlite").write_bytes(b"not a database" * 200)
    journal = opened(folder)
    assert journal.answered("k", NOW) == Answered("1", "d", b"body")
    assert ids(journal.waiting(9)) == ["1", "2"]
    assert ids(journal.provisional()) == ["view"]
    tidy(journal)
    assert journal.find("1") == b"body"
    journal.close()


def test_a_folder_that_can_not_be_made_is_refused_with_a_remedy(folder: Path) -> None:
    folder.mkdir()
    (folder / "segments").write_text("a file in its place")
    with pytest.raises(JournalUnusable) as refused:
        opened(folder)
    assert refused.value.remedy
