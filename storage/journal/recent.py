"""What has been written and is not in the index yet."""

from collections.abc import Sequence
from datetime import datetime

from storage.journal.entries import Answered, Entry
from storage.journal.frames import Frame


class Recent:
    """Frames in the order they were written, found by id and by key. One thread at a time changes it, any looks up."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        # Tuples that are replaced, never changed: who looks up needs no lock.
        self._by_key: dict[str, tuple[Entry, ...]] = {}
        self._by_id: dict[str, Entry] = {}

    def add(self, frame: Frame) -> None:
        """The frame has been written."""
        self.frames.append(frame)
        for entry in frame.entries:
            if entry.answer is None:
                continue
            self._by_id[entry.id] = entry
            for key in entry.keys:
                self._by_key[key] = (*self._by_key.get(key, ()), entry)

    def forget(self, frames: Sequence[Frame]) -> None:
        """The first frames are in the index now."""
        del self.frames[: len(frames)]
        for entry in (entry for frame in frames for entry in frame.entries if entry.answer is not None):
            if self._by_id.get(entry.id) is entry:
                del self._by_id[entry.id]
            for key in entry.keys:
                rest = tuple(other for other in self._by_key[key] if other is not entry)
                if rest:
                    self._by_key[key] = rest
                else:
                    del self._by_key[key]

    def answered(self, key: str, since: datetime) -> Answered | None:
        """The newest answer under a key, no older than `since`."""
        for entry in reversed(self._by_key.get(key, ())):
            if entry.answer is not None and entry.written_at >= since:
                return Answered(entry.id, entry.keys[key], entry.answer)
        return None

    def find(self, entry_id: str) -> bytes | None:
        """The answer of an entry."""
        entry = self._by_id.get(entry_id)
        return None if entry is None else entry.answer
