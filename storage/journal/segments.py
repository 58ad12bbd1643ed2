"""The segment files: written full of zeros once, then written over and over, so that fdatasync has only data to write.

A file `00000012.seg` is segment 12. Numbers only grow; a file that is used again is renamed to a new number. A file
whose number is below everything that is still needed is a spare.
"""

import errno
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storage.journal.entries import ReserveSpent
from storage.journal.frames import Draft, Place, Scan, header_of, scan

STEP = 1 << 20
"""Zeros are written and synced in steps of a mebibyte: appends meanwhile wait for one step, not for a whole file."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 4096
BUFFERS_MAX = 1000
"""Below Linux' IOV_MAX of 1024."""
CIRCULATING = 2
"""Files above the reserve that stay: else one would be made for each that is begun, and one deleted when drained."""
DROP_MAX = 32
"""Files that one `recycle` deletes at most."""


@dataclass(slots=True)
class _Open:
    """The segment that is written."""

    number: int
    path: Path
    descriptor: int
    size: int
    position: int = 0


class Segments:
    """The files of one journal. `write` is for one thread at a time, `top_up`, `recycle` and `check` for one other."""

    def __init__(self, folder: Path, journal: Path, segment_bytes: int, reserve_bytes: int) -> None:
        self.folder, self._journal = folder, journal
        self._segment_bytes = segment_bytes
        self._spares_wanted = max(1, reserve_bytes // segment_bytes)
        self.is_short = False
        """There was no room for a spare when one was wanted."""
        self.last_is_kept = False
        """The last spare is not for entries: its room is wanted for the index."""
        self._lock = threading.Lock()  # guards the five below
        self._spares: list[Path] = []
        self._next: _Open | None = None
        self._last = 0
        """The highest number ever given."""
        self._begun = 0
        """The number of the segment that was begun last: a lower one must not be begun any more."""
        self._ends: dict[int, int] = {}
        """Where the frames of a full segment end; in order."""
        self._active: _Open | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def numbers(self) -> list[int]:
        """The segments that are there, oldest first; half-made ones are deleted."""
        for path in self.folder.glob("*.part"):
            path.unlink(missing_ok=True)
        named = {int(p.stem): p for p in self.folder.glob("*.seg") if p.stem.isascii() and p.stem.isdigit()}
        self._last = max(named, default=0)
        return sorted(number for number, path in named.items() if path.is_file())

    def take_over(self, used: dict[int, int], free: Iterable[int], last: int) -> None:
        """Begin with what an earlier life left: segments and their ends, those that are free, the last number."""
        self._ends, self._last = dict(sorted(used.items())), max(last, self._last)
        for number in free:
            self._free(number)

    @property
    def spare_count(self) -> int:
        """Spares, the prepared one included."""
        with self._lock:
            return len(self._spares) + (self._next is not None)

    @property
    def room(self) -> int:
        """Bytes left in the segment that is written."""
        return 0 if self._active is None else self._active.size - self._active.position

    def roll(self, size: int) -> None:
        """Go on in another segment, with room for a frame of this size.

        Raises ReserveSpent, OSError.
        """
        # The old one is let go of only when there is a new one.
        following = self._oversize(size) if size > self._segment_bytes else self._following()
        self.seal()
        self._active = following

    def write(self, drafts: Sequence[Draft]) -> list[Place]:
        """Write frames that fit and make them durable; returns where each begins.

        Raises OSError; what was written then counts as not written, and nothing is added to this segment any more.
        """
        active = self._active
        assert active is not None, "there is room, so there is a segment"
        places, buffers, position = [], [], active.position
        for found in drafts:
            place = Place(active.number, position)
            buffers += [header_of(found, place), found.head, *found.blobs]
            places.append(place)
            position += found.size
        try:
            _write_all(active.descriptor, buffers, active.position)
            os.fdatasync(active.descriptor)
        except OSError:
            self._abandon(active, places)
            raise
        active.position = position
        return places

    def read(self, place: Place, end: int) -> Scan:
        """The frames of a segment from `place` up to a known end.

        Raises OSError.
        """
        return scan(_read(self._path(place.segment), place.offset, end - place.offset), place, known_end=True)

    def explore(self, number: int, start: int, end: int | None) -> Scan:
        """The frames of a segment that the process before this one wrote, wherever they end where that isn't known.

        Raises OSError.
        """
        size = None if end is None else end - start
        return scan(_read(self._path(number), start, size), Place(number, start), known_end=end is not None)

    @property
    def ends(self) -> dict[int, int]:
        """Full segment -> where its frames end, oldest first."""
        with self._lock:
            return dict(self._ends)

    def top_up(self) -> None:
        """Prepare the next segment, or make one spare where some are missing.

        Raises OSError; ReserveSpent, with `is_short` set, where there is no room.
        """
        with self._lock:
            is_missing = len(self._spares) + (self._next is not None) < self._spares_wanted
            if not is_missing:
                self.is_short = False
        if is_missing:
            self._make()
        if self._next is None:
            self._prepare()

    def recycle(self, floor: int) -> None:
        """Segments below `floor` are not needed any more: they become spares, or go where there are enough."""
        dropped = 0
        while dropped < DROP_MAX:
            with self._lock:
                number = next(iter(self._ends), floor)
                if number >= floor:
                    return
                del self._ends[number]
            dropped += self._free(number)

    def give_up_spare(self) -> bool:
        """Delete a spare so that others find room on a full disk; whether there was one."""
        with self._lock:
            if not self._spares:
                return False
            path = self._spares.pop()
        path.unlink(missing_ok=True)
        return True

    def check(self) -> None:
        """Look whether the files are still where they should be.

        Raises FileNotFoundError.
        """
        with self._lock:
            self._spares = [path for path in self._spares if path.exists()]
            prepared = self._next
            if prepared is not None and not _is_there(prepared):
                os.close(prepared.descriptor)
                self._next = None
        if self._active is not None and not _is_there(self._active):
            path = self._active.path
            raise FileNotFoundError(errno.ENOENT, "a segment was deleted or replaced", str(path))

    def close(self) -> None:
        """Let go of the files."""
        for opened in (self._active, self._next):
            if opened is not None:
                os.close(opened.descriptor)
        self._active = self._next = None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.seg"

    def _number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    def _following(self) -> _Open:
        if self._next is None:
            self._prepare(inline=True)
        with self._lock:
            following, self._next = self._next, None
            assert following is not None, "it was just prepared"
            self._begun = following.number
        return following

    def _prepare(self, *, inline: bool = False) -> None:
        """Give a spare the next number, durably; without a spare make one, unless it is known that there is no room."""
        with self._lock:
            kept = 1 if self.last_is_kept and self._spares_wanted > 1 else 0
            path = self._spares.pop(0) if len(self._spares) > kept else None
        if path is None:
            if not inline:
                return
            if self.is_short:
                raise ReserveSpent(self._journal)
            self._make()
            return self._prepare(inline=True)
        number = self._number()
        target = self._path(number)
        descriptor = os.open(path, os.O_WRONLY)
        try:
            path.rename(target)
            sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        prepared = _Open(number, target, descriptor, self._segment_bytes)
        with self._lock:
            if self._next is not None or number < self._begun:  # the other thread was faster
                self._spares.append(target)
                os.close(descriptor)
            else:
                self._next = prepared
        return None

    def _make(self) -> None:
        """A spare, full of zeros."""
        path = self._path(self._number())
        partial = path.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_zeros(partial, self._segment_bytes)
            partial.rename(path)
            sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                self.is_short = True
                raise ReserveSpent(self._journal) from error
            raise
        with self._lock:
            self._spares.append(path)

    def _oversize(self, size: int) -> _Open:
        """A segment of its own for one large frame. The prepared one goes back, so that numbers follow time."""
        with self._lock:
            prepared, self._next = self._next, None
            if prepared is not None:
                os.close(prepared.descriptor)
                self._spares.append(prepared.path)
            self._last += 1
            number = self._begun = self._last
        path = self._path(number)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.fsync(descriptor)
            sync_folder(self.folder)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise ReserveSpent(self._journal, f"there is no room for an entry of {size} bytes") from error
            raise
        return _Open(number, path, descriptor, size)

    def seal(self) -> None:
        """Write nothing more to the present segment."""
        active, self._active = self._active, None
        if active is None:
            return
        os.close(active.descriptor)
        if active.position == 0:
            self._free(active.number)  # nothing in it was ever answered, and it gets a new number
            return
        with self._lock:
            self._ends[active.number] = active.position

    def _abandon(self, active: _Open, places: Sequence[Place]) -> None:
        # After a failed fsync the kernel takes the pages for written: trying again on them would prove nothing. The
        # headers go so that what nobody was answered is not found later, as far as the disk still does anything.
        with suppress(OSError):
            for place in places:
                os.pwrite(active.descriptor, bytes(4), place.offset)
            os.fdatasync(active.descriptor)
        self.seal()

    def _free(self, number: int) -> bool:
        """Make the file a spare, or delete it; whether it was deleted. Files that can't be deleted stop nothing."""
        path = self._path(number)
        with suppress(OSError):
            if path.stat().st_size == self._segment_bytes and path.is_file():
                with self._lock:
                    if len(self._spares) + (self._next is not None) < self._spares_wanted + CIRCULATING:
                        self._spares.append(path)
                        return False
            path.unlink(missing_ok=True)
        return True


def sync_folder(folder: Path) -> None:
    """Make names in the folder durable.

    Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_there(opened: _Open) -> bool:
    held = os.fstat(opened.descriptor)
    try:
        found = opened.path.stat()
    except OSError:
        return False
    return held.st_nlink > 0 and (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)


def _read(path: Path, start: int, size: int | None) -> bytes:
    """Bytes of a file; where the disk can't read a block, zeros stand for it: it must not take the others with it."""
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size - start if size is None else size
        try:
            return _read_all(descriptor, start, size)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        blocks = [(at, min(BLOCK, start + size - at)) for at in range(start, start + size, BLOCK)]
        return b"".join(_read_block(descriptor, at, length) for at, length in blocks)


def _read_all(descriptor: int, start: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, start)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_block(descriptor: int, start: int, size: int) -> bytes:
    try:
        return _read_all(descriptor, start, size).ljust(size, b"\0")
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return bytes(size)


def _write_zeros(path: Path, size: int) -> None:
    zeros = bytes(STEP)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        # Says at once when there is no room. Blocks that are only reserved would cost fdatasync a change of metadata at
        # the first write, so they are written too.
        os.posix_fallocate(descriptor, 0, size)
        for start in range(0, size, STEP):
            _write_all(descriptor, [zeros[: size - start]], start)
            os.fdatasync(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, buffers: Sequence[bytes], offset: int) -> None:
    """All buffers from `offset` on, however many and however short the writes come back."""
    for first in range(0, len(buffers), BUFFERS_MAX):
        left: list[bytes | memoryview] = list(buffers[first : first + BUFFERS_MAX])
        while left:
            written = os.pwritev(descriptor, left, offset)
            offset += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = memoryview(left[0])[written:]
