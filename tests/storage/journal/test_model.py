"""The journal against a few lists and a dict, under random use with restarts and crashes."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from storage.journal import Answered, Entry, Journal
from tests.storage.samples import NOW

DAY = timedelta(hours=24)
SEGMENT = 32 << 10


class Model:
    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.waiting: list[str] = []
        self.drained: set[str] = set()
        self.open: list[str] = []

    def append(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.log.append(entry)
            (self.open if entry.provisional else self.waiting).append(entry.id)
            self.open = [i for i in self.open if i not in entry.closes]

    def drain(self, ids: list[str]) -> None:
        self.waiting = [i for i in self.waiting if i not in ids]
        self.drained |= set(ids)

    def answered(self, key: str, since: datetime) -> Answered | None:
        for entry in reversed(self.log):
            if key in entry.keys and entry.answer is not None and entry.written_at >= since:
                return Answered(entry.id, entry.keys[key], entry.answer)
        return None


class Walk:
    """One random history."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.folder, self.lives = folder, 0
        self.journal = self.opened()
        self.model = Model()
        self.now = NOW

    def opened(self) -> Journal:
        return Journal(self.folder / str(self.lives), segment_bytes=SEGMENT, reserve_bytes=3 * SEGMENT)

    def append(self) -> None:
        entries: list[Entry] = []
        for _ in range(self.rng.integers(1, 4)):
            number = f"{len(self.model.log) + len(entries)}"
            size = int(self.rng.choice([0, 100, 9000, 40_000], p=[0.5, 0.3, 0.19, 0.01]))
            keys = {f"key-{self.rng.integers(20)}": f"digest-{number}" for _ in range(self.rng.integers(3))}
            ends = self.model.open and self.rng.random() < 0.5
            entries.append(
                Entry(
                    number,
                    "event",
                    number.encode() * int(self.rng.integers(1, 50)),
                    self.now + timedelta(seconds=float(self.rng.uniform(-60, 0))),
                    keys,
                    f"answer {number}".encode() if self.rng.random() < 0.8 else None,
                    {f"hash-{number}": self.rng.bytes(size)} if size else {},
                    provisional=bool(self.rng.random() < 0.1),
                    closes=(str(self.rng.choice(self.model.open)),) if ends else (),
                )
            )
        self.journal.append(*entries)
        self.model.append(entries)

    def drain(self) -> None:
        batch = self.journal.waiting(int(self.rng.integers(1, 20)))
        some = [w.id for w in batch if self.rng.random() < 0.9]
        (self.journal.set_aside if self.rng.random() < 0.1 else self.journal.mark_drained)(some)
        self.model.drain(some)

    def tidy(self) -> None:
        self.now += timedelta(seconds=float(self.rng.uniform(0, 5)))
        self.journal.tidy(self.now, DAY)

    def restart(self) -> None:
        self.journal.close()
        self.resume()

    def crash(self) -> None:
        """The files as they are now are what a killed process leaves."""
        shutil.copytree(self.folder / str(self.lives), self.folder / str(self.lives + 1))
        self.journal.close()
        shutil.rmtree(self.folder / str(self.lives))
        self.lives += 1
        self.resume()

    def resume(self) -> None:
        self.journal = self.opened()
        found = [w.id for w in self.journal.waiting(100_000)]
        kept = [i for i in found if i not in self.model.drained]
        assert kept == self.model.waiting
        # Drained before an older one was: it may come again, and the database knows it.
        self.model.waiting = found
        self.model.drained -= set(found)

    def compare(self) -> None:
        by_id = {entry.id: entry for entry in self.model.log}
        found = self.journal.waiting(10)
        assert [w.id for w in found] == self.model.waiting[:10]
        for w in found:
            expected = by_id[w.id]
            assert (w.record, w.answer, w.blobs) == (expected.record, expected.answer, expected.blobs)
            assert (w.written_at, w.keys) == (expected.written_at, expected.keys)
        assert self.journal.waiting_count == len(self.model.waiting)
        assert [w.id for w in self.journal.provisional()] == self.model.open
        assert [w.blobs for w in self.journal.provisional()] == [by_id[i].blobs for i in self.model.open]
        since = self.now - timedelta(seconds=float(self.rng.uniform(0, 90)))
        for number in range(20):
            assert self.journal.answered(f"key-{number}", since) == self.model.answered(f"key-{number}", since)
        for entry in self.model.log[-30:]:
            assert self.journal.find(entry.id) == entry.answer


@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_is_remembered_as_it_was(tmp_path: Path, seed: int) -> None:
    walk = Walk(tmp_path, seed)
    steps = [walk.append, walk.drain, walk.tidy, walk.restart, walk.crash]
    for _ in range(250):
        steps[walk.rng.choice(5, p=[0.6, 0.2, 0.14, 0.03, 0.03])]()
        walk.compare()
    assert len(list(tmp_path.glob(f"{walk.lives}/segments/*.seg"))) < 40
    walk.journal.close()
