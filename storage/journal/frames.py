"""Frames: how entries lie in a segment. What one append wrote is one frame, whole or not there.

    header | meta (JSON) | record and answer of each entry | image bytes of each entry

The header names its own segment and offset, so that what an earlier life of a recycled file left behind is told from
what belongs there. Images have checksums of their own: one that the disk damages doesn't take the record with it.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zlib import crc32

from storage.journal.entries import Entry

MAGIC = b"LpJ2"
_HEADER = struct.Struct("<4sIIIIQQQ")
"""Magic, checksum of the rest of the header, checksum of the head, sizes of meta, head and frame, segment, offset."""
_PLACED = struct.Struct("<IIIQQQ")
"""The header without magic and its own checksum."""
HEADER_BYTES = _HEADER.size

# json.dumps with separators builds an encoder for each call.
_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Place(NamedTuple):
    """A point in the journal; later ones compare greater."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A frame that has no place yet."""

    entries: tuple[Entry, ...]
    head: bytes
    """Meta, then records and answers."""
    head_crc: int
    meta_bytes: int
    blobs: tuple[bytes, ...]
    size: int
    """Of the whole frame, header included."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Entries and where they lie."""

    start: Place
    end: Place
    entries: tuple[Entry, ...]
    damaged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Entry id -> the SHA-256 of its images that the disk has damaged; they are missing in its `blobs`."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.end.offset - self.start.offset

    @property
    def waiting(self) -> list[Entry]:
        """The entries that are to be drained."""
        return [entry for entry in self.entries if not entry.provisional]

    @property
    def waiting_count(self) -> int:
        """How many these are."""
        return len(self.waiting)


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a segment."""

    frames: list[Frame]
    lost: list[int]
    """Offsets before `end` where something lies that is not a whole frame."""
    end: int
    """Offset behind the last whole frame."""


def draft(entries: Sequence[Entry]) -> Draft:
    """The entries as one frame."""
    meta: list[object] = []
    parts, blobs = [b""], list[bytes]()
    for entry in entries:
        sizes = {sha256: (len(data), crc32(data)) for sha256, data in entry.blobs.items()}
        blobs.extend(entry.blobs.values())
        parts.append(entry.record)
        if entry.answer is not None:
            parts.append(entry.answer)
        meta.append(
            (
                entry.id,
                entry.kind,
                entry.written_at.timestamp(),
                len(entry.record),
                None if entry.answer is None else len(entry.answer),
                sizes,
                dict(entry.keys),
                entry.provisional,
                entry.closes,
            )
        )
    parts[0] = _dumps(meta).encode()
    head = b"".join(parts)
    size = HEADER_BYTES + len(head) + sum(len(data) for data in blobs)
    return Draft(tuple(entries), head, crc32(head), len(parts[0]), tuple(blobs), size)


def header_of(found: Draft, place: Place) -> bytes:
    """The header that puts a frame in its place."""
    placed = _PLACED.pack(found.head_crc, found.meta_bytes, len(found.head), found.size, *place)
    return MAGIC + crc32(placed).to_bytes(4, "little") + placed


def scan(data: bytes, place: Place, *, known_end: bool) -> Scan:
    """The frames in the bytes of a segment from `place` on.

    What is not a whole frame is skipped. Where it is not known that frames lie up to the end of the bytes, the last
    ones count only if their images are whole too: else they were being written when the power went, and nobody was
    answered.
    """
    frames: list[Frame] = []
    unsure: list[Frame] = []
    lost: list[int] = []
    at = data.find(MAGIC)
    torn = [place.offset] if at != 0 and known_end and data else []
    while at >= 0:
        size = _frame_size(data, at, place)
        found = _frame(data, at, Place(place.segment, place.offset + at), size) if size else None
        if found is None:
            torn.append(place.offset + at)
            at = data.find(MAGIC, at + 1)
            continue
        unsure.append(found)
        if known_end or not found.damaged:
            lost += torn
            frames += unsure
            torn, unsure = [], []
        at += size
        if data[at : at + 4] != MAGIC:
            if known_end and at < len(data):
                torn.append(place.offset + at)
            at = data.find(MAGIC, at)
    if known_end:
        lost += torn
    return Scan(frames, lost, frames[-1].end.offset if frames else place.offset)


def _frame_size(data: bytes, at: int, place: Place) -> int:
    """The size of the frame whose header is here; 0 where there is none that belongs here."""
    if at + HEADER_BYTES > len(data):
        return 0
    _, checksum, _, meta_bytes, head_bytes, size, segment, offset = _HEADER.unpack_from(data, at)
    if segment != place.segment or offset != place.offset + at:
        return 0
    if crc32(data[at + 8 : at + HEADER_BYTES]) != checksum:
        return 0
    whole = meta_bytes <= head_bytes <= size - HEADER_BYTES and at + size <= len(data)
    return int(size) if whole else 0


def _frame(data: bytes, at: int, start: Place, size: int) -> Frame | None:
    _, _, head_crc, meta_bytes, head_bytes, _, _, _ = _HEADER.unpack_from(data, at)
    body = at + HEADER_BYTES
    if crc32(memoryview(data)[body : body + head_bytes]) != head_crc:
        return None
    entries, damaged = _entries(data, body, meta_bytes, head_bytes)
    return Frame(start, Place(start.segment, start.offset + size), entries, damaged)


def _entries(
    data: bytes, body: int, meta_bytes: int, head_bytes: int
) -> tuple[tuple[Entry, ...], dict[str, tuple[str, ...]]]:
    meta: list[Any] = json.loads(data[body : body + meta_bytes])
    at, blob_at = body + meta_bytes, body + head_bytes
    entries, damaged = [], {}
    for entry_id, kind, written_at, record_bytes, answer_bytes, sizes, keys, provisional, closes in meta:
        record = data[at : at + record_bytes]
        at += record_bytes
        answer = None
        if answer_bytes is not None:
            answer = data[at : at + answer_bytes]
            at += answer_bytes
        blobs, broken = {}, []
        for sha256, (size, checksum) in sizes.items():
            blob = data[blob_at : blob_at + size]
            blob_at += size
            if crc32(blob) == checksum:
                blobs[sha256] = blob
            else:
                broken.append(sha256)
        if broken:
            damaged[entry_id] = tuple(broken)
        at_utc = datetime.fromtimestamp(written_at, UTC)
        entries.append(Entry(entry_id, kind, record, at_utc, keys, answer, blobs, provisional, tuple(closes)))
    return tuple(entries), damaged
